//! Why a bearer is refused, and why there is no authority at all.

use crate::db::DbError;
use crate::store::StoreError;
use crate::store::operator_token::OperatorTokenError;
use crate::token::mint::MintError;
use crate::token::verify::TokenError;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Why the hub's keys or its operator token cannot be had.
#[derive(Debug)]
pub(crate) enum AuthError {
    Db(DbError),
    OperatorToken(OperatorTokenError),
    Mint(MintError),
    /// The clock cannot be right, so nothing is minted.
    Clock {
        now_unix: i64,
    },
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Db(error) => error.fmt(f),
            Self::OperatorToken(error) => error.fmt(f),
            Self::Mint(error) => write!(f, "cannot mint an operator token: {error}"),
            Self::Clock { now_unix } => write!(
                f,
                "cannot mint an operator token: the clock says {now_unix} (unix seconds), which cannot be right; set it and \
                 start again"
            ),
        }
    }
}

impl std::error::Error for AuthError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Db(error) => Some(error),
            Self::OperatorToken(error) => Some(error),
            Self::Mint(error) => Some(error),
            Self::Clock { .. } => None,
        }
    }
}

impl From<DbError> for AuthError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<OperatorTokenError> for AuthError {
    fn from(error: OperatorTokenError) -> Self {
        Self::OperatorToken(error)
    }
}

impl From<StoreError> for AuthError {
    fn from(error: StoreError) -> Self {
        Self::OperatorToken(error.into())
    }
}

impl From<MintError> for AuthError {
    fn from(error: MintError) -> Self {
        Self::Mint(error)
    }
}

/// Why a request is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It carried no bearer token.
    Missing,
    Token(TokenError),
}

/// Why a request is refused. `Display` is for the log: what the caller is told must be the same for every
/// `Unauthenticated`.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// 401. The jti is known only of tokens that are genuine.
    Unauthenticated { reason: Reason, jti: Option<String> },
    /// 403.
    InsufficientScope { required: String, jti: String },
    /// 429: too many bad tokens came from there; this one was not looked at.
    TooManyFailures { from: IpAddr, retry_after: Duration },
    /// 503: nobody can say.
    Unavailable(DbError),
}

impl Refusal {
    /// One word, the same for every reading of the sentence.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated { reason: Reason::Missing, .. } => "missing",
            Self::Unauthenticated { reason: Reason::Token(error), .. } => error.code(),
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jti = match self {
            Self::Unauthenticated { reason: Reason::Missing, .. } => return write!(f, "missing: no bearer token"),
            Self::Unauthenticated { reason: Reason::Token(error), jti } => {
                error.fmt(f)?;
                jti.as_deref()
            }
            Self::InsufficientScope { required, jti } => {
                write!(f, "insufficient_scope: this needs scope {required}")?;
                Some(jti.as_str())
            }
            Self::TooManyFailures { from, .. } => return write!(f, "too_many_failures: bad tokens from {from}"),
            Self::Unavailable(error) => return error.fmt(f),
        };
        match jti {
            Some(jti) => write!(f, " (jti {jti})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Token { error, jti } => Self::Unauthenticated { reason: Reason::Token(error), jti },
            Rejection::Db(error) => Self::Unavailable(error),
        }
    }
}

/// Why a token that was presented is not accepted, whatever it was presented for.
#[derive(Debug)]
pub(super) enum Rejection {
    Token { error: TokenError, jti: Option<String> },
    Db(DbError),
}

impl From<TokenError> for Rejection {
    fn from(error: TokenError) -> Self {
        Self::Token { error, jti: None }
    }
}

impl From<DbError> for Rejection {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}
