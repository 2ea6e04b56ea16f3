//! Pure: bytes to a checked head. The only place that names `httparse`, and stricter than it: whatever two readers
//! could take for two different messages is refused (RFC 9112 §2.2, §5, §11.2).

#[cfg(test)]
mod tests;

use crate::sys::memchr::memchr;
use std::fmt;
use std::mem::MaybeUninit;

/// A request line and its fields, with the empty line. What browsers and our own tools send stays below 8 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Browsers send about 20 fields and proxies add a few.
pub(crate) const MAX_FIELDS: usize = 64;
/// The longest registered method has 17 letters.
const MAX_METHOD_BYTES: usize = 24;

/// One header field. The name is a token, the value has no surrounding space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a [u8],
}

impl Field<'_> {
    pub(crate) fn is(&self, name: &str) -> bool {
        // Asked some hundred times for every request, and most names differ in their length.
        self.name.len() == name.len() && is_same(self.name, name)
    }
}

/// Apart, so that the look at the lengths has no call in it.
#[inline(never)]
fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The fields of a head, in the order in which they came.
pub(crate) struct Fields<'a> {
    list: Vec<Field<'a>>,
    lengths: Lengths,
}

impl<'a> Fields<'a> {
    fn new(parsed: &[httparse::Header<'a>]) -> Self {
        let mut lengths = Lengths::NONE;
        let field = |header: &httparse::Header<'a>| {
            lengths = lengths.and(header.name);
            Field { name: header.name, value: header.value }
        };
        Self { list: parsed.iter().map(field).collect(), lengths }
    }

    /// Those of them that `is_kept` says.
    pub(crate) fn filtered(&self, is_kept: impl Fn(Field<'a>) -> bool) -> Self {
        Self { list: self.iter().filter(|field| is_kept(*field)).collect(), lengths: self.lengths }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'a>> + Clone + '_ {
        self.list.iter().copied()
    }

    /// The values of every field called `name`.
    pub(crate) fn all<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'a [u8]> + 's {
        // Most of what is asked for is not there at all.
        let list = if self.lengths.has_that_of(name) { self.list.as_slice() } else { &[] };
        list.iter().filter(move |field| field.is(name)).map(|field| field.value)
    }

    pub(crate) fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// Whether the comma-separated list in the fields called `name` holds `word`.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name).any(|value| words(value).any(|w| w.eq_ignore_ascii_case(word.as_bytes())))
    }
}

/// The lengths of some names, a bit for each up to 63 bytes: most other names are told from all of them by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths(u64);

impl Lengths {
    pub(crate) const NONE: Self = Self(0);

    /// With that of `name`. Longer names count as none; they are compared with nothing that is asked for.
    #[must_use]
    pub(crate) const fn and(self, name: &str) -> Self {
        if name.len() < 64 { Self(self.0 | 1 << name.len()) } else { self }
    }

    pub(crate) const fn has_that_of(self, name: &str) -> bool {
        name.len() < 64 && (self.0 >> name.len()) & 1 == 1
    }
}

/// The members of a comma-separated list, without the space around them.
pub(crate) fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// A request's head. `target` is as it was sent, apart from an absolute form, which has become a path.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) version: Version,
    /// Only an HTTP/1.0 request can be without.
    pub(crate) host: Option<Host<'a>>,
    pub(crate) fields: Fields<'a>,
}

/// A host field: a name or an address, and perhaps a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Host<'a> {
    /// As it was sent.
    pub(crate) text: &'a str,
    /// As [`host_name`] has it.
    pub(crate) name: &'a str,
}

/// An answer's head.
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) version: Version,
    pub(crate) fields: Fields<'a>,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHead {
    TooLarge,
    TooManyFields,
    BareLineEnd,
    RequestLine,
    StatusLine,
    Version,
    Method,
    FieldName,
    FieldValue,
    MissingHost,
    SeveralHosts,
    Host,
    Target,
    /// `GET http://a/ HTTP/1.1` with `Host: b`.
    TargetIsNotHost,
}

impl BadHead {
    /// The status of the answer (RFC 9110 §15.5, RFC 6585 §5).
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyFields => 431,
            Self::Version => 505,
            _ => 400,
        }
    }
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the head is larger than {MAX_HEAD_BYTES} bytes"),
            Self::TooManyFields => write!(f, "the head has more than {MAX_FIELDS} fields"),
            Self::BareLineEnd => f.write_str("a line does not end with CR LF"),
            Self::RequestLine => f.write_str("the first line is not a method, a target and a version"),
            Self::StatusLine => f.write_str("the first line is not a version and a status"),
            Self::Version => f.write_str("the version is neither HTTP/1.0 nor HTTP/1.1"),
            Self::Method => f.write_str("the method is not a plain word, or is CONNECT"),
            Self::FieldName => f.write_str("a field's name is not a token followed by a colon"),
            Self::FieldValue => f.write_str("a field's value has a control character or goes on in the next line"),
            Self::MissingHost => f.write_str("the host field is missing"),
            Self::SeveralHosts => f.write_str("there is more than one host field"),
            Self::Host => f.write_str("the host field is not a name or an address with an optional port"),
            Self::Target => f.write_str("the target is neither a path nor an http URL"),
            Self::TargetIsNotHost => f.write_str("the target names another host than the host field"),
        }
    }
}

/// Whether an answer may begin with these bytes. Who speaks another protocol may never come to the end of a head.
pub(crate) fn may_begin_answer(bytes: &[u8]) -> bool {
    bytes.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected)
}

/// Whether a request that begins like this is a HEAD, whatever else may be wrong with it: no content follows the answer
/// (RFC 9110 §9.3.2).
pub(crate) fn is_of_head_request(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HEAD ")
}

/// Where the head ends, the empty line included; `None` while it is not complete. `scanned` keeps the place between
/// calls with more of the same bytes. A line that ends with LF alone is refused at once.
pub(crate) fn end(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, BadHead> {
    // Nothing behind the limit makes a difference, so that it does not matter how much is there already.
    let bytes = bytes.get(..MAX_HEAD_BYTES).unwrap_or(bytes);
    let mut rest = bytes.get(*scanned..).unwrap_or_default();
    while let Some(offset) = memchr(b'\n', rest) {
        let at = *scanned + offset;
        *scanned = at + 1;
        match bytes.get(..at).unwrap_or_default() {
            [.., b'\r', b'\n', b'\r'] | [b'\r'] => return Ok(Some(*scanned)),
            [.., b'\r'] => {}
            _ => return Err(BadHead::BareLineEnd),
        }
        rest = rest.get(offset + 1..).unwrap_or_default();
    }
    *scanned = bytes.len();
    if *scanned >= MAX_HEAD_BYTES { Err(BadHead::TooLarge) } else { Ok(None) }
}

/// Reads a whole request head, as [`end`] has measured it.
pub(crate) fn request(bytes: &[u8]) -> Result<Request<'_>, BadHead> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(BadHead::RequestLine),
        Err(httparse::Error::Version) if !names_a_version(bytes) => return Err(BadHead::RequestLine),
        Err(error) => return Err(refused(error, BadHead::RequestLine)),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(BadHead::RequestLine);
    };
    // The parser skips empty lines in front; a line that is longer than its parts has something else in it.
    let line_bytes = bytes.iter().position(|byte| *byte == b'\r').unwrap_or_default();
    if line_bytes != method.len() + target.len() + " ".len() + " HTTP/1.1".len() {
        return Err(BadHead::RequestLine);
    }
    if method.len() > MAX_METHOD_BYTES || method == "CONNECT" {
        return Err(BadHead::Method);
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let fields = checked(parsed.headers)?;
    let host = host(&fields, version)?;
    let target = path_of(method, target, host.map(|host| host.text))?;
    Ok(Request { method, target, version, host, fields })
}

/// Reads a whole response head, as [`end`] has measured it.
pub(crate) fn response(bytes: &[u8]) -> Result<Response<'_>, BadHead> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(BadHead::StatusLine),
        Err(error) => return Err(refused(error, BadHead::StatusLine)),
    }
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else { return Err(BadHead::StatusLine) };
    if !(100..=599).contains(&status) || !bytes.starts_with(b"HTTP/1.") {
        return Err(BadHead::StatusLine);
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let fields = checked(parsed.headers)?;
    Ok(Response { status, reason: parsed.reason.unwrap_or_default(), version, fields })
}

/// Whether the first line is a request line of any version: what it asks for could be said in another one.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ').skip(2);
    let (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) = (parts.next(), parts.next()) else {
        return false;
    };
    major.is_ascii_digit() && minor.is_ascii_digit()
}

fn refused(error: httparse::Error, first_line: BadHead) -> BadHead {
    match error {
        httparse::Error::HeaderName => BadHead::FieldName,
        httparse::Error::HeaderValue => BadHead::FieldValue,
        httparse::Error::NewLine => BadHead::BareLineEnd,
        httparse::Error::TooManyHeaders => BadHead::TooManyFields,
        httparse::Error::Version => BadHead::Version,
        httparse::Error::Status | httparse::Error::Token => first_line,
    }
}

/// The parser has seen to it that no value has a control character other than tab, which the tests hold it to.
fn checked<'a>(headers: &[httparse::Header<'a>]) -> Result<Fields<'a>, BadHead> {
    if headers.iter().any(|header| header.name.is_empty()) {
        return Err(BadHead::FieldName);
    }
    Ok(Fields::new(headers))
}

fn host<'a>(fields: &Fields<'a>, version: Version) -> Result<Option<Host<'a>>, BadHead> {
    let mut values = fields.all("host");
    match (values.next(), values.next()) {
        (None, _) if version == Version::Http10 => Ok(None),
        (None, _) => Err(BadHead::MissingHost),
        (Some(_), Some(_)) => Err(BadHead::SeveralHosts),
        (Some(value), None) => {
            let text = std::str::from_utf8(value).map_err(|_| BadHead::Host)?;
            let name = host_name(text).ok_or(BadHead::Host)?;
            Ok(Some(Host { text, name }))
        }
    }
}

/// The name or address in a `host[:port]`, without port, brackets and trailing dot; `None` when it is neither.
pub(crate) fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, port)
        }
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let (name, port) = host.split_at(end);
            let name = name.strip_suffix('.').unwrap_or(name);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if name.is_empty() || name.len() > 253 || name.starts_with('.') || !name.bytes().all(plain) {
                return None;
            }
            (name, port)
        }
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Some(name),
        Some(digits) if crate::config::parse_port(digits).is_some() => Some(name),
        _ => None,
    }
}

/// The path and query of a target: it must be a path, `*` of OPTIONS, or a URL with the same host as the host field.
fn path_of<'a>(method: &str, target: &'a str, host: Option<&str>) -> Result<&'a str, BadHead> {
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(target);
    }
    let (scheme, rest) = target.split_once("://").ok_or(BadHead::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(BadHead::Target);
    }
    let authority_ends = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_ends);
    if !host.is_some_and(|host| host.eq_ignore_ascii_case(authority)) {
        return Err(BadHead::TargetIsNotHost);
    }
    match path {
        "" => Ok("/"),
        // Nobody sends a query without a path in front; it could not be passed on as a part of the same bytes.
        path if path.starts_with('?') => Err(BadHead::Target),
        path => Ok(path),
    }
}
