//! Who does what is asked about tokens: the running hub, or this process on the hub's database while it is down.

use crate::cli::exit::{Exit, Failure, NEW_TOKEN, WIDER_TOKEN, other_token};
use crate::cli::out::Out;
use crate::cli::reach::{self, Expires, HEALTH_TIMEOUT, OP_TIMEOUT, Up};
use crate::client::ClientError;
use crate::config::Config;
use crate::ops::Log;
use crate::ops::auth::{Asker, AuthError, Authority, Caller, Refusal, Renewal, Surroundings, TokenOpError, Via};
use crate::ops::tokens::{self, ListQuery, TokenDesk};
use crate::store::operator_token::OperatorTokenError;
use crate::store::services::Services;
use crate::store::{Home, StoreError};
use crate::token::grant::Fault;
use crate::token::scope::HOST_AUTH;
use crate::wire::Code;
use crate::wire::tokens::{LogReply, MintRequest, Minted, RevokeAllReply, RevokeReply, TokenInfo, TokenList};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What becomes of a damaged database.
pub(in crate::cli::verbs) const NEW_DATABASE: &str =
    "the next parachute serve starts a new one, and every token issued so far is void";
/// What stands in the audit log for commands.
pub(in crate::cli::verbs) const BY_COMMAND: Asker<'static> = Asker { via: Via::Cli, peer: None };

pub(super) enum Desk {
    Hub(Box<Up>),
    Local(Box<Local>),
}

/// The hub's database, with the operator's token accepted.
pub(super) struct Local {
    authority: Authority,
    caller: Caller,
    home: Home,
    /// The variable that gave the operator's token.
    given_by: Option<&'static str>,
}

/// What a command does to the hub's database while the hub is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// It makes none and moves none aside.
    Look,
    Change,
}

impl Desk {
    pub(super) fn open(
        to: To,
        home: &Home,
        config: &Config,
        timeout: Option<Duration>,
        out: &mut Out,
    ) -> Result<Self, Failure> {
        if let Some(mut up) = reach::hub(home, HEALTH_TIMEOUT).map_err(|error| Failure::of_client(&error))? {
            up.authorise(home, config, out)?;
            up.client.set_timeout(timeout.unwrap_or(OP_TIMEOUT));
            return Ok(Self::Hub(Box::new(up)));
        }
        let (token, expires) = reach::operator_token(home, config, out)?;
        let authority = match to {
            To::Look => look(home, config, out)?,
            To::Change => open(home, config, out)?,
        };
        let given_by = config.operator_token_variable();
        let caller = authority.authorize(Some(&token), &[]).map_err(|refusal| refused(&refusal, given_by))?;
        if expires == Expires::Soon && reach::is_own_token(config) {
            // It was sound just now, so that none is made by this.
            let opened = if to == To::Look { open(home, config, out).ok() } else { None };
            // Whatever comes of it, the token at hand still does.
            match opened.as_ref().unwrap_or(&authority).renew_if_due(&caller, BY_COMMAND) {
                Ok(Renewal::Renewed(_)) => out.warn("renewed the operator token"),
                Ok(Renewal::NotDue | Renewal::NotRenewable) => {}
                Err(error) => out.warn(&format!("the operator token expires soon and was not renewed: {error}")),
            }
        }
        Ok(Self::Local(Box::new(Local { authority, caller, home: home.clone(), given_by })))
    }

    pub(super) fn mint(&self, request: MintRequest) -> Result<Minted, Failure> {
        match self {
            Self::Hub(up) => up.client.mint(&request).map_err(|error| refused_by_hub(&error, MINT_HELP)),
            Self::Local(local) => {
                let document = Services::new(local.home.clone()).read();
                let document = document.map_err(|error| reach::store_failure(&error))?;
                local.desk().mint(request, &tokens::vaults(&document)).map_err(|error| failure(&error))
            }
        }
    }

    pub(super) fn revoke(&self, jti: &str, cascade: bool) -> Result<RevokeReply, Failure> {
        match self {
            Self::Hub(up) => {
                up.client.revoke(jti, cascade).map_err(|error| about_jti(refused_by_hub(&error, SEE_TOKENS)))
            }
            Self::Local(local) => local.desk().revoke(jti, cascade).map_err(|error| failure(&error)),
        }
    }

    pub(super) fn revoke_all(&self, subject: &str) -> Result<RevokeAllReply, Failure> {
        match self {
            Self::Hub(up) => up.client.revoke_all(subject).map_err(|error| refused_by_hub(&error, AUTH_HELP)),
            Self::Local(local) => {
                local.may_look()?;
                local.desk().revoke_all(subject).map_err(|error| failure(&error))
            }
        }
    }

    pub(super) fn list(&self, query: ListQuery) -> Result<TokenList, Failure> {
        match self {
            Self::Hub(up) => {
                let ListQuery { revoked, active, subject, created_via, cursor } = query;
                let listed =
                    up.client.tokens(revoked, active, subject.as_deref(), created_via.as_deref(), cursor.as_deref());
                listed.map_err(|error| refused_by_hub(&error, AUTH_HELP))
            }
            Self::Local(local) => {
                local.may_look()?;
                tokens::list(&local.authority, query).map_err(|error| failure(&error))
            }
        }
    }

    pub(super) fn show(&self, jti: &str) -> Result<TokenInfo, Failure> {
        match self {
            Self::Hub(up) => up.client.token(jti).map_err(|error| about_jti(refused_by_hub(&error, SEE_TOKENS))),
            Self::Local(local) => {
                local.may_look()?;
                local.authority.show(jti).map(tokens::token_info).map_err(|error| failure(&error))
            }
        }
    }

    pub(super) fn log(&self, lines: u32) -> Result<LogReply, Failure> {
        match self {
            Self::Hub(up) => up.client.auth_log(lines).map_err(|error| refused_by_hub(&error, AUTH_HELP)),
            Self::Local(local) => {
                local.may_look()?;
                tokens::log(&local.authority, lines).map_err(|error| failure(&error))
            }
        }
    }
}

impl Local {
    fn desk(&self) -> TokenDesk<'_> {
        TokenDesk { authority: &self.authority, caller: &self.caller, asker: BY_COMMAND }
    }

    /// What the hub's table of routes asks for the registry.
    fn may_look(&self) -> Result<(), Failure> {
        if self.caller.scopes.contains(HOST_AUTH) {
            return Ok(());
        }
        let refusal = Refusal::InsufficientScope { required: HOST_AUTH.to_owned(), jti: self.caller.jti().to_owned() };
        Err(refused(&refusal, self.given_by))
    }
}

/// The hub's database, for whoever owns the home; made where there is none. What it has to tell goes to standard error.
pub(in crate::cli::verbs) fn open(home: &Home, config: &Config, out: &mut Out) -> Result<Authority, Failure> {
    opened(Authority::open_beside, home, config, out)
}

/// The same to look into only: one that is missing or damaged is a failure and stays as it is.
pub(in crate::cli::verbs) fn look(home: &Home, config: &Config, out: &mut Out) -> Result<Authority, Failure> {
    opened(Authority::look_beside, home, config, out)
}

fn opened(
    open: impl FnOnce(&Home, Surroundings, Log) -> Result<Authority, AuthError>,
    home: &Home,
    config: &Config,
    out: &mut Out,
) -> Result<Authority, Failure> {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&said);
    let authority = open(
        home,
        reach::surroundings(home, config),
        Arc::new(move |line| log.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned())),
    );
    let authority = authority.map_err(|error| auth_failure(&error))?;
    authority.notices().iter().for_each(|notice| out.warn(notice));
    said.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|line| out.warn(line));
    Ok(authority)
}

/// `hint` helps who asked for what cannot be.
fn refused_by_hub(error: &ClientError, hint: &str) -> Failure {
    let failure = Failure::of_client(error);
    match failure.code {
        Code::InvalidRequest => Failure { hint: hint.to_owned(), ..failure },
        _ => failure,
    }
}

/// The number of a token is no module, so not knowing it is a plain failure.
fn about_jti(failure: Failure) -> Failure {
    match failure.code {
        Code::NotFound => Failure { hint: SEE_TOKENS.to_owned(), ..failure.with_exit(Exit::Failed) },
        _ => failure,
    }
}

const SEE_TOKENS: &str = "see: parachute auth list-tokens";
const MINT_HELP: &str = "see: parachute auth mint-token --help";
const AUTH_HELP: &str = "see: parachute auth --help";

/// On this machine the reason may be said: whoever runs this can read the token's file.
fn refused(refusal: &Refusal, given_by: Option<&'static str>) -> Failure {
    match refusal {
        Refusal::Unauthenticated { .. } | Refusal::TooManyFailures { .. } => {
            let message = format!("operator token rejected ({refusal})");
            Failure::new(Code::Unauthenticated, message, other_token(given_by, NEW_TOKEN))
        }
        Refusal::InsufficientScope { .. } => {
            Failure::new(Code::InsufficientScope, refusal.to_string(), other_token(given_by, WIDER_TOKEN))
        }
        Refusal::RolledBack(_) => {
            Failure::new(Code::Failed, refusal.to_string(), "or put the newer hub.db back into its place")
        }
        Refusal::Unavailable(error) => Failure::new(Code::Failed, error.to_string(), "see: parachute check"),
    }
}

pub(super) fn failure(error: &TokenOpError) -> Failure {
    let (code, hint) = match error {
        TokenOpError::Denied(denied) => match denied.fault() {
            Fault::Request => (Code::InvalidRequest, MINT_HELP),
            Fault::Scope => (Code::InvalidScope, MINT_HELP),
            Fault::Authority => (Code::InsufficientScope, WIDER_TOKEN),
        },
        TokenOpError::NotFound => (Code::NotFound, SEE_TOKENS),
        TokenOpError::BadJti => (Code::InvalidRequest, SEE_TOKENS),
        TokenOpError::Unmintable(_) => (Code::InvalidRequest, MINT_HELP),
        TokenOpError::BadSubject | TokenOpError::BadCursor | TokenOpError::BadFilter { .. } => {
            (Code::InvalidRequest, AUTH_HELP)
        }
        TokenOpError::ParentOver => (Code::Unauthenticated, NEW_TOKEN),
        TokenOpError::TooManyChildren { .. } | TokenOpError::TooFast { .. } => {
            (Code::TooManyTokens, "see: parachute auth list-tokens --active")
        }
        TokenOpError::Auth(error) => return auth_failure(error),
    };
    about_jti(Failure::new(code, error.to_string(), hint))
}

pub(in crate::cli::verbs) fn auth_failure(error: &AuthError) -> Failure {
    match error {
        // It says nothing about the token that is there.
        AuthError::OperatorToken(OperatorTokenError::Store(
            error @ (StoreError::Locked { .. } | StoreError::Write { .. } | StoreError::Unsettled { .. }),
        )) => reach::store_failure(error),
        AuthError::OperatorToken(error) => reach::token_failure(error, None),
        AuthError::TooManyKeys => Failure::new(Code::Conflict, error.to_string(), "parachute auth rotate-key --now"),
        AuthError::RolledBack(_) => {
            Failure::new(Code::Failed, error.to_string(), "or put the newer hub.db back into its place")
        }
        AuthError::Origin(_) => Failure::new(
            Code::InvalidConfig,
            error.to_string(),
            "correct PARACHUTE_HUB_ORIGIN, or: parachute hub set-origin --unset",
        ),
        AuthError::KeyFile { .. } | AuthError::KeyFileStore(_) | AuthError::OtherKeyFile => {
            Failure::new(Code::InvalidConfig, error.to_string(), "see: PARACHUTE_SIGNING_KEY_FILE in the README")
        }
        AuthError::NotTheOperators { .. } => {
            Failure::new(Code::Failed, error.to_string(), "such as: --scope-set admin")
        }
        AuthError::Clock { .. } => Failure::new(Code::Failed, error.to_string(), "see: date"),
        AuthError::NoDatabase { .. } => Failure::new(Code::HubDown, error.to_string(), "parachute serve makes one"),
        AuthError::Db(error) if error.is_damage() => Failure::new(Code::InvalidConfig, error.to_string(), NEW_DATABASE),
        AuthError::Db(error) if error.is_invalid() => {
            Failure::new(Code::InvalidConfig, error.to_string(), "see: parachute check")
        }
        AuthError::Db(error) if error.is_busy() => Failure::new(Code::Busy, error.to_string(), "try again in a moment"),
        AuthError::Db(_) | AuthError::Mint(_) | AuthError::NoKey => {
            Failure::new(Code::Failed, error.to_string(), "see: parachute check")
        }
    }
}
