//! Pure: the exit codes, and the failure that a verb ends with.

use crate::client::ClientError;
use crate::wire::{Code, SCHEMA_VERSION};
use serde_json::{Value, json};

/// One row of the table in cli §15.2, the same for every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Failed = 1,
    Usage = 2,
    MissingProgram = 3,
    HubUnreachable = 5,
    Unhealthy = 6,
    Conflict = 7,
    Busy = 8,
    UnknownModule = 9,
    NoUnit = 10,
    Credential = 11,
    Confirmation = 12,
    StillRunning = 75,
    InvalidConfig = 78,
}

/// What help and the README print.
pub(crate) const EXITS: &[(Exit, &str)] = &[
    (Exit::Success, "success, or the desired state already holds"),
    (Exit::Failed, "failed; plain status: a module or the list of them fails"),
    (Exit::Usage, "the command line cannot be understood"),
    (Exit::MissingProgram, "a program is missing or cannot be executed"),
    (Exit::HubUnreachable, "the hub is unreachable or not ready in time"),
    (Exit::Unhealthy, "the module did not start or is unhealthy"),
    (Exit::Conflict, "a name, port or path is taken"),
    (Exit::Busy, "a lock is held or the same is already being done"),
    (Exit::UnknownModule, "unknown or not installed module"),
    (Exit::NoUnit, "only what started the hub can do it, such as a service manager"),
    (Exit::Credential, "the operator token is missing or not accepted"),
    (Exit::Confirmation, "confirmation needed or declined"),
    (Exit::StillRunning, "timed out; the hub is still at it"),
    (Exit::InvalidConfig, "a file of the home or a variable is invalid"),
];

impl Exit {
    /// The exit code that a failure's one word means.
    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::InvalidRequest
            | Code::InvalidScope
            | Code::LocalOnly
            | Code::MethodNotAllowed
            | Code::TooLarge
            | Code::ModuleOpFailed
            | Code::CsrfOriginMismatch
            | Code::CsrfOriginRequired
            | Code::InternalError
            | Code::Failed => Self::Failed,
            Code::Usage | Code::InvalidHubOrigin => Self::Usage,
            Code::MissingDependency | Code::NonExecutable => Self::MissingProgram,
            Code::HubDown | Code::HubNotReady | Code::WrongHub | Code::ServiceUnavailable => Self::HubUnreachable,
            Code::StartFailed | Code::StopTimeout | Code::NotSupervised => Self::Unhealthy,
            Code::Conflict | Code::PortInUse => Self::Conflict,
            Code::Busy | Code::TooManyTokens => Self::Busy,
            Code::UnknownService | Code::NotInstalled | Code::NotFound => Self::UnknownModule,
            Code::NoUnit => Self::NoUnit,
            Code::Unauthenticated
            | Code::InsufficientScope
            | Code::TooManyFailures
            | Code::NoOperatorToken
            | Code::TokenExpired => Self::Credential,
            Code::ConfirmationNeeded => Self::Confirmation,
            Code::RequestTimeout => Self::StillRunning,
            Code::InvalidRow | Code::NoStartCmd | Code::InvalidConfig => Self::InvalidConfig,
        }
    }

    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}

/// How a verb ended when it did not do what it was asked to: the reason, and the next command to try.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// One sentence in lower case, without a full stop.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: String,
    /// Boxed, because a failure travels through every `Result` of the verbs.
    pub(crate) details: Option<Box<Value>>,
    pub(crate) exit: Exit,
    /// The reason is on the terminal already; only `--json` still needs it.
    pub(crate) shown: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { code, message, hint, details: None, exit: Exit::of(code), shown: false }
    }

    pub(crate) fn with_details(self, details: Value) -> Self {
        Self { details: Some(Box::new(details)), ..self }
    }

    pub(crate) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    pub(crate) fn already_shown(self) -> Self {
        Self { shown: true, ..self }
    }

    /// What the hub, or the way to it, said.
    pub(crate) fn of_client(error: &ClientError) -> Self {
        let code = error.code();
        let (message, hint) = match (code, error) {
            (Code::HubDown, _) => (error.to_string(), "start it with: parachute serve"),
            (Code::WrongHub, _) => {
                (error.to_string(), "is PARACHUTE_HOME right? this home's own hub starts with: parachute serve")
            }
            (Code::RequestTimeout, _) => (error.to_string(), "it may still be done; see: parachute status"),
            (Code::TokenExpired, ClientError::Refused { body, given_by, .. }) => {
                let message = format!("operator token expired: {}", body.error_description);
                return Self::new(code, message, other_token(*given_by, NEW_TOKEN));
            }
            (Code::Unauthenticated, ClientError::Refused { body, given_by, .. }) => {
                let message = format!("operator token rejected ({}): {}", body.error, body.error_description);
                return Self::new(code, message, other_token(*given_by, NEW_TOKEN));
            }
            (Code::InsufficientScope, ClientError::Refused { body, given_by, .. }) => {
                return Self::new(code, body.error_description.clone(), other_token(*given_by, WIDER_TOKEN));
            }
            (Code::Busy | Code::TooManyTokens, _) => (error.to_string(), "try again in a moment"),
            (Code::InvalidHubOrigin, ClientError::Refused { body, .. }) => {
                (body.error_description.clone(), "see: parachute hub set-origin --help")
            }
            (Code::InvalidScope, _) => (error.to_string(), "see: parachute auth mint-token --help"),
            // The answer does not tell why; whoever can read the home may know.
            (Code::ServiceUnavailable, _) => (error.to_string(), "see: parachute doctor"),
            (Code::InvalidRequest, _) => (error.to_string(), "see: parachute --help"),
            _ => (error.to_string(), "see: parachute status"),
        };
        Self::new(code, message, hint)
    }

    /// Whether the same command may succeed a little later.
    fn retryable(&self) -> bool {
        matches!(
            self.code,
            Code::Busy | Code::HubDown | Code::HubNotReady | Code::RequestTimeout | Code::ServiceUnavailable
        )
    }

    /// The one object that `--json` prints on stderr (cli §15.3).
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "ok": false,
            "schema_version": SCHEMA_VERSION,
            "error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
                "exit": self.exit.number(),
                "retryable": self.retryable(),
                "details": self.details,
            }
        })
    }
}

/// The way to a new operator token of the home.
pub(crate) const NEW_TOKEN: &str = "mint a new one with: parachute auth rotate-operator";
/// The same when it opens too little.
pub(crate) const WIDER_TOKEN: &str = "use a wider token, such as: parachute auth rotate-operator --scope-set admin";

/// What to do about a token that is not taken: `own` if it is the home's. One that a variable gives goes before whatever
/// the home has.
pub(crate) fn other_token(given_by: Option<&'static str>, own: &str) -> String {
    match given_by {
        None => own.to_owned(),
        Some(variable) => format!("correct {variable}, or do without it: unset {variable}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_exit_and_only_success_is_zero() {
        for code in Code::ALL {
            assert_ne!(Exit::of(*code).number(), 0, "{code:?}");
        }
    }

    #[test]
    fn the_table_is_sorted_complete_and_fits_the_help() {
        for (pair, next) in EXITS.iter().zip(EXITS.iter().skip(1)) {
            assert!(pair.0 < next.0, "{:?}", pair.0);
        }
        for code in Code::ALL {
            assert!(EXITS.iter().any(|(exit, _)| *exit == Exit::of(*code)), "{code:?}");
        }
        for (exit, meaning) in EXITS {
            assert!(meaning.len() <= 68, "{exit:?}");
        }
    }

    #[test]
    fn the_exit_codes_are_those_that_scripts_know() {
        for (code, exit) in [
            (Code::Usage, 2),
            (Code::MissingDependency, 3),
            (Code::HubDown, 5),
            (Code::WrongHub, 5),
            (Code::StartFailed, 6),
            (Code::PortInUse, 7),
            (Code::Busy, 8),
            (Code::UnknownService, 9),
            (Code::NotInstalled, 9),
            (Code::NoUnit, 10),
            (Code::NoOperatorToken, 11),
            (Code::ConfirmationNeeded, 12),
            (Code::RequestTimeout, 75),
            (Code::InvalidConfig, 78),
        ] {
            assert_eq!(Exit::of(code).number(), exit, "{code:?}");
        }
    }

    #[test]
    fn the_same_command_may_do_later_what_only_somebody_else_keeps_from_it() {
        let later = [Code::Busy, Code::HubDown, Code::HubNotReady, Code::RequestTimeout, Code::ServiceUnavailable];
        for code in Code::ALL {
            assert_eq!(Failure::new(*code, "", "").retryable(), later.contains(code), "{code:?}");
        }
    }

    #[test]
    fn whatever_the_hub_refuses_comes_with_what_to_do_about_it() {
        for (code, given_by, hint) in [
            (Code::HubDown, None, "start it with: parachute serve"),
            (Code::WrongHub, None, "is PARACHUTE_HOME right?"),
            (Code::HubNotReady, None, "see: parachute status"),
            (Code::RequestTimeout, None, "it may still be done"),
            (Code::TokenExpired, None, NEW_TOKEN),
            (Code::TokenExpired, Some("A_TOKEN"), "unset A_TOKEN"),
            (Code::Unauthenticated, None, NEW_TOKEN),
            (Code::Unauthenticated, Some("A_TOKEN"), "unset A_TOKEN"),
            (Code::InsufficientScope, None, WIDER_TOKEN),
            (Code::InsufficientScope, Some("A_TOKEN"), "unset A_TOKEN"),
            (Code::Busy, None, "in a moment"),
            (Code::TooManyTokens, None, "in a moment"),
            (Code::InvalidHubOrigin, None, "hub set-origin --help"),
            (Code::InvalidScope, None, "auth mint-token --help"),
            (Code::ServiceUnavailable, None, "parachute doctor"),
            (Code::InvalidRequest, None, "parachute --help"),
            (Code::NotFound, None, "parachute status"),
        ] {
            let body = json!({ "error": code.as_str(), "error_description": "so it is" });
            let body = serde_json::from_value(body).expect("an error's body");
            let failure = Failure::of_client(&ClientError::Refused { status: 400, given_by, body });
            assert_eq!(failure.code, code);
            assert!(failure.hint.contains(hint), "{code:?}: {}", failure.hint);
            assert!(failure.message.contains("so it is"), "{code:?}: {}", failure.message);
        }
    }

    #[test]
    fn the_error_object_has_every_key() {
        let failure =
            Failure::new(Code::HubDown, "hub not answering on 127.0.0.1:1939", "start it with: parachute serve");
        assert_eq!(
            failure.to_json().to_string(),
            r#"{"ok":false,"schema_version":1,"error":{"code":"hub_down","message":"hub not answering on 127.0.0.1:1939","hint":"start it with: parachute serve","exit":5,"retryable":true,"details":null}}"#
        );
    }
}
