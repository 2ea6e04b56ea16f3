//! Pure: what somebody is told who may not see a page of a module (http-api §9.7).

/// Why that is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// Nothing good was shown; what was bad about it the hub's log knows alone.
    Unauthenticated,
    /// The token lacks a scope.
    InsufficientScope,
    /// Only the operator may see it.
    NotAdmin,
    /// A browser's cookie came without a word of whose page had it sent.
    OriginRequired,
    /// It was somebody else's page.
    OriginMismatch,
    /// Too many bad tokens came from there.
    TooManyFailures { retry_after_s: u64 },
    /// The hub cannot say.
    Unavailable,
}

impl Denial {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Unauthenticated => 401,
            Self::InsufficientScope | Self::NotAdmin | Self::OriginRequired | Self::OriginMismatch => 403,
            Self::TooManyFailures { .. } => 429,
            Self::Unavailable => 503,
        }
    }

    /// The words of the hub's API.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::InsufficientScope => "insufficient_scope",
            Self::NotAdmin => "not_admin",
            Self::OriginRequired => "csrf_origin_required",
            Self::OriginMismatch => "csrf_origin_mismatch",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::Unavailable => "auth_unavailable",
        }
    }

    pub(crate) fn description(self, lacks: Option<&str>) -> String {
        match self {
            Self::Unauthenticated => {
                "this needs a valid token (Authorization: Bearer ...), or a browser that was let in by: parachute open"
                    .to_owned()
            }
            Self::InsufficientScope => {
                format!("the token is good but lacks the scope {}", lacks.unwrap_or("that this needs"))
            }
            Self::NotAdmin => "only the operator of this hub may see this".to_owned(),
            Self::OriginRequired => "a browser that was let in must say from which page it asks, by Origin".to_owned(),
            Self::OriginMismatch => {
                "a page of another origin may not do this; programs leave out the Origin header".to_owned()
            }
            Self::TooManyFailures { retry_after_s } => {
                format!("too many bad tokens came from this address; try again in {retry_after_s} s")
            }
            Self::Unavailable => "the hub cannot say now who may see this; try again, and see its log".to_owned(),
        }
    }

    /// For the field `WWW-Authenticate` (RFC 6750 §3).
    pub(crate) fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated => Some("Bearer"),
            Self::InsufficientScope => Some("Bearer error=\"insufficient_scope\""),
            Self::NotAdmin
            | Self::OriginRequired
            | Self::OriginMismatch
            | Self::TooManyFailures { .. }
            | Self::Unavailable => None,
        }
    }
}
