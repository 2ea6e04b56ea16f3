//! A module's `.env`: variables that the operator and the module keep beside its data (files §7 and §14.6).

use super::atomic::{Links, Target};
use super::{Home, StoreError};
use crate::manifest::Short;
use crate::manifest::json;
use std::path::Path;

const DOTENV_MAX_BYTES: u64 = 256 << 10;

/// What the hub decides for every child.
const FIXED_NAMES: &[&str] = &["PORT", "PARACHUTE_HOME"];
/// What would load foreign code into every program that the module runs.
const LOADER_PREFIXES: &[&str] = &["LD_", "DYLD_"];

/// The variables, and what was left out. A warning never shows a value: most are secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DotEnv {
    /// Names are valid and unique, in the file's order; of duplicates the last value holds.
    pub(crate) pairs: Vec<(String, String)>,
    pub(crate) warnings: Vec<String>,
}

/// Reads `<home>/<short>/.env`; a missing one is empty. One bad line costs only itself.
pub(crate) fn read(home: &Home, short: &Short) -> Result<DotEnv, StoreError> {
    let relative = Path::new(short.as_str()).join(".env");
    let Some(target) = Target::locate(home, &relative, Links::Follow)? else { return Ok(DotEnv::default()) };
    let Some((bytes, stat)) = target.read(DOTENV_MAX_BYTES)? else { return Ok(DotEnv::default()) };
    let text = json::text(&bytes).map_err(|_| StoreError::NotUtf8 { path: target.path().to_owned() })?;
    let mut env = parse(text);
    let others = if home.is_private() { 0o022 } else { 0o066 };
    if stat.mode & others != 0 {
        env.warnings.push(format!("is open to other users (mode {:04o}); run: chmod 600 on it", stat.mode));
    }
    for warning in &mut env.warnings {
        warning.insert_str(0, &format!("{}: ", target.path().display()));
    }
    Ok(env)
}

/// Pure: the lines of a `.env`. A comment begins with `#`, `export ` may stand in front, one pair of matching quotes
/// around a value is taken off, and nothing else is interpreted.
fn parse(text: &str) -> DotEnv {
    let mut env = DotEnv::default();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match pair(line) {
            Ok((name, value)) => {
                env.pairs.retain(|(known, _)| known != name);
                env.pairs.push((name.to_owned(), value.to_owned()));
            }
            Err(reason) => env.warnings.push(format!("line {} is ignored: {reason}", index + 1)),
        }
    }
    env
}

fn pair(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = line.split_once('=').ok_or("it has no \"=\"")?;
    let name = name.trim();
    let name = name.strip_prefix("export ").map_or(name, str::trim_start);
    if !is_name(name) {
        return Err("what stands before \"=\" is not a variable's name".to_owned());
    }
    if FIXED_NAMES.contains(&name) {
        return Err(format!("{name} is set by the hub"));
    }
    if LOADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(format!("{name} would load foreign code"));
    }
    if value.contains('\0') {
        return Err(format!("the value of {name} contains a NUL character"));
    }
    Ok((name, unquoted(value)))
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unquoted(value: &str) -> &str {
    let between = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\'')).unwrap_or(value)
}
