//! A browser's way in: whoever can show the operator's token gets a code for it, and the browser with the code a
//! session of ten minutes, which ends with that token.

use super::auth::{Authority, Caller, Reason, Refusal, random_name};
use super::discovery::Asked;
use super::{Hub, lock};
use crate::stamp;
use crate::token::sha256;
use crate::wire::login::OpenReply;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::auth::logins::CODE_LIFE;
pub(crate) use super::auth::logins::SESSION_LIFE;

/// Where a browser brings its code. No module can have this path.
pub(crate) const LOGIN_PATH: &str = "/admin/login";
/// What codes and sessions have the length of: 32 bytes in base64url.
const SECRET_CHARS: usize = 43;
/// Of the path that a browser is sent to, so that it is whole in an answer's head.
const PATH_LIMIT_BYTES: usize = 2048;

/// A browser that was let in.
pub(crate) struct Session {
    /// The cookie's value; nobody else has it.
    pub(crate) secret: String,
    /// It came over https, so that the cookie is for that alone.
    pub(crate) is_secure: bool,
    /// Where the browser is to go now.
    pub(crate) path: String,
}

/// Why a browser was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLogin {
    /// The code was used, has expired, or is none.
    BadCode,
    /// Not under this name, or not from there.
    Elsewhere,
    TooManyFailures {
        retry_after: Duration,
    },
}

impl Hub {
    /// An address that lets one browser in, within a minute: under the origin that we were given, else on this machine. It
    /// leads to the page at `path`, or to ours; `None` when there can be no such page.
    pub(crate) fn open_login(&self, caller: &Caller, path: Option<&str>, here: bool) -> Option<OpenReply> {
        let path = path.unwrap_or("/");
        if !is_page(path) {
            return None;
        }
        let code = random_name::<32>();
        lock(&self.logins).issue(sha256(code.as_bytes()), caller.clone(), path, Instant::now());
        let origins = self.parts.authority.origins();
        let origin = origins.given.first().filter(|_| !here).map_or(origins.own(), String::as_str);
        let until = SystemTime::now() + CODE_LIFE;
        Some(OpenReply { url: format!("{origin}{LOGIN_PATH}?code={code}"), expires_at: stamp::iso(until) })
    }

    /// Lets the browser in that brings a code: on this machine under its own name, or from anywhere under an origin
    /// that we were given. `from` is who is held to account for bad codes.
    pub(crate) fn login(
        &self,
        code: &str,
        asked: Asked<'_>,
        is_here: bool,
        from: Option<IpAddr>,
    ) -> Result<Session, NoLogin> {
        let origins = self.parts.authority.origins();
        let given = asked.host.and_then(|host| origins.given_at(host));
        let is_secure = match given {
            Some(origin) => origin.starts_with("https://"),
            None if is_here && asked.is_by_loopback_name() => false,
            None => return Err(NoLogin::Elsewhere),
        };
        let now = Instant::now();
        if let Some(retry_after) = from.and_then(|from| lock(&self.failures).wait(from, now)) {
            return Err(NoLogin::TooManyFailures { retry_after });
        }
        let session = random_name::<32>();
        let hash = sha256(session.as_bytes());
        let is_code = code.len() == SECRET_CHARS;
        let redeemed = lock(&self.logins).redeem(&sha256(code.as_bytes()), hash, now).filter(|_| is_code);
        let Some((caller, path)) = redeemed else {
            if let Some(from) = from {
                lock(&self.failures).record(from, now);
            }
            return Err(NoLogin::BadCode);
        };
        (self.parts.log)(&format!("a browser was let in for ten minutes, for the token with jti {}", caller.jti()));
        Ok(Session { secret: session, is_secure, path })
    }

    /// Whether the browser with this session may do what takes one of `scopes`; as for a bearer, none is any.
    pub(crate) fn authorize_session(&self, session: &str, scopes: &[&'static str]) -> Result<Caller, Refusal> {
        let known = (session.len() == SECRET_CHARS)
            .then(|| lock(&self.logins).whose(&sha256(session.as_bytes()), Instant::now()))
            .flatten();
        let over = || Refusal::Unauthenticated { reason: Reason::Session, jti: None };
        let caller = known.ok_or_else(over)?;
        let authority: &Authority = &self.parts.authority;
        if !authority.is_in_force(&caller)? {
            return Err(over());
        }
        match scopes.first() {
            Some(first) if !scopes.iter().any(|scope| caller.scopes.contains(scope)) => {
                Err(Refusal::InsufficientScope { required: (*first).to_owned(), jti: caller.jti().to_owned() })
            }
            _ => Ok(caller),
        }
    }

    pub(crate) fn logout(&self, session: &str) {
        lock(&self.logins).end(&sha256(session.as_bytes()));
    }
}

/// Whether a browser that is sent there stays with us, whatever it makes of a path.
fn is_page(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    path.len() <= PATH_LIMIT_BYTES && path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_a_page_of_ours_alone() {
        let long = format!("/{}", "a".repeat(PATH_LIMIT_BYTES));
        for (path, expected) in [
            ("/", true),
            ("/wiki/app?a=b&c#d", true),
            ("/%0d%0a", true),
            ("/a//b", true),
            ("", false),
            ("wiki", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("\\\\evil.example", false),
            ("https://evil.example", false),
            ("/a b", false),
            ("/\t/evil.example", false),
            ("/a\r\nSet-Cookie: a=b", false),
            ("/caf\u{e9}", false),
            (&long, false),
        ] {
            assert_eq!(is_page(path), expected, "{path:?}");
        }
    }
}
