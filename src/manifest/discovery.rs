//! Pure: the discovery document, which tells programs and pages where the modules are (http-api §4.1).

pub(super) mod keys;

use super::module::Manifest;
use super::services::{Exposure, Row, ui_status};
use serde_json::{Map, Value, json};

/// Version of a row that stands for a module which has not registered itself yet.
const PLACEHOLDER_VERSION: &str = "0.0.0-linked";
/// The mount of a module that names none.
const NO_MOUNT: &str = "/";
/// Mount of the protocol between modules; no page of a module is below it.
const PROTOCOL_MOUNT: &str = "/.parachute";
/// Below this the vaults are told apart.
const VAULT_MOUNT: &str = "/vault/";
/// Name of the vault whose row and mount do not say it.
const DEFAULT_VAULT: &str = "default";

/// Who is told about a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Programs on this machine: all modules.
    Local,
    /// Everybody else: not those that are for this machine only.
    Remote,
}

/// Whether these callers may know that the module is there.
pub(crate) fn is_visible(row: &Row, audience: Audience) -> bool {
    audience == Audience::Local || row.public_exposure != Some(Exposure::Loopback)
}

/// The document for modules in the order of their rows, each with its manifest where that can be read. `origin` is
/// without a slash at the end.
pub(crate) fn document<'a>(
    modules: impl IntoIterator<Item = (&'a Row, Option<&'a Manifest>)>,
    origin: &str,
    audience: Audience,
) -> Value {
    let (mut vaults, mut services, mut by_name) = (Vec::new(), Vec::new(), Map::new());
    for (row, manifest) in modules {
        if !is_visible(row, audience) {
            continue;
        }
        if row.is_vault() {
            // One without a mount is installed and has no vault yet.
            for mount in row.paths.iter().map(|path| mount(path)) {
                services.push(service(row, manifest, origin, mount));
                if row.version != PLACEHOLDER_VERSION {
                    vaults.push(vault(row, manifest, origin, mount));
                }
            }
            continue;
        }
        let mount = row.paths.first().map_or(NO_MOUNT, |path| mount(path));
        services.push(service(row, manifest, origin, mount));
        let key = keys::of_row(&row.name);
        if !key.is_empty() && !keys::OWN.contains(&key) {
            let items = by_name.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = items {
                items.push(json!({ "url": address(origin, mount), "version": row.version }));
            }
        }
    }
    let mut document = Map::new();
    document.insert("vaults".to_owned(), Value::Array(vaults));
    document.insert("services".to_owned(), Value::Array(services));
    document.extend(by_name);
    Value::Object(document)
}

/// What the vaults of a row are called; none for a row of another family.
pub(crate) fn vault_names(row: &Row) -> Vec<String> {
    if !row.is_vault() {
        return Vec::new();
    }
    row.paths.iter().map(|path| vault_name(&row.name, mount(path)).to_owned()).collect()
}

/// The first mount where people find the module; `None` when it has none for them.
pub(crate) fn user_mount(row: &Row) -> Option<&str> {
    row.paths.iter().map(|path| mount(path)).find(|path| is_for_people(path))
}

/// Whether pages can be below this mount: not below the one of the protocol between modules.
pub(crate) fn is_for_people(mount: &str) -> bool {
    !mount.strip_prefix(PROTOCOL_MOUNT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where a link of the manifest leads from this mount: a web address as it is, what begins with a slash from the root
/// of the origin, everything else below the mount. `/admin` of a vault is an older spelling of the latter.
pub(crate) fn link(row: &Row, mount: &str, link: &str) -> String {
    if is_address(link) {
        return link.to_owned();
    }
    let of_older_vault = row.is_vault() && matches!(link, "/admin" | "/admin/");
    if link.starts_with('/') && !of_older_vault {
        return link.to_owned();
    }
    format!("{}/{}", spelled(mount.trim_end_matches('/')), link.trim_start_matches('/'))
}

/// The address of a path of a row below an origin.
pub(crate) fn address(origin: &str, path: &str) -> String {
    format!("{origin}{}", spelled(path))
}

/// A path of a row as addresses spell it, and as the edge matches it: what no address holds is escaped, and a percent
/// sign begins an escape already.
pub(crate) fn spelled(path: &str) -> String {
    let mut spelled = String::with_capacity(path.len());
    for byte in path.bytes() {
        if (b'!'..=b'~').contains(&byte) {
            spelled.push(char::from(byte));
        } else {
            spelled.push_str(&format!("%{byte:02X}"));
        }
    }
    spelled
}

fn service(row: &Row, manifest: Option<&Manifest>, origin: &str, mount: &str) -> Value {
    let mut item = Map::new();
    let mut put = |key: &str, value: Option<String>| {
        item.extend(value.map(|value| (key.to_owned(), Value::String(value))));
    };
    put("name", Some(row.name.clone()));
    put("url", Some(address(origin, mount)));
    put("path", Some(mount.to_owned()));
    put("version", Some(row.version.clone()));
    put("infoUrl", Some(format!("{}/.parachute/info", address(origin, mount.trim_end_matches('/')))));
    let own_name = manifest.and_then(|manifest| manifest.display_name.clone());
    put("displayName", own_name.or_else(|| row.display_name.clone()));
    let page = manifest.and_then(|manifest| manifest.ui_url.as_deref());
    put("uiUrl", page.map(|page| absolute(row, mount, page, origin)));
    put("tagline", row.tagline.clone());
    let uis = uis(row, origin);
    if !uis.is_empty() {
        item.insert("uis".to_owned(), Value::Array(uis));
    }
    Value::Object(item)
}

fn vault(row: &Row, manifest: Option<&Manifest>, origin: &str, mount: &str) -> Value {
    let mut item = Map::new();
    let mut put = |key: &str, value: String| item.insert(key.to_owned(), Value::String(value));
    put("name", vault_name(&row.name, mount).to_owned());
    put("url", address(origin, mount));
    put("version", row.version.clone());
    if let Some(page) = manifest.and_then(|manifest| manifest.management_url.as_deref()) {
        put("managementUrl", absolute(row, mount, page, origin));
    }
    Value::Object(item)
}

/// What the vault is called: by its mount, else by its row.
fn vault_name<'a>(row_name: &'a str, mount: &'a str) -> &'a str {
    let of_mount = mount.strip_prefix(VAULT_MOUNT).and_then(|rest| rest.split('/').next());
    let of_row = || row_name.strip_prefix("parachute-vault-");
    of_mount.filter(|name| !name.is_empty()).or_else(of_row).filter(|name| !name.is_empty()).unwrap_or(DEFAULT_VAULT)
}

fn uis(row: &Row, origin: &str) -> Vec<Value> {
    let Some(Value::Object(uis)) = &row.uis else { return Vec::new() };
    let one = |(name, ui): (&String, &Value)| {
        let path = ui.get("path").and_then(Value::as_str).unwrap_or_default();
        let mut item = Map::new();
        item.insert("name".to_owned(), json!(name));
        item.extend(ui.get("displayName").map(|value| ("displayName".to_owned(), value.clone())));
        item.insert("path".to_owned(), json!(path));
        item.insert("url".to_owned(), json!(address(origin, path)));
        for field in ["tagline", "iconUrl", "version", "oauthClientId"] {
            item.extend(ui.get(field).map(|value| (field.to_owned(), value.clone())));
        }
        let status = ui.get("status").and_then(Value::as_str);
        item.extend(status.map(|status| ("status".to_owned(), json!(ui_status(status)))));
        Value::Object(item)
    };
    uis.iter().map(one).collect()
}

fn absolute(row: &Row, mount: &str, page: &str, origin: &str) -> String {
    let page = link(row, mount, page);
    if is_address(&page) { page } else { format!("{origin}{page}") }
}

fn is_address(link: &str) -> bool {
    link.starts_with("http://") || link.starts_with("https://")
}

/// A claimed path as it is matched: without slashes at the end (http-api §9.1).
fn mount(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => NO_MOUNT,
        trimmed => trimmed,
    }
}

#[cfg(test)]
mod tests;
