//! Pure: what the edge says itself.

use super::framing::BadFraming;
use super::head::BadHead;
use super::path::BadPath;
use super::relay::MAX_BODY_BYTES;
use serde_json::json;
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
    BodyTooLarge,
    ForeignHost(Option<&'a str>),
    /// The upstream hung up, or broke the protocol, before it had answered.
    UpstreamUnreachable,
    /// Nobody listens on the hub's socket.
    HubDown,
    /// Too many connections or exchanges at once.
    Busy,
    UpstreamTimeout,
}

impl Answer<'_> {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadHead(bad) => bad.status(),
            Self::BadFraming(_) | Self::BadPath(_) => 400,
            Self::Expectation => 417,
            Self::SlowRequest => 408,
            Self::BodyTooLarge => 413,
            Self::ForeignHost(_) => 421,
            Self::UpstreamUnreachable => 502,
            Self::HubDown | Self::Busy => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::BadHead(_) | Self::BadFraming(_) | Self::BadPath(_) | Self::Expectation => "invalid_request",
            Self::SlowRequest | Self::UpstreamTimeout => "request_timeout",
            Self::BodyTooLarge => "too_large",
            Self::ForeignHost(_) => "misdirected_request",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::HubDown => "service_unavailable",
            Self::Busy => "busy",
        }
    }

    fn description(self) -> String {
        match self {
            Self::BadHead(bad) => bad.to_string(),
            Self::BadFraming(bad) => bad.to_string(),
            Self::BadPath(bad) => bad.to_string(),
            Self::Expectation => "the expectation is not 100-continue".to_owned(),
            Self::SlowRequest => "the request did not arrive in time".to_owned(),
            Self::BodyTooLarge => format!("the request body is larger than {MAX_BODY_BYTES} bytes"),
            Self::ForeignHost(host) => format!(
                "this hub does not answer to the host {:?}; to allow it, add it to PARACHUTE_ALLOWED_HOSTS and restart the hub",
                host.unwrap_or_default()
            ),
            Self::UpstreamUnreachable => "the upstream ended the connection before it had answered".to_owned(),
            Self::HubDown => "the hub does not take requests now; try again, and see its log".to_owned(),
            Self::Busy => "too many requests at once; try again".to_owned(),
            Self::UpstreamTimeout => "the upstream did not answer in time".to_owned(),
        }
    }

    /// Appends the whole answer. `to_head`: the request was a HEAD, so only the head is sent.
    pub(crate) fn write(self, to_head: bool, close: bool, out: &mut Vec<u8>) {
        let body = json!({ "error": self.code(), "error_description": self.description() }).to_string();
        let status = self.status();
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n",
            reason(status),
            body.len()
        );
        if status == 503 {
            out.extend_from_slice(b"Retry-After: 1\r\n");
        }
        if close {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if !to_head {
            out.extend_from_slice(body.as_bytes());
        }
    }
}

/// The reason phrases of the statuses above (RFC 9110 §15).
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
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
            Answer::BodyTooLarge,
            Answer::ForeignHost(Some("evil.example")),
            Answer::UpstreamUnreachable,
            Answer::HubDown,
            Answer::Busy,
            Answer::UpstreamTimeout,
        ] {
            let mut out = Vec::new();
            answer.write(false, true, &mut out);
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
        Answer::ForeignHost(Some("evil.example")).write(false, false, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("PARACHUTE_ALLOWED_HOSTS") && text.contains("evil.example"), "{text}");
    }

    #[test]
    fn a_head_request_gets_no_body() {
        let mut out = Vec::new();
        Answer::HubDown.write(true, false, &mut out);
        assert!(out.ends_with(b"\r\n\r\n"));
    }
}
