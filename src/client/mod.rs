//! One function per call of the hub's API; the only part that names `ureq`.
//!
//! A bearer goes only over a connection at whose other end the hub has proved to be the one that is meant, with the
//! secret of its boot: a [`Client`] exists only after that, and asks for the proof again before it uses another
//! connection. Must not know argv, files or exit codes.

mod gate;
mod loopback;
mod tokens;

use self::gate::Gate;
use self::loopback::Loopback;
use crate::sys::random;
use crate::token::proof::{BootSecret, Challenge};
use crate::wire::origin::{OriginReply, OriginRequest};
use crate::wire::{Code, ErrorBody, Health, HubInfo, LogsReply, ModuleList, OpReply};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::Duration;

/// The largest answer that is read. `GET /api/modules` of 1,000 modules is below 1 MiB, a full ring below 256 KiB.
const ANSWER_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// The largest head: the edge and the hub send a few hundred bytes.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;
/// Enough for one read of most answers; both buffers are taken from the heap when the connection opens.
const BUFFER_BYTES: usize = 16 * 1024;
/// A hub without a place left may hang up on who has just come, for another who came later.
const PROOF_TRIES: u32 = 3;
/// Added to the time that a long poll may take on the hub before its answer counts as missing.
const LONG_POLL_SLACK: Duration = Duration::from_secs(5);

/// What a verb asks of one module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Start,
    Stop,
    Restart,
}

impl Op {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// Why the hub gave no usable answer, or said no.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// Nothing accepts connections on the port.
    Unreachable {
        port: u16,
        source: io::Error,
    },
    /// Something accepted and did not answer in time.
    TimedOut {
        port: u16,
        what: &'static str,
        after: Duration,
    },
    /// The same when it was to say who it is: nothing was asked of it.
    Silent {
        port: u16,
        after: Duration,
    },
    /// What was asked who it is answers, in the words of a hub, that it takes no requests now.
    Unready {
        port: u16,
        description: String,
    },
    /// The answer is not HTTP, or ends in the middle.
    Broken {
        port: u16,
        reason: String,
    },
    TooLarge {
        what: &'static str,
        limit_bytes: u64,
    },
    /// A good status with a body that is not what the API promises.
    BadAnswer {
        what: &'static str,
        source: serde_json::Error,
    },
    /// Something answers, and it is not the hub of this home.
    WrongHub {
        port: u16,
        found: Option<String>,
    },
    /// The hub of this home runs, and what tells where and by which secret it is known is not there.
    CutOff {
        pid: u32,
    },
    /// Something says to be the hub of this home and cannot prove it.
    Unproven {
        port: u16,
    },
    /// The hub said no, in its own words, and `given_by` is the variable that gave the operator's token, if one did.
    Refused {
        status: u16,
        given_by: Option<&'static str>,
        body: Box<ErrorBody>,
    },
    /// A bad status without words.
    BareStatus {
        what: &'static str,
        status: u16,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { port, source } => write!(f, "hub not answering on 127.0.0.1:{port}: {source}"),
            Self::TimedOut { port, what, after } => {
                write!(f, "the hub on 127.0.0.1:{port} did not answer {what} within {} s", after.as_secs_f32())
            }
            Self::Silent { port, after } => {
                write!(
                    f,
                    "what listens on 127.0.0.1:{port} did not answer within {} s; nothing was asked of it",
                    after.as_secs_f32()
                )
            }
            Self::Unready { port, description } => {
                write!(
                    f,
                    "what listens on 127.0.0.1:{port} takes no requests now: {description}; nothing was asked of it"
                )
            }
            Self::Broken { port, reason } => write!(f, "the answer from 127.0.0.1:{port} broke off: {reason}"),
            Self::TooLarge { what, limit_bytes } => {
                write!(f, "the answer to {what} is larger than {limit_bytes} bytes")
            }
            Self::BadAnswer { what, source } => write!(f, "the answer to {what} cannot be read: {source}"),
            Self::WrongHub { port, found: Some(found) } => write!(
                f,
                "another hub answers on 127.0.0.1:{port} (instance {found}), not the one of this home; nothing was sent to it"
            ),
            Self::WrongHub { port, found: None } => {
                write!(f, "something that is not a hub answers on 127.0.0.1:{port}; nothing was sent to it")
            }
            Self::CutOff { pid } => write!(
                f,
                "the hub runs as process {pid}, and no command reaches it: it starts or ends at the moment, or its files in \
                 hub/run were removed or changed; try again, and if it stays so end it with: kill {pid}, and then: parachute serve"
            ),
            Self::Unproven { port } => write!(
                f,
                "something on 127.0.0.1:{port} claims to be the hub of this home and cannot prove it; nothing was sent to it"
            ),
            Self::Refused { body, .. } => write!(f, "{}: {}", body.error, body.error_description),
            Self::BareStatus { what, status } => write!(f, "the hub answered {what} with HTTP {status} and no reason"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { source, .. } => Some(source),
            Self::BadAnswer { source, .. } => Some(source),
            Self::TimedOut { .. }
            | Self::Silent { .. }
            | Self::Unready { .. }
            | Self::Broken { .. }
            | Self::TooLarge { .. }
            | Self::WrongHub { .. }
            | Self::CutOff { .. }
            | Self::Unproven { .. }
            | Self::Refused { .. }
            | Self::BareStatus { .. } => None,
        }
    }
}

impl ClientError {
    /// The failure's one word. A word of a newer hub that is not known here is judged by its status.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } => Code::HubDown,
            Self::TimedOut { .. } => Code::RequestTimeout,
            Self::Silent { .. } | Self::Unready { .. } | Self::Broken { .. } | Self::CutOff { .. } => Code::HubNotReady,
            Self::TooLarge { .. } | Self::BadAnswer { .. } => Code::Failed,
            Self::WrongHub { .. } | Self::Unproven { .. } => Code::WrongHub,
            Self::Refused { status, body, .. } => {
                Code::from_wire(&body.error).unwrap_or_else(|| code_of_status(*status))
            }
            Self::BareStatus { status, .. } => code_of_status(*status),
        }
    }
}

/// Of who was only asked who he is.
fn silent(error: ClientError) -> ClientError {
    match error {
        ClientError::TimedOut { port, after, .. } => ClientError::Silent { port, after },
        other => other,
    }
}

fn code_of_status(status: u16) -> Code {
    match status {
        400 => Code::InvalidRequest,
        401 => Code::Unauthenticated,
        403 => Code::InsufficientScope,
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        409 | 429 => Code::Busy,
        413 => Code::TooLarge,
        502..=504 => Code::ServiceUnavailable,
        _ => Code::Failed,
    }
}

/// By what the hub of a home is known.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// What it says of itself, and anybody can say.
    pub(crate) instance: String,
    /// What it must prove to have; an older hub has none, and is believed by its number.
    pub(crate) secret: Option<BootSecret>,
}

/// A kept-alive connection to the hub of this home.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    port: u16,
    timeout: Duration,
    bearer: Option<String>,
    /// The variable that gave the bearer; `None`: it is the home's own.
    given_by: Option<&'static str>,
    expected: Option<Expected>,
    gate: Gate,
    /// Whether the connection that is kept, if one is, leads to the hub that is meant.
    is_proven: Cell<bool>,
}

impl Client {
    /// Asks `GET /health` on 127.0.0.1:`port` and takes the answer only from the hub that is `expected` (`None`: no hub
    /// of this home is known, so whoever answers is the wrong one). Each phase of the call, here and later, takes at
    /// most `timeout`.
    pub(crate) fn reach(
        port: u16,
        expected: Option<Expected>,
        timeout: Duration,
    ) -> Result<(Self, Health), ClientError> {
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept_encoding(ureq::config::AutoHeaderValue::None)
            .max_response_header_size(HEAD_LIMIT_BYTES)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .timeout_connect(Some(timeout))
            .timeout_send_request(Some(timeout))
            .timeout_send_body(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_recv_body(Some(timeout))
            .build();
        let gate = Gate::default();
        let agent = ureq::Agent::with_parts(config, gate.clone(), Loopback::new(port));
        let client =
            Self { agent, port, timeout, bearer: None, given_by: None, expected, gate, is_proven: Cell::new(false) };
        let health = client.prove()?;
        Ok((client, health))
    }

    /// Asks whoever is at the other end of the connection, or of a new one, for the proof. No bearer goes with it. Who hangs
    /// up on that is asked again.
    fn prove(&self) -> Result<Health, ClientError> {
        let mut tries = 1;
        loop {
            match self.prove_once() {
                Err(ClientError::Broken { .. }) if tries < PROOF_TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    fn prove_once(&self) -> Result<Health, ClientError> {
        let port = self.port;
        self.is_proven.set(false);
        let asked = self.expected.as_ref().and_then(|expected| expected.secret.as_ref()).map(|secret| {
            let mut bytes = [0; 32];
            random::fill(&mut bytes);
            (secret, Challenge::of(&bytes))
        });
        let path = match &asked {
            Some((_, challenge)) => format!("/health?challenge={}", challenge.as_str()),
            None => "/health".to_owned(),
        };
        let what = "GET /health";
        self.gate.set_open(true);
        let answer = self.bound(self.agent.get(self.url(&path)), self.timeout).call();
        self.gate.set_open(false);
        let answer = answer.map_err(|error| silent(self.translate(what, self.timeout, error)))?;
        let health: Health = self.read(what, self.timeout, answer).map_err(|error| match error {
            ClientError::Refused { status: 502..=504, body, .. } => {
                ClientError::Unready { port, description: body.error_description }
            }
            // It speaks HTTP and is no hub.
            ClientError::BadAnswer { .. }
            | ClientError::Refused { .. }
            | ClientError::BareStatus { .. }
            | ClientError::TooLarge { .. } => ClientError::WrongHub { port, found: None },
            other => silent(other),
        })?;
        if self.expected.as_ref().map(|expected| &expected.instance) != Some(&health.instance) {
            return Err(ClientError::WrongHub { port, found: Some(health.instance) });
        }
        if let Some((secret, challenge)) = asked
            && !health.proof.as_ref().is_some_and(|proof| secret.is_proof(&challenge, port, proof))
        {
            return Err(ClientError::Unproven { port });
        }
        self.is_proven.set(true);
        Ok(health)
    }

    /// The token that later calls carry, and the variable that gave it.
    pub(crate) fn set_bearer(&mut self, token: &str, given_by: Option<&'static str>) {
        self.bearer = Some(format!("Bearer {token}"));
        self.given_by = given_by;
    }

    /// Whether it is this one that calls carry.
    pub(crate) fn has_bearer(&self, token: &str) -> bool {
        self.bearer.as_deref().and_then(|bearer| bearer.strip_prefix("Bearer ")) == Some(token)
    }

    /// Every later phase of a call takes at most this long.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    pub(crate) fn hub(&self) -> Result<HubInfo, ClientError> {
        self.call("GET /api/hub", "/api/hub", Method::Get)
    }

    pub(crate) fn modules(&self) -> Result<ModuleList, ClientError> {
        self.call("GET /api/modules", "/api/modules", Method::Get)
    }

    /// Blocks until the hub has done it. `short` must be a valid short name: it becomes part of the path.
    pub(crate) fn op(&self, short: &str, op: Op) -> Result<OpReply, ClientError> {
        let what = match op {
            Op::Start => "the start",
            Op::Stop => "the stop",
            Op::Restart => "the restart",
        };
        self.call(what, &format!("/api/modules/{short}/{}", op.as_str()), Method::Post)
    }

    /// The same, and blocks only until the hub has taken the order.
    pub(crate) fn order(&self, short: &str, op: Op) -> Result<OpReply, ClientError> {
        self.call("the order", &format!("/api/modules/{short}/{}?wait=0", op.as_str()), Method::Post)
    }

    /// What is in the module's ring; with `after` only later lines, waiting for one at most `wait` on the hub.
    pub(crate) fn logs(&self, short: &str, after: Option<u64>, wait: Duration) -> Result<LogsReply, ClientError> {
        let path = match after {
            None => format!("/api/modules/{short}/logs"),
            Some(seq) => format!("/api/modules/{short}/logs?after={seq}&wait={}", wait.as_secs()),
        };
        let timeout = self.timeout.max(wait + LONG_POLL_SLACK);
        self.call_within("the logs", &path, Method::Get, timeout)
    }

    /// What the hub's origin is.
    pub(crate) fn origin(&self) -> Result<OriginReply, ClientError> {
        self.call("the origin", "/api/settings/hub-origin", Method::Get)
    }

    pub(crate) fn set_origin(&self, origin: Option<&str>) -> Result<OriginReply, ClientError> {
        let request = OriginRequest { hub_origin: origin.map(str::to_owned) };
        self.send("the origin", "/api/settings/hub-origin", Sending::Put, &request)
    }

    fn call<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        method: Method,
    ) -> Result<T, ClientError> {
        self.call_within(what, path, method, self.timeout)
    }

    fn call_within<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        method: Method,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let url = self.url(path);
        let answer = self.ask(what, timeout, method, || match method {
            Method::Get => self.authorised(self.agent.get(&url), timeout).call(),
            Method::Post => self.authorised(self.agent.post(&url), timeout).send_empty(),
        })?;
        self.read(what, timeout, answer)
    }

    /// Sends a request over the connection that is kept. Where it is gone the hub may have been killed and its port be
    /// another's: then whoever is there proves first to be the hub, as it is when the client is made. It may also go while
    /// the request is on its way, because a hub that is short of places closes what it takes for idle (RFC 9112 §9.3.1):
    /// what changes nothing is asked once more then.
    fn ask(
        &self,
        what: &'static str,
        timeout: Duration,
        method: Method,
        send: impl Fn() -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<ureq::http::Response<ureq::Body>, ClientError> {
        if self.is_proven.get() {
            match send() {
                Err(error) if Gate::has_refused(&error) => {}
                Err(error) if method == Method::Get && is_hung_up(&error) => {}
                answer => return answer.map_err(|error| self.translate(what, timeout, error)),
            }
        }
        self.prove()?;
        send().map_err(|error| self.translate(what, timeout, error))
    }

    /// A call with a body.
    fn send<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        how: Sending,
        request: &impl serde::Serialize,
    ) -> Result<T, ClientError> {
        let url = self.url(path);
        let body = serde_json::to_vec(request).map_err(|source| ClientError::BadAnswer { what, source })?;
        let answer = self.ask(what, self.timeout, Method::Post, || {
            let request = match how {
                Sending::Post => self.agent.post(&url),
                Sending::Put => self.agent.put(&url),
            };
            self.authorised(request, self.timeout).content_type("application/json").send(&body[..])
        })?;
        self.read(what, self.timeout, answer)
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        timeout: Duration,
        mut answer: ureq::http::Response<ureq::Body>,
    ) -> Result<T, ClientError> {
        let fail = |error| self.translate(what, timeout, error);
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_LIMIT_BYTES).read_to_vec().map_err(fail)?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&body).map_err(|source| ClientError::BadAnswer { what, source });
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Err(ClientError::Refused { status, given_by: self.given_by, body: Box::new(body) }),
            Err(_) => Err(ClientError::BareStatus { what, status }),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn authorised<B>(&self, request: ureq::RequestBuilder<B>, timeout: Duration) -> ureq::RequestBuilder<B> {
        let request = self.bound(request, timeout);
        match &self.bearer {
            Some(bearer) => request.header("authorization", bearer),
            None => request,
        }
    }

    fn bound<B>(&self, request: ureq::RequestBuilder<B>, timeout: Duration) -> ureq::RequestBuilder<B> {
        request.config().timeout_recv_response(Some(timeout)).timeout_recv_body(Some(timeout)).build()
    }

    fn translate(&self, what: &'static str, after: Duration, error: ureq::Error) -> ClientError {
        let port = self.port;
        match error {
            ureq::Error::Timeout(_) => ClientError::TimedOut { port, what, after },
            ureq::Error::BodyExceedsLimit(_) => ClientError::TooLarge { what, limit_bytes: ANSWER_LIMIT_BYTES },
            ureq::Error::Io(source) => match source.kind() {
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::AddrNotAvailable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::PermissionDenied => ClientError::Unreachable { port, source },
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ClientError::TimedOut { port, what, after },
                _ => ClientError::Broken { port, reason: source.to_string() },
            },
            ureq::Error::Other(reason) => ClientError::Broken { port, reason: reason.to_string() },
            other => ClientError::Broken { port, reason: other.to_string() },
        }
    }
}

/// Whether the connection ended instead of an answer, or in its head.
fn is_hung_up(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ureq::Error::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// Changes nothing.
    Get,
    Post,
}

/// How a body goes.
#[derive(Debug, Clone, Copy)]
enum Sending {
    Post,
    Put,
}

#[cfg(test)]
mod tests;
