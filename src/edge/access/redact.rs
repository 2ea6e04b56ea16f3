//! Pure: addresses without what looks like a secret in them.
//!
//! Rather a harmless value too many is hidden than a secret shown: names are looked at for parts of words, in whatever
//! encoding they come.

use std::borrow::Cow;

/// Stands in the place of a secret.
const HIDDEN: &[u8] = b"***";
/// A value is hidden whose name has one of these in it.
const SECRET_PARTS: [&[u8]; 17] = [
    b"assertion",
    b"auth",
    b"bearer",
    b"code",
    b"cookie",
    b"cred",
    b"jwt",
    b"key",
    b"otp",
    b"pass",
    b"pwd",
    b"secret",
    b"session",
    b"sig",
    b"ticket",
    b"token",
    b"verifier",
];
/// Or whose name is one of these.
const SECRET_NAMES: [&[u8]; 3] = [b"pin", b"pw", b"sid"];
/// The beginning of a JSON object in base64, and so of every JSON web token.
const TOKEN_START: &[u8] = b"eyJ";
/// An address inside an address inside an address is encoded so often.
const MAX_DECODINGS: usize = 3;

/// A path, or a URL, with the values of secret-looking names hidden, in its query and wherever else something has a
/// name; and without user and password.
pub(super) fn redacted(address: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(address.len());
    // What follows a fragment or a path parameter is a list of the same kind.
    let query_at = address.iter().position(|byte| matches!(byte, b'?' | b'#' | b';')).unwrap_or(address.len());
    let (path, query) = address.split_at(query_at);
    let path = without_user(path, &mut shown);
    push_parts(path, b'/', &mut shown);
    if let Some((separator, query)) = query.split_first() {
        shown.push(*separator);
        push_parts(query, b'&', &mut shown);
    }
    shown
}

/// Shows what is before the path of a URL; the rest of it is given back.
fn without_user<'a>(url: &'a [u8], shown: &mut Vec<u8>) -> &'a [u8] {
    let Some(scheme_end) = url.windows(3).position(|window| window == b"://").map(|at| at + 3) else { return url };
    let (scheme, rest) = url.split_at(scheme_end);
    let authority_end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    shown.extend_from_slice(scheme);
    match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) => {
            shown.extend_from_slice(HIDDEN);
            shown.extend_from_slice(authority.get(at..).unwrap_or_default());
        }
        None => shown.extend_from_slice(authority),
    }
    path
}

fn push_parts(list: &[u8], separator: u8, shown: &mut Vec<u8>) {
    for (number, part) in list.split(|byte| *byte == separator).enumerate() {
        if number > 0 {
            shown.push(separator);
        }
        let kept = kept_of(part);
        shown.extend_from_slice(part.get(..kept).unwrap_or(part));
        if kept < part.len() {
            shown.extend_from_slice(HIDDEN);
        }
    }
}

/// How much of `name=value` may be shown.
fn kept_of(part: &[u8]) -> usize {
    let value_at = part.iter().position(|byte| *byte == b'=').map(|at| at + 1);
    let (name, value) = part.split_at(value_at.unwrap_or_default());
    let (name, value) = (decoded(name).to_ascii_lowercase(), decoded(value));
    // A value that has names itself, such as an address or JSON, is not taken apart.
    let names_some = value.iter().any(|byte| *byte == b'=' || (*byte == b':' && value_at.is_some()));
    let is_hidden = is_secret(name.strip_suffix(b"=").unwrap_or(&name))
        || (names_some && has_secret_part(&value.to_ascii_lowercase()))
        || contains(&value, TOKEN_START);
    if is_hidden { value_at.unwrap_or_default() } else { part.len() }
}

fn is_secret(name: &[u8]) -> bool {
    has_secret_part(name) || SECRET_NAMES.contains(&name)
}

fn has_secret_part(text: &[u8]) -> bool {
    SECRET_PARTS.iter().any(|part| contains(text, part))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Without percent-encoding, however often it was applied. What is no encoding stays.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_DECODINGS {
        if !text.contains(&b'%') {
            break;
        }
        text = Cow::Owned(decoded_once(&text));
    }
    text
}

fn decoded_once(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        match (byte, digit(behind.first()), digit(behind.get(1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(*byte);
                rest = behind;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_however_they_are_written() {
        for (address, expected) in [
            ("", ""),
            ("/", "/"),
            ("/wiki/a?b=c&d", "/wiki/a?b=c&d"),
            ("/a?token=x", "/a?token=***"),
            ("/a?b=1&access_token=x&c=2", "/a?b=1&access_token=***&c=2"),
            ("/a?ACCESS_TOKEN=x", "/a?ACCESS_TOKEN=***"),
            ("/a?%74oken=x", "/a?%74oken=***"),
            ("/a?%2574oken=x", "/a?%2574oken=***"),
            ("/a?tok%zzen=x", "/a?tok%zzen=x"),
            ("/cb?code=x&state=y", "/cb?code=***&state=y"),
            ("/a?apiKey=x&api-key=y&key=z", "/a?apiKey=***&api-key=***&key=***"),
            ("/a?X-Amz-Signature=x&sig=y&Signature=z", "/a?X-Amz-Signature=***&sig=***&Signature=***"),
            ("/a?password=x&pwd=y&passphrase=z&pw=p", "/a?password=***&pwd=***&passphrase=***&pw=***"),
            ("/a?client_secret=x&jwt=y&session_id=z&sid=s", "/a?client_secret=***&jwt=***&session_id=***&sid=***"),
            ("/a?side=x&spin=y", "/a?side=x&spin=y"),
            ("/a?token[]=x&token%5B%5D=y", "/a?token[]=***&token%5B%5D=***"),
            ("/a?token=", "/a?token="),
            ("/a?token", "/a?token"),
            ("/a?token%3Dx", "/a?***"),
            ("/a?t=token:x", "/a?t=***"),
            ("/a?token=a=b==", "/a?token=***"),
            ("/a?token=a/b?c;d#e", "/a?token=***"),
            ("/a?next=/b?token=x", "/a?next=***"),
            ("/a?next=%2Fb%3Ftoken%3Dx&c=d", "/a?next=***&c=d"),
            ("/a?next=%252Fb%253Ftoken%253Dx", "/a?next=***"),
            ("/a?next=/b?c=d", "/a?next=/b?c=d"),
            ("/a?q=my+token", "/a?q=my+token"),
            ("/a?filter={\"token\":\"x\"}", "/a?filter=***"),
            ("/a?b=1;token=x", "/a?b=***"),
            ("/a;jsessionid=x?b=c", "/a;jsessionid=***"),
            ("/a#access_token=x&c=d", "/a#access_token=***&c=d"),
            ("/a?v=eyJhbGciOiJIUzI1NiJ9.e30.x", "/a?v=***"),
            ("/a?eyJhbGciOiJIUzI1NiJ9.e30.x", "/a?***"),
            ("/link/eyJhbGciOiJIUzI1NiJ9.e30.x/open", "/link/***/open"),
            ("/a/token=x/b", "/a/token=***/b"),
            ("/tokens/list:token", "/tokens/list:token"),
            ("/a?b=monkeyjar", "/a?b=monkeyjar"),
            ("https://a.example/b?c=d", "https://a.example/b?c=d"),
            ("https://user:pass@a.example/b", "https://***@a.example/b"),
            ("https://a@b@c.example", "https://***@c.example"),
            ("https://a.example/?code=x", "https://a.example/?code=***"),
            ("nonsense?token=x y", "nonsense?token=***"),
        ] {
            assert_eq!(String::from_utf8_lossy(&redacted(address.as_bytes())), expected, "{address}");
        }
        assert_eq!(redacted(b"/\xff?tok\x00en=\xff"), b"/\xff?tok\x00en=\xff", "bytes stay bytes");
    }
}
