//! Pure: single fields out of a JSON object, each with the message that says what it must be.
//!
//! A field that is `null` is there and has the wrong type: only a missing one is absent (files §3.2).

use super::{Port, Problem, shown};
use serde_json::{Map, Value};

pub(super) type Object = Map<String, Value>;

/// "must be a string, not 5".
pub(super) fn wrong(field: &str, expected: &str, value: &Value) -> Problem {
    let is = match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => shown(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    Problem::new(field, format!("must be {expected}, not {is}"))
}

pub(super) fn object<'a>(value: &'a Value, field: &str) -> Result<&'a Object, Problem> {
    value.as_object().ok_or_else(|| wrong(field, "an object", value))
}

pub(super) fn required<'a>(map: &'a Object, field: &str) -> Result<&'a Value, Problem> {
    map.get(field).ok_or_else(|| Problem::new(field, "is missing"))
}

/// A string without NUL, which no argv, path or environment can hold.
pub(super) fn string<'a>(value: &'a Value, field: &str) -> Result<&'a str, Problem> {
    let text = value.as_str().ok_or_else(|| wrong(field, "a string", value))?;
    if text.contains('\0') {
        return Err(Problem::new(field, "must not contain a NUL character"));
    }
    Ok(text)
}

pub(super) fn filled<'a>(value: &'a Value, field: &str) -> Result<&'a str, Problem> {
    match string(value, field)? {
        "" => Err(wrong(field, "a string that is not empty", value)),
        text => Ok(text),
    }
}

pub(super) fn boolean(value: &Value, field: &str) -> Result<bool, Problem> {
    value.as_bool().ok_or_else(|| wrong(field, "true or false", value))
}

/// A whole number in a range; `1940.0` and `1.94e3` are whole.
pub(super) fn whole(value: &Value, field: &str, least: u64, most: u64) -> Result<u64, Problem> {
    let number = match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(exact)),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(wrong(field, &format!("an integer {least}..{most}"), value)),
    }
}

/// A float as the whole number that it is; above 2^53 it no longer says which.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
fn exact(float: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&float)).then_some(float as u64)
}

pub(super) fn port(value: &Value, field: &str) -> Result<Port, Problem> {
    let number = whole(value, field, 1, u64::from(u16::MAX))?;
    Port::new(number).ok_or_else(|| wrong(field, "an integer 1..65535", value))
}

pub(super) fn strings(value: &Value, field: &str) -> Result<Vec<String>, Problem> {
    let items = value.as_array().ok_or_else(|| wrong(field, "an array of strings", value))?;
    let one = |(index, item)| string(item, &format!("{field}[{index}]")).map(str::to_owned);
    let mut texts: Vec<String> = items.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    // They are kept for as long as the hub runs, and most are one or two.
    texts.shrink_to_fit();
    Ok(texts)
}

/// A path below the origin, such as `/health`.
pub(super) fn rooted(value: &Value, field: &str) -> Result<String, Problem> {
    let text = string(value, field)?;
    if !text.starts_with('/') || text.contains(char::is_control) {
        return Err(wrong(field, "a path that begins with \"/\"", value));
    }
    Ok(text.to_owned())
}

/// Runs `read` on the field when it is there.
pub(super) fn optional<'a, T>(
    map: &'a Object,
    field: &str,
    read: impl FnOnce(&'a Value, &str) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    map.get(field).map(|value| read(value, field)).transpose()
}

pub(super) fn owned<'a>(
    read: impl FnOnce(&'a Value, &str) -> Result<&'a str, Problem>,
) -> impl FnOnce(&'a Value, &str) -> Result<String, Problem> {
    move |value, field| read(value, field).map(str::to_owned)
}

const DOT_SEGMENT: &str = "must not contain \".\" or \"..\" as a segment";

/// Escapes in lower case that no request can have in its path: NUL, and the beginnings of characters in more bytes than
/// UTF-8 needs for them.
const NO_CHARACTERS: [&str; 8] = ["%00", "%c0%", "%c1%", "%e0%8", "%e0%9", "%f0%8", "%f8%8", "%fc%8"];

/// Why `path` cannot be a mount, if it cannot (files §14.6, path rows). Which mounts are the hub's own is not said here.
pub(super) fn mount_defect(path: &str) -> Option<&'static str> {
    let lower = path.to_ascii_lowercase();
    if !path.starts_with('/') {
        Some("must begin with \"/\"")
    } else if path.contains("//") {
        Some("must not contain \"//\"")
    } else if path.split('/').any(|segment| segment == ".." || segment == ".") {
        Some(DOT_SEGMENT)
    } else if path.contains(char::is_control) {
        Some("must not contain control characters")
    } else if path.contains(['\\', '?', '#']) || ["%2f", "%5c"].iter().any(|code| lower.contains(code)) {
        // No request has them in its path, or a browser takes them for a slash.
        Some("must not contain \"\\\", \"?\", \"#\" or an encoded slash")
    } else {
        None
    }
}

/// Why no request can spell a mount that has no defect, if none can. A manifest may have it: a row leaves it out.
pub(super) fn unspellable(path: &str) -> Option<&'static str> {
    let lower = path.to_ascii_lowercase();
    if lower.replace("%2e", ".").split('/').any(|segment| segment == ".." || segment == ".") {
        Some(DOT_SEGMENT)
    } else if !lower.split('%').skip(1).all(|code| code.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2) {
        Some("must not contain a \"%\" without two hex digits behind it")
    } else if NO_CHARACTERS.iter().any(|code| lower.contains(code)) {
        Some("must not contain what stands for no character, such as %00")
    } else {
        None
    }
}

/// A name that a shell accepts for a variable.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
