//! Pure: the modules that the hub knows by name (files §5), as a fallback for what their own files do not say.

use super::Short;
use super::module::Manifest;

/// What is known of a first-party module without asking it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) short: &'static str,
    pub(crate) package: &'static str,
    /// The key of its row.
    pub(crate) manifest_name: &'static str,
    /// The canonical port; the row decides.
    pub(crate) port: u16,
    pub(crate) paths: &'static [&'static str],
    pub(crate) health: &'static str,
    /// `None` where nothing is known, which means false.
    pub(crate) strip_prefix: Option<bool>,
    /// The argv when `module.json` has none; empty where the module does not start by itself.
    pub(crate) start_cmd: &'static [&'static str],
    /// Whether it checks tokens itself; without that its exposure defaults to `auth-required`. `None`: not said.
    pub(crate) has_auth: Option<bool>,
}

pub(crate) const KNOWN: &[Known] = &[
    Known {
        short: "vault",
        package: "@openparachute/vault",
        manifest_name: "parachute-vault",
        port: 1940,
        paths: &["/vault/default"],
        health: "/vault/default/health",
        strip_prefix: None,
        start_cmd: &["parachute-vault", "serve"],
        has_auth: Some(true),
    },
    Known {
        short: "channel",
        package: "@openparachute/channel",
        manifest_name: "parachute-channel",
        port: 1941,
        paths: &["/channel"],
        health: "/channel/health",
        strip_prefix: None,
        start_cmd: &["parachute-channel", "daemon"],
        has_auth: Some(true),
    },
    Known {
        short: "notes",
        package: "@openparachute/notes",
        manifest_name: "parachute-notes",
        port: 1942,
        paths: &["/notes"],
        health: "/notes/health",
        strip_prefix: None,
        start_cmd: &[],
        has_auth: None,
    },
    Known {
        short: "scribe",
        package: "@openparachute/scribe",
        manifest_name: "parachute-scribe",
        port: 1943,
        paths: &["/scribe"],
        health: "/scribe/health",
        strip_prefix: Some(true),
        start_cmd: &["parachute-scribe", "serve"],
        has_auth: Some(false),
    },
    Known {
        short: "runner",
        package: "@openparachute/runner",
        manifest_name: "parachute-runner",
        port: 1945,
        paths: &["/runner", "/.parachute"],
        health: "/runner/healthz",
        strip_prefix: Some(false),
        start_cmd: &["parachute-runner", "serve"],
        has_auth: Some(true),
    },
    Known {
        short: "surface",
        package: "@openparachute/surface",
        manifest_name: "parachute-surface",
        port: 1946,
        paths: &["/surface", "/.parachute"],
        health: "/surface/healthz",
        strip_prefix: Some(false),
        start_cmd: &["parachute-surface", "serve"],
        has_auth: Some(true),
    },
];

/// Former row names of modules that changed theirs.
const ROW_ALIASES: &[(&str, &str)] = &[("parachute-lens", "notes")];

/// The known module of that short name.
pub(crate) fn by_short(short: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.short == short)
}

/// The known module whose canonical port this is.
pub(crate) fn by_port(port: u16) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.port == port)
}

/// What starts the module: its own word first, what is known of it as the fallback (supervisor B24).
pub(crate) fn start_command(short: &Short, manifest: Option<&Manifest>) -> Option<Vec<String>> {
    let own = manifest.and_then(|manifest| manifest.start_cmd.clone());
    let known = || {
        let known = by_short(short.as_str())?;
        Some(known.start_cmd.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    };
    own.or_else(known).filter(|argv| !argv.is_empty())
}

/// The short name that a row goes by: its module's if that is known, else the row's own name.
pub(crate) fn short_of_row_name(name: &str) -> &str {
    let known = KNOWN.iter().find(|known| known.manifest_name == name).map(|known| known.short);
    let alias = || ROW_ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, short)| *short);
    known.or_else(alias).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::HashSet;

    #[test]
    fn names_and_ports_of_known_modules_are_unique_and_usable() {
        let mut seen = HashSet::new();
        for known in KNOWN {
            assert!(Short::parse(known.short).is_ok(), "{}", known.short);
            assert!(seen.insert(known.short.to_owned()), "{}", known.short);
            assert!(seen.insert(known.manifest_name.to_owned()), "{}", known.short);
            assert!(seen.insert(known.port.to_string()), "{}", known.short);
            assert!(
                known.paths.iter().all(|path| super::super::fields::mount_defect(path).is_none()),
                "{}",
                known.short
            );
        }
    }

    fn manifest(start_cmd: Value) -> Manifest {
        let mut manifest = json!({"name": "m", "manifestName": "m", "port": 4000, "paths": [], "health": "/h"});
        if let (Some(manifest), false) = (manifest.as_object_mut(), start_cmd.is_null()) {
            manifest.insert("startCmd".to_owned(), start_cmd);
        }
        Manifest::parse(manifest.to_string().as_bytes()).expect("a good manifest")
    }

    #[test]
    fn the_modules_own_command_wins_over_the_known_one() {
        for (short, own, expected) in [
            ("vault", Some(json!(["./run", "--fast"])), Some("./run --fast")),
            ("vault", Some(Value::Null), Some("parachute-vault serve")),
            ("vault", None, Some("parachute-vault serve")),
            ("wiki", Some(json!(["./run"])), Some("./run")),
            ("wiki", Some(Value::Null), None),
            ("wiki", None, None),
            ("notes", None, None),
        ] {
            let (own, parsed) = (own.map(manifest), Short::parse(short).expect("a short"));
            let argv = start_command(&parsed, own.as_ref()).map(|argv| argv.join(" "));
            assert_eq!(argv.as_deref(), expected, "{short}");
        }
    }

    #[test]
    fn a_row_name_leads_to_its_short() {
        for (name, short) in [
            ("parachute-vault", "vault"),
            ("parachute-lens", "notes"),
            ("parachute-vault-work", "parachute-vault-work"),
            ("vault", "vault"),
            ("wiki", "wiki"),
        ] {
            assert_eq!(short_of_row_name(name), short, "{name}");
        }
    }
}
