//! Pure: paths of earlier releases that lead elsewhere (http-api §14), and those that lack their end (§9.8). Where the
//! original leads to its accounts and its admin pages, which we do not have, there is nothing here either.

use crate::manifest::services::is_vault_itself;

/// Where the notes went, first and last.
const NOTES: &str = "/surface/notes";
const PARACHUTE: &str = "/surface/parachute";
/// Where the vaults are looked after, by the module itself.
const VAULT_ADMIN: &str = "/vault/admin/";
/// Where the first vault speaks its protocol.
const MCP: &str = "/mcp";
const BELOW_MCP: &str = "/mcp/";

/// Where the protocol of the vault at this path is spoken; `None` when it is not that of a vault.
pub(super) fn mcp(path: &str, is_served: impl Fn(&str) -> bool) -> Option<String> {
    (is_vault_itself(path) && is_served(path)).then(|| format!("{path}/mcp"))
}

/// Whether this is where the protocol of the vaults would be spoken, and nobody does.
pub(super) fn lacks_vault(path: &str, is_served: impl Fn(&str) -> bool) -> bool {
    (path == MCP || path.starts_with(BELOW_MCP)) && !is_served(path)
}

/// Where this path leads; `None` when nowhere. `is_served` says which paths go to a module.
pub(super) fn target(path: &str, is_served: impl Fn(&str) -> bool) -> Option<String> {
    if matches!(path, "/hub" | "/hub/") {
        return Some("/".to_owned());
    }
    if matches!(path, "/vault" | "/vault/" | "/vault/new") {
        return (!is_served(path) && is_served(VAULT_ADMIN)).then(|| VAULT_ADMIN.to_owned());
    }
    // The notes became a page of the surface module, which got another name; an own module of an old name keeps them.
    let below = |mount| path.strip_prefix(mount).filter(|rest: &&str| rest.is_empty() || rest.starts_with('/'));
    let (rest, moves) = match below("/notes") {
        Some(rest) => (rest, &[NOTES, PARACHUTE][..]),
        None => (below(NOTES)?, &[PARACHUTE][..]),
    };
    if is_served(path) {
        return None;
    }
    moves.iter().map(|moved| format!("{moved}{rest}")).find(|moved| is_served(moved))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served_below(mounts: &[&str]) -> impl Fn(&str) -> bool {
        move |path| {
            mounts.iter().any(|mount| path.strip_prefix(mount).is_some_and(|r| r.is_empty() || r.starts_with('/')))
        }
    }

    #[test]
    fn only_what_leads_somewhere_is_redirected() {
        for (path, mounts, expected) in [
            ("/hub", &[][..], Some("/")),
            ("/hub/", &[], Some("/")),
            ("/hub/x", &[], None),
            ("/hubs", &[], None),
            ("/notes", &["/surface"], Some("/surface/notes")),
            ("/notes/a/b", &["/surface"], Some("/surface/notes/a/b")),
            ("/notes/", &["/surface/notes"], Some("/surface/notes/")),
            ("/notes", &["/surface", "/notes"], None),
            ("/notes", &[], None),
            ("/notes", &["/surface/other"], None),
            ("/notesx", &["/surface"], None),
            ("/notes/a", &["/surface/parachute"], Some("/surface/parachute/a")),
            ("/notes/a", &["/surface/parachute", "/surface/notes"], Some("/surface/notes/a")),
            ("/surface/notes", &["/surface/parachute"], Some("/surface/parachute")),
            ("/surface/notes/a/b", &["/surface/parachute"], Some("/surface/parachute/a/b")),
            ("/surface/notes/", &["/surface/parachute", "/other"], Some("/surface/parachute/")),
            ("/surface/notes/a", &["/surface/parachute", "/surface/notes"], None),
            ("/surface/notes/a", &["/surface/parachute", "/surface/notes/b"], Some("/surface/parachute/a")),
            ("/surface/notes", &["/surface"], None),
            ("/surface/notes", &["/surface/other"], None),
            ("/surface/notes", &[], None),
            ("/surface/notesx", &["/surface/parachute"], None),
            ("/surface", &["/surface/parachute"], None),
            ("/surface/parachute/a", &["/surface/notes"], None),
            ("/", &["/surface"], None),
            ("/vault", &["/vault/default", "/vault/admin"], Some("/vault/admin/")),
            ("/vault/", &["/vault/default", "/vault/admin"], Some("/vault/admin/")),
            ("/vault/new", &["/vault/default", "/vault/admin"], Some("/vault/admin/")),
            ("/vault/new", &["/vault/new", "/vault/admin"], None),
            ("/vault", &[], None),
            ("/vault/none", &["/vault/default", "/vault/admin"], None),
        ] {
            assert_eq!(target(path, served_below(mounts)).as_deref(), expected, "{path} with {mounts:?}");
        }
    }

    #[test]
    fn without_a_vault_its_protocol_is_missed_where_it_would_be() {
        for (path, mounts, expected) in [
            ("/mcp", &[][..], true),
            ("/mcp/", &[], true),
            ("/mcp/x", &["/vault/default"], true),
            ("/mcp", &["/mcp"], false),
            ("/mcp/x", &["/mcp"], false),
            ("/mcpx", &[], false),
            ("/vault/default/mcp", &[], false),
        ] {
            assert_eq!(lacks_vault(path, served_below(mounts)), expected, "{path} with {mounts:?}");
        }
    }

    #[test]
    fn only_a_vault_that_is_there_has_its_protocol_below_it() {
        for (path, mounts, expected) in [
            ("/vault/default", &["/vault/default"][..], Some("/vault/default/mcp")),
            ("/vault/default", &["/vault/other"], None),
            ("/vault/default/", &["/vault/default"], None),
            ("/vault/default/mcp", &["/vault/default"], None),
            ("/vault/admin", &["/vault/admin"], None),
            ("/vault/new", &["/vault/new"], None),
            ("/vault/", &["/vault"], None),
            ("/vault", &["/vault"], None),
            ("/other/default", &["/other"], None),
        ] {
            assert_eq!(mcp(path, served_below(mounts)).as_deref(), expected, "{path} with {mounts:?}");
        }
    }
}
