//! Pure: an answer as plain data, and its bytes.

use crate::ops::OpError;
use crate::stamp::http_date;
use crate::wire::{Code, ErrorBody};
use serde::Serialize;
use serde_json::json;
use std::io::{self, Write};
use std::time::SystemTime;

use super::waiters::Waiting;

/// Seconds after which a refused client may try again.
const RETRY_AFTER_SECONDS: &str = "1";

/// A whole answer. Its length is known, so it always goes out with `Content-Length`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    /// Beside those that every answer has.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// A handler's work that takes its time; it runs on a thread of its own.
pub(crate) type Work = Box<dyn FnOnce(&Waiting) -> Reply + Send>;

/// Sends the pieces of a stream, each flushed to the client at once. An error of the sender means that the client has
/// gone and the work may end.
pub(crate) type Streaming = Box<dyn FnOnce(&Waiting, &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> + Send>;

/// What a handler makes of a request.
pub(crate) enum Outcome {
    Done(Reply),
    Later(Work),
    /// Plain text that goes on until the client, or the hub, has had enough.
    Stream(Streaming),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Done(reply)
    }
}

impl Reply {
    pub(crate) fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Self { status, content_type: "application/json", headers: Vec::new(), body }
            }
            // Our types are plain data with text keys, so this is for a type that is added without thinking of it.
            Err(_) => Self {
                status: 500,
                content_type: "application/json",
                headers: Vec::new(),
                body: br#"{"error":"internal_error","error_description":"the answer cannot be written as JSON"}"#
                    .to_vec(),
            },
        }
    }

    pub(crate) fn error(status: u16, code: Code, description: impl Into<String>) -> Self {
        Self::error_body(
            status,
            &ErrorBody {
                error: code.as_str().to_owned(),
                error_description: description.into(),
                error_detail: None,
                request_id: None,
                state: None,
            },
        )
    }

    fn error_body(status: u16, body: &ErrorBody) -> Self {
        let reply = Self::json(status, body);
        if status == 503 { reply.with_header("retry-after", RETRY_AFTER_SECONDS) } else { reply }
    }

    /// Every 401 reads the same; the reason is in the hub's log (operator-token B4).
    pub(crate) fn unauthenticated() -> Self {
        Self::error(
            401,
            Code::Unauthenticated,
            "this needs a valid token (Authorization: Bearer ...); the operator's is in operator.token in the hub's home, and \
             a module asks about tokens with its own key",
        )
        .with_header("www-authenticate", "Bearer error=\"invalid_token\"")
    }

    /// Too many of these at once.
    pub(crate) fn busy() -> Self {
        Self::error(503, Code::Busy, "too many requests are waiting already; try again")
    }

    /// A fault of ours; the number leads to the line in the hub's log.
    pub(crate) fn internal_error(request_id: String) -> Self {
        Self::error_body(
            500,
            &ErrorBody {
                error: Code::InternalError.as_str().to_owned(),
                error_description: "the hub failed while answering; its log says more under this request_id".to_owned(),
                error_detail: None,
                request_id: Some(request_id),
                state: None,
            },
        )
    }

    /// A failed operation. The start error is the detail, so that a failed start reads like one everywhere (http-api H5).
    pub(crate) fn op_error(error: &OpError) -> Self {
        let state = error.state();
        Self::error_body(
            op_status(error),
            &ErrorBody {
                error: error.code().as_str().to_owned(),
                error_description: error.to_string(),
                error_detail: state.and_then(|state| state.start_error.clone()),
                request_id: None,
                state: state.cloned(),
            },
        )
    }

    /// All is said by status and headers.
    pub(crate) fn no_content() -> Self {
        Self { status: 204, content_type: "", headers: Vec::new(), body: Vec::new() }
    }

    /// It is to be found there from now on.
    pub(crate) fn moved(location: String) -> Self {
        Self { status: 301, content_type: "text/plain; charset=utf-8", headers: Vec::new(), body: Vec::new() }
            .with_header("location", location)
    }

    /// It is done, and the result is to be got there.
    pub(crate) fn see_other(location: &str) -> Self {
        Self { status: 303, content_type: "text/plain; charset=utf-8", headers: Vec::new(), body: Vec::new() }
            .with_header("location", location)
    }

    /// Here is a vault, and its protocol is there (http-api §9.8). Unlike 301, this keeps method and body.
    pub(crate) fn missing_mcp_suffix(location: String, url: &str) -> Self {
        let message = "this is a vault; its protocol is spoken at the path that ends in /mcp";
        let body = json!({
            "error": "missing_mcp_suffix", "error_description": message, "message": message, "mcp_url": url
        });
        Self::json(308, &body).with_header("location", location)
    }

    /// There would be the first vault's protocol, and there is no vault (http-api §9.8).
    pub(crate) fn no_vault() -> Self {
        let message = "no vault is here that would answer at /mcp; see: parachute status";
        let body = json!({ "error": "vault_module_not_running", "error_description": message, "message": message });
        Self::json(404, &body)
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Writes head and body in one piece. `without_body` is for HEAD, whose length is that of the GET.
    pub(crate) fn write(&self, to: &mut dyn Write, without_body: bool, now: SystemTime) -> io::Result<()> {
        let mut bytes = head(self.status, now);
        if !self.headers.iter().any(|(name, _)| *name == "cache-control") {
            bytes.extend_from_slice(b"cache-control: no-store\r\n");
        }
        // A 204 has neither (RFC 9110 §8.6).
        if self.status != 204 {
            let (content_type, length) = (self.content_type, self.body.len());
            bytes.extend_from_slice(format!("content-type: {content_type}\r\ncontent-length: {length}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if !without_body {
            bytes.extend_from_slice(&self.body);
        }
        to.write_all(&bytes)?;
        to.flush()
    }
}

/// The head of a stream of text in chunks.
pub(crate) fn stream_head(now: SystemTime) -> Vec<u8> {
    let mut bytes = head(200, now);
    bytes.extend_from_slice(
        b"cache-control: no-store\r\ncontent-type: text/plain; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    bytes
}

/// Status line and the headers that every answer has; the empty line is still to come.
fn head(status: u16, now: SystemTime) -> Vec<u8> {
    let (date, reason) = (http_date(now), reason(status));
    format!("HTTP/1.1 {status} {reason}\r\ndate: {date}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n")
        .into_bytes()
}

/// The status of a failed operation (http-api §6).
///
/// A module that does not start is a 409: the request was fine, the hub is fine, and the same request works once what
/// `error_detail` names is put right. A 5xx would make clients and proxies retry it, or take the hub for broken.
fn op_status(error: &OpError) -> u16 {
    match error {
        OpError::NotInstalled { .. } => 400,
        OpError::NotSupervised { .. } => 404,
        OpError::StartFailed { .. } | OpError::Superseded { .. } => 409,
        OpError::InvalidRow { .. } | OpError::NoStartCommand { .. } => 422,
        OpError::Manifest { source, .. } | OpError::Services { source } if source.is_invalid() => 422,
        OpError::StopTimeout { .. } | OpError::Manifest { .. } | OpError::Services { .. } => 500,
        OpError::ShuttingDown => 503,
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        303 => "See Other",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn an_answer_has_its_length_and_is_not_kept_or_sniffed() {
        for (without_body, body) in [(false, "hello"), (true, "")] {
            let reply = Reply { status: 404, content_type: "text/x", headers: Vec::new(), body: b"hello".to_vec() }
                .with_header("allow", "GET");
            let mut bytes = Vec::new();
            reply.write(&mut bytes, without_body, UNIX_EPOCH).expect("a Vec takes everything");
            assert_eq!(
                String::from_utf8_lossy(&bytes),
                format!(
                    "HTTP/1.1 404 Not Found\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nx-content-type-options: nosniff\r\n\
                     connection: close\r\ncache-control: no-store\r\ncontent-type: text/x\r\n\
                     content-length: 5\r\nallow: GET\r\n\r\n{body}"
                )
            );
        }
    }

    #[test]
    fn an_answer_without_content_has_no_length() {
        let mut bytes = Vec::new();
        Reply::no_content().write(&mut bytes, false, UNIX_EPOCH).expect("a Vec takes everything");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("HTTP/1.1 204 No Content\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(!text.contains("content-length") && !text.contains("content-type:"), "{text}");
    }

    #[test]
    fn errors_are_json_and_a_503_says_when_to_come_back() {
        let busy = Reply::busy();
        assert_eq!(busy.headers, [("retry-after", "1".to_owned())]);
        assert_eq!(
            String::from_utf8_lossy(&busy.body),
            "{\"error\":\"busy\",\"error_description\":\"too many requests are waiting already; try again\"}\n"
        );
        let internal = Reply::internal_error("r1".to_owned());
        assert!(String::from_utf8_lossy(&internal.body).ends_with(",\"request_id\":\"r1\"}\n"), "{internal:?}");
    }
}
