//! Pure: what the edge says itself.

use super::date::Date;
use super::denial::Denial;
use super::framing::BadFraming;
use super::head::{self, BadHead, Fields};
use super::page;
use super::path::BadPath;
use serde_json::{Value, json};
use std::io::Write;

/// An answer without an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    BadHead(BadHead),
    BadFraming(BadFraming),
    BadPath(BadPath),
    /// `Expect` asks for something other than `100-continue`.
    Expectation,
    /// The client took too long to send its request.
    SlowRequest,
    BodyTooLarge {
        limit_bytes: u64,
    },
    ForeignHost(Option<&'a str>),
    /// The upstream hung up, or broke the protocol, before it had answered.
    UpstreamUnreachable,
    /// The module is on its way up.
    ModuleStarting,
    /// The module cannot be reached, and nobody knows that it will be.
    ModuleUnreachable,
    /// The module has not said that it takes WebSockets.
    NoWebSocket,
    /// Somebody else's page had a browser send what a module of this machine would take for the user's own wish.
    ForeignPage,
    /// Too many WebSockets, of this client or altogether.
    TooManyWebSockets,
    /// Nobody listens on the hub's socket.
    HubDown,
    /// Too many connections or exchanges at once.
    Busy,
    /// The module wants to know who its caller is, and the hub cannot say.
    AuthUnavailable,
    /// Not everybody may see the page.
    Denied(Denial),
    UpstreamTimeout,
}

impl Answer<'_> {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadHead(bad) => bad.status(),
            Self::BadFraming(_) | Self::BadPath(_) => 400,
            Self::Expectation => 417,
            Self::SlowRequest => 408,
            Self::BodyTooLarge { .. } => 413,
            Self::ForeignHost(_) => 421,
            Self::ForeignPage => 403,
            Self::NoWebSocket => 426,
            Self::TooManyWebSockets => 429,
            Self::UpstreamUnreachable | Self::ModuleUnreachable => 502,
            Self::HubDown | Self::Busy | Self::ModuleStarting | Self::AuthUnavailable => 503,
            Self::UpstreamTimeout => 504,
            Self::Denied(denial) => denial.status(),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::BadHead(_) | Self::BadFraming(_) | Self::BadPath(_) | Self::Expectation => "invalid_request",
            Self::SlowRequest | Self::UpstreamTimeout => "request_timeout",
            Self::BodyTooLarge { .. } => "too_large",
            Self::ForeignHost(_) => "misdirected_request",
            Self::UpstreamUnreachable | Self::ModuleUnreachable => "upstream_unreachable",
            Self::ModuleStarting => "upstream_starting",
            Self::ForeignPage => "csrf_origin_mismatch",
            Self::NoWebSocket => "websocket_not_supported",
            Self::TooManyWebSockets => "too_many_connections",
            Self::HubDown => "service_unavailable",
            Self::Busy => "busy",
            Self::AuthUnavailable => "auth_unavailable",
            Self::Denied(denial) => denial.code(),
        }
    }

    fn description(self, Manner { module, lacks, .. }: Manner<'_>) -> String {
        let module = module.unwrap_or_default();
        match self {
            Self::BadHead(bad) => bad.to_string(),
            Self::BadFraming(bad) => bad.to_string(),
            Self::BadPath(bad) => bad.to_string(),
            Self::Expectation => "the expectation is not 100-continue".to_owned(),
            Self::SlowRequest => "the request did not arrive in time".to_owned(),
            Self::BodyTooLarge { limit_bytes } => format!("the request body is larger than {limit_bytes} bytes"),
            Self::ForeignHost(host) => format!(
                "this hub does not answer to the host {:?}; to allow it, add it to PARACHUTE_ALLOWED_HOSTS and restart the hub",
                host.unwrap_or_default()
            ),
            Self::UpstreamUnreachable => "the upstream ended the connection before it had answered".to_owned(),
            Self::ModuleStarting => format!("{module} is starting; try again in a moment"),
            Self::ModuleUnreachable => {
                format!("{module} cannot be reached on its port; on its machine, parachute status or check says why")
            }
            Self::NoWebSocket => {
                "this module takes no WebSockets; its row or module.json must say websocket: true".to_owned()
            }
            Self::ForeignPage => {
                "a page of another origin may not do this with a module of this machine; programs leave out the Origin header"
                    .to_owned()
            }
            Self::TooManyWebSockets => "too many WebSockets are open; close some".to_owned(),
            Self::HubDown => "the hub does not take requests now; try again, and see its log".to_owned(),
            Self::Busy => "too many requests at once; try again".to_owned(),
            Self::AuthUnavailable => {
                "the hub cannot say now whose token this is; try again, and see its log".to_owned()
            }
            Self::UpstreamTimeout => "the upstream did not answer in time".to_owned(),
            Self::Denied(denial) => denial.description(lacks),
        }
    }

    /// Appends the whole answer; gives back how many bytes of content that is.
    pub(crate) fn write(self, manner: Manner<'_>, out: &mut Vec<u8>) -> usize {
        let (content_type, body) = self.body(manner);
        let status = self.status();
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n",
            reason(status),
            body.len()
        );
        if let Some(date) = manner.date {
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(date.text());
            out.extend_from_slice(b"\r\n");
        }
        if let Some(seconds) = self.retry_after() {
            let _ = write!(out, "Retry-After: {seconds}\r\n");
        }
        if let Self::Denied(denial) = self
            && let Some(challenge) = denial.challenge()
        {
            let _ = write!(out, "WWW-Authenticate: {challenge}\r\n");
        }
        match (status, manner.close) {
            // Which protocol would be needed (RFC 9110 §15.5.22).
            (426, true) => out.extend_from_slice(b"Upgrade: websocket\r\nConnection: upgrade, close\r\n"),
            (426, false) => out.extend_from_slice(b"Upgrade: websocket\r\nConnection: upgrade\r\n"),
            (_, true) => out.extend_from_slice(b"Connection: close\r\n"),
            (_, false) => {}
        }
        out.extend_from_slice(b"\r\n");
        if manner.head_only {
            return 0;
        }
        out.extend_from_slice(body.as_bytes());
        body.len()
    }

    fn retry_after(self) -> Option<u64> {
        match self {
            Self::ModuleStarting => Some(u64::from(page::RETRY_AFTER_MS / 1000)),
            Self::Denied(Denial::TooManyFailures { retry_after_s }) => Some(retry_after_s),
            Self::Denied(Denial::Unavailable) => Some(1),
            Self::HubDown | Self::Busy | Self::AuthUnavailable => Some(1),
            Self::TooManyWebSockets => Some(10),
            _ => None,
        }
    }

    fn body(self, manner: Manner<'_>) -> (&'static str, String) {
        const HTML: &str = "text/html; charset=utf-8";
        const JSON: &str = "application/json";
        let module = manner.module.unwrap_or_default();
        if let (Self::Denied(denial), Some(path)) = (self, manner.page) {
            return (HTML, page::denied(denial, &self.description(manner), path));
        }
        match (self, manner.html) {
            (Self::ModuleStarting, true) => (HTML, page::starting(module)),
            (Self::ModuleUnreachable, true) => (HTML, page::unreachable(module)),
            (_, true) if manner.module.is_some() => {
                (HTML, page::failed(module, reason(self.status()), &self.description(manner)))
            }
            _ => {
                let mut body = json!({ "error": self.code(), "error_description": self.description(manner) });
                let about_unreachable =
                    json!({ "error_type": self.code(), "service": module, "admin_url": "/admin/modules" });
                let more = match self {
                    Self::ModuleStarting => json!({
                        "error_type": self.code(),
                        "service": module,
                        "retry_after_ms": page::RETRY_AFTER_MS,
                        "max_attempts": page::MAX_ATTEMPTS,
                    }),
                    Self::ModuleUnreachable => about_unreachable,
                    Self::UpstreamUnreachable if manner.module.is_some() => about_unreachable,
                    Self::UpstreamTimeout if manner.module.is_some() => {
                        json!({ "error_type": self.code(), "service": module })
                    }
                    _ => json!({}),
                };
                if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
                    body.extend(more);
                }
                (JSON, body.to_string())
            }
        }
    }
}

/// How an answer is to be given.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner<'a> {
    /// The request was a HEAD.
    pub(crate) head_only: bool,
    pub(crate) close: bool,
    /// When it is given; `None`: there is no clock.
    pub(crate) date: Option<Date>,
    /// The caller would rather read a page than JSON.
    pub(crate) html: bool,
    /// Which module the answer is about.
    pub(crate) module: Option<&'a str>,
    /// The path of somebody who may not see it and would rather read a page than JSON.
    pub(crate) page: Option<&'a str>,
    /// What the token lacks for it.
    pub(crate) lacks: Option<&'a str>,
}

impl Manner<'_> {
    /// For requests that have not been understood.
    pub(crate) fn closing(date: Option<Date>) -> Self {
        Self { close: true, date, ..Self::default() }
    }
}

/// Whether a page is wanted (http-api §10): by everybody, but for those who ask for JSON and not for HTML.
pub(crate) fn wants_html(fields: &Fields<'_>) -> bool {
    let mut accepts = fields.all("accept").flat_map(head::words).peekable();
    if accepts.peek().is_none() {
        return true;
    }
    let types: Vec<&[u8]> =
        accepts.map(|range| range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()).collect();
    let accepts = |wanted: &[u8]| types.iter().any(|range| range.eq_ignore_ascii_case(wanted));
    accepts(b"text/html") || (accepts(b"*/*") && !accepts(b"application/json"))
}

/// The reason phrases of the statuses above (RFC 9110 §15).
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_a_reason_and_a_body_of_its_length() {
        for answer in [
            Answer::BadHead(BadHead::TooLarge),
            Answer::BadHead(BadHead::Version),
            Answer::BadHead(BadHead::Host),
            Answer::BadFraming(BadFraming::Length),
            Answer::BadPath(BadPath::Nul),
            Answer::Expectation,
            Answer::SlowRequest,
            Answer::BodyTooLarge { limit_bytes: 1 },
            Answer::ForeignHost(Some("evil.example")),
            Answer::UpstreamUnreachable,
            Answer::HubDown,
            Answer::Busy,
            Answer::UpstreamTimeout,
            Answer::ModuleStarting,
            Answer::ModuleUnreachable,
            Answer::NoWebSocket,
            Answer::ForeignPage,
            Answer::TooManyWebSockets,
            Answer::Denied(Denial::Unauthenticated),
            Answer::Denied(Denial::InsufficientScope),
            Answer::Denied(Denial::NotAdmin),
            Answer::Denied(Denial::OriginRequired),
            Answer::Denied(Denial::OriginMismatch),
            Answer::Denied(Denial::TooManyFailures { retry_after_s: 7 }),
            Answer::Denied(Denial::Unavailable),
        ] {
            let mut out = Vec::new();
            answer.write(Manner { close: true, module: Some("wiki"), ..Manner::default() }, &mut out);
            let text = String::from_utf8(out).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(!head.contains(" Error\r\n"), "{head}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).expect("json");
            assert!(body["error"].is_string() && body["error_description"].is_string(), "{body}");
        }
    }

    #[test]
    fn a_foreign_host_is_told_how_to_become_known() {
        let mut out = Vec::new();
        Answer::ForeignHost(Some("evil.example")).write(Manner::default(), &mut out);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("PARACHUTE_ALLOWED_HOSTS") && text.contains("evil.example"), "{text}");
    }

    #[test]
    fn a_head_request_gets_no_body() {
        let mut out = Vec::new();
        Answer::HubDown.write(Manner { head_only: true, ..Manner::default() }, &mut out);
        assert!(out.ends_with(b"\r\n\r\n"));
    }

    fn answered(answer: Answer<'_>, html: bool) -> (String, String) {
        let mut out = Vec::new();
        answer.write(Manner { html, module: Some("wi<ki"), ..Manner::default() }, &mut out);
        let text = String::from_utf8(out).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn a_module_that_does_not_answer_is_told_in_both_languages() {
        let (head, body) = answered(Answer::ModuleStarting, false);
        assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\nRetry-After: 2"), "{head}");
        let body: Value = serde_json::from_str(&body).expect("json");
        for (field, value) in [
            ("error", json!("upstream_starting")),
            ("error_type", json!("upstream_starting")),
            ("service", json!("wi<ki")),
            ("retry_after_ms", json!(2000)),
            ("max_attempts", json!(5)),
        ] {
            assert_eq!(body[field], value, "{body}");
        }
        for answer in [Answer::ModuleUnreachable, Answer::UpstreamUnreachable] {
            let (head, body) = answered(answer, false);
            assert!(head.starts_with("HTTP/1.1 502 ") && !head.contains("Retry-After"), "{head}");
            let body: Value = serde_json::from_str(&body).expect("json");
            assert_eq!(
                (&body["error_type"], &body["admin_url"]),
                (&json!("upstream_unreachable"), &json!("/admin/modules"))
            );
        }
        for answer in [Answer::UpstreamUnreachable, Answer::UpstreamTimeout] {
            let body: Value = serde_json::from_str(&answered(answer, false).1).expect("json");
            assert_eq!((&body["error_type"], &body["service"]), (&body["error"], &json!("wi<ki")));
        }
        for answer in [
            Answer::ModuleStarting,
            Answer::ModuleUnreachable,
            Answer::UpstreamUnreachable,
            Answer::UpstreamTimeout,
            Answer::Busy,
            Answer::BodyTooLarge { limit_bytes: 1 },
        ] {
            let (head, body) = answered(answer, true);
            assert!(head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"), "{head}");
            assert!(head.contains("\r\nCache-Control: no-store\r\n") && body.contains("wi&lt;ki"), "{head}\n{body}");
        }
        let mut out = Vec::new();
        Answer::HubDown.write(Manner { html: true, ..Manner::default() }, &mut out);
        assert!(out.ends_with(b"}"), "what is about no module is for programs");
    }

    #[test]
    fn who_asks_for_json_and_not_for_html_gets_json() {
        for (accept, expected) in [
            ("", true),
            ("Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n", true),
            ("Accept: */*\r\n", true),
            ("Accept: TEXT/HTML;q=0.1, application/json\r\n", true),
            ("Accept: application/json\r\n", false),
            ("Accept: application/json, */*\r\n", false),
            ("Accept: image/png\r\n", false),
            ("Accept: application/json\r\nAccept: text/html\r\n", true),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{accept}\r\n");
            let request = head::request(text.as_bytes()).expect("a good head");
            assert_eq!(wants_html(&request.fields), expected, "{accept:?}");
        }
    }
}
