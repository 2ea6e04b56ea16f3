//! Pure: who may see which pages of a module (http-api §9.7, files §3.3).

use super::services::Row;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who may see a page; each is narrower than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whom {
    /// `public`, and `surface`, which asks its visitors itself.
    Anybody,
    HubUsers,
    Operator,
}

/// What it takes to see a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) whom: Whom,
    /// Each has to be satisfied by a scope of a hub user's token. None where they do not matter.
    pub(crate) scopes: BTreeSet<String>,
}

impl Needs {
    /// What a page takes that is for anybody.
    pub(crate) const NONE: Self = Self { whom: Whom::Anybody, scopes: BTreeSet::new() };

    /// It takes to see another page as well.
    pub(crate) fn add(&mut self, other: &Self) {
        self.whom = self.whom.max(other.whom);
        self.scopes.extend(other.scopes.iter().cloned());
    }
}

/// A page and everything below it, as far as there is no other one below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gate {
    /// As it is written, but for what no server is told of an address.
    pub(crate) path: String,
    pub(crate) needs: Needs,
}

/// A path by which requests get to a process, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) path: String,
    /// The process sees what is below it without it.
    pub(crate) strip: bool,
}

/// A row as the process that answers for it knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    /// What the row claims, also where another row has it.
    pub(crate) ways: Vec<Way>,
    pub(crate) gates: Option<Arc<[Gate]>>,
}

/// Whether a page of these rows, which are all of a process, may be asked for by another path than its own.
pub(super) fn has_other_ways(rows: &[Served]) -> bool {
    let mut ways = rows.iter().flat_map(|row| &row.ways);
    let is_one_place = rows.len() == 1 && (ways.clone().count() == 1 || ways.all(|way| !way.strip));
    !is_one_place && rows.iter().any(|row| row.gates.is_some())
}

/// The pages of a row's module; `None` when all of them are for anybody.
pub(crate) fn gates(row: &Row) -> Option<Arc<[Gate]>> {
    let Some(Value::Object(uis)) = &row.uis else { return None };
    let gates: Vec<Gate> = uis.values().map(|ui| Gate { path: path(row, ui), needs: needs(ui) }).collect();
    gates.iter().any(|gate| gate.needs.whom != Whom::Anybody).then(|| gates.into())
}

/// Of a module that claims `/` and is found under its own name, its pages are there, too.
fn path(row: &Row, ui: &Value) -> String {
    // The row was checked: it has a path.
    let path = ui.get("path").and_then(Value::as_str).unwrap_or("/");
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if row.remaps_root && !row.serves(path) { format!("/{}{path}", row.short) } else { path.to_owned() }
}

fn needs(ui: &Value) -> Needs {
    let whom = match ui.get("audience").map(Value::as_str) {
        Some(Some("public" | "surface")) => Whom::Anybody,
        Some(Some("hub-users")) => Whom::HubUsers,
        // Any other word has spoilt the row.
        Some(_) => Whom::Operator,
        // As older releases have written `public`.
        None if ui.get("public") == Some(&Value::Bool(true)) => Whom::Anybody,
        None => Whom::HubUsers,
    };
    let scopes = match (whom, ui.get("scopes_required")) {
        (Whom::HubUsers, Some(Value::Array(scopes))) => {
            // What has a line end, or the like, in it is no scope that a token could have, and it is shown in the log.
            scopes.iter().filter_map(Value::as_str).map(|scope| scope.escape_debug().to_string()).collect()
        }
        _ => BTreeSet::new(),
    };
    Needs { whom, scopes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::services::Document;
    use serde_json::json;

    fn of(paths: &[&str], uis: &Value) -> Vec<(String, Whom, BTreeSet<String>)> {
        let row =
            json!({"name": "wiki", "port": 2001, "paths": paths, "health": "/health", "version": "1", "uis": uis});
        let document = Document::parse(json!({ "services": [row] }).to_string().as_bytes()).expect("a document");
        let row = document.entries()[0].row.clone().expect("a good row");
        let gates = gates(&row).map(|gates| gates.to_vec()).unwrap_or_default();
        gates.into_iter().map(|gate| (gate.path, gate.needs.whom, gate.needs.scopes)).collect()
    }

    fn ui(path: &str, more: Value) -> Value {
        let mut ui = json!({"displayName": "A", "path": path});
        let Value::Object(more) = more else { unreachable!("an object is written above") };
        ui.as_object_mut().expect("an object").extend(more);
        ui
    }

    #[test]
    fn who_may_see_a_page_is_what_its_audience_says_and_else_the_hubs_users() {
        use Whom::{HubUsers, Operator};
        for (more, expected) in [
            (json!({}), Some((HubUsers, &[][..]))),
            (json!({"audience": "hub-users"}), Some((HubUsers, &[]))),
            (json!({"audience": "operator"}), Some((Operator, &[]))),
            (json!({"audience": "public"}), None),
            (json!({"audience": "surface"}), None),
            (json!({"public": true}), None),
            (json!({"public": false}), Some((HubUsers, &[]))),
            (json!({"public": "true"}), Some((HubUsers, &[]))),
            (json!({"public": true, "audience": "operator"}), Some((Operator, &[]))),
            (json!({"scopes_required": ["wiki:read", "a\nb"]}), Some((HubUsers, &["wiki:read", "a\\nb"]))),
            (json!({"scopes_required": ["wiki:read"], "audience": "operator"}), Some((Operator, &[]))),
            (json!({"scopes_required": ["wiki:read"], "audience": "public"}), None),
        ] {
            let found = of(&["/wiki"], &json!({"a": ui("/wiki/app", more.clone())}));
            let expected = expected.map(|(whom, scopes)| {
                ("/wiki/app".to_owned(), whom, scopes.iter().map(|scope| (*scope).to_owned()).collect())
            });
            assert_eq!(found, Vec::from_iter(expected), "{more}");
        }
        assert_eq!(of(&["/wiki"], &json!({})), []);
        let both = json!({"a": ui("/wiki", json!({})), "b": ui("/wiki/b", json!({"audience": "public"}))});
        assert_eq!(of(&["/wiki"], &both).len(), 2, "what is open within something closed matters");
    }

    #[test]
    fn a_page_is_where_its_module_is_found() {
        for (paths, path, expected) in [
            (&["/wiki"][..], "/wiki/app", "/wiki/app"),
            (&["/wiki"], "/wiki/app?tab=1", "/wiki/app"),
            (&["/wiki"], "/wiki/#/settings", "/wiki/"),
            (&["/wiki"], "/other", "/other"),
            (&["/wiki"], "/", "/"),
            // It claims `/`.
            (&["/"], "/", "/wiki/"),
            (&["/"], "/app", "/wiki/app"),
            (&["/"], "/wiki/app", "/wiki/app"),
            (&["/", "/app"], "/app/x", "/app/x"),
            (&["/", "/wiki"], "/app", "/app"),
        ] {
            assert_eq!(of(paths, &json!({"a": ui(path, json!({}))}))[0].0, expected, "{path} of {paths:?}");
        }
    }

    #[test]
    fn both_pages_take_what_the_narrower_one_takes_and_the_scopes_of_both() {
        use Whom::{Anybody, HubUsers, Operator};
        let needs = |whom, scopes: &[&str]| Needs { whom, scopes: scopes.iter().map(|s| (*s).to_owned()).collect() };
        for (mut one, other, both) in [
            (
                needs(HubUsers, &["a:b", "c:d"]),
                needs(HubUsers, &["c:d", "e:f"]),
                needs(HubUsers, &["a:b", "c:d", "e:f"]),
            ),
            (Needs::NONE, needs(HubUsers, &["a:b"]), needs(HubUsers, &["a:b"])),
            (needs(Operator, &[]), needs(Anybody, &[]), needs(Operator, &[])),
        ] {
            one.add(&other);
            assert_eq!(one, both);
        }
    }
}
