//! Pure: one spelling for every path, so that what is routed is what the upstream sees (RFC 3986 §6.2.2, http-api H8).

use std::borrow::Cow;
use std::fmt;
use std::mem;

/// A target in its one spelling.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    /// Begins with a slash, or is `*`.
    pub(crate) path: Cow<'a, str>,
    /// As it was sent, without the question mark.
    pub(crate) query: Option<&'a str>,
}

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadPath {
    NoSlash,
    Byte(u8),
    Encoding,
    EncodedSlash,
    Nul,
    Overlong,
    AboveRoot,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlash => f.write_str("the path does not begin with a slash"),
            Self::Byte(byte) => write!(f, "the path contains the byte 0x{byte:02x}; percent-encode it"),
            Self::Encoding => f.write_str("a percent sign in the path is not followed by two hex digits"),
            Self::EncodedSlash => f.write_str("the path contains an encoded slash or backslash"),
            Self::Nul => f.write_str("the path contains an encoded NUL"),
            Self::Overlong => f.write_str("the path contains a character in more bytes than UTF-8 needs for it"),
            Self::AboveRoot => f.write_str("the path leads above the root"),
        }
    }
}

/// Decodes what needs no encoding, spells the other escapes in upper case and resolves dot segments. Empty segments
/// stay: they mean something to some servers. Doing it twice changes nothing.
pub(crate) fn normalise(target: &str) -> Result<Path<'_>, BadPath> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if !path.starts_with('/') && path != "*" {
        return Err(BadPath::NoSlash);
    }
    let bad = |byte: &u8| !(b'!'..=b'~').contains(byte) || *byte == b'#';
    if let Some(byte) = query.unwrap_or_default().bytes().find(bad) {
        return Err(BadPath::Byte(byte));
    }
    if let Some(byte) = path.bytes().find(|byte| bad(byte) || *byte == b'\\') {
        return Err(BadPath::Byte(byte));
    }
    if !path.contains('%') && !path.contains("/.") {
        return Ok(Path { path: Cow::Borrowed(path), query });
    }
    let decoded = decode(path)?;
    Ok(Path { path: Cow::Owned(resolve(&decoded)?), query })
}

/// A mount in the spelling that [`normalise`] gives to the paths in it; `None` when no path could be in it.
pub(crate) fn of_mount(mount: &str) -> Option<Box<str>> {
    let mut escaped = String::with_capacity(mount.len());
    for byte in mount.bytes() {
        // A percent sign in a mount begins an escape, as in a path.
        if (b'!'..=b'~').contains(&byte) && !b"?#\\".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    let path = normalise(&escaped).ok()?.path;
    let path = path.trim_end_matches('/');
    path.starts_with('/').then(|| path.into())
}

/// What is left of a path where the mount that it is in is taken off; both in their one spelling.
pub(crate) fn below<'p>(path: &'p str, mount: &str) -> &'p str {
    match path.strip_prefix(mount) {
        Some("") => "/",
        Some(rest) => rest,
        None => path,
    }
}

fn decode(path: &str) -> Result<String, BadPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    let mut before = 0;
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            before = 0;
            decoded.push(char::from(byte));
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(BadPath::Encoding);
        let value = u8::try_from(digit()? * 16 + digit()?).map_err(|_| BadPath::Encoding)?;
        match (mem::replace(&mut before, value), value) {
            // Readers that decode without checking take these for a slash, a dot or anything else.
            (0xc0 | 0xc1, 0x80..=0xbf)
            | (0xe0, 0x80..=0x9f)
            | (0xf0, 0x80..=0x8f)
            | (0xf8, 0x80..=0x87)
            | (0xfc, 0x80..=0x83) => return Err(BadPath::Overlong),
            _ => {}
        }
        match value {
            0 => return Err(BadPath::Nul),
            b'/' | b'\\' => return Err(BadPath::EncodedSlash),
            b'-' | b'.' | b'_' | b'~' => decoded.push(char::from(value)),
            _ if value.is_ascii_alphanumeric() => decoded.push(char::from(value)),
            _ => decoded.push_str(&format!("%{value:02X}")),
        }
    }
    Ok(decoded)
}

/// The path begins with a slash, and so does what becomes of it.
fn resolve(path: &str) -> Result<String, BadPath> {
    let mut resolved = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => {
                let parent = resolved.rfind('/').ok_or(BadPath::AboveRoot)?;
                resolved.truncate(parent);
            }
            _ => {
                resolved.push('/');
                resolved.push_str(segment);
                continue;
            }
        }
        // A dot segment at the end leaves the directory itself.
        if segments.peek().is_none() {
            resolved.push('/');
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::services::Document;
    use crate::sys::testrandom::Random;
    use serde_json::json;

    #[test]
    fn every_target_has_one_spelling_or_is_refused() {
        for (target, expected) in [
            ("/", Ok("/")),
            ("*", Ok("*")),
            ("/a/b", Ok("/a/b")),
            ("/a//b", Ok("/a//b")),
            ("/a/", Ok("/a/")),
            ("/.", Ok("/")),
            ("/./", Ok("/")),
            ("/a/.", Ok("/a/")),
            ("/a/./b", Ok("/a/b")),
            ("/a/..", Ok("/")),
            ("/a/b/..", Ok("/a/")),
            ("/a/../b", Ok("/b")),
            ("/a/b/../../c", Ok("/c")),
            ("/a/%2e%2E/admin", Ok("/admin")),
            ("/a/.%2e/admin", Ok("/admin")),
            ("/.well-known/x", Ok("/.well-known/x")),
            ("/...", Ok("/...")),
            ("/..a", Ok("/..a")),
            ("/%61pi", Ok("/api")),
            ("/%7euser", Ok("/~user")),
            ("/%2d%5F%2e", Ok("/-_.")),
            ("/a%20b%c3%a9", Ok("/a%20b%C3%A9")),
            ("/%252e%252e/x", Ok("/%252e%252e/x")),
            ("/a;b=c", Ok("/a;b=c")),
            ("", Err(BadPath::NoSlash)),
            ("a/b", Err(BadPath::NoSlash)),
            ("**", Err(BadPath::NoSlash)),
            ("x/../a", Err(BadPath::NoSlash)),
            ("/..", Err(BadPath::AboveRoot)),
            ("/../etc/passwd", Err(BadPath::AboveRoot)),
            ("/a/../../b", Err(BadPath::AboveRoot)),
            ("/%2e%2e/b", Err(BadPath::AboveRoot)),
            ("/a%2fb", Err(BadPath::EncodedSlash)),
            ("/a%2Fb", Err(BadPath::EncodedSlash)),
            ("/a%5cb", Err(BadPath::EncodedSlash)),
            ("/a\\b", Err(BadPath::Byte(b'\\'))),
            ("/a#b", Err(BadPath::Byte(b'#'))),
            ("/a b", Err(BadPath::Byte(b' '))),
            ("/a\u{e9}", Err(BadPath::Byte(0xc3))),
            ("/a%00", Err(BadPath::Nul)),
            ("/%c0%ae%c0%ae/b", Err(BadPath::Overlong)),
            ("/a%C0%AFb", Err(BadPath::Overlong)),
            ("/a%c1%9cb", Err(BadPath::Overlong)),
            ("/a%e0%80%afb", Err(BadPath::Overlong)),
            ("/a%f0%80%80%afb", Err(BadPath::Overlong)),
            ("/a%f8%80%80%80%afb", Err(BadPath::Overlong)),
            ("/a%fc%80%80%80%80%af", Err(BadPath::Overlong)),
            ("/%e0%a4%85%f0%9f%98%80", Ok("/%E0%A4%85%F0%9F%98%80")),
            ("/%c0a%80", Ok("/%C0a%80")),
            ("/a%", Err(BadPath::Encoding)),
            ("/a%4", Err(BadPath::Encoding)),
            ("/a%zz", Err(BadPath::Encoding)),
            ("/a%4g", Err(BadPath::Encoding)),
            ("/a%g4", Err(BadPath::Encoding)),
            ("/a%+1", Err(BadPath::Encoding)),
        ] {
            assert_eq!(normalise(target).map(|p| p.path.into_owned()), expected.map(str::to_owned), "{target:?}");
        }
    }

    #[test]
    fn a_mount_is_spelled_as_the_paths_in_it_or_has_none() {
        for (mount, expected) in [
            ("/a", Some("/a")),
            ("/a/b/", Some("/a/b")),
            ("/a b", Some("/a%20b")),
            ("/a\u{e9}", Some("/a%C3%A9")),
            ("/a?b", Some("/a%3Fb")),
            ("/a#b", Some("/a%23b")),
            ("/%61/./b", Some("/a/b")),
            ("/", None),
            ("*", None),
            ("a", None),
            ("", None),
            ("/a\\b", None),
            ("/a%2fb", None),
            ("/100%", None),
            ("/../a", None),
        ] {
            assert_eq!(of_mount(mount).as_deref(), expected, "{mount:?}");
        }
    }

    #[test]
    fn the_query_stays_as_it_is() {
        for (target, expected) in [
            ("/a", Ok(None)),
            ("/a?", Ok(Some(""))),
            ("/a?b=/../%2f%00\\", Ok(Some("b=/../%2f%00\\"))),
            ("/a?b?c", Ok(Some("b?c"))),
            ("/a?b#c", Err(BadPath::Byte(b'#'))),
            ("/a?\u{e9}", Err(BadPath::Byte(0xc3))),
        ] {
            assert_eq!(normalise(target).map(|p| p.query), expected, "{target:?}");
        }
    }

    /// Checks what holds for any target that is not refused; whether it was not.
    fn comes_out_plain(target: &str, seed: u64) -> bool {
        let Ok(Path { path, .. }) = normalise(target) else { return false };
        assert!(
            path.starts_with('/') || target.starts_with('*') && path == "*",
            "{target:?} became {path:?}, seed {seed}"
        );
        assert!(!path.split('/').any(|s| s == "." || s == ".."), "{target:?} became {path:?}, seed {seed}");
        assert!(!path.contains(['\\', '#', '?']), "{target:?} became {path:?}, seed {seed}");
        assert!(path.bytes().all(|byte| (b'!'..=b'~').contains(&byte)), "{target:?} became {path:?}, seed {seed}");
        let again = normalise(&path).map(|p| p.path.into_owned());
        assert_eq!(again.as_deref(), Ok(&*path), "{target:?}, seed {seed}");
        true
    }

    #[test]
    fn mutated_paths_and_noise_come_out_plain_or_not_at_all() {
        let good = ["/a/b", "/a/./b/../c?d=e", "/%7euser/%C3%A9%20x", "/.well-known/x//y/", "/a%2eb;c=d", "*"];
        let spice = [
            "/", "..", "/../", "%2e", "%2F", "%5c", "%00", "%", "%c0%ae", "\\", "?", "#", "//", "\r\n", " ", "\0", "*",
        ];
        let spice = spice.map(str::as_bytes);
        let mut random = Random::new();
        let mut came_out = 0;
        for round in 0..20_000 {
            let bytes = match round % 4 {
                0 => random.bytes(30),
                _ => random.mutated(good[round / 4 % good.len()].as_bytes(), &spice),
            };
            // Every byte as the character of its number, so that none is lost.
            let target: String = bytes.iter().copied().map(char::from).collect();
            came_out += u32::from(comes_out_plain(&target, random.seed));
        }
        assert!(came_out > 1_000, "only {came_out} were no refusals, seed {}", random.seed);
    }

    #[test]
    fn random_paths_come_out_plain_and_stay_the_same() {
        let mut random = Random::new();
        let parts =
            ["/", "/", ".", "..", "%2e", "%2F", "%5c", "%00", "a", "%", "%61", "\\", "?", "#", "%C3%a9", "*", "//"];
        for _ in 0..5_000 {
            let mut target = "/".to_owned();
            for _ in 0..random.below(12) {
                target.push_str(random.pick(&parts));
            }
            comes_out_plain(&target, random.seed);
        }
    }

    #[test]
    fn a_mount_that_a_row_may_have_is_one_that_requests_can_spell() {
        let parts = [
            "/", "/", ".", "..", "%2e", "%2E", "%2F", "%00", "%c0", "%ae", "%e0", "%80", "%F0", "%C3%a9", "%", "%6",
            "%zz", "a", " ", "\u{e9}", "\\", "?", "*", "\"",
        ];
        let mut random = Random::new();
        let mut kept = 0;
        for _ in 0..20_000 {
            let mut mount = "/a".to_owned();
            for _ in 0..random.below(6) {
                mount.push_str(random.pick(&parts));
            }
            let row = json!({"name": "wiki", "port": 1, "paths": [mount], "health": "/", "version": "1"});
            let list = Document::parse(json!({"services": [row]}).to_string().as_bytes()).expect("a list");
            let row = list.entries().first().and_then(|entry| entry.row.clone().ok()).expect("a row");
            for path in &row.paths {
                assert!(of_mount(path).is_some(), "{path:?}, seed {}", random.seed);
                kept += 1;
            }
        }
        assert!(kept > 1_000, "only {kept} were kept, seed {}", random.seed);
    }
}
