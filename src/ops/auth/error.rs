//! Why a bearer is refused, why a token is not minted, and why there is no authority at all.

use crate::db::DbError;
use crate::origin::OriginError;
use crate::store::StoreError;
use crate::store::operator_token::OperatorTokenError;
use crate::token::grant::Denied;
use crate::token::mint::MintError;
use crate::token::verify::TokenError;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why the hub's keys or its operator token cannot be had.
#[derive(Debug)]
pub(crate) enum AuthError {
    Db(DbError),
    /// There is none to look into.
    NoDatabase {
        path: PathBuf,
    },
    OperatorToken(OperatorTokenError),
    Mint(MintError),
    Origin(OriginError),
    /// What `PARACHUTE_SIGNING_KEY_FILE` names is no key.
    KeyFile {
        path: PathBuf,
        reason: &'static str,
    },
    /// The file itself does not do.
    KeyFileStore(StoreError),
    /// The keys in the database are bound to another file than the one that we were told of, or to one at all.
    OtherKeyFile,
    /// The clock cannot be right, so nothing is minted.
    Clock {
        now_unix: i64,
    },
    /// The database is an old copy: tokens that were revoked since would be good again.
    RolledBack(RolledBack),
    /// One more would be more than are looked through for every token.
    TooManyKeys,
    /// The database holds no active key.
    NoKey,
    /// The operator's file holds a token that is somebody else's, and no word was given of what the new one may do.
    NotTheOperators {
        path: PathBuf,
        aud: String,
    },
}

/// The database's epoch, and the higher one that was seen before; `None` when nobody knows that any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RolledBack {
    pub(crate) found: u64,
    pub(crate) seen: Option<u64>,
}

impl fmt::Display for RolledBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found;
        match self.seen {
            Some(seen) => write!(f, "hub.db is an older copy (epoch {found}, and {seen} was seen before)")?,
            None => write!(f, "hub.db may be an older copy (epoch {found}, and hub/run/epoch holds no number)")?,
        }
        f.write_str(
            ", in which revoked tokens would be good again; no token is accepted until: parachute auth rotate-key --now",
        )
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Db(error) => error.fmt(f),
            Self::NoDatabase { path } => write!(f, "there is no {} of this release yet", path.display()),
            Self::OperatorToken(error) => error.fmt(f),
            Self::Mint(error) => write!(f, "cannot mint an operator token: {error}"),
            Self::Origin(error) => write!(f, "the hub's origin cannot be used: {error}"),
            Self::KeyFile { path, reason } => write!(
                f,
                "PARACHUTE_SIGNING_KEY_FILE is {}, and {reason}; make one with: head -c 32 /dev/urandom | basenc --base64url",
                path.display()
            ),
            Self::KeyFileStore(error) => write!(f, "the signing key file cannot be used: {error}"),
            Self::OtherKeyFile => f.write_str(
                "the keys of this home work with the signing key file that its hub has; set PARACHUTE_SIGNING_KEY_FILE to it",
            ),
            Self::RolledBack(rolled_back) => rolled_back.fmt(f),
            Self::TooManyKeys => f.write_str(
                "four keys are in use already; wait until the tokens of the oldest have expired, or end them all",
            ),
            Self::NotTheOperators { path, aud } => write!(
                f,
                "{} holds a token for {aud} and none of the operator's; move it away, or say what the operator's new \
                 one is to open: --scope-set SET",
                path.display()
            ),
            Self::NoKey => f.write_str("hub.db holds no active key; restart the hub, which makes one"),
            Self::Clock { now_unix } => write!(
                f,
                "cannot mint a token: the clock says {now_unix} (unix seconds), which cannot be right; set it and \
                 try again"
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
            Self::Origin(error) => Some(error),
            Self::KeyFileStore(error) => Some(error),
            Self::KeyFile { .. }
            | Self::OtherKeyFile
            | Self::Clock { .. }
            | Self::RolledBack(_)
            | Self::TooManyKeys
            | Self::NotTheOperators { .. }
            | Self::NoDatabase { .. }
            | Self::NoKey => None,
        }
    }
}

impl From<OriginError> for AuthError {
    fn from(error: OriginError) -> Self {
        Self::Origin(error)
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
    /// It carried the cookie of a browser whose time is over.
    Session,
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
    /// 503: the database is an old copy.
    RolledBack(RolledBack),
}

impl Refusal {
    /// One of a few words, by which the log tells one cause from another.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::Unauthenticated { reason: Reason::Missing, .. } => "missing",
            Self::Unauthenticated { reason: Reason::Session, .. } => "session",
            Self::Unauthenticated { reason: Reason::Token(error), .. } => error.cause(),
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::Unavailable(_) => "unavailable",
            Self::RolledBack(_) => "rolled_back",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jti = match self {
            Self::Unauthenticated { reason: Reason::Missing, .. } => return write!(f, "missing: no bearer token"),
            Self::Unauthenticated { reason: Reason::Session, .. } => {
                return write!(f, "session: the browser's ten minutes are over, or its token was taken back");
            }
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
            Self::RolledBack(rolled_back) => return rolled_back.fmt(f),
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
            Rejection::RolledBack(rolled_back) => Self::RolledBack(rolled_back),
        }
    }
}

/// Why a token that was presented is not accepted, whatever it was presented for.
#[derive(Debug)]
pub(super) enum Rejection {
    Token {
        error: TokenError,
        jti: Option<String>,
    },
    Db(DbError),
    /// The database is an old copy.
    RolledBack(RolledBack),
}

impl Rejection {
    /// The same as [`Refusal::cause`].
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Token { error, .. } => error.cause(),
            Self::Db(_) => "unavailable",
            Self::RolledBack(_) => "rolled_back",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { error, jti: None } => error.fmt(f),
            Self::Token { error, jti: Some(jti) } => write!(f, "{error} (jti {jti})"),
            Self::Db(error) => error.fmt(f),
            Self::RolledBack(rolled_back) => rolled_back.fmt(f),
        }
    }
}

/// Why a token was not minted, shown or taken back.
#[derive(Debug)]
pub(crate) enum TokenOpError {
    Denied(Denied),
    /// The claims would make no token.
    Unmintable(MintError),
    /// No such token was ever registered.
    NotFound,
    BadJti,
    BadSubject,
    BadCursor,
    BadFilter {
        what: &'static str,
    },
    /// 401: the bearer was taken back, or expired, while the token was made.
    ParentOver,
    /// 429: as many tokens live that were minted with the bearer as may; the first of them expires by then.
    TooManyChildren {
        limit: u64,
        retry_after_s: u64,
    },
    /// 429: it has had many minted in the last minute.
    TooFast {
        limit: u64,
        retry_after_s: u64,
    },
    Auth(AuthError),
}

impl fmt::Display for TokenOpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denied) => denied.fmt(f),
            Self::Unmintable(error) => error.fmt(f),
            Self::NotFound => f.write_str("no token has this jti; see: parachute auth list-tokens"),
            Self::BadJti => f.write_str("a jti is 1 to 256 printable ASCII characters"),
            Self::BadSubject => f.write_str("a subject is 1 to 128 printable ASCII characters"),
            Self::BadCursor => f.write_str("the cursor is none of this hub's; begin again without one"),
            Self::BadFilter { what } => write!(f, "{what} has a value that no token has"),
            Self::ParentOver => f.write_str("the token that asks was taken back or has expired"),
            Self::TooManyChildren { limit, .. } => {
                write!(f, "{limit} live tokens were minted with this one; revoke some of them first")
            }
            Self::TooFast { limit, retry_after_s } => {
                write!(f, "{limit} tokens were minted with this one in the last {retry_after_s} s; try again later")
            }
            Self::Auth(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TokenOpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Auth(error) => Some(error),
            Self::Unmintable(error) => Some(error),
            Self::Denied(_)
            | Self::NotFound
            | Self::BadJti
            | Self::BadSubject
            | Self::BadCursor
            | Self::BadFilter { .. }
            | Self::ParentOver
            | Self::TooManyChildren { .. }
            | Self::TooFast { .. } => None,
        }
    }
}

impl From<Denied> for TokenOpError {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<AuthError> for TokenOpError {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<DbError> for TokenOpError {
    fn from(error: DbError) -> Self {
        Self::Auth(error.into())
    }
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
