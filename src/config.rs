//! Every environment variable and every path, read once into a plain `Config`.
//!
//! Nothing else in the program asks for the environment. Values are checked here and refused with the
//! variable's name; an empty variable counts as unset.

#[cfg(feature = "fault-injection")]
pub(crate) mod faults;
mod network;

pub(crate) use network::Network;

use crate::origin;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// The whole environment, for the children. There is always a `PATH`, see [`DEFAULT_PATH`].
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// `PATH` of a process that was started without one, as by a bare `init`: what systemd gives its services. Without it no
/// program would be found, because what children get in front of it is a path too.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the edge takes at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `PARACHUTE_MAX_CONNECTIONS`, of clients altogether.
    pub(crate) connections: usize,
    /// `PARACHUTE_MAX_CONNECTIONS_PER_IP`, of one client elsewhere.
    pub(crate) connections_per_ip: usize,
    /// `PARACHUTE_WS_MAX_TOTAL` WebSockets.
    pub(crate) websockets: usize,
    /// `PARACHUTE_WS_MAX_PER_IP` WebSockets of one client.
    pub(crate) websockets_per_ip: usize,
    /// `PARACHUTE_MAX_HUB_REQUESTS`: requests that the hub has in hand, each of which holds a thread there; further ones are
    /// refused.
    pub(crate) hub_connections: usize,
    /// The same of one client elsewhere.
    pub(crate) hub_connections_per_ip: usize,
    /// `PARACHUTE_MAX_INTROSPECTIONS`: questions of modules about tokens; more never reach the hub.
    pub(crate) introspections: usize,
    /// `PARACHUTE_MAX_HELD` requests that wait for one module that is being restarted.
    pub(crate) held: usize,
    /// `PARACHUTE_MAX_BODY_MIB`, of a request to a module, in bytes; `None`: whatever the module takes.
    pub(crate) module_body_bytes: Option<u64>,
    /// `PARACHUTE_HEAD_TIMEOUT_S`: for a whole head, from its first byte.
    pub(crate) head_timeout: Duration,
    /// `PARACHUTE_IDLE_TIMEOUT_S`: between two requests.
    pub(crate) idle_timeout: Duration,
    /// `PARACHUTE_STALL_TIMEOUT_S`: for the client to send, or take, the next byte.
    pub(crate) stall_timeout: Duration,
    /// `PARACHUTE_HUB_BODY_TIMEOUT_S`: for the whole body of a request to the hub, which is 1 MiB at most.
    pub(crate) hub_body_timeout: Duration,
    /// `PARACHUTE_HUB_ANSWER_TIMEOUT_S`: for the hub's answer to begin; its longest operations and polls take about 40 s.
    pub(crate) hub_answer_timeout: Duration,
    /// `PARACHUTE_CONNECT_TIMEOUT_S`: for a module to take a connection.
    pub(crate) connect_timeout: Duration,
    /// `PARACHUTE_ANSWER_TIMEOUT_S`: for a module's answer to begin.
    pub(crate) module_answer_timeout: Duration,
    /// `PARACHUTE_MODULE_SILENCE_S`: between two parts of a module's answer; `None` is for ever.
    pub(crate) module_silence: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_ip: 256,
            websockets: 512,
            websockets_per_ip: 32,
            hub_connections: 256,
            hub_connections_per_ip: 32,
            introspections: 64,
            held: 64,
            module_body_bytes: None,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(255),
            stall_timeout: Duration::from_secs(30),
            hub_body_timeout: Duration::from_secs(10),
            hub_answer_timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(2),
            module_answer_timeout: Duration::from_secs(60),
            module_silence: None,
        }
    }
}

/// Where and how requests are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessLog {
    /// `PARACHUTE_ACCESS_LOG`.
    pub(crate) format: AccessFormat,
    /// `PARACHUTE_ACCESS_LOG_FILE`, absolute; `None`, which is `-`: the hub's standard output.
    pub(crate) file: Option<PathBuf>,
}

/// How the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessFormat {
    /// As Apache and nginx call it.
    Combined,
    /// One object a line.
    Json,
}

/// Why the surroundings do not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// Neither `PARACHUTE_HOME` nor `HOME` says where the home is.
    NoHome,
    /// The home is not an absolute path.
    RelativeHome { variable: &'static str, value: PathBuf },
    /// A secret that cannot be one; it is not shown.
    NotText { variable: &'static str },
    /// A variable holds a value that cannot be used.
    Invalid { variable: &'static str, value: String, expected: &'static str },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHome => write!(f, "neither PARACHUTE_HOME nor HOME is set; set PARACHUTE_HOME to an absolute path"),
            Self::RelativeHome { variable, value } => {
                write!(f, "{variable} is {}, which is not absolute; set it to an absolute path", value.display())
            }
            Self::NotText { variable } => write!(f, "{variable} is not UTF-8 text, which a token is"),
            Self::Invalid { variable, value, expected } => {
                write!(f, "{variable} is {value:?}; it must be {expected}")
            }
        }
    }
}

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
        let get = |name: &str| -> Option<&OsStr> {
            environment.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_os_str()).filter(|v| !v.is_empty())
        };
        let text = |name: &'static str, expected: &'static str| -> Result<Option<String>, ConfigError> {
            match get(name) {
                None => Ok(None),
                Some(value) => match value.to_str() {
                    Some(value) => Ok(Some(value.to_owned())),
                    None => Err(ConfigError::Invalid {
                        variable: name,
                        value: value.to_string_lossy().into_owned(),
                        expected,
                    }),
                },
            }
        };

        let (variable, value, home) = match (get("PARACHUTE_HOME"), get("HOME")) {
            (Some(home), _) => ("PARACHUTE_HOME", home, PathBuf::from(home)),
            (None, Some(user_home)) => ("HOME", user_home, Path::new(user_home).join(".parachute")),
            (None, None) => return Err(ConfigError::NoHome),
        };
        if !home.is_absolute() {
            return Err(ConfigError::RelativeHome { variable, value: value.into() });
        }

        let port = match text("PORT", PORT_EXPECTED)? {
            None => DEFAULT_PORT,
            Some(value) => {
                parse_port(&value).ok_or(ConfigError::Invalid { variable: "PORT", value, expected: PORT_EXPECTED })?
            }
        };
        let bind_host = match text("PARACHUTE_BIND_HOST", BIND_EXPECTED)? {
            None => None,
            Some(value) if value == "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Some(value) => Some(value.parse().map_err(|_| ConfigError::Invalid {
                variable: "PARACHUTE_BIND_HOST",
                value,
                expected: BIND_EXPECTED,
            })?),
        };
        let origin = |variable| match text(variable, ORIGIN_EXPECTED)? {
            Some(value) if origin::canonical(&value).is_err() => {
                Err(ConfigError::Invalid { variable, value, expected: ORIGIN_EXPECTED })
            }
            value => Ok(value),
        };
        let mut ignored = None;
        let given = match origin("PARACHUTE_HUB_ORIGIN")? {
            Some(origin) => Some(origin),
            None => origin("RENDER_EXTERNAL_URL")?,
        };
        let hub_origin = match (given, text("FLY_APP_NAME", "an application name")?) {
            (Some(origin), _) => Some(origin),
            (None, None) => None,
            // What is no name is none (supervisor §3).
            (None, Some(app)) => {
                let origin = Some(format!("https://{app}.fly.dev")).filter(|origin| origin::canonical(origin).is_ok());
                if origin.is_none() {
                    ignored = Some(format!("FLY_APP_NAME is {app:?}, which is no application name, and is ignored"));
                }
                origin
            }
        };
        let mut allowed_hosts = Vec::new();
        let named = text("PARACHUTE_ALLOWED_HOSTS", HOSTS_EXPECTED)?.unwrap_or_default();
        for host in named.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            if !is_host(host) {
                let value = host.to_owned();
                let variable = "PARACHUTE_ALLOWED_HOSTS";
                return Err(ConfigError::Invalid { variable, value, expected: HOSTS_EXPECTED });
            }
            allowed_hosts.push(host.to_ascii_lowercase());
        }
        let mut trusted_proxies = Vec::new();
        let named = text("PARACHUTE_TRUSTED_PROXIES", PROXIES_EXPECTED)?.unwrap_or_default();
        for proxy in named.split(',').map(str::trim).filter(|proxy| !proxy.is_empty()) {
            trusted_proxies.push(Network::parse(proxy).ok_or_else(|| ConfigError::Invalid {
                variable: "PARACHUTE_TRUSTED_PROXIES",
                value: proxy.to_owned(),
                expected: PROXIES_EXPECTED,
            })?);
        }
        let mut extra_path = Vec::new();
        let named = get("PARACHUTE_EXTRA_PATH").unwrap_or_default();
        for directory in std::env::split_paths(named).filter(|directory| !directory.as_os_str().is_empty()) {
            // Each module would look below a directory of its own.
            if !directory.is_absolute() {
                let value = directory.to_string_lossy().into_owned();
                let variable = "PARACHUTE_EXTRA_PATH";
                return Err(ConfigError::Invalid { variable, value, expected: EXTRA_PATH_EXPECTED });
            }
            extra_path.push(directory.into_os_string());
        }

        let count = |variable, default: usize| -> Result<usize, ConfigError> {
            let Some(value) = text(variable, COUNT_EXPECTED)? else { return Ok(default) };
            let count = value.parse().ok().filter(|count| (1..=MAX_COUNT).contains(count));
            count.ok_or(ConfigError::Invalid { variable, value, expected: COUNT_EXPECTED })
        };
        let seconds = |variable, default: Duration| {
            count(variable, usize::try_from(default.as_secs()).unwrap_or(MAX_COUNT))
                .map(|seconds| Duration::from_secs(seconds as u64))
        };
        let defaults = Limits::default();
        let limits = Limits {
            connections: count("PARACHUTE_MAX_CONNECTIONS", defaults.connections)?,
            connections_per_ip: count("PARACHUTE_MAX_CONNECTIONS_PER_IP", defaults.connections_per_ip)?,
            websockets: count("PARACHUTE_WS_MAX_TOTAL", defaults.websockets)?,
            websockets_per_ip: count("PARACHUTE_WS_MAX_PER_IP", defaults.websockets_per_ip)?,
            hub_connections: count("PARACHUTE_MAX_HUB_REQUESTS", defaults.hub_connections)?,
            hub_connections_per_ip: defaults.hub_connections_per_ip,
            introspections: count("PARACHUTE_MAX_INTROSPECTIONS", defaults.introspections)?,
            held: count("PARACHUTE_MAX_HELD", defaults.held)?,
            module_body_bytes: match count("PARACHUTE_MAX_BODY_MIB", 0)? {
                0 => None,
                mebibytes => Some((mebibytes as u64) << 20),
            },
            head_timeout: seconds("PARACHUTE_HEAD_TIMEOUT_S", defaults.head_timeout)?,
            idle_timeout: seconds("PARACHUTE_IDLE_TIMEOUT_S", defaults.idle_timeout)?,
            hub_body_timeout: seconds("PARACHUTE_HUB_BODY_TIMEOUT_S", defaults.hub_body_timeout)?,
            stall_timeout: seconds("PARACHUTE_STALL_TIMEOUT_S", defaults.stall_timeout)?,
            hub_answer_timeout: seconds("PARACHUTE_HUB_ANSWER_TIMEOUT_S", defaults.hub_answer_timeout)?,
            connect_timeout: seconds("PARACHUTE_CONNECT_TIMEOUT_S", defaults.connect_timeout)?,
            module_answer_timeout: seconds("PARACHUTE_ANSWER_TIMEOUT_S", defaults.module_answer_timeout)?,
            module_silence: Some(seconds("PARACHUTE_MODULE_SILENCE_S", Duration::ZERO)?).filter(|time| !time.is_zero()),
        };
        let bad_tokens = match text("PARACHUTE_MAX_BAD_TOKENS", BAD_TOKENS_EXPECTED)? {
            None => DEFAULT_BAD_TOKENS,
            Some(value) => {
                let count = value.parse().ok().filter(|count| BAD_TOKENS.contains(count));
                count.ok_or(ConfigError::Invalid {
                    variable: "PARACHUTE_MAX_BAD_TOKENS",
                    value,
                    expected: BAD_TOKENS_EXPECTED,
                })?
            }
        };

        let operator_ttl_s = match text("PARACHUTE_OPERATOR_TOKEN_TTL_S", OPERATOR_TTL_EXPECTED)? {
            None => None,
            Some(value) => {
                let seconds = value.parse().ok().filter(|seconds| OPERATOR_TTL_S.contains(seconds));
                let plain = value.bytes().all(|byte| byte.is_ascii_digit());
                Some(seconds.filter(|_| plain).ok_or(ConfigError::Invalid {
                    variable: "PARACHUTE_OPERATOR_TOKEN_TTL_S",
                    value,
                    expected: OPERATOR_TTL_EXPECTED,
                })?)
            }
        };

        let log_file = get("PARACHUTE_ACCESS_LOG_FILE");
        let format = text("PARACHUTE_ACCESS_LOG", FORMAT_EXPECTED)?;
        let access_log = match (format.as_deref(), log_file) {
            (None, None) => None,
            (Some("combined"), _) => Some(AccessFormat::Combined),
            (Some("json"), _) => Some(AccessFormat::Json),
            // Whoever names the file alone believes that it is written.
            (None, Some(file)) => {
                let value = file.to_string_lossy().into_owned();
                return Err(ConfigError::Invalid {
                    variable: "PARACHUTE_ACCESS_LOG_FILE",
                    value,
                    expected: ALONE_EXPECTED,
                });
            }
            (Some(_), _) => {
                let value = format.unwrap_or_default();
                return Err(ConfigError::Invalid {
                    variable: "PARACHUTE_ACCESS_LOG",
                    value,
                    expected: FORMAT_EXPECTED,
                });
            }
        };
        let log_file = match log_file.map(Path::new) {
            None => Some(home.join(ACCESS_LOG)),
            Some(path) if path == Path::new("-") => None,
            Some(path) if path.is_absolute() && path.file_name().is_some() => Some(path.to_owned()),
            Some(path) => {
                let value = path.to_string_lossy().into_owned();
                return Err(ConfigError::Invalid {
                    variable: "PARACHUTE_ACCESS_LOG_FILE",
                    value,
                    expected: LOG_FILE_EXPECTED,
                });
            }
        };
        let no_token = ConfigError::NotText { variable: "PARACHUTE_OPERATOR_TOKEN" };
        let operator_token = get("PARACHUTE_OPERATOR_TOKEN")
            .map(|value| value.to_str().map(str::to_owned).ok_or(no_token))
            .transpose()?;
        let access_log = access_log.map(|format| AccessLog { format, file: log_file });

        Ok(Self {
            home,
            port,
            bind_host,
            hub_origin,
            ignored,
            allowed_hosts,
            trusted_proxies,
            extra_path,
            operator_token,
            operator_token_file: get("PARACHUTE_OPERATOR_TOKEN_FILE").map(PathBuf::from),
            operator_ttl_s,
            signing_key_file: get("PARACHUTE_SIGNING_KEY_FILE").map(PathBuf::from),
            limits,
            bad_tokens,
            access_log,
            environment,
        })
    }
}

/// The access log below the home.
const ACCESS_LOG: &str = "hub/logs/access.log";
const FORMAT_EXPECTED: &str = "combined or json";
const ALONE_EXPECTED: &str = "unset unless PARACHUTE_ACCESS_LOG is combined or json";
const LOG_FILE_EXPECTED: &str = "an absolute path of a file, or - for standard output";

/// Of anything that the edge takes; each costs a descriptor.
const MAX_COUNT: usize = 100_000;
const COUNT_EXPECTED: &str = "an integer 1..100000";

/// A person who mistypes is let go on, and nobody gets far by guessing.
const DEFAULT_BAD_TOKENS: usize = 10;
/// Each is remembered for a while, for every address.
const BAD_TOKENS: std::ops::RangeInclusive<usize> = 1..=1000;
const BAD_TOKENS_EXPECTED: &str = "an integer 1..1000";

/// An hour to 90 days (operator-token B7).
const OPERATOR_TTL_S: std::ops::RangeInclusive<u64> = 3_600..=7_776_000;
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
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_environment(pairs.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect())
    }

    #[test]
    fn the_home_is_parachute_home_or_below_the_users_home() {
        let relative = |variable, value: &str| Err(ConfigError::RelativeHome { variable, value: value.into() });
        for (pairs, expected) in [
            (&[("PARACHUTE_HOME", "/p"), ("HOME", "/h")][..], Ok("/p")),
            (&[("PARACHUTE_HOME", ""), ("HOME", "/h")], Ok("/h/.parachute")),
            (&[("HOME", "/h")], Ok("/h/.parachute")),
            (&[], Err(ConfigError::NoHome)),
            (&[("PARACHUTE_HOME", "p"), ("HOME", "/h")], relative("PARACHUTE_HOME", "p")),
            (&[("HOME", "h")], relative("HOME", "h")),
        ] {
            assert_eq!(config(pairs).map(|c| c.home), expected.map(PathBuf::from), "{pairs:?}");
        }
    }

    #[test]
    fn a_port_is_plain_decimal_in_range() {
        for (value, expected) in [
            ("1", Some(1)),
            ("65535", Some(65535)),
            ("", Some(DEFAULT_PORT)),
            ("0", None),
            ("65536", None),
            ("8080abc", None),
            ("+80", None),
            (" 80", None),
            ("99999999999", None),
        ] {
            assert_eq!(config(&[("HOME", "/h"), ("PORT", value)]).ok().map(|c| c.port), expected, "PORT={value:?}");
        }
    }

    #[test]
    fn limits_are_counts_and_nothing_else() {
        let all = |variable, value| config(&[("HOME", "/h"), (variable, value)]).map(|config| config.limits);
        let some = Limits { connections: 7, ..Limits::default() };
        assert_eq!(all("PARACHUTE_MAX_CONNECTIONS", "7"), Ok(some));
        let some = Limits { module_silence: Some(Duration::from_secs(60)), ..Limits::default() };
        assert_eq!(all("PARACHUTE_MODULE_SILENCE_S", "60"), Ok(some));
        let some = Limits { module_body_bytes: Some(2 << 20), ..Limits::default() };
        assert_eq!(all("PARACHUTE_MAX_BODY_MIB", "2"), Ok(some));
        let some = Limits { hub_connections: 9, ..Limits::default() };
        assert_eq!(all("PARACHUTE_MAX_HUB_REQUESTS", "9"), Ok(some));
        let some = Limits { introspections: 9, ..Limits::default() };
        assert_eq!(all("PARACHUTE_MAX_INTROSPECTIONS", "9"), Ok(some));
        let some = Limits { hub_answer_timeout: Duration::from_secs(9), ..Limits::default() };
        assert_eq!(all("PARACHUTE_HUB_ANSWER_TIMEOUT_S", "9"), Ok(some));
        let some = Limits { head_timeout: Duration::from_secs(3), ..Limits::default() };
        assert_eq!(all("PARACHUTE_HEAD_TIMEOUT_S", "3"), Ok(some));
        assert_eq!(all("PARACHUTE_WS_MAX_TOTAL", ""), Ok(Limits::default()));
        for value in ["0", "-1", "1.5", "x", "100001", "99999999999999999999"] {
            for variable in ["PARACHUTE_MAX_CONNECTIONS_PER_IP", "PARACHUTE_WS_MAX_PER_IP", "PARACHUTE_IDLE_TIMEOUT_S"]
            {
                assert!(all(variable, value).is_err(), "{variable}={value}");
            }
        }
    }

    #[test]
    fn bad_tokens_are_few_however_many_are_let_pass() {
        for (value, expected) in
            [("", Some(10)), ("1", Some(1)), ("1000", Some(1000)), ("0", None), ("1001", None), ("x", None)]
        {
            let read = config(&[("HOME", "/h"), ("PARACHUTE_MAX_BAD_TOKENS", value)]);
            assert_eq!(read.ok().map(|config| config.bad_tokens), expected, "{value:?}");
        }
    }

    #[test]
    fn an_operator_token_lives_for_an_hour_to_90_days() {
        for (value, expected) in [
            ("3600", Some(Some(3_600))),
            ("7776000", Some(Some(7_776_000))),
            ("", Some(None)),
            ("3599", None),
            ("7776001", None),
            ("+3600", None),
            ("1h", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            let read = config(&[("HOME", "/h"), ("PARACHUTE_OPERATOR_TOKEN_TTL_S", value)]);
            assert_eq!(read.ok().map(|config| config.operator_ttl_s), expected, "{value:?}");
        }
    }

    #[test]
    fn one_bad_proxy_is_named() {
        let read = |value| config(&[("HOME", "/h"), ("PARACHUTE_TRUSTED_PROXIES", value)]);
        for (value, expected) in [("", 0), ("10.0.0.0/8", 1), (" 10.0.0.1 , fd00::/8,", 2)] {
            assert_eq!(read(value).map(|config| config.trusted_proxies.len()), Ok(expected), "{value:?}");
        }
        let error = read("10.0.0.1, 10.0.0.0/33").expect_err("no network").to_string();
        assert!(error.starts_with("PARACHUTE_TRUSTED_PROXIES is \"10.0.0.0/33\"; it must be "), "{error}");
    }

    #[test]
    fn an_access_log_is_asked_for_by_its_format() {
        let home = Some("/h/.parachute/hub/logs/access.log");
        for (format, file, expected) in [
            ("", "", Ok(None)),
            ("combined", "", Ok(Some((AccessFormat::Combined, home)))),
            ("json", "", Ok(Some((AccessFormat::Json, home)))),
            ("json", "/var/log/a", Ok(Some((AccessFormat::Json, Some("/var/log/a"))))),
            ("json", "-", Ok(Some((AccessFormat::Json, None)))),
            ("", "rel", Err("PARACHUTE_ACCESS_LOG_FILE is \"rel\"; it must be unset unless PARACHUTE_ACCESS_LOG is")),
            ("JSON", "", Err("PARACHUTE_ACCESS_LOG is \"JSON\"; it must be combined or json")),
            ("common", "-", Err("PARACHUTE_ACCESS_LOG is \"common\"; it must be combined or json")),
            ("json", "logs/a", Err("PARACHUTE_ACCESS_LOG_FILE is \"logs/a\"; it must be an absolute path")),
            ("json", "/", Err("PARACHUTE_ACCESS_LOG_FILE is \"/\"; it must be an absolute path")),
            ("json", "/var/..", Err("PARACHUTE_ACCESS_LOG_FILE is \"/var/..\"; it must be an absolute path")),
        ] {
            let variables = [("HOME", "/h"), ("PARACHUTE_ACCESS_LOG", format), ("PARACHUTE_ACCESS_LOG_FILE", file)];
            match (config(&variables).map(|config| config.access_log), expected) {
                (Ok(log), Ok(expected)) => {
                    let expected = expected.map(|(format, file)| AccessLog { format, file: file.map(PathBuf::from) });
                    assert_eq!(log, expected, "{format:?} {file:?}");
                }
                (Err(error), Err(beginning)) => assert!(error.to_string().starts_with(beginning), "{error}"),
                (got, expected) => panic!("{format:?} {file:?}: {got:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn without_a_path_the_usual_one_is_searched() {
        let paths = |pairs: &[(&str, &str)]| -> Vec<OsString> {
            let environment = config(pairs).expect("good").environment;
            environment.into_iter().filter(|(name, _)| name == "PATH").map(|(_, value)| value).collect()
        };
        for (given, expected) in [
            (&[("HOME", "/h")][..], DEFAULT_PATH),
            (&[("PATH", ""), ("HOME", "/h")], DEFAULT_PATH),
            (&[("PATH", "/only"), ("HOME", "/h")], "/only"),
        ] {
            assert_eq!(paths(given), [expected], "{given:?}");
        }
    }

    #[test]
    fn an_empty_hub_origin_does_not_hide_the_platforms() {
        for (pairs, expected) in [
            (&[("PARACHUTE_HUB_ORIGIN", "https://a.example"), ("FLY_APP_NAME", "x")][..], Some("https://a.example")),
            (&[("PARACHUTE_HUB_ORIGIN", ""), ("FLY_APP_NAME", "x")], Some("https://x.fly.dev")),
            (&[("FLY_APP_NAME", "x/y")], None),
            (&[("FLY_APP_NAME", "x y")], None),
            (&[("RENDER_EXTERNAL_URL", "https://r.example")], Some("https://r.example")),
        ] {
            let mut all = vec![("HOME", "/h")];
            all.extend_from_slice(pairs);
            let read = config(&all).expect("valid");
            assert_eq!(read.hub_origin.as_deref(), expected, "{pairs:?}");
            let is_said = read.ignored.is_some_and(|said| said.starts_with("FLY_APP_NAME is \"x"));
            assert_eq!(is_said, expected.is_none(), "{pairs:?}");
        }
    }

    #[test]
    fn what_is_no_origin_host_or_absolute_path_is_refused_with_its_variable() {
        for (variable, value, told) in [
            ("PARACHUTE_HUB_ORIGIN", "https://Hub.example/", None),
            ("PARACHUTE_HUB_ORIGIN", "foo", Some("foo")),
            ("PARACHUTE_HUB_ORIGIN", "https://a.example/x", Some("https://a.example/x")),
            ("RENDER_EXTERNAL_URL", "x", Some("x")),
            ("PARACHUTE_ALLOWED_HOSTS", " a.example, Box:8080,[::1],10.0.0.1,b.example.,", None),
            ("PARACHUTE_ALLOWED_HOSTS", "a b", Some("a b")),
            ("PARACHUTE_ALLOWED_HOSTS", "ok,*.example", Some("*.example")),
            ("PARACHUTE_ALLOWED_HOSTS", "https://a.example", Some("https://a.example")),
            ("PARACHUTE_ALLOWED_HOSTS", "a.example/", Some("a.example/")),
            ("PARACHUTE_EXTRA_PATH", "/a::/b:", None),
            ("PARACHUTE_EXTRA_PATH", "/a:rel", Some("rel")),
            ("PARACHUTE_EXTRA_PATH", "~/bin", Some("~/bin")),
        ] {
            let refused = config(&[("HOME", "/h"), (variable, value)]).err().map(|error| error.to_string());
            let expected = told.map(|told| format!("{variable} is {told:?}; it must be "));
            match (&refused, &expected) {
                (None, None) => {}
                (Some(refused), Some(expected)) if refused.starts_with(expected) => {}
                _ => panic!("{variable}={value}: {refused:?}"),
            }
        }
    }
}
