//! From a home to its running hub: port and instance from the identity file, proof from `/health`, then the token.

use super::exit::{Failure, NEW_TOKEN, other_token};
use super::out::Out;
use crate::client::{Client, ClientError, Expected};
use crate::config::Config;
use crate::ops::auth::Surroundings;
use crate::stamp;
use crate::store::identity::{self, Identity};
use crate::store::operator_token::{self, OperatorTokenError};
use crate::store::{Home, StoreError};
use crate::sys::fs;
use crate::token::claims;
use crate::wire::tokens::RenewalReply;
use crate::wire::{Code, Health};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An operator token may be renewed when no more than this is left of it (operator-token B7). Whether it is, who knows
/// how long they live decides.
const RENEWAL_WINDOW_S: u64 = 7 * 86_400;

/// A loopback `/health` takes a millisecond; a hub under heavy load some hundred.
pub(crate) const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// Between the files by which a hub that starts is known: it mends the list of modules meanwhile. And how often they are
/// looked for.
const PUBLISHING: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Between the end of a token and the writing of the one that replaces it: a disk may be slow.
const REPLACING: Duration = Duration::from_secs(2);
/// One that has just begun ends what an earlier one left before it answers.
pub(crate) const BOOT_TIMEOUT: Duration = Duration::from_secs(10);
/// Start and restart may take stop 5 s and readiness 4 s, and more where a module says so.
pub(crate) const OP_TIMEOUT: Duration = Duration::from_secs(60);

/// A hub that has shown to be the one of this home. Its client carries no token yet.
pub(crate) struct Up {
    pub(crate) client: Client,
    pub(crate) health: Health,
    pub(crate) identity: Identity,
    /// How long the answer of `/health` took, the connection included.
    pub(crate) latency: Duration,
}

/// The hub of `home`; `None` when it is down. An error when something else answers in its place or the answer does
/// not come within `timeout`.
pub(crate) fn hub(home: &Home, timeout: Duration) -> Result<Option<Up>, ClientError> {
    let deadline = Instant::now() + PUBLISHING;
    loop {
        let Some(identity) = published(home)? else { return Ok(None) };
        return match up(&identity, timeout) {
            // It may be the next one, which was up before it had published itself.
            Err(error @ ClientError::WrongHub { found: Some(_), .. }) => match published(home)? {
                Some(next) if next.instance != identity.instance => up(&next, timeout).map(Some),
                _ => Err(error),
            },
            Err(ClientError::Unreachable { .. }) if !identity.is_alive() => Ok(None),
            // It lets go of its port a moment before it is gone; else that is not its port.
            Err(ClientError::Unreachable { .. }) if Instant::now() < deadline => {
                fs::pause(LOOK_AGAIN);
                continue;
            }
            Err(ClientError::Unreachable { .. }) => Err(ClientError::CutOff { pid: identity.pid }),
            outcome => outcome.map(Some),
        };
    }
}

fn up(identity: &Identity, timeout: Duration) -> Result<Up, ClientError> {
    let expected = Expected { instance: identity.instance.clone(), secret: identity.secret.clone() };
    let asked = Instant::now();
    let (client, health) = Client::reach(identity.port, Some(expected), timeout)?;
    Ok(Up { client, health, identity: identity.clone(), latency: asked.elapsed() })
}

/// What the home says of its hub; an error when that one runs and nothing tells any more where. One that starts or ends
/// is there for a moment before it says where, and after.
fn published(home: &Home) -> Result<Option<Identity>, ClientError> {
    let deadline = Instant::now() + PUBLISHING;
    loop {
        if let Some(identity) = identity::read(home) {
            return Ok(Some(identity));
        }
        let Some((_, pid)) = identity::living(home) else { return Ok(None) };
        if Instant::now() >= deadline {
            return Err(ClientError::CutOff { pid });
        }
        fs::pause(LOOK_AGAIN);
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

/// What a command knows of the hub's origin. A hub that runs was told its own by its surroundings, which are not ours,
/// and has stored it.
pub(crate) fn surroundings(home: &Home, config: &Config) -> Surroundings {
    let running = identity::read(home);
    Surroundings {
        port: running.as_ref().map_or(config.port, |identity| identity.port),
        configured: config.hub_origin.clone().filter(|_| running.is_none()),
        operator_ttl_s: config.operator_ttl_s,
        signing_key_file: config.signing_key_file.clone(),
    }
}

/// What to do about a hub that is down.
pub(crate) const START_HUB: &str = "start it with: parachute serve";

impl Up {
    /// Gives the client the operator's token. The home's own is renewed on the way when it is about to expire; one that
    /// was given to us stays as it is.
    pub(crate) fn authorise(&mut self, home: &Home, config: &Config, out: &mut Out) -> Result<(), Failure> {
        let (token, expires) = operator_token(home, config, out)?;
        self.client.set_bearer(&token, config.operator_token_variable());
        if expires == Expires::Soon && is_own_token(config) {
            self.renew(home, out);
        }
        Ok(())
    }

    /// Gives the client the token that took the place of the refused one; whether there is one. It takes a moment to: the
    /// old one is refused before the new one is in its file.
    pub(crate) fn authorise_anew(&mut self, home: &Home, config: &Config) -> Result<bool, Failure> {
        let deadline = Instant::now() + REPLACING;
        loop {
            // Warnings about the file were told with the first one.
            let (token, _) = operator_token(home, config, &mut Out::silent())?;
            if !self.client.has_bearer(&token) {
                self.client.set_bearer(&token, config.operator_token_variable());
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            fs::pause(LOOK_AGAIN);
        }
    }

    /// Whatever comes of it, the token at hand still does.
    fn renew(&mut self, home: &Home, out: &mut Out) {
        match self.client.renew_operator() {
            Ok(RenewalReply { renewed: true, scope_set: Some(set), expires_at: Some(at), .. }) => {
                out.warn(&format!("renewed the operator token: set {set}, valid until {at}"));
            }
            Ok(_) => {}
            Err(error) => return out.warn(&format!("the operator token expires soon and was not renewed: {error}")),
        }
        if let Ok(token) = operator_token::read(home) {
            self.client.set_bearer(&token.text, None);
        }
    }
}

/// Whether the token is the home's own, and not one that was given to us.
pub(crate) fn is_own_token(config: &Config) -> bool {
    config.operator_token_variable().is_none()
}

/// How long a token has, going by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expires {
    Later,
    /// Inside the window in which it is renewed.
    Soon,
}

/// The operator's token, from wherever it is kept. One that has expired is told at once.
pub(crate) fn operator_token(home: &Home, config: &Config, out: &mut Out) -> Result<(String, Expires), Failure> {
    let token = operator_token::find(home, config.operator_token.as_deref(), config.operator_token_file.as_deref())
        .map_err(|error| token_failure(&error, config.operator_token_variable()))?;
    token.warnings.iter().for_each(|warning| out.warn(warning));
    let left_s = claims::unverified(&token.text).map(|claims| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        (claims.exp, claims.exp.saturating_sub(now))
    });
    match left_s {
        Some((exp, 0)) => {
            let at = stamp::iso8601(exp.saturating_mul(1000));
            let hint = other_token(config.operator_token_variable(), NEW_TOKEN);
            Err(Failure::new(Code::TokenExpired, format!("operator token expired on {at}"), hint))
        }
        Some((_, left_s)) if left_s <= RENEWAL_WINDOW_S => Ok((token.text, Expires::Soon)),
        _ => Ok((token.text, Expires::Later)),
    }
}

/// `given_by` names the variable that was to give the token.
pub(crate) fn token_failure(error: &OperatorTokenError, given_by: Option<&'static str>) -> Failure {
    let own = match error {
        OperatorTokenError::Missing { .. } => "create one with: parachute auth rotate-operator",
        // That one writes no file in the place of these.
        OperatorTokenError::Store(StoreError::Symlink { .. } | StoreError::NotRegular { .. }) => {
            "move it away, then: parachute auth rotate-operator"
        }
        OperatorTokenError::NotAToken { .. } | OperatorTokenError::NotAFile { .. } | OperatorTokenError::Store(_) => {
            NEW_TOKEN
        }
    };
    Failure::new(Code::NoOperatorToken, error.to_string(), other_token(given_by, own))
}

/// A file of the home that cannot be used.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    let (code, hint) = match error {
        StoreError::Locked { .. } | StoreError::HubLives { .. } | StoreError::Contended { .. } => {
            (Code::Busy, "try again in a moment")
        }
        StoreError::Read { .. }
        | StoreError::Write { .. }
        | StoreError::Unsettled { .. }
        | StoreError::Overfull { .. } => (Code::Failed, "see: parachute check"),
        StoreError::NoHome { .. } => (Code::HubDown, START_HUB),
        _ => (Code::InvalidConfig, "see: parachute check"),
    };
    Failure::new(code, error.to_string(), hint)
}
