//! Pure: what the JSON files say. Rows, services.json, module.json, run settings, known modules.
//!
//! Knows no file and no clock: bytes in, values or a `Problem` that names the field out.

pub(crate) mod circles;
pub(crate) mod discovery;
pub(crate) mod exposure;
mod fields;
pub(crate) mod gates;
pub(crate) mod json;
pub(crate) mod known;
pub(crate) mod module;
pub(crate) mod mounts;
pub(crate) mod run;
pub(crate) mod services;

pub(crate) use fields::is_variable_name;

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

/// The longest short name: it is a directory name, a log prefix and part of a URL.
const SHORT_MAX_BYTES: usize = 64;

/// Names that the home or the API uses itself; a module of that name would get in their way.
const RESERVED_SHORTS: &[&str] = &["hub", "help", "operations", "modules", "well-known", "cloudflared"];

/// Files of the home, and with more behind a dot or a dash what belongs to them, such as a backup or a lock.
const RESERVED_FILES: &[&str] = &[
    "services.json",
    "operator.token",
    "operator.lock",
    "hub.db",
    "hub-instance.json",
    "hub-upgrade-status.json",
    "expose-state.json",
    "expose-last-provider.json",
    "cloudflared-state.json",
];

/// A module's short name: map key, log prefix, directory name below the home.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Short(Arc<str>);

impl Short {
    /// A letter or digit, then letters, digits, `.`, `_`, `-`; at most 64, no `..`, and not a name of the hub's own.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let first_ok = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest_ok = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !first_ok || !rest_ok || text.len() > SHORT_MAX_BYTES || text.contains("..") {
            return Err(Problem::new(
                "name",
                format!(
                    "must be 1 to {SHORT_MAX_BYTES} letters, digits, \".\", \"_\" or \"-\", beginning with a letter or digit, not {}",
                    shown(text)
                ),
            ));
        }
        if RESERVED_SHORTS.contains(&text) || RESERVED_FILES.iter().any(|file| is_or_belongs_to(text, file)) {
            return Err(Problem::new("name", format!("must not be {text:?}, which belongs to the hub")));
        }
        Ok(Self(Arc::from(text)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Short {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn is_or_belongs_to(text: &str, file: &str) -> bool {
    text.strip_prefix(file).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

/// A TCP port that can be listened on, 1..65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port(NonZeroU16);

impl Port {
    /// `None` for 0 and for what does not fit.
    pub(crate) fn new(number: u64) -> Option<Self> {
        u16::try_from(number).ok().and_then(NonZeroU16::new).map(Self)
    }

    pub(crate) fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong with a document, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// A path of keys, such as `run.stopTimeoutMs`; empty for the document as a whole.
    pub(crate) field: String,
    /// What it must be and what it is.
    pub(crate) reason: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// The same problem, seen from one level further out.
    fn within(mut self, outer: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.reason),
            field => write!(f, "field {field:?}: {}", self.reason),
        }
    }
}

/// A value as it may stand in a message: quoted, escaped and not endless.
fn shown(text: &str) -> String {
    const SHOWN_MAX_CHARS: usize = 60;
    match text.char_indices().nth(SHOWN_MAX_CHARS) {
        None => format!("{text:?}"),
        Some((cut, _)) => format!("{:?}...", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_a_safe_directory_name_and_not_the_hubs() {
        let longest = "a".repeat(64);
        let too_long = "a".repeat(65);
        for (text, ok) in [
            ("vault", true),
            ("parachute-vault-work", true),
            ("channel", true),
            ("A9._-", true),
            ("0", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            (".", false),
            ("..", false),
            ("a..b", false),
            ("-a", false),
            ("a/b", false),
            ("a b", false),
            ("a\0", false),
            ("ä", false),
            ("help", false),
            ("services.json.removed", false),
            ("services.jsonish", true),
            ("hub.db-wal", false),
            ("hub.dbs", true),
            ("hub", false),
            ("operations", false),
            ("hub.db", false),
        ] {
            assert_eq!(Short::parse(text).is_ok(), ok, "{text:?}");
        }
    }

    #[test]
    fn a_problem_names_the_field_and_shows_the_value_cut() {
        let problem = Problem::new("port", "must be an integer 1..65535, not \"abc\"").within("[3]").within("services");
        assert_eq!(problem.to_string(), "field \"services[3].port\": must be an integer 1..65535, not \"abc\"");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 60 + 5);
    }
}
