//! Pure: a request as plain data, from the text of its head.

use super::sender::Sender;
use crate::manifest::Short;
use crate::ops::auth::Caller;
use crate::token::from_authorization;
use std::fmt;

/// Longest request target that a route of ours can need, in bytes.
const TARGET_LIMIT_BYTES: usize = 4096;
/// More pairs than any route knows parameters; the rest of a query is noise.
const QUERY_LIMIT_PAIRS: usize = 32;

/// The cookie of a browser that was let in. The edge gives none whose name begins like this to modules.
pub(super) const SESSION_COOKIE: &str = "parachute_hub_session";

/// The methods that routes name; every other one is `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Options,
    Other,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 §9.1).
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }
}

/// What came behind the head, as far as it was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Body {
    /// `is_cut`: there was more than these bytes.
    pub(crate) fn new(bytes: Vec<u8>, is_cut: bool) -> Self {
        Self { bytes, is_cut }
    }

    /// All of it; `None` when it was longer than what is kept of any.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        (!self.is_cut).then_some(&self.bytes)
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Req {
    pub(crate) method: Method,
    /// As sent, without the query; not decoded.
    pub(crate) path: String,
    /// As sent, with its question mark; empty when there is none.
    pub(crate) raw_query: String,
    /// Decoded, in the order sent.
    query: Vec<(String, String)>,
    /// The pattern of the route, for the log: what stands in the place of a placeholder may be a secret. Empty before one
    /// was found.
    pub(crate) route: &'static str,
    /// What the route's placeholders matched, decoded.
    pub(crate) params: Vec<String>,
    /// The token of the one `Authorization: Bearer` header. Empty when the header is there and is not of that form.
    pub(crate) bearer: Option<String>,
    /// The browser's session, from its one cookie of that name; empty when there are several.
    pub(crate) session: Option<String>,
    /// The edge's number of this exchange (`X-Parachute-Exchange`).
    pub(crate) exchange: Option<u64>,
    pub(crate) sender: Sender,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Body,
    /// Who asks, on routes that need a token.
    pub(crate) caller: Option<Caller>,
    /// Which module asks, on routes that need a module's key.
    pub(crate) module: Option<Short>,
}

/// Why a head makes no request; all of them are a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRequest {
    TargetTooLong,
    /// The target is not a path.
    NotAPath,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8 once decoded.
    Encoding,
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetTooLong => write!(f, "the request target is longer than {TARGET_LIMIT_BYTES} bytes"),
            Self::NotAPath => f.write_str("the request target is not a path that starts with a slash"),
            Self::Encoding => f.write_str("the request target holds malformed percent-encoding"),
        }
    }
}

impl Req {
    /// From the request line and the headers.
    pub(crate) fn from_head<'a>(
        method: &str,
        target: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BadRequest> {
        if target.len() > TARGET_LIMIT_BYTES {
            return Err(BadRequest::TargetTooLong);
        }
        if !target.starts_with('/') {
            return Err(BadRequest::NotAPath);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut req = Self {
            method: Method::parse(method),
            path: path.to_owned(),
            raw_query: target.get(path.len()..).unwrap_or_default().to_owned(),
            query: parse_query(query)?,
            route: "",
            params: Vec::new(),
            bearer: None,
            session: None,
            exchange: None,
            sender: Sender::default(),
            content_type: None,
            body: Body::default(),
            caller: None,
            module: None,
        };
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("authorization") {
                // A second header makes it unclear who is asking; an empty token is nobody's.
                req.bearer = Some(match req.bearer {
                    None => from_authorization(value).unwrap_or_default().to_owned(),
                    Some(_) => String::new(),
                });
            } else if name.eq_ignore_ascii_case("cookie") {
                read_session(value, &mut req.session);
            } else if name.eq_ignore_ascii_case("x-parachute-exchange") {
                req.exchange = value.parse().ok();
            } else if name.eq_ignore_ascii_case("content-type") {
                req.content_type = Some(value.to_owned());
            } else {
                req.sender.read(name, value);
            }
        }
        Ok(req)
    }

    /// The first value of a query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is switched on: `1`, `true`, or the bare name.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.query(name), Some("" | "1" | "true"))
    }

    /// A parameter as a plain decimal number; `Ok(None)` when it is not there.
    pub(crate) fn number(&self, name: &'static str, at_most: u64) -> Result<Option<u64>, BadNumber> {
        let Some(text) = self.query(name) else { return Ok(None) };
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(value) if plain && value <= at_most => Ok(Some(value)),
            _ => Err(BadNumber { name, at_most }),
        }
    }
}

/// Takes the browser's session from the value of a `Cookie` field; of several none counts, and what is there is empty.
pub(crate) fn read_session(cookies: &str, session: &mut Option<String>) {
    for value in cookies.split(';').filter_map(|pair| pair.trim().strip_prefix(SESSION_COOKIE)?.strip_prefix('=')) {
        *session = Some(if session.is_none() { value.to_owned() } else { String::new() });
    }
}

/// A query parameter that is not a number in its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadNumber {
    name: &'static str,
    at_most: u64,
}

impl fmt::Display for BadNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter {:?} must be a decimal number of at most {}", self.name, self.at_most)
    }
}

/// Whether a comma separated header value has this word.
pub(super) fn lists_token(value: &str, word: &str) -> bool {
    value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word))
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>, BadRequest> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .take(QUERY_LIMIT_PAIRS)
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_decode(&text.replace('+', " ")).ok_or(BadRequest::Encoding);
            Ok((decode(key)?, decode(value)?))
        })
        .collect()
}

/// `None` when a `%` is not followed by two hexadecimal digits, or the result holds NUL or is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    let digit =
        |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { digit(bytes.next())? << 4 | digit(bytes.next())? } else { byte });
    }
    String::from_utf8(decoded).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str) -> Result<Req, BadRequest> {
        Req::from_head("GET", target, std::iter::empty())
    }

    #[test]
    fn a_query_is_split_and_decoded() {
        for (target, name, expected) in [
            ("/x", "a", None),
            ("/x?", "a", None),
            ("/x?a=1", "a", Some("1")),
            ("/x?a=1&a=2", "a", Some("1")),
            ("/x?b&a", "a", Some("")),
            ("/x?&&a=1&", "a", Some("1")),
            ("/x?a=b=c", "a", Some("b=c")),
            ("/x?a=1%202+3", "a", Some("1 2 3")),
            ("/x?%61=z", "a", Some("z")),
            ("/x?a=%C3%A9", "a", Some("é")),
        ] {
            assert_eq!(get(target).expect("valid").query(name), expected, "{target}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        let long = format!("/{}", "a".repeat(TARGET_LIMIT_BYTES));
        for (target, expected) in [
            ("/x?a=%", BadRequest::Encoding),
            ("/x?a=%2", BadRequest::Encoding),
            ("/x?a=%zz", BadRequest::Encoding),
            ("/x?a=%+1", BadRequest::Encoding),
            ("/x?a=%ff", BadRequest::Encoding),
            ("/x?a=%00", BadRequest::Encoding),
            ("x", BadRequest::NotAPath),
            ("*", BadRequest::NotAPath),
            ("http://h/x", BadRequest::NotAPath),
            (&long, BadRequest::TargetTooLong),
        ] {
            assert_eq!(get(target), Err(expected), "{}", target.get(..20).unwrap_or(target));
        }
    }

    #[test]
    fn a_number_is_plain_decimal_and_in_range() {
        for (target, expected) in [
            ("/x", Some(None)),
            ("/x?n=0", Some(Some(0))),
            ("/x?n=60", Some(Some(60))),
            ("/x?n=61", None),
            ("/x?n=", None),
            ("/x?n=+1", None),
            ("/x?n=%2B1", None),
            ("/x?n=-1", None),
            ("/x?n=1e1", None),
            ("/x?n=99999999999999999999", None),
        ] {
            assert_eq!(get(target).expect("valid").number("n", 60).ok(), expected, "{target}");
        }
    }

    #[test]
    fn a_flag_is_1_true_or_the_bare_name() {
        for (target, expected) in [
            ("/x", false),
            ("/x?f", true),
            ("/x?f=1", true),
            ("/x?f=true", true),
            ("/x?f=0", false),
            ("/x?f=no", false),
        ] {
            assert_eq!(get(target).expect("valid").flag("f"), expected, "{target}");
        }
    }

    #[test]
    fn a_bearer_token_is_taken_only_from_one_well_formed_header() {
        for (headers, expected) in [
            (&[][..], None),
            (&["Bearer abc"], Some("abc")),
            (&["bEARER   abc"], Some("abc")),
            (&["Bearer"], Some("")),
            (&["Bearer "], Some("")),
            (&["Basic abc"], Some("")),
            (&["Bearer a b"], Some("")),
            (&["Bearer abc "], Some("")),
            (&["Bearer\tabc"], Some("")),
            (&["Bearer abc", "Bearer abc"], Some("")),
            (&["Bearer a", "Bearer b", "Bearer c"], Some("")),
        ] {
            let req = Req::from_head("GET", "/", headers.iter().map(|value| ("Authorization", *value))).expect("valid");
            assert_eq!(req.bearer.as_deref(), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_session_is_taken_from_one_cookie() {
        for (cookies, expected) in [
            (&[][..], None),
            (&["parachute_hub_session=abc"], Some("abc")),
            (&["a=1; parachute_hub_session=abc;b=2"], Some("abc")),
            (&["parachute_hub_session="], Some("")),
            (&["parachute_hub_sessions=abc; xparachute_hub_session=abc; parachute_hub_session"], None),
            (&["parachute_hub_session=abc; parachute_hub_session=abc"], Some("")),
            (&["parachute_hub_session=abc", "parachute_hub_session=abc"], Some("")),
        ] {
            let req = Req::from_head("GET", "/", cookies.iter().map(|value| ("Cookie", *value))).expect("valid");
            assert_eq!(req.session.as_deref(), expected, "{cookies:?}");
        }
    }

    #[test]
    fn the_exchange_is_read_from_its_header() {
        for (value, expected) in [("42", Some(42)), ("", None), ("x", None)] {
            let req = Req::from_head("HEAD", "/", [("X-Parachute-Exchange", value)].into_iter()).expect("valid");
            assert_eq!((req.method, req.exchange), (Method::Head, expected), "{value:?}");
        }
    }

    #[test]
    fn a_word_is_found_in_a_list_whatever_its_case() {
        for (value, expected) in [("close", true), ("x, Close", true), ("closed", false), ("", false)] {
            assert_eq!(lists_token(value, "close"), expected, "{value:?}");
        }
    }
}
