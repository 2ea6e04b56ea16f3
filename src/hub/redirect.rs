//! Pure: paths of earlier releases that lead elsewhere (http-api §14).

/// Where this path leads; `None` when nowhere. `is_served` says which paths go to a module.
pub(super) fn target(path: &str, is_served: impl Fn(&str) -> bool) -> Option<String> {
    if matches!(path, "/hub" | "/hub/") {
        return Some("/".to_owned());
    }
    // The notes became a page of the surface module; an own module of that name keeps them.
    let rest = path.strip_prefix("/notes").filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let moved = format!("/surface/notes{rest}");
    (!is_served(path) && is_served(&moved)).then_some(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("/", &["/surface"], None),
        ] {
            let is_served = |path: &str| {
                mounts.iter().any(|mount| path.strip_prefix(mount).is_some_and(|r| r.is_empty() || r.starts_with('/')))
            };
            assert_eq!(target(path, is_served).as_deref(), expected, "{path} with {mounts:?}");
        }
    }
}
