//! Pure: the JSON that both ends of HTTP share, and the error codes.
//!
//! Field names are the contract of http-api §5 and §6: `/api/*` is snake_case, the module state inside an answer of
//! `start`, `stop` and `restart` is camelCase.

pub(crate) mod login;
pub(crate) mod origin;
pub(crate) mod tokens;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// Raised when the meaning of a `--json` field changes.
pub(crate) const SCHEMA_VERSION: u32 = 1;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What went wrong, in one word that is the same in the hub's answer, in `--json` and in the exit code table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, for tests that walk the table.
            #[cfg(test)]
            pub(crate) const ALL: &[Code] = &[$(Code::$variant,)*];

            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The code that a peer named; `None` for a word of a later release.
            pub(crate) fn from_wire(text: &str) -> Option<Self> {
                match text { $($text => Some(Code::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// The request cannot be understood.
    InvalidRequest = "invalid_request",
    /// No, an unknown, an expired or a revoked token.
    Unauthenticated = "unauthenticated",
    /// A good token without the scope that the route needs.
    InsufficientScope = "insufficient_scope",
    /// A scope that cannot be asked for, or is none.
    InvalidScope = "invalid_scope",
    /// What was given for the hub's origin is none.
    InvalidHubOrigin = "invalid_hub_origin",
    /// Too many tokens were minted with this one.
    TooManyTokens = "too_many_tokens",
    /// Only programs on this machine may ask this.
    LocalOnly = "local_only",
    /// A page of somebody else caused the request.
    CsrfOriginMismatch = "csrf_origin_mismatch",
    CsrfOriginRequired = "csrf_origin_required",
    /// Too many bad tokens came from this address.
    TooManyFailures = "too_many_failures",
    NotFound = "not_found",
    MethodNotAllowed = "method_not_allowed",
    /// The request's body is larger than the limit.
    TooLarge = "too_large",
    /// `services.json` has no such row.
    NotInstalled = "not_installed",
    /// The row is there and cannot be used; the description says why.
    InvalidRow = "invalid_row",
    /// A file of the home or of the module, or a variable, holds something that cannot be used.
    InvalidConfig = "invalid_config",
    /// Nothing says which command starts the module.
    NoStartCmd = "no_start_cmd",
    /// The supervisor does not run such a module.
    NotSupervised = "not_supervised",
    /// The module did not start; `error_detail` holds the start error.
    StartFailed = "start_failed",
    /// The module did not end in time.
    StopTimeout = "stop_timeout",
    /// Something else failed while doing it.
    ModuleOpFailed = "module_op_failed",
    /// Too many of these at once; try again.
    Busy = "busy",
    /// The hub is on its way down, or a part of it is not there.
    ServiceUnavailable = "service_unavailable",
    InternalError = "internal_error",

    // What only a client says.
    HubDown = "hub_down",
    HubNotReady = "hub_not_ready",
    /// Something else answers on the hub's port.
    WrongHub = "wrong_hub",
    RequestTimeout = "request_timeout",
    NoOperatorToken = "no_operator_token",
    TokenExpired = "token_expired",
    UnknownService = "unknown_service",
    NoUnit = "no_unit",
    PortInUse = "port_in_use",
    Conflict = "conflict",
    MissingDependency = "missing_dependency",
    /// The program is there and is nothing that can be executed.
    NonExecutable = "non_executable",
    Usage = "usage",
    ConfirmationNeeded = "confirmation_needed",
    Failed = "failed",
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Every answer with a status of 400 and above.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct ErrorBody {
    /// A [`Code`], kept as text so that a client understands a newer hub.
    pub(crate) error: String,
    pub(crate) error_description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_detail: Option<StartError>,
    /// Names the failed request in the hub's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// The module's state after a failed `start`, `stop` or `restart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<ModuleState>,
}

/// Exactly the five words of supervisor §12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Starting,
    Running,
    Stopped,
    Crashed,
    Restarting,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Restarting => "restarting",
        }
    }
}

/// Why a module is not well (supervisor §8). `error_type` is an open set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct StartError {
    pub(crate) error_type: String,
    pub(crate) error_description: String,
    #[serde(default)]
    pub(crate) binary: Option<String>,
    #[serde(default)]
    pub(crate) why: Option<String>,
    #[serde(default)]
    pub(crate) docs_url: Option<String>,
    #[serde(default)]
    pub(crate) install: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) sysadmin_hint: Option<String>,
    /// ISO 8601, UTC, milliseconds.
    pub(crate) at: String,
}

impl StartError {
    /// Its program, or what that needs, is not installed.
    pub(crate) const MISSING_DEPENDENCY: &str = "missing_dependency";

    pub(crate) fn is_missing_dependency(&self) -> bool {
        self.error_type == Self::MISSING_DEPENDENCY
    }
}

/// What is not known of a missing program is told as such; other errors have no such fields.
impl Serialize for StartError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("error_type", &self.error_type)?;
        map.serialize_entry("error_description", &self.error_description)?;
        if let Some(binary) = &self.binary {
            map.serialize_entry("binary", binary)?;
        }
        let is_missing = self.is_missing_dependency();
        for (key, value) in [("why", &self.why), ("docs_url", &self.docs_url)] {
            if is_missing || value.is_some() {
                map.serialize_entry(key, value)?;
            }
        }
        let unknown = BTreeMap::new();
        if let Some(install) = self.install.as_ref().or(is_missing.then_some(&unknown)) {
            map.serialize_entry("install", install)?;
        }
        if let Some(hint) = &self.sysadmin_hint {
            map.serialize_entry("sysadmin_hint", hint)?;
        }
        map.serialize_entry("at", &self.at)?;
        map.end()
    }
}

/// How the last child ended: by itself with `code`, or by `signal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastExit {
    pub(crate) code: Option<i32>,
    /// The signal's number.
    pub(crate) signal: Option<i32>,
    /// ISO 8601, UTC, milliseconds.
    pub(crate) at: String,
}

/// The state object inside the answers of `start`, `stop` and `restart` (supervisor §12).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModuleState {
    pub(crate) short: String,
    pub(crate) status: Status,
    /// Bound and answering its readiness probe, or `run.ready` is `none` and it lives.
    pub(crate) ready: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,
    pub(crate) restarts_in_window: u32,
    pub(crate) restarts_total: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_crash_at: Option<String>,
    /// Death by signal n is 128+n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_exit: Option<LastExit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_retry_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start_error: Option<StartError>,
}

/// 200 of `start`, `stop` and `restart`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpReply {
    pub(crate) short: String,
    /// Only of `stop`: whether there was anything to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<ModuleState>,
    /// What was done, and may not last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// One module in `GET /api/modules` and the body of `GET /api/modules/<short>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModuleInfo {
    pub(crate) short: String,
    /// The row's name in `services.json`.
    pub(crate) name: String,
    pub(crate) package: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) tagline: Option<String>,
    pub(crate) available: bool,
    pub(crate) installed: bool,
    pub(crate) installed_version: Option<String>,
    pub(crate) latest_version: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) paths: Vec<String>,
    /// `None` while the supervisor does not know it.
    pub(crate) supervisor_status: Option<Status>,
    pub(crate) ready: bool,
    pub(crate) pid: Option<i32>,
    pub(crate) started_at: Option<String>,
    pub(crate) uptime_ms: Option<u64>,
    pub(crate) restarts_in_window: u32,
    pub(crate) restarts_total: u64,
    pub(crate) last_exit: Option<LastExit>,
    pub(crate) next_retry_at: Option<String>,
    /// While the hub starts: those that it is started after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) waits_for: Vec<String>,
    pub(crate) supervisor_start_error: Option<StartError>,
    /// The row cannot be used; why, naming the field.
    pub(crate) problem: Option<String>,
    pub(crate) install_dir: Option<String>,
    /// It does not see the first of its paths, which is taken off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) strip_prefix: bool,
    pub(crate) uis: Vec<serde_json::Value>,
    /// An address, or a path of the hub's origin.
    pub(crate) management_url: Option<String>,
    /// The same, of the module's own page.
    #[serde(default)]
    pub(crate) ui_url: Option<String>,
}

/// One entry of `supervised`, for every module that the supervisor knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Supervised {
    pub(crate) short: String,
    pub(crate) installed: bool,
    pub(crate) installed_version: Option<String>,
    pub(crate) supervisor_status: Option<Status>,
    pub(crate) pid: Option<i32>,
    pub(crate) supervisor_start_error: Option<StartError>,
}

/// `GET /api/modules`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModuleList {
    pub(crate) modules: Vec<ModuleInfo>,
    pub(crate) supervised: Vec<Supervised>,
    pub(crate) supervisor_available: bool,
    pub(crate) module_install_channel: String,
    /// What is wrong with `services.json` as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// One numbered line of a module's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLine {
    pub(crate) seq: u64,
    /// ISO 8601, UTC, milliseconds.
    pub(crate) at: String,
    /// `stdout`, `stderr` or `supervisor`.
    pub(crate) stream: String,
    pub(crate) text: String,
}

/// `GET /api/modules/<short>/logs`; with `after` only what came later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogsReply {
    pub(crate) short: String,
    /// Prefixed, each with its newline (http-api §6.5).
    pub(crate) lines: Vec<String>,
    pub(crate) text: String,
    /// The same lines with number, time and stream.
    pub(crate) entries: Vec<LogLine>,
    /// What to pass as `after` next.
    pub(crate) next: u64,
    /// Lines that were dropped between `after` and the first entry.
    pub(crate) missed: u64,
}

/// `GET /health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) status: String,
    pub(crate) service: String,
    pub(crate) version: String,
    pub(crate) db: String,
    /// This boot's number: two answers with the same one come from the same hub.
    pub(crate) instance: String,
    /// What only this boot of the hub can answer to the `challenge` of the request; without one there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<String>,
}

/// `GET /api/ready`; the names are empty for callers without a token (http-api H3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) ready: bool,
    pub(crate) ready_modules: Vec<String>,
    pub(crate) transient_modules: Vec<String>,
    pub(crate) persistent_modules: Vec<String>,
}

/// `GET /api/hub` (http-api §7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HubInfo {
    pub(crate) version: String,
    pub(crate) instance: String,
    pub(crate) pid: u32,
    pub(crate) port: u16,
    pub(crate) started_at: String,
    pub(crate) uptime_ms: u64,
    /// `binary`, or `container` when the hub runs in one.
    pub(crate) source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container_build_time: Option<String>,
    /// The directory below which each module has its control group; `None` when they run without.
    #[serde(default)]
    pub(crate) control_groups: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_spelled_once_and_reads_back() {
        for code in Code::ALL {
            assert_eq!(Code::from_wire(code.as_str()), Some(*code), "{code:?}");
        }
    }

    #[test]
    fn the_module_state_is_camel_case_and_leaves_out_what_is_not_there() {
        let state = ModuleState {
            short: "vault".into(),
            status: Status::Running,
            ready: true,
            pid: Some(7),
            started_at: None,
            restarts_in_window: 1,
            restarts_total: 2,
            last_crash_at: None,
            last_exit_code: None,
            last_exit: None,
            next_retry_at: None,
            start_error: None,
        };
        assert_eq!(
            serde_json::to_string(&state).expect("plain data"),
            r#"{"short":"vault","status":"running","ready":true,"pid":7,"restartsInWindow":1,"restartsTotal":2}"#
        );
    }
}
