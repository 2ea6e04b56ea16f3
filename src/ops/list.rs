//! All modules: what the rows say, what the modules say of themselves, and how their processes are.

use super::Hub;
use super::state::{last_exit, start_error, status};
use crate::manifest::module::Manifest;
use crate::manifest::services::{Entry, Listing, Row, ui_status};
use crate::manifest::{Short, discovery, known, mounts};
use crate::stamp::iso;
use crate::supervisor::Snapshot;
use crate::wire::{ModuleInfo, ModuleList, Supervised};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The only channel while modules are installed by hand.
const CHANNEL: &str = "latest";

impl Hub {
    /// Every row of `services.json`, bad ones with their problem, and whatever runs without a row. Blocks for a few
    /// `stat` calls; reads only what changed.
    pub(crate) fn modules(&self) -> ModuleList {
        let (document, problem) = self.document();
        let snapshots: BTreeMap<Short, Snapshot> =
            self.parts.supervisor.snapshots().into_iter().map(|snapshot| (snapshot.short.clone(), snapshot)).collect();
        let rows = by_short(&document);
        // What runs is not that of a further row of the same name, which is bad.
        let is_meant = |entry: &Entry| {
            entry.short.as_ref().and_then(|short| rows.get(short)).is_some_and(|meant| std::ptr::eq(*meant, entry))
        };
        let of_row = |entry: &Entry| {
            let process = process_of(entry).filter(|_| is_meant(entry)).and_then(|process| snapshots.get(process));
            self.of_entry(entry, process)
        };
        let mut modules: Vec<ModuleInfo> = document.entries().iter().map(of_row).collect();
        let strays = snapshots.values().filter(|snapshot| !rows.contains_key(&snapshot.short));
        modules.extend(strays.map(|snapshot| running(blank(snapshot.short.as_str()), snapshot)));
        ModuleList {
            modules,
            supervised: snapshots.values().map(|s| supervised(rows.get(&s.short).copied(), s)).collect(),
            supervisor_available: true,
            module_install_channel: CHANNEL.to_owned(),
            problem,
        }
    }

    /// One module of that list; `None` when there is no such one.
    pub(crate) fn module(&self, short: &Short) -> Option<ModuleInfo> {
        let (document, _) = self.document();
        let snapshot = |short: &Short| self.parts.supervisor.snapshot(short);
        match document.find(short) {
            Some(entry) => Some(self.of_entry(entry, process_of(entry).and_then(snapshot).as_ref())),
            None => snapshot(short).map(|stray| running(blank(short.as_str()), &stray)),
        }
    }

    /// `services.json`, or nothing and why.
    fn document(&self) -> (Arc<Listing>, Option<String>) {
        match self.reconcile() {
            Ok(document) => (document, None),
            Err(error) => (Arc::default(), Some(error.to_string())),
        }
    }

    fn of_entry(&self, entry: &Entry, process: Option<&Snapshot>) -> ModuleInfo {
        let name = entry.short.as_ref().map_or(entry.name.as_str(), Short::as_str);
        let mut module = ModuleInfo { name: entry.name.clone(), installed: true, ..blank(name) };
        match &entry.row {
            Err(problem) => module.problem = Some(problem.to_string()),
            Ok(row) => {
                let manifest = self.parts.manifests.of(row);
                if let Err(error) = &manifest {
                    module.problem = Some(error.to_string());
                }
                module = described(module, row, manifest.ok().flatten().as_deref());
            }
        }
        match process {
            Some(snapshot) => running(module, snapshot),
            None => module,
        }
    }
}

/// The row of each module: of several the one that can be used, as [`Listing::find`] has it.
fn by_short(document: &Listing) -> BTreeMap<&Short, &Entry> {
    let mut rows: BTreeMap<&Short, &Entry> = BTreeMap::new();
    for entry in document.entries() {
        let Some(short) = &entry.short else { continue };
        let meant = rows.entry(short).or_insert(entry);
        if meant.row.is_err() && entry.row.is_ok() {
            *meant = entry;
        }
    }
    rows
}

/// Whose process serves the row: its own, but for a further vault on the same port.
fn process_of(entry: &Entry) -> Option<&Short> {
    entry.served_by.as_ref().or(entry.short.as_ref())
}

/// A module of which nothing but the name is known.
fn blank(short: &str) -> ModuleInfo {
    let known = known::by_short(short);
    ModuleInfo {
        short: short.to_owned(),
        name: known.map_or(short, |known| known.manifest_name).to_owned(),
        package: known.map(|known| known.package.to_owned()),
        display_name: None,
        tagline: None,
        available: known.is_some(),
        installed: false,
        installed_version: None,
        latest_version: None,
        port: None,
        paths: Vec::new(),
        supervisor_status: None,
        ready: false,
        pid: None,
        started_at: None,
        uptime_ms: None,
        restarts_in_window: 0,
        restarts_total: 0,
        last_exit: None,
        next_retry_at: None,
        waits_for: Vec::new(),
        supervisor_start_error: None,
        problem: None,
        install_dir: None,
        strip_prefix: false,
        uis: Vec::new(),
        management_url: None,
        ui_url: None,
    }
}

/// Adds what row and manifest say.
fn described(module: ModuleInfo, row: &Row, manifest: Option<&Manifest>) -> ModuleInfo {
    ModuleInfo {
        display_name: manifest.and_then(|manifest| manifest.display_name.clone()).or_else(|| row.display_name.clone()),
        tagline: row.tagline.clone().or_else(|| manifest.and_then(|manifest| manifest.tagline.clone())),
        installed_version: Some(row.version.clone()),
        port: Some(row.port.get()),
        paths: row.paths.clone(),
        install_dir: row.install_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned()),
        strip_prefix: mounts::strips(row, manifest),
        uis: uis(row),
        management_url: link(row, manifest.and_then(|it| it.management_url.as_deref().or(it.ui_url.as_deref()))),
        ui_url: link(row, manifest.and_then(|it| it.ui_url.as_deref())),
        ..module
    }
}

/// A link of the manifest as an address or a path of our origin; a module that people find nowhere has none.
fn link(row: &Row, link: Option<&str>) -> Option<String> {
    Some(discovery::link(row, discovery::user_mount(row)?, link?))
}

/// Adds how its process is.
fn running(module: ModuleInfo, snapshot: &Snapshot) -> ModuleInfo {
    let uptime = snapshot.pid.and(snapshot.started).map(|since| since.elapsed());
    ModuleInfo {
        supervisor_status: Some(status(snapshot.status)),
        ready: snapshot.ready,
        pid: snapshot.pid,
        started_at: snapshot.started_at.map(iso),
        uptime_ms: uptime.map(|uptime| u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)),
        restarts_in_window: snapshot.restarts_in_window,
        restarts_total: snapshot.restarts_total,
        last_exit: snapshot.last_exit.map(last_exit),
        next_retry_at: snapshot.next_retry_at().map(iso),
        waits_for: snapshot.waits_for.iter().map(Short::to_string).collect(),
        supervisor_start_error: snapshot.start_error.as_ref().map(start_error),
        ..module
    }
}

fn supervised(entry: Option<&Entry>, snapshot: &Snapshot) -> Supervised {
    let row = entry.and_then(|entry| entry.row.as_ref().ok());
    Supervised {
        short: snapshot.short.to_string(),
        installed: entry.is_some(),
        installed_version: row.map(|row| row.version.clone()),
        supervisor_status: Some(status(snapshot.status)),
        pid: snapshot.pid,
        supervisor_start_error: snapshot.start_error.as_ref().map(start_error),
    }
}

/// The row's `uis`, in the API's spelling; what is not said is null (http-api §5).
fn uis(row: &Row) -> Vec<Value> {
    let Some(Value::Object(uis)) = &row.uis else { return Vec::new() };
    uis.iter()
        .map(|(name, ui)| {
            let field = |key: &str| ui.get(key).cloned().unwrap_or(Value::Null);
            json!({
                "name": name,
                "display_name": field("displayName"),
                "path": field("path"),
                "tagline": field("tagline"),
                "icon_url": field("iconUrl"),
                "version": field("version"),
                "oauth_client_id": field("oauthClientId"),
                "status": ui.get("status").and_then(Value::as_str).map(ui_status),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::services::Document;
    use crate::ops::state::tests::snapshot;
    use crate::supervisor::Status;

    fn row(json: &Value) -> Row {
        let document = Document::parse(json!({"services": [json]}).to_string().as_bytes()).expect("a document");
        let entry = document.entries().first().expect("one row").clone();
        Row::clone(&entry.row.expect("a good row"))
    }

    fn manifest(json: &Value) -> Manifest {
        Manifest::parse(json.to_string().as_bytes()).expect("a good manifest")
    }

    #[test]
    fn what_runs_is_that_of_the_row_that_can_be_used() {
        let row =
            |name: &str, port: u16| json!({"name": name, "port": port, "paths": [], "health": "/", "version": "1"});
        let rows = [row("vault", 1940), row("wiki", 4000), row("parachute-vault", 1940), row("wiki", 4001)];
        let document = Document::parse(json!({"services": rows}).to_string().as_bytes()).expect("a document");
        let meant = by_short(&document);
        for (short, name, port) in [("vault", "parachute-vault", 1940), ("wiki", "wiki", 4000)] {
            let short = Short::parse(short).expect("a short");
            let entry = meant.get(&short).expect("a row");
            assert_eq!((entry.name.as_str(), entry.row.as_ref().map(|row| row.port.get())), (name, Ok(port)));
            assert!(document.find(&short).is_some_and(|found| std::ptr::eq(found, *entry)), "{short}");
        }
    }

    #[test]
    fn a_module_reads_as_the_contract_has_it() {
        let row = row(&json!({
            "name": "wiki", "port": 4000, "paths": ["/wiki"], "health": "/wiki/health", "version": "1.2",
            "tagline": "notes for all", "installDir": "/opt/wiki",
            "uis": {"main": {"displayName": "Wiki", "path": "/wiki/", "status": "disabled"}}
        }));
        let manifest = manifest(&json!({
            "name": "wiki", "manifestName": "wiki", "port": 4000, "paths": ["/wiki"], "health": "/wiki/health",
            "displayName": "The Wiki", "managementUrl": "/wiki/admin", "uiUrl": "start"
        }));
        let module = ModuleInfo { name: "wiki".to_owned(), installed: true, ..blank("wiki") };
        let module = running(described(module, &row, Some(&manifest)), &snapshot("wiki", Status::Crashed));
        assert_eq!(
            serde_json::to_value(&module).expect("plain data"),
            json!({
                "short": "wiki", "name": "wiki", "package": null, "display_name": "The Wiki",
                "tagline": "notes for all", "available": false, "installed": true, "installed_version": "1.2",
                "latest_version": null, "port": 4000, "paths": ["/wiki"], "supervisor_status": "crashed",
                "ready": false, "pid": null, "started_at": null, "uptime_ms": null, "restarts_in_window": 0,
                "restarts_total": 0, "last_exit": null, "next_retry_at": null, "supervisor_start_error": null,
                "problem": null, "install_dir": "/opt/wiki",
                "uis": [{"name": "main", "display_name": "Wiki", "path": "/wiki/", "tagline": null, "icon_url": null,
                         "version": null, "oauth_client_id": null, "status": "inactive"}],
                "management_url": "/wiki/admin", "ui_url": "/wiki/start"
            })
        );
    }
}
