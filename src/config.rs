//! Every environment variable and every path, read once into a plain `Config`.
//!
//! Nothing else in the program asks for the environment. Values are checked here and refused with the
//! variable's name; an empty variable counts as unset.

mod access_log;
mod control_groups;
mod error;
#[cfg(feature = "fault-injection")]
pub(crate) mod faults;
mod limits;
mod network;
mod variables;

pub(crate) use access_log::{AccessFormat, AccessLog};
pub(crate) use control_groups::ControlGroups;
pub(crate) use error::ConfigError;
pub(crate) use limits::Limits;
pub(crate) use network::Network;

use crate::origin;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use variables::{Variables, invalid};

/// The hub's port when `PORT` is not set (the contract with every other program).
pub(crate) const DEFAULT_PORT: u16 = 1939;

/// What the surroundings say, once, at start-up.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `$PARACHUTE_HOME`, else `~/.parachute`; absolute.
    pub(crate) home: PathBuf,
    /// `PORT`; the CLI prefers the home's port file over it.
    pub(crate) port: u16,
    /// `PARACHUTE_BIND_HOST`; `None` means 127.0.0.1 and, where it exists, ::1.
    pub(crate) bind_host: Option<IpAddr>,
    /// `PARACHUTE_HUB_ORIGIN`, else the platform's (`RENDER_EXTERNAL_URL`, `FLY_APP_NAME`), as given.
    pub(crate) hub_origin: Option<String>,
    /// What the platform says and cannot be used, as a sentence for the log: no operator wrote it.
    pub(crate) ignored: Option<String>,
    /// `PARACHUTE_ALLOWED_HOSTS`, comma separated, lower case.
    pub(crate) allowed_hosts: Vec<String>,
    /// `PARACHUTE_TRUSTED_PROXIES`, comma separated: besides those on this machine.
    pub(crate) trusted_proxies: Vec<Network>,
    /// `PARACHUTE_EXTRA_PATH` entries, put before `PATH` of every child.
    pub(crate) extra_path: Vec<OsString>,
    /// `PARACHUTE_OPERATOR_TOKEN`: used as it is, never written back.
    pub(crate) operator_token: Option<String>,
    /// `PARACHUTE_OPERATOR_TOKEN_FILE`: read instead of `<home>/operator.token`.
    pub(crate) operator_token_file: Option<PathBuf>,
    /// `PARACHUTE_OPERATOR_TOKEN_TTL_S`, 3,600 to 7,776,000: how long new operator tokens live.
    pub(crate) operator_ttl_s: Option<u64>,
    /// `PARACHUTE_SIGNING_KEY_FILE`: without it what `hub.db` holds signs nothing.
    pub(crate) signing_key_file: Option<PathBuf>,
    pub(crate) limits: Limits,
    /// `PARACHUTE_MAX_BAD_TOKENS` of one address in a minute.
    pub(crate) bad_tokens: usize,
    /// `None`: requests are not logged.
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) control_groups: ControlGroups,
    /// The whole environment, for the children. There is always a `PATH`, see [`DEFAULT_PATH`].
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// `PATH` of a process that was started without one, as by a bare `init`: what systemd gives its services. Without it no
/// program would be found, because what children get in front of it is a path too.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Config {
    /// The variable that gives the operator's token; `None`: it is the home's own.
    pub(crate) fn operator_token_variable(&self) -> Option<&'static str> {
        match (&self.operator_token, &self.operator_token_file) {
            (Some(_), _) => Some("PARACHUTE_OPERATOR_TOKEN"),
            (None, Some(_)) => Some("PARACHUTE_OPERATOR_TOKEN_FILE"),
            (None, None) => None,
        }
    }

    /// Reads this process's environment.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks for the environment")]
    pub(crate) fn from_process() -> Result<Self, ConfigError> {
        Self::from_environment(std::env::vars_os().collect())
    }

    /// The same with `home` (absolute) in the place of `PARACHUTE_HOME`, for the children too.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks for the environment")]
    pub(crate) fn from_process_at(home: &Path) -> Result<Self, ConfigError> {
        let mut environment: Vec<_> = std::env::vars_os().filter(|(name, _)| name != "PARACHUTE_HOME").collect();
        environment.push(("PARACHUTE_HOME".into(), home.into()));
        Self::from_environment(environment)
    }

    /// The same from a given environment.
    pub(crate) fn from_environment(mut environment: Vec<(OsString, OsString)>) -> Result<Self, ConfigError> {
        if environment.iter().all(|(name, value)| name != "PATH" || value.is_empty()) {
            environment.retain(|(name, _)| name != "PATH");
            environment.push(("PATH".into(), DEFAULT_PATH.into()));
        }
        let variables = Variables(&environment);
        let home = home(&variables)?;
        let (hub_origin, ignored) = hub_origin(&variables)?;
        let operator_token = match variables.get("PARACHUTE_OPERATOR_TOKEN") {
            None => None,
            Some(token) => {
                let no_token = ConfigError::NotText { variable: "PARACHUTE_OPERATOR_TOKEN" };
                Some(token.to_str().ok_or(no_token)?.to_owned())
            }
        };
        let bind_host = variables.parsed("PARACHUTE_BIND_HOST", BIND_EXPECTED, |host| match host {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            address => address.parse().ok(),
        })?;
        let allowed_hosts = variables
            .list("PARACHUTE_ALLOWED_HOSTS", HOSTS_EXPECTED, |host| is_host(host).then(|| host.to_ascii_lowercase()))?;
        let bad_tokens = variables.number("PARACHUTE_MAX_BAD_TOKENS", &BAD_TOKENS, BAD_TOKENS_EXPECTED)?;
        let operator_ttl_s =
            variables.number("PARACHUTE_OPERATOR_TOKEN_TTL_S", &OPERATOR_TTL_S, OPERATOR_TTL_EXPECTED)?;
        Ok(Self {
            port: variables.parsed("PORT", PORT_EXPECTED, parse_port)?.unwrap_or(DEFAULT_PORT),
            bind_host,
            hub_origin,
            ignored,
            allowed_hosts,
            trusted_proxies: variables.list("PARACHUTE_TRUSTED_PROXIES", PROXIES_EXPECTED, Network::parse)?,
            extra_path: extra_path(&variables)?,
            operator_token,
            operator_token_file: variables.get("PARACHUTE_OPERATOR_TOKEN_FILE").map(PathBuf::from),
            operator_ttl_s,
            signing_key_file: variables.get("PARACHUTE_SIGNING_KEY_FILE").map(PathBuf::from),
            limits: Limits::read(&variables)?,
            bad_tokens: bad_tokens.unwrap_or(DEFAULT_BAD_TOKENS),
            access_log: AccessLog::read(&variables, &home)?,
            control_groups: ControlGroups::read(&variables)?,
            home,
            environment,
        })
    }
}

fn home(variables: &Variables) -> Result<PathBuf, ConfigError> {
    let (variable, value, home) = match (variables.get("PARACHUTE_HOME"), variables.get("HOME")) {
        (Some(home), _) => ("PARACHUTE_HOME", home, PathBuf::from(home)),
        (None, Some(user_home)) => ("HOME", user_home, Path::new(user_home).join(".parachute")),
        (None, None) => return Err(ConfigError::NoHome),
    };
    match home.is_absolute() {
        true => Ok(home),
        false => Err(ConfigError::RelativeHome { variable, value: value.into() }),
    }
}

/// The origin as it is given, and what the platform says and cannot be used.
fn hub_origin(variables: &Variables) -> Result<(Option<String>, Option<String>), ConfigError> {
    let origin = |variable| {
        variables.parsed(variable, ORIGIN_EXPECTED, |value| origin::canonical(value).is_ok().then(|| value.to_owned()))
    };
    let given = match origin("PARACHUTE_HUB_ORIGIN")? {
        Some(origin) => Some(origin),
        None => origin("RENDER_EXTERNAL_URL")?,
    };
    let app = variables.text("FLY_APP_NAME", "an application name")?;
    let (None, Some(app)) = (&given, app) else { return Ok((given, None)) };
    let origin = format!("https://{app}.fly.dev");
    // What is no name is none (supervisor §3).
    match origin::canonical(&origin) {
        Ok(_) => Ok((Some(origin), None)),
        Err(_) => Ok((None, Some(format!("FLY_APP_NAME is {app:?}, which is no application name, and is ignored")))),
    }
}

fn extra_path(variables: &Variables) -> Result<Vec<OsString>, ConfigError> {
    let named = variables.get("PARACHUTE_EXTRA_PATH").unwrap_or_default();
    let directories = std::env::split_paths(named).filter(|directory| !directory.as_os_str().is_empty());
    // Each module would look for a relative one below a directory of its own.
    let absolute = directories.map(|directory| match directory.is_absolute() {
        true => Ok(directory.into_os_string()),
        false => Err(invalid("PARACHUTE_EXTRA_PATH", &directory.to_string_lossy(), EXTRA_PATH_EXPECTED)),
    });
    absolute.collect()
}

/// A person who mistypes is let go on, and nobody gets far by guessing.
const DEFAULT_BAD_TOKENS: usize = 10;
/// Each is remembered for a while, for every address.
const BAD_TOKENS: RangeInclusive<usize> = 1..=1000;
const BAD_TOKENS_EXPECTED: &str = "an integer 1..1000";

/// An hour to 90 days (operator-token B7).
const OPERATOR_TTL_S: RangeInclusive<u64> = 3_600..=7_776_000;
const OPERATOR_TTL_EXPECTED: &str = "an integer 3600..7776000, seconds";

const ORIGIN_EXPECTED: &str = "an origin like https://example.org or http://box:8080";
const HOSTS_EXPECTED: &str = "host names such as example.org or box:8080, comma separated, no wildcards";
const EXTRA_PATH_EXPECTED: &str = "absolute paths of directories, with a colon between two";
const PROXIES_EXPECTED: &str = "IP addresses or networks such as 10.0.0.0/8 or fd00::/8, comma separated";
const PORT_EXPECTED: &str = "an integer 1..65535";
const BIND_EXPECTED: &str = "an IP address such as 127.0.0.1 or 0.0.0.0";

/// A port in plain decimal digits, 1..65535; `8080abc`, `+80`, ` 80` and 0 are none.
pub(crate) fn parse_port(text: &str) -> Option<u16> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<u16>().ok().filter(|port| *port != 0)
}

/// Whether it is a name or an address, with or without a port.
fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.contains('/') && origin::canonical(&format!("http://{text}")).is_ok()
}

#[cfg(test)]
mod tests;
