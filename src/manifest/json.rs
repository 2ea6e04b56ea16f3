//! Bytes from a file to a JSON tree, with the limits that hold for every file (files §14.2, rule 7).

use super::Problem;
use serde_json::Value;

/// No file of ours nests deeper than a handful; more is an accident or an attack.
const DEPTH_MAX: usize = 32;

/// Parses UTF-8 with at most one byte order mark and at most 32 levels. The size was limited by who read the bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let text = text(bytes)?;
    if text.trim().is_empty() {
        return Err(Problem::new("", "is empty; it must hold a JSON object"));
    }
    let value = serde_json::from_str(text).map_err(|error| Problem::new("", format!("is not JSON: {error}")))?;
    if depth_exceeds(&value, DEPTH_MAX) {
        return Err(Problem::new("", format!("nests deeper than {DEPTH_MAX} levels")));
    }
    Ok(value)
}

/// The bytes as text, without the byte order mark that some editors put in front.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::new("", format!("is not UTF-8 from byte {} on", error.valid_up_to())))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A tree kept as text, which takes a tenth of its memory: for what is looked at now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed(Box<str>);

impl Packed {
    pub(crate) fn of(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("the text was written from a tree")
    }
}

/// Two spaces of indentation and a newline at the end, as every writer of these files has it.
pub(crate) fn to_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("a JSON tree has string keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

/// The same without indentation where only that fits into `limit_bytes`; `None` where nothing does.
pub(crate) fn to_bytes_within(value: &Value, limit_bytes: u64) -> Option<Vec<u8>> {
    let fits = |bytes: &Vec<u8>| bytes.len() as u64 <= limit_bytes;
    Some(to_bytes(value)).filter(fits).or_else(|| Some(format!("{value}\n").into_bytes()).filter(fits))
}

/// `levels` counts the value itself when it is an object or an array.
fn depth_exceeds(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| depth_exceeds(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| depth_exceeds(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_refused_with_a_reason() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels)).into_bytes();
        for (name, bytes, ok) in [
            ("an object", b"{\"a\":1}".to_vec(), true),
            ("one byte order mark", b"\xef\xbb\xbf{}".to_vec(), true),
            ("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbf{}".to_vec(), false),
            ("depth 32", nested(32), true),
            ("depth 33", nested(33), false),
            ("depth 100000", nested(100_000), false),
            ("zero length", Vec::new(), false),
            ("only blanks", b" \n".to_vec(), false),
            ("NUL bytes", vec![0; 64], false),
            ("invalid UTF-8", b"{\"a\":\"\xff\"}".to_vec(), false),
            ("truncated", b"{\"a\":".to_vec(), false),
            ("trailing text", b"{} x".to_vec(), false),
            ("UTF-16", b"\xff\xfe{\0}\0".to_vec(), false),
        ] {
            assert_eq!(parse(&bytes).is_ok(), ok, "{name}");
        }
    }
}
