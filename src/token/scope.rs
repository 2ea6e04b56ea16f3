//! What a bearer may do: scope names and their grammar (operator-token A3, B4 step 9).

/// Reading the module list and the token registry.
pub(crate) const HOST_AUTH: &str = "parachute:host:auth";
/// Everything that changes a module.
pub(crate) const HOST_ADMIN: &str = "parachute:host:admin";

/// Name of the operator token's widest set, as in the claim `pa_scope_set`.
pub(crate) const ADMIN_SET_NAME: &str = "admin";
/// The scopes of that set.
pub(crate) const ADMIN_SET: &str = "hub:admin parachute:host:admin parachute:host:install parachute:host:start \
                                    parachute:host:expose parachute:host:auth parachute:host:vault vault:admin \
                                    scribe:admin";

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
            (ADMIN_SET, true),
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
    fn the_admin_set_holds_both_scopes_that_routes_ask_for_and_nothing_is_implied() {
        let admin = Scopes::parse(ADMIN_SET).expect("a constant within the grammar");
        assert!(admin.contains(HOST_AUTH) && admin.contains(HOST_ADMIN));
        let narrow = Scopes::parse("parachute:host:admin:x parachute:host").expect("within the grammar");
        assert!(!narrow.contains(HOST_AUTH) && !narrow.contains(HOST_ADMIN));
    }
}
