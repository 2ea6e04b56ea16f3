//! Pure: one row of `services.json`, checked field by field (files §3.2 to §3.4, §3.6 and §14.6).

use crate::manifest::fields::{
    Object, boolean, filled, mount_defect, object, optional, owned, port, required, rooted, string, strings,
    unspellable, wrong,
};
use crate::manifest::json::Packed;
use crate::manifest::{Port, Problem, Short, known, shown};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Mounts that are the hub's own; `/` is one because the hub's page is there.
const HUB_MOUNTS: &[&str] = &["/admin", "/api", "/oauth", "/.well-known", "/health", "/hub.html", "/metrics"];

/// The module of the first vault, and the mount of all that is theirs.
const VAULT: &str = "vault";
const VAULTS_MOUNT: &str = "/vault";
/// Every vault has a mount of its own below this.
const VAULTS: &str = "/vault/";
/// What the vaults have in common, and one process answers for all of them (http-api §9.8).
pub(in crate::manifest) const VAULT_FAMILY_MOUNTS: [&str; 2] = ["/vault/admin", "/mcp"];
/// What stands where the name of a vault would, and is none.
const NO_VAULTS: [&str; 3] = ["", "admin", "new"];

/// Who may reach a module through the hub (files §3.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposure {
    Allowed,
    Loopback,
    AuthRequired,
}

impl Exposure {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Loopback => "loopback",
            Self::AuthRequired => "auth-required",
        }
    }
}

/// A row that can be used. A view: the document keeps the fields that are not here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) short: Short,
    pub(crate) port: Port,
    /// The mounts that it may have, as written.
    pub(crate) paths: Vec<String>,
    /// The paths that it claims and may not have; it runs without them.
    pub(crate) refused_paths: Vec<Problem>,
    /// It claims `/` first, as rows of older releases do, and is found under its own name instead.
    pub(crate) remaps_root: bool,
    pub(crate) health: String,
    pub(crate) version: String,
    pub(crate) display_name: Option<String>,
    pub(crate) tagline: Option<String>,
    pub(crate) public_exposure: Option<Exposure>,
    /// Absolute; nobody has looked whether it exists.
    pub(crate) install_dir: Option<PathBuf>,
    pub(crate) strip_prefix: Option<bool>,
    pub(crate) websocket: Option<bool>,
    /// An object of checked sub-units.
    pub(crate) uis: Option<Value>,
    /// An object with `error_type` and `error_description`; a malformed one counts as absent.
    pub(crate) last_start_error: Option<Value>,
    /// An object for `Run::of`, its keys unchecked.
    pub(crate) run: Option<Packed>,
}

impl Row {
    /// Checks one row by itself, not against others.
    pub(super) fn parse(value: &Value) -> Result<Self, Problem> {
        let map = object(value, "")?;
        let name = filled(required(map, "name")?, "name")?.to_owned();
        let port = port(required(map, "port")?, "port")?;
        let claimed = strings(required(map, "paths")?, "paths")?;
        if let Some(problem) = retired(&name, port, &claimed) {
            return Err(problem);
        }
        let short = Short::parse(known::short_of_row_name(&name))?;
        let remaps_root = claimed.first().is_some_and(|first| first == "/") && !claimed.contains(&format!("/{short}"));
        // The first vault's row of an older release has the short name.
        let is_of_family = is_vault(&name) || name == VAULT;
        let (paths, refused_paths) = mounts(claimed, &short, is_of_family);
        Ok(Self {
            short,
            name,
            port,
            paths,
            refused_paths,
            remaps_root,
            health: rooted(required(map, "health")?, "health")?,
            version: string(required(map, "version")?, "version")?.to_owned(),
            display_name: optional(map, "displayName", owned(string))?,
            tagline: optional(map, "tagline", owned(string))?,
            public_exposure: optional(map, "publicExposure", exposure)?,
            install_dir: optional(map, "installDir", absolute)?,
            strip_prefix: optional(map, "stripPrefix", boolean)?,
            websocket: optional(map, "websocket", boolean)?,
            uis: optional(map, "uis", sub_units)?,
            last_start_error: map.get("lastStartError").filter(|error| is_start_error(error)).cloned(),
            run: optional(map, "run", |run, field| object(run, field).map(|_| Packed::of(run)))?,
        })
    }

    /// A row that says the same; what we do not know of the one that was read is not in it.
    pub(super) fn to_value(&self) -> Value {
        let mut row = json!({
            "name": self.name, "port": self.port.get(), "paths": self.paths, "health": self.health,
            "version": self.version,
        });
        let optional = [
            ("displayName", json!(self.display_name)),
            ("tagline", json!(self.tagline)),
            ("publicExposure", json!(self.public_exposure.map(Exposure::as_str))),
            ("installDir", json!(self.install_dir.as_deref().and_then(Path::to_str))),
            ("stripPrefix", json!(self.strip_prefix)),
            ("websocket", json!(self.websocket)),
            ("uis", json!(self.uis)),
            ("run", json!(self.run.as_ref().map(Packed::value))),
        ];
        if let Value::Object(fields) = &mut row {
            fields.extend(optional.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| (name.to_owned(), v)));
        }
        row
    }

    /// Whether a request for this path would go to one of its mounts.
    pub(crate) fn serves(&self, path: &str) -> bool {
        let of_family = if self.is_vault() { &VAULT_FAMILY_MOUNTS[..] } else { &[] };
        let mut mounts = self.paths.iter().map(|mount| mount.trim_end_matches('/')).chain(of_family.iter().copied());
        mounts.any(|mount| is_below(path, mount))
    }

    /// A member of the vault family: only they may share a port, and each of their paths is a vault of its own.
    pub(crate) fn is_vault(&self) -> bool {
        is_vault(&self.name)
    }
}

pub(super) fn is_vault(name: &str) -> bool {
    name == "parachute-vault" || name.starts_with("parachute-vault-")
}

/// Whether a path is that of a vault itself, and not of something in it.
pub(crate) fn is_vault_itself(path: &str) -> bool {
    path.strip_prefix(VAULTS).is_some_and(|name| !name.contains('/') && !NO_VAULTS.contains(&name))
}

/// The present spelling of the status of a sub-unit.
pub(crate) fn ui_status(status: &str) -> &str {
    match status {
        "pending-oauth" => "pending",
        "disabled" => "inactive",
        status => status,
    }
}

/// Splits claimed paths into those that the row may have and the reasons against the others. Below `/vault` that is the
/// vaults alone (http-api §9.1): their callers' tokens would come to whoever else had a path there.
fn mounts(claimed: Vec<String>, short: &Short, is_of_family: bool) -> (Vec<String>, Vec<Problem>) {
    // Older modules wanted the whole origin; there they are found under their name (files §3.11).
    let instead = format!("/{short}");
    if claimed.first().is_some_and(|first| first == "/") && !claimed.contains(&instead) && !is_hub_mount(&instead) {
        let reason = format!("\"/\" belongs to the hub; its own place is {instead:?}");
        let rest = claimed.into_iter().skip(1);
        let (paths, mut refused) = split(std::iter::once(instead).chain(rest).collect(), is_of_family);
        refused.insert(0, Problem::new("paths[0]", reason));
        return (paths, refused);
    }
    split(claimed, is_of_family)
}

fn split(claimed: Vec<String>, is_of_family: bool) -> (Vec<String>, Vec<Problem>) {
    let mut refused = Vec::new();
    let mut index = 0;
    let mut allowed = claimed;
    allowed.retain(|path| {
        let reason = match mount_defect(path).or_else(|| unspellable(path)) {
            Some(defect) => Some(format!("{defect}, not {}", shown(path))),
            None if is_hub_mount(path) => Some(format!("{} belongs to the hub", shown(path))),
            None if !is_of_family && is_below(path, VAULTS_MOUNT) => Some(format!(
                "{} belongs to the vaults, whose rows are named parachute-vault or parachute-vault-…",
                shown(path)
            )),
            None => None,
        };
        let keep = reason.is_none();
        refused.extend(reason.map(|reason| Problem::new(format!("paths[{index}]"), reason)));
        index += 1;
        keep
    });
    (allowed, refused)
}

/// Whether a path is the hub's own, so that no module can have it.
pub(crate) fn is_hub_mount(path: &str) -> bool {
    path == "/" || HUB_MOUNTS.iter().any(|mount| is_below(path, mount))
}

/// Whether `path` is the mount or something under it.
fn is_below(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn exposure(value: &Value, field: &str) -> Result<Exposure, Problem> {
    match value.as_str() {
        Some("allowed") => Ok(Exposure::Allowed),
        Some("loopback") => Ok(Exposure::Loopback),
        Some("auth-required") => Ok(Exposure::AuthRequired),
        _ => Err(wrong(field, "\"allowed\", \"loopback\" or \"auth-required\"", value)),
    }
}

fn absolute(value: &Value, field: &str) -> Result<PathBuf, Problem> {
    let path = Path::new(filled(value, field)?);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err(wrong(field, "an absolute path", value)) }
}

fn sub_units(value: &Value, field: &str) -> Result<Value, Problem> {
    for (slug, unit) in object(value, field)? {
        if slug.is_empty() {
            return Err(Problem::new(field, "must not have an empty key"));
        }
        sub_unit(unit).map_err(|problem| problem.within(slug).within(field))?;
    }
    Ok(value.clone())
}

fn sub_unit(unit: &Value) -> Result<(), Problem> {
    let unit: &Object = object(unit, "")?;
    filled(required(unit, "displayName")?, "displayName")?;
    rooted(required(unit, "path")?, "path")?;
    for field in ["tagline", "iconUrl", "version", "oauthClientId"] {
        optional(unit, field, string)?;
    }
    // `pending-oauth` and `disabled` are what older releases wrote for `pending` and `inactive`.
    one_of(unit, "status", &["active", "pending", "inactive", "failing", "pending-oauth", "disabled"])?;
    one_of(unit, "audience", &["public", "hub-users", "operator", "surface"])?;
    for (index, scope) in optional(unit, "scopes_required", strings)?.iter().flatten().enumerate() {
        if scope.is_empty() {
            return Err(Problem::new(format!("scopes_required[{index}]"), "must not be empty"));
        }
    }
    Ok(())
}

fn one_of(map: &Object, field: &str, words: &[&str]) -> Result<(), Problem> {
    match map.get(field) {
        Some(value) if !value.as_str().is_some_and(|word| words.contains(&word)) => {
            Err(wrong(field, &format!("one of {}", words.join(", ")), value))
        }
        _ => Ok(()),
    }
}

fn is_start_error(error: &Value) -> bool {
    ["error_type", "error_description"].iter().all(|field| error.get(field).is_some_and(Value::is_string))
}

/// Whether a row is one of a module that is no more.
pub(super) fn is_retired(row: &Value) -> bool {
    let facts = || {
        let map = object(row, "").ok()?;
        let name = filled(map.get("name")?, "name").ok()?;
        Some((name, port(map.get("port")?, "port").ok()?, strings(map.get("paths")?, "paths").ok()?))
    };
    facts().is_some_and(|(name, port, paths)| retired(name, port, &paths).is_some())
}

/// Why a row is one of a module that is no more (files §3.6). Name and shape both have to fit, because new modules
/// have taken such names.
fn retired(name: &str, port: Port, paths: &[String]) -> Option<Problem> {
    let first_path = paths.first().map_or("", String::as_str);
    let reason = match name.strip_prefix("parachute-").unwrap_or(name) {
        "agent" if port.get() == 1944 || is_below(first_path, "/agent") => RETIRED_CONTAINERS,
        "claw" if is_below(first_path, "/claw") => RETIRED_CONTAINERS,
        "app" if port.get() == 1946 || is_below(first_path, "/surface") => RETIRED_APP,
        _ => return None,
    };
    Some(Problem::new("name", format!("{name} {reason}")))
}

const RETIRED_CONTAINERS: &str = "was retired on 2026-05-20 and nothing replaces it; end its process, which would add \
    the row again (the port says which it is), then remove the row";
const RETIRED_APP: &str = "was retired on 2026-05-27, surface replaces it; end its process, which would add the row \
    again (the port says which it is), then remove the row";
