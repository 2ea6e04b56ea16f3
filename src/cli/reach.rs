//! From a home to its running hub: port and instance from the identity file, proof from `/health`, then the token.

use super::exit::{Failure, NEW_TOKEN};
use super::out::Out;
use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::store::identity::{self, Identity};
use crate::store::operator_token::{self, OperatorTokenError};
use crate::store::{Home, StoreError};
use crate::wire::{Code, Health};
use std::time::Duration;

/// A loopback `/health` takes a millisecond; a hub under heavy load some hundred.
pub(crate) const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// Start and restart may take stop 5 s and readiness 4 s, and more where a module says so.
pub(crate) const OP_TIMEOUT: Duration = Duration::from_secs(60);

/// A hub that has shown to be the one of this home. Its client carries no token yet.
pub(crate) struct Up {
    pub(crate) client: Client,
    pub(crate) health: Health,
    pub(crate) identity: Identity,
}

/// The hub of `home`; `None` when it is down. An error when something else answers in its place or the answer does
/// not come within `timeout`.
pub(crate) fn hub(home: &Home, timeout: Duration) -> Result<Option<Up>, ClientError> {
    let Some(identity) = identity::read(home) else { return Ok(None) };
    match Client::reach(identity.port, Some(&identity.instance), timeout) {
        Ok((client, health)) => Ok(Some(Up { client, health, identity })),
        Err(ClientError::Unreachable { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Why there is no hub to ask, once `hub` found none: nothing listens, or another home's hub has the port.
pub(crate) fn down(home: &Home, config: &Config) -> Failure {
    let port = identity::read(home).map_or(config.port, |identity| identity.port);
    match Client::reach(port, None, HEALTH_TIMEOUT) {
        Ok(_) => Failure::new(Code::HubDown, format!("hub not answering on 127.0.0.1:{port}"), START_HUB),
        Err(error) => Failure::of_client(&error),
    }
}

/// What to do about a hub that is down.
pub(crate) const START_HUB: &str = "start it with: parachute serve";

impl Up {
    /// Gives the client the operator's token.
    pub(crate) fn authorise(&mut self, home: &Home, config: &Config, out: &mut Out) -> Result<(), Failure> {
        let token = operator_token::find(home, config.operator_token.as_deref(), config.operator_token_file.as_deref())
            .map_err(|error| token_failure(&error))?;
        for warning in &token.warnings {
            out.warn(warning);
        }
        self.client.set_bearer(&token.text);
        Ok(())
    }
}

pub(crate) fn token_failure(error: &OperatorTokenError) -> Failure {
    let hint = match error {
        OperatorTokenError::Missing { .. } => "or set PARACHUTE_OPERATOR_TOKEN",
        OperatorTokenError::NotAToken { .. } | OperatorTokenError::Store(_) => NEW_TOKEN,
    };
    Failure::new(Code::NoOperatorToken, error.to_string(), hint)
}

/// A file of the home that cannot be used.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    let (code, hint) = match error {
        StoreError::Locked { .. } | StoreError::Contended { .. } => (Code::Busy, "try again in a moment"),
        StoreError::Read { .. } | StoreError::Write { .. } | StoreError::Unsettled { .. } => {
            (Code::Failed, "see: parachute check")
        }
        StoreError::NoHome { .. } => (Code::HubDown, START_HUB),
        _ => (Code::InvalidConfig, "see: parachute check"),
    };
    Failure::new(code, error.to_string(), hint)
}
