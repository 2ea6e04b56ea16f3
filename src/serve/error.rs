//! Why the hub does not come up, and by which code programs know it.

use super::socket::SocketError;
use crate::ops::auth::AuthError;
use crate::store::StoreError;
use crate::store::operator_token::OperatorTokenError;
use crate::wire::Code;
use std::fmt;
use std::io;
use std::net::SocketAddr;

#[derive(Debug)]
pub(crate) enum ServeError {
    Store(StoreError),
    Auth(AuthError),
    PortInUse {
        address: SocketAddr,
    },
    /// No interface of this machine has the address.
    NoSuchAddress {
        address: SocketAddr,
    },
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    Socket(SocketError),
    /// The machine would not give what a part needs.
    Start {
        what: &'static str,
        source: io::Error,
    },
}

impl ServeError {
    /// For `map_err`.
    pub(super) fn starting(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Start { what, source }
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Store(error) => of_store(error),
            Self::Auth(error) => of_auth(error),
            Self::Listen { .. } | Self::Socket(SocketError::Bind { .. }) | Self::Start { .. } => Code::Failed,
            Self::PortInUse { .. } => Code::PortInUse,
            Self::Socket(SocketError::NotASocket { .. }) | Self::NoSuchAddress { .. } => Code::InvalidConfig,
        }
    }
}

/// A file that somebody has to put right is invalid, whoever reads it; one that the machine would not give has failed.
fn of_store(error: &StoreError) -> Code {
    match error {
        StoreError::Locked { .. } | StoreError::HubLives { .. } => Code::Busy,
        error if error.is_invalid() => Code::InvalidConfig,
        _ => Code::Failed,
    }
}

fn of_auth(error: &AuthError) -> Code {
    match error {
        AuthError::OperatorToken(OperatorTokenError::Store(error)) => of_store(error),
        AuthError::Db(error) if error.is_invalid() => Code::InvalidConfig,
        AuthError::Db(error) if error.is_busy() => Code::Busy,
        AuthError::OperatorToken(OperatorTokenError::NotAToken { .. } | OperatorTokenError::NotAFile { .. })
        | AuthError::Origin(_)
        | AuthError::KeyFile { .. }
        | AuthError::KeyFileStore(_)
        | AuthError::NotTheOperators { .. }
        | AuthError::OtherKeyFile => Code::InvalidConfig,
        AuthError::Db(_)
        | AuthError::NoDatabase { .. }
        | AuthError::OperatorToken(OperatorTokenError::Missing { .. })
        | AuthError::Mint(_)
        | AuthError::Clock { .. }
        | AuthError::RolledBack(_)
        | AuthError::TooManyKeys
        | AuthError::NoKey => Code::Failed,
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error @ StoreError::Locked { holder: Some(_), .. }) => {
                write!(f, "another hub runs in this home: {error}; no module was touched; stop that hub first")
            }
            Self::Store(error @ StoreError::Locked { holder: None, .. }) => {
                write!(f, "another hub may run in this home: {error}; no module was touched")
            }
            Self::Store(error @ StoreError::HubLives { .. }) => {
                write!(f, "another hub runs in this home: {error}; no module was touched")
            }
            Self::Store(error) => error.fmt(f),
            Self::Auth(error) => error.fmt(f),
            Self::PortInUse { address } => write!(
                f,
                "port {} on {} is in use, so another hub or another program runs there; no module was touched; stop it \
                 first or set PORT",
                address.port(),
                address.ip()
            ),
            Self::NoSuchAddress { address } => {
                write!(f, "this machine has no address {}; set PARACHUTE_BIND_HOST to one that it has", address.ip())
            }
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Socket(error) => error.fmt(f),
            Self::Start { what, source } => write!(f, "cannot start {what}: {source}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Auth(error) => Some(error),
            Self::Socket(error) => Some(error),
            Self::Listen { source, .. } | Self::Start { source, .. } => Some(source),
            Self::PortInUse { .. } | Self::NoSuchAddress { .. } => None,
        }
    }
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<AuthError> for ServeError {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<SocketError> for ServeError {
    fn from(error: SocketError) -> Self {
        Self::Socket(error)
    }
}
