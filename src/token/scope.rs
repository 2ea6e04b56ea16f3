//! What a bearer may do: scope names and their grammar (operator-token A3, B4 step 9).

/// Reading the module list and the token registry.
pub(crate) const HOST_AUTH: &str = "parachute:host:auth";
/// Everything that changes a module.
pub(crate) const HOST_ADMIN: &str = "parachute:host:admin";

/// Starting, stopping and restarting modules, and reading what they print.
pub(crate) const HOST_START: &str = "parachute:host:start";

/// What an operator token may be good for (operator-token A3). The claim `pa_scope_set` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScopeSet {
    Install,
    Start,
    Expose,
    Auth,
    Vault,
    Admin,
}

/// The names of all sets, for the command line.
pub(crate) const SET_NAMES: &[&str] = &["install", "start", "expose", "auth", "vault", "admin"];

impl ScopeSet {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Install, Self::Start, Self::Expose, Self::Auth, Self::Vault, Self::Admin]
            .into_iter()
            .find(|set| set.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Start => "start",
            Self::Expose => "expose",
            Self::Auth => "auth",
            Self::Vault => "vault",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn scopes(self) -> &'static str {
        match self {
            Self::Install => "parachute:host:install vault:read",
            Self::Start => HOST_START,
            Self::Expose => "parachute:host:expose",
            Self::Auth => HOST_AUTH,
            Self::Vault => "parachute:host:vault",
            Self::Admin => {
                "hub:admin parachute:host:admin parachute:host:install parachute:host:start parachute:host:expose \
                 parachute:host:auth parachute:host:vault vault:admin scribe:admin"
            }
        }
    }
}

/// Scopes of one token; a token that names more is refused.
const SCOPES_LIMIT: usize = 64;
/// Length of one scope, in bytes.
const SCOPE_LIMIT_BYTES: usize = 128;

/// The scopes of one token, each within the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    /// Splits on single spaces; `None` when any part is no scope: `[a-z][a-z0-9-]*(:[A-Za-z0-9_-]+)+`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut scopes = Vec::new();
        for scope in text.split(' ') {
            if scopes.len() == SCOPES_LIMIT || !is_scope(scope) {
                return None;
            }
            scopes.push(scope.to_owned());
        }
        Some(Self(scopes))
    }

    /// Whether the scope is there, exactly. No scope implies another.
    pub(crate) fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|held| held == scope)
    }

    /// Whether one of them is what a page asks for (http-api §9.7): segment by segment, where `*` in the pattern is any one
    /// segment. What is held of all of something, `vault:read`, is held of each, `vault:*:read`.
    pub(crate) fn satisfy(&self, pattern: &str) -> bool {
        let of_all = of_all(pattern);
        self.0.iter().any(|held| is_like(held, pattern) || of_all.as_deref() == Some(held))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn is_like(scope: &str, pattern: &str) -> bool {
    let (mut held, mut wanted) = (scope.split(':'), pattern.split(':'));
    loop {
        match (held.next(), wanted.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if other == "*" || one == other => {}
            _ => return false,
        }
    }
}

/// The scope without a resource that stands for those with any, if the pattern is for any.
fn of_all(pattern: &str) -> Option<String> {
    let (service, rest) = pattern.split_once(':')?;
    let (resources, verb) = rest.rsplit_once(':')?;
    let is_any = resources.split(':').all(|resource| resource == "*");
    (is_any && service != "*" && verb != "*").then(|| format!("{service}:{verb}"))
}

fn is_scope(text: &str) -> bool {
    if text.len() > SCOPE_LIMIT_BYTES {
        return false;
    }
    let mut parts = text.split(':');
    let service = parts.next().unwrap_or_default();
    let mut resources = parts.peekable();
    resources.peek().is_some()
        && service.starts_with(|first: char| first.is_ascii_lowercase())
        && service.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && resources.all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_split_on_single_spaces_and_match_the_grammar() {
        let long = format!("a:{}", "b".repeat(SCOPE_LIMIT_BYTES - 2));
        let too_long = format!("{long}b");
        let many = vec!["a:b"; SCOPES_LIMIT].join(" ");
        let too_many = format!("{many} a:b");
        for (text, good) in [
            (ScopeSet::Admin.scopes(), true),
            ("vault:My_Vault-1:read", true),
            ("a-1:b", true),
            (long.as_str(), true),
            (many.as_str(), true),
            ("", false),
            ("vault", false),
            ("vault:", false),
            (":admin", false),
            ("Vault:admin", false),
            ("1a:b", false),
            ("vAult:admin", false),
            ("va_ult:admin", false),
            ("vault::admin", false),
            ("vault:a b", false),
            ("a:b  c:d", false),
            (" a:b", false),
            ("a:b ", false),
            ("a:b\tc:d", false),
            ("a:b\nc:d", false),
            ("a:é", false),
            (too_long.as_str(), false),
            (too_many.as_str(), false),
        ] {
            assert_eq!(Scopes::parse(text).is_some(), good, "{text:?}");
        }
    }

    #[test]
    fn a_pattern_is_satisfied_segment_by_segment_or_by_what_is_held_of_all() {
        for (held, pattern, expected) in [
            ("wiki:read", "wiki:read", true),
            ("wiki:read", "wiki:write", false),
            ("wiki:read", "wiki", false),
            ("wiki:read", "wiki:read:x", false),
            ("wiki:read:x", "wiki:read", false),
            ("wiki:read", "Wiki:read", false),
            ("wiki:admin", "wiki:read", false),
            ("wiki:read", "wiki:*", true),
            ("wiki:read", "*:read", true),
            ("wiki:read", "*:*", true),
            ("wiki:read", "*", false),
            ("wiki:a:read", "wiki:*", false),
            ("vault:work:read", "vault:*:read", true),
            ("vault:work:write", "vault:*:read", false),
            ("vault:read", "vault:*:read", true),
            ("vault:write", "vault:*:read", false),
            ("vault:a:b:read", "vault:*:read", false),
            ("vault:read", "vault:*:*:read", true),
            ("vault:work:read", "vault:*:*:read", false),
            ("vault:read", "vault:work:read", false),
            ("vault:read", "vault:*:work:read", false),
            ("vault:work", "vault:work:*", false),
            ("vault:read", "*:*:read", false),
            ("other:x vault:read", "vault:*:read", true),
            ("wiki:read", "", false),
            ("wiki:read", "wiki:read ", false),
            ("wiki:read", "wiki:rea*", false),
        ] {
            let scopes = Scopes::parse(held).expect("within the grammar");
            assert_eq!(scopes.satisfy(pattern), expected, "{held:?} for {pattern:?}");
        }
    }

    #[test]
    fn the_admin_set_holds_the_scopes_that_routes_ask_for_and_nothing_is_implied() {
        let admin = Scopes::parse(ScopeSet::Admin.scopes()).expect("a constant within the grammar");
        assert!([HOST_AUTH, HOST_ADMIN, HOST_START].iter().all(|scope| admin.contains(scope)));
        for name in SET_NAMES {
            let set = ScopeSet::parse(name).expect("a set");
            assert!(set.name() == *name && Scopes::parse(set.scopes()).is_some(), "{name}");
        }
        assert_eq!(ScopeSet::parse("Admin"), None);
        let narrow = Scopes::parse("parachute:host:admin:x parachute:host").expect("within the grammar");
        assert!(!narrow.contains(HOST_AUTH) && !narrow.contains(HOST_ADMIN));
    }
}
