//! Pure: `.parachute/module.json`, what a module says of itself (files §4).

mod config_schema;
#[cfg(test)]
mod tests;

use super::fields::{
    Object, boolean, filled, mount_defect, object, optional, owned, port, required, rooted, string, strings, wrong,
};
use super::json::{self, Packed};
use super::{Port, Problem, Short};
use serde_json::Value;

/// The checked manifest. Keys that are not known are ignored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) name: Short,
    /// The row's name where the module registers itself.
    pub(crate) manifest_name: String,
    /// A wish; the row decides.
    pub(crate) port: Port,
    pub(crate) paths: Vec<String>,
    pub(crate) health: String,
    pub(crate) display_name: Option<String>,
    pub(crate) tagline: Option<String>,
    /// An argv, never a shell line; the first item is not empty.
    pub(crate) start_cmd: Option<Vec<String>>,
    pub(crate) strip_prefix: Option<bool>,
    pub(crate) management_url: Option<String>,
    pub(crate) ui_url: Option<String>,
    pub(crate) websocket: Option<bool>,
    /// Settings for `Run::of`, unchecked.
    pub(crate) run: Option<Packed>,
}

impl Manifest {
    /// Checks the bytes of a `module.json`; the first defect ends it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        Self::from_value(&json::parse(bytes)?)
    }

    /// Checks a tree that is about to be written.
    pub(crate) fn from_value(value: &Value) -> Result<Self, Problem> {
        let map = object(value, "")?;
        let name = name(required(map, "name")?)?;
        if let Some(scopes) = optional(map, "scopes", object)? {
            scopes_defined(scopes, &name).map_err(|problem| problem.within("scopes"))?;
        }
        if let Some(dependencies) = optional(map, "dependencies", object)? {
            for (package, wish) in dependencies {
                dependency(wish).map_err(|problem| problem.within(package).within("dependencies"))?;
            }
        }
        if let Some(schema) = map.get("configSchema") {
            config_schema::check(schema).map_err(|problem| problem.within("configSchema"))?;
        }
        Ok(Self {
            name,
            manifest_name: filled(required(map, "manifestName")?, "manifestName")?.to_owned(),
            port: port(required(map, "port")?, "port")?,
            paths: mounts(required(map, "paths")?)?,
            health: rooted(required(map, "health")?, "health")?,
            display_name: optional(map, "displayName", owned(string))?,
            tagline: optional(map, "tagline", owned(string))?,
            start_cmd: optional(map, "startCmd", argv)?,
            strip_prefix: optional(map, "stripPrefix", boolean)?,
            management_url: optional(map, "managementUrl", link)?,
            ui_url: optional(map, "uiUrl", link)?,
            websocket: optional(map, "websocket", boolean)?,
            run: map.get("run").map(Packed::of),
        })
    }
}

/// A module's own name, in which fewer characters do than in that of a row.
pub(crate) fn name(value: &Value) -> Result<Short, Problem> {
    let text = string(value, "name")?;
    let first_ok = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !first_ok || !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err(wrong("name", "a lower case letter, then lower case letters, digits and \"-\"", value));
    }
    Short::parse(text)
}

fn mounts(value: &Value) -> Result<Vec<String>, Problem> {
    let paths = strings(value, "paths")?;
    let defect = paths.iter().enumerate().find_map(|(index, path)| Some((index, mount_defect(path)?)));
    match defect {
        Some((index, defect)) => Err(Problem::new(format!("paths[{index}]"), defect)),
        None => Ok(paths),
    }
}

fn argv(value: &Value, field: &str) -> Result<Vec<String>, Problem> {
    let argv = strings(value, field)?;
    match argv.first().map(String::as_str) {
        None => Err(Problem::new(field, "must name a program; it is an empty array")),
        Some("") => Err(Problem::new(format!("{field}[0]"), "must name a program; it is an empty string")),
        Some(_) => Ok(argv),
    }
}

/// A page of the module: a path on our origin, a path below its mount, or a web address.
fn link(value: &Value, field: &str) -> Result<String, Problem> {
    let text = filled(value, field)?;
    let web =
        text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).is_some_and(|rest| !rest.is_empty());
    // "//host/x" would leave our origin, and "javascript:x" would run.
    let relative =
        !text.starts_with("//") && !text.split(['/', '?', '#']).next().is_some_and(|head| head.contains(':'));
    if !(web || relative) || text.contains(|c: char| c.is_control() || c == '\\') {
        return Err(wrong(field, "a path such as \"/admin\" or an http(s) address", value));
    }
    Ok(text.to_owned())
}

fn scopes_defined(scopes: &Object, name: &Short) -> Result<(), Problem> {
    for (index, scope) in optional(scopes, "defines", strings)?.into_iter().flatten().enumerate() {
        let namespace = scope.split_once(':').map(|(namespace, _)| namespace);
        if namespace != Some(name.as_str()) {
            let reason = format!("must begin with \"{name}:\", not {}", super::shown(&scope));
            return Err(Problem::new(format!("defines[{index}]"), reason));
        }
    }
    Ok(())
}

fn dependency(wish: &Value) -> Result<(), Problem> {
    let wish = object(wish, "")?;
    optional(wish, "optional", boolean)?;
    optional(wish, "scopes", strings)?;
    Ok(())
}
