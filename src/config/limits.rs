//! What the edge takes at most, and for how long it waits.

use super::ConfigError;
use super::variables::Variables;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Of anything that the edge takes; each costs a descriptor.
const COUNTS: RangeInclusive<usize> = 1..=100_000;
const COUNT_EXPECTED: &str = "an integer 1..100000";

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

impl Limits {
    pub(super) fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let count = |variable| variables.number(variable, &COUNTS, COUNT_EXPECTED);
        let seconds = |variable| Ok(count(variable)?.map(|seconds| Duration::from_secs(seconds as u64)));
        let defaults = Self::default();
        Ok(Self {
            connections: count("PARACHUTE_MAX_CONNECTIONS")?.unwrap_or(defaults.connections),
            connections_per_ip: count("PARACHUTE_MAX_CONNECTIONS_PER_IP")?.unwrap_or(defaults.connections_per_ip),
            websockets: count("PARACHUTE_WS_MAX_TOTAL")?.unwrap_or(defaults.websockets),
            websockets_per_ip: count("PARACHUTE_WS_MAX_PER_IP")?.unwrap_or(defaults.websockets_per_ip),
            hub_connections: count("PARACHUTE_MAX_HUB_REQUESTS")?.unwrap_or(defaults.hub_connections),
            hub_connections_per_ip: defaults.hub_connections_per_ip,
            introspections: count("PARACHUTE_MAX_INTROSPECTIONS")?.unwrap_or(defaults.introspections),
            held: count("PARACHUTE_MAX_HELD")?.unwrap_or(defaults.held),
            module_body_bytes: count("PARACHUTE_MAX_BODY_MIB")?.map(|mebibytes| (mebibytes as u64) << 20),
            head_timeout: seconds("PARACHUTE_HEAD_TIMEOUT_S")?.unwrap_or(defaults.head_timeout),
            idle_timeout: seconds("PARACHUTE_IDLE_TIMEOUT_S")?.unwrap_or(defaults.idle_timeout),
            stall_timeout: seconds("PARACHUTE_STALL_TIMEOUT_S")?.unwrap_or(defaults.stall_timeout),
            hub_body_timeout: seconds("PARACHUTE_HUB_BODY_TIMEOUT_S")?.unwrap_or(defaults.hub_body_timeout),
            hub_answer_timeout: seconds("PARACHUTE_HUB_ANSWER_TIMEOUT_S")?.unwrap_or(defaults.hub_answer_timeout),
            connect_timeout: seconds("PARACHUTE_CONNECT_TIMEOUT_S")?.unwrap_or(defaults.connect_timeout),
            module_answer_timeout: seconds("PARACHUTE_ANSWER_TIMEOUT_S")?.unwrap_or(defaults.module_answer_timeout),
            module_silence: seconds("PARACHUTE_MODULE_SILENCE_S")?,
        })
    }
}
