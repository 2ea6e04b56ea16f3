//! Pure: which paths of the origin belong to which module, and under which rules (http-api §9.1 to §9.3).

use super::discovery::{Audience, is_visible};
use super::gates::{Gate, Served, Way, gates, has_other_ways};
use super::module::Manifest;
use super::run::Run;
use super::services::{Listing, Row, VAULT_FAMILY_MOUNTS};
use super::{Port, Short, known};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// One path and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Begins with a slash and does not end with one.
    pub(crate) path: String,
    pub(crate) short: Short,
    /// The module whose process answers: itself, but for a further vault on the same port.
    pub(crate) process: Short,
    pub(crate) port: Port,
    /// The module sees its paths without the mount.
    pub(crate) strip: bool,
    /// Only callers on this machine may know that it is there.
    pub(crate) local_only: bool,
    pub(crate) websocket: bool,
    /// How long a request waits while the module is being restarted.
    pub(crate) hold: Duration,
    /// It gets the hub's own bearers and cookies.
    pub(crate) hub_credentials: bool,
    /// It is told who its caller is.
    pub(crate) proof_headers: bool,
    /// Its pages, where not all of them are for anybody.
    pub(crate) gates: Option<Arc<[Gate]>>,
    /// All rows of its process, where a page of one of them may be asked for by another path than its own.
    pub(crate) served: Option<Arc<[Served]>>,
}

impl Mount {
    /// Not everybody may see all that its process serves.
    pub(crate) fn is_closed(&self) -> bool {
        self.gates.is_some() || self.served.is_some()
    }
}

/// A usable row, and what it claims.
struct Claim<'a> {
    row: &'a Row,
    process: &'a Short,
    manifest: Option<Arc<Manifest>>,
    ways: Vec<Way>,
    /// What the vaults have in common, if it is the first of them.
    common: Vec<Way>,
    gates: Option<Arc<[Gate]>>,
}

/// The mounts of all usable rows. The first of two rows that claim the same path has it, and what the vaults have in
/// common is the first vault's where nobody claims it. `manifest_of` says what a module says of itself; one that cannot
/// be read leaves what the row and the known modules say.
pub(crate) fn mounts(document: &Listing, manifest_of: impl Fn(&Row) -> Option<Arc<Manifest>>) -> Vec<Mount> {
    let usable = || document.entries().iter().filter_map(|entry| Some((entry, entry.row.as_deref().ok()?)));
    let first_vault = usable().find(|(_, row)| row.is_vault()).map(|(entry, _)| entry.index);
    let claims: Vec<Claim<'_>> = usable()
        .map(|(entry, row)| {
            let manifest = manifest_of(row);
            let common = if first_vault == Some(entry.index) { &VAULT_FAMILY_MOUNTS[..] } else { &[] };
            Claim {
                row,
                process: entry.served_by.as_ref().unwrap_or(&row.short),
                ways: ways(row, manifest.as_deref()),
                common: common.iter().map(|path| Way { path: (*path).to_owned(), strip: false }).collect(),
                gates: gates(row),
                manifest,
            }
        })
        .collect();
    let served = served(&claims);
    let own = claims.iter().map(|claim| (claim, &claim.ways));
    let common = claims.iter().map(|claim| (claim, &claim.common));
    let mut taken = HashSet::new();
    let mut mounts = Vec::new();
    for (claim, ways) in own.chain(common) {
        let free: Vec<Way> = ways.iter().filter(|way| taken.insert(way.path.as_str())).cloned().collect();
        if !free.is_empty() {
            mounts.extend(of_row(free, claim, served.get(claim.process)));
        }
    }
    mounts
}

/// The rows of each process of which a page may be asked for by another path than its own.
fn served<'a>(claims: &[Claim<'a>]) -> HashMap<&'a Short, Arc<[Served]>> {
    let mut by_process: HashMap<&Short, Vec<Served>> = HashMap::new();
    for Claim { process, ways, common, gates, .. } in claims {
        let served = Served { ways: [&ways[..], common].concat(), gates: gates.clone() };
        by_process.entry(process).or_default().push(served);
    }
    by_process.retain(|_, rows| has_other_ways(rows));
    by_process.into_iter().map(|(process, rows)| (process, rows.into())).collect()
}

/// Whether what asks for the row's first path reaches the module without it.
pub(crate) fn strips(row: &Row, manifest: Option<&Manifest>) -> bool {
    ways(row, manifest).first().is_some_and(|way| way.strip)
}

/// The row's paths without slashes at their ends, and whether they are taken off. A row of an older release, which is
/// found under its own name instead of `/`, knows nothing of that name.
fn ways(row: &Row, manifest: Option<&Manifest>) -> Vec<Way> {
    let known = known::by_short(row.short.as_str()).and_then(|known| known.strip_prefix);
    let said = row.strip_prefix.or_else(|| manifest.and_then(|manifest| manifest.strip_prefix)).or(known);
    let is_instead = |path: &str| row.remaps_root && path.strip_prefix('/') == Some(row.short.as_str());
    let each = |path: &String| {
        let path = path.trim_end_matches('/').to_owned();
        let strip = said.unwrap_or_else(|| is_instead(&path));
        Way { path, strip }
    };
    row.paths.iter().map(each).collect()
}

fn of_row(ways: Vec<Way>, claim: &Claim<'_>, served: Option<&Arc<[Served]>>) -> impl Iterator<Item = Mount> {
    let Claim { row, manifest, .. } = claim;
    let manifest = manifest.as_deref();
    let websocket = row.websocket.or_else(|| manifest.and_then(|manifest| manifest.websocket)).unwrap_or(false);
    // Settings that cannot be used are said where the module is started, and shown in its row.
    let run = Run::of(manifest, Some(row)).unwrap_or_default();
    ways.into_iter().map(move |Way { path, strip }| Mount {
        path,
        short: row.short.clone(),
        process: claim.process.clone(),
        port: row.port,
        strip,
        local_only: !is_visible(row, Audience::Remote),
        websocket,
        hold: run.hold,
        hub_credentials: run.hub_credentials,
        proof_headers: run.proof_headers,
        gates: claim.gates.clone(),
        served: served.cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::services::Document;
    use serde_json::{Value, json};

    fn of(rows: &[Value], manifest: Option<Value>) -> Vec<Mount> {
        let document = Document::parse(json!({ "services": rows }).to_string().as_bytes()).expect("a document");
        let manifest = manifest.map(|value| Arc::new(Manifest::from_value(&value).expect("a manifest")));
        mounts(&document, |_| manifest.clone())
    }

    fn row(name: &str, port: u16, paths: &[&str]) -> Value {
        json!({"name": name, "port": port, "paths": paths, "health": "/health", "version": "1"})
    }

    fn with(mut row: Value, field: &str, value: Value) -> Value {
        row[field] = value;
        row
    }

    fn manifest(field: &str, value: Value) -> Value {
        let manifest = json!({"name": "wiki", "manifestName": "wiki", "port": 2001, "paths": ["/wiki"],
            "health": "/health", "kind": "api"});
        with(manifest, field, value)
    }

    #[test]
    fn each_usable_path_becomes_a_mount_of_the_first_row_that_claims_it() {
        let rows = [
            row("a", 2001, &["/a", "/shared/", "/api/x", "/health"]),
            row("b", 2002, &["/b/c//", "/shared", "/b/c/"]),
            json!({"name": "bad"}),
            row("old", 2003, &["/"]),
            row("admin", 2004, &["/"]),
            row("both", 2005, &["/", "/both"]),
        ];
        let found: Vec<(String, String, bool)> =
            of(&rows, None).into_iter().map(|m| (m.path, m.short.to_string(), m.strip)).collect();
        let expected = [
            ("/a", "a", false),
            ("/shared", "a", false),
            ("/b/c", "b", false),
            ("/old", "old", true),
            ("/both", "both", false),
        ];
        assert_eq!(found, expected.map(|(path, short, strip)| (path.to_owned(), short.to_owned(), strip)));
    }

    #[test]
    fn a_further_vault_is_served_by_the_first_ones_process() {
        let rows =
            [row("parachute-vault", 1940, &["/vault/default"]), row("parachute-vault-work", 1940, &["/vault/work"])];
        let found: Vec<(String, String)> =
            of(&rows, None).into_iter().map(|m| (m.short.to_string(), m.process.to_string())).collect();
        let expected = [("vault", "vault"), ("parachute-vault-work", "vault"), ("vault", "vault"), ("vault", "vault")];
        assert_eq!(found, expected.map(|(short, process)| (short.to_owned(), process.to_owned())));
    }

    #[test]
    fn what_the_vaults_have_in_common_is_the_first_ones_unless_somebody_claims_it() {
        let vault = |name: &str, path: &str| with(row(name, 1940, &[path]), "stripPrefix", json!(true));
        for (rows, expected) in [
            (vec![row("wiki", 2001, &["/wiki"])], &[][..]),
            (
                vec![vault("parachute-vault-b", "/vault/b"), vault("parachute-vault", "/vault/default")],
                &[("/vault/admin", "parachute-vault-b", false), ("/mcp", "parachute-vault-b", false)],
            ),
            (
                vec![vault("parachute-vault", "/vault/default"), row("tools", 2001, &["/mcp"])],
                &[("/vault/admin", "vault", false), ("/mcp", "tools", false)],
            ),
        ] {
            let found = of(&rows, None);
            let of_family: Vec<_> = VAULT_FAMILY_MOUNTS
                .iter()
                .filter_map(|path| found.iter().find(|mount| mount.path == *path))
                .map(|mount| (mount.path.as_str(), mount.short.as_str(), mount.strip))
                .collect();
            assert_eq!(of_family, expected, "{rows:?}");
        }
    }

    #[test]
    fn the_row_is_stronger_than_the_manifest_and_that_than_what_is_known() {
        let wiki = || row("wiki", 2001, &["/wiki"]);
        let scribe = || row("parachute-scribe", 1943, &["/scribe"]);
        for (row, manifest, strip, websocket) in [
            (wiki(), None, false, false),
            (wiki(), Some(manifest("stripPrefix", json!(true))), true, false),
            (with(wiki(), "stripPrefix", json!(false)), Some(manifest("stripPrefix", json!(true))), false, false),
            (scribe(), None, true, false),
            (with(scribe(), "stripPrefix", json!(false)), None, false, false),
            (wiki(), Some(manifest("websocket", json!(true))), false, true),
            (with(wiki(), "websocket", json!(false)), Some(manifest("websocket", json!(true))), false, false),
        ] {
            let found = of(std::slice::from_ref(&row), manifest);
            assert_eq!((found[0].strip, found[0].websocket), (strip, websocket), "{row}");
        }
    }

    #[test]
    fn exposure_holding_and_credentials_come_from_the_row() {
        let row = with(row("wiki", 2001, &["/wiki"]), "publicExposure", json!("loopback"));
        let row = with(row, "run", json!({ "holdMs": 0, "hubCredentials": true, "proofHeaders": true }));
        let mount = &of(&[row], None)[0];
        assert!(mount.local_only && mount.hub_credentials && mount.proof_headers && mount.hold.is_zero());
    }

    #[test]
    fn all_ways_to_a_process_are_told_where_a_page_may_be_asked_for_by_another_than_its_own() {
        type Told<'a> = Option<Vec<(Vec<(&'a str, bool)>, bool)>>;
        let uis = |row| with(row, "uis", json!({"a": {"displayName": "A", "path": "/wiki/app"}}));
        let stripped = |row| with(row, "stripPrefix", json!(true));
        let vault = |name: &str, path: &str| row(&format!("parachute-vault{name}"), 1940, &[path]);
        let first = vec![("/vault/a", false), ("/vault/admin", false), ("/mcp", false)];
        let rows: [(&[Value], Told<'_>); 9] = [
            (&[row("wiki", 2001, &["/wiki", "/alt"])], None),
            (&[stripped(row("wiki", 2001, &["/wiki", "/alt"]))], None),
            (&[uis(row("wiki", 2001, &["/wiki", "/alt"]))], None),
            (&[stripped(uis(row("wiki", 2001, &["/wiki"])))], None),
            (
                &[stripped(uis(row("wiki", 2001, &["/wiki", "/alt/"])))],
                Some(vec![(vec![("/wiki", true), ("/alt", true)], true)]),
            ),
            (&[uis(row("wiki", 2001, &["/", "/pub"]))], Some(vec![(vec![("/wiki", true), ("/pub", false)], true)])),
            // What another row has is still where the pages say they are.
            (
                &[stripped(uis(row("wiki", 2001, &["/alt", "/wiki"]))), row("other", 2002, &["/wiki"])],
                Some(vec![(vec![("/alt", true), ("/wiki", true)], true)]),
            ),
            (
                &[vault("", "/vault/a"), uis(vault("-b", "/vault/b"))],
                Some(vec![(first, false), (vec![("/vault/b", false)], true)]),
            ),
            (&[vault("", "/vault/a"), vault("-b", "/vault/b")], None),
        ];
        for (rows, expected) in rows {
            for mount in of(rows, None).iter().filter(|mount| mount.short.as_str() != "other") {
                let served = mount.served.as_deref().map(|served| {
                    let ways = |row: &'_ Served| row.ways.iter().map(|way| (way.path.clone(), way.strip)).collect();
                    served.iter().map(|row| (ways(row), row.gates.is_some())).collect::<Vec<(Vec<_>, bool)>>()
                });
                let expected = expected.as_ref().map(|rows| {
                    let owned = |(path, strip): &(&str, bool)| ((*path).to_owned(), *strip);
                    rows.iter().map(|(ways, gates)| (ways.iter().map(owned).collect(), *gates)).collect()
                });
                assert_eq!(served, expected, "{} of {rows:?}", mount.path);
                assert_eq!(mount.is_closed(), served.is_some() || mount.gates.is_some());
            }
        }
    }
}
