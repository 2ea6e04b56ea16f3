//! Pure: `services.json`, the list of modules that the hub, the operator and every module write together (files §3).
//!
//! The document stays the JSON tree that was read: rows are a view of it, edits patch it, and what we do not know
//! survives in place and in order. A row that cannot be used stays in the document, with its reason.

mod merge;
mod moved;
mod redo;
mod row;
mod salvage;
#[cfg(test)]
mod tests;

pub(crate) use merge::merge;
pub(crate) use moved::{Moved, moved};
pub(crate) use redo::{Edit, edits, redone};
pub(in crate::manifest) use row::VAULT_FAMILY_MOUNTS;
pub(crate) use row::{Exposure, Row, is_hub_mount, is_vault_itself, ui_status};

use super::discovery::keys;
use super::fields::{self, filled, object, required, wrong};
use super::{Port, Problem, Short, json, known, shown};
use serde_json::{Value, json as json_value};
use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

/// The root's one key that is ours.
const SERVICES: &str = "services";

/// What `services.json` says, without the tree that it was read from, which is five times as large.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    entries: Vec<Entry>,
}

/// A parsed `services.json` that can be changed and written again.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// Always an object whose `services` is an array.
    root: Value,
    listing: Listing,
}

/// What became of one row.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its place in the array, from 0.
    pub(crate) index: usize,
    /// The row's name, or `#<index>` where it has none.
    pub(crate) name: String,
    /// What the module goes by; there even when the row is bad, so that it can be shown.
    pub(crate) short: Option<Short>,
    /// The row, or why it cannot be used.
    pub(crate) row: Result<Arc<Row>, Problem>,
    /// The module whose process serves this row too: an earlier vault on the same port (files §3.10). Such a row has
    /// no process of its own.
    pub(crate) served_by: Option<Short>,
}

impl Listing {
    /// Every row in the file's order, usable or not.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of that short name; a usable one before a bad one.
    pub(crate) fn find(&self, short: &Short) -> Option<&Entry> {
        let mut of_short = self.entries.iter().filter(|entry| entry.short.as_ref() == Some(short));
        let first = of_short.clone().next();
        of_short.find(|entry| entry.row.is_ok()).or(first)
    }

    /// The module whose process serves this one: itself, but for a further vault on the same port (files §3.10).
    pub(crate) fn process_of(&self, short: &Short) -> Short {
        let served_by = self.find(short).and_then(|entry| entry.served_by.as_ref());
        served_by.unwrap_or(short).clone()
    }

    /// The module whose process is meant by a name of `dependsOn`, which may be that of a row; `None` when there is
    /// none.
    pub(crate) fn dependency(&self, name: &Short) -> Option<Short> {
        let as_row = || Short::parse(known::short_of_row_name(name.as_str())).ok();
        let short = [Some(name.clone()), as_row()].into_iter().flatten().find(|short| self.find(short).is_some())?;
        Some(self.process_of(&short))
    }
}

impl Deref for Document {
    type Target = Listing;

    fn deref(&self) -> &Listing {
        &self.listing
    }
}

impl From<Document> for Listing {
    fn from(document: Document) -> Self {
        document.listing
    }
}

impl Document {
    /// What a missing file stands for.
    pub(crate) fn empty() -> Self {
        Self { root: json_value!({ SERVICES: [] }), listing: Listing::default() }
    }

    /// Reads the document. Fails only where there is no list of rows at all; bad rows become bad entries.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let root = json::parse(bytes)?;
        let list = object(&root, "")?.get(SERVICES);
        match list {
            None => Err(Problem::new(SERVICES, "is missing")),
            Some(Value::Array(_)) => Ok(Self::from_root(root)),
            Some(other) => Err(wrong(SERVICES, "an array of rows", other)),
        }
    }

    #[cfg(test)]
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        json::to_bytes(&self.root)
    }

    /// Indented where that fits into the limit; `None` where it does not fit at all.
    pub(crate) fn to_bytes_within(&self, limit_bytes: u64) -> Option<Vec<u8>> {
        json::to_bytes_within(&self.root, limit_bytes)
    }

    /// Whether both hold the same tree.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        self.root == other.root
    }

    /// Sets every field of `row` in the first row of its name, or adds it as a new row. Fields that `row` does not
    /// name stay. Refused, with the document unchanged, when the outcome could not be used or would make another
    /// row unusable.
    pub(crate) fn upsert(&mut self, row: Value) -> Result<(), Problem> {
        let Value::Object(patch) = row else { return Err(wrong("", "an object", &row)) };
        let name = filled(required(&patch, "name")?, "name")?.to_owned();
        let mut changed = self.clone();
        let index = match changed.position(&name) {
            Some(index) => {
                let Some(Value::Object(fields)) = changed.rows_mut().get_mut(index) else {
                    return Err(Problem::new(name, "is not an object"));
                };
                fields.extend(patch);
                index
            }
            None => {
                changed.rows_mut().push(Value::Object(patch));
                changed.rows().len() - 1
            }
        };
        changed.reread();
        if let Some(Entry { row: Err(problem), .. }) = changed.entries().get(index) {
            return Err(problem.clone());
        }
        if let Some(Entry { row: Ok(row), .. }) = changed.entries().get(index)
            && let Some(problem) = row.refused_paths.first()
        {
            return Err(problem.clone());
        }
        // Such a row works, but nobody would find it under its name.
        if keys::is_own(&name) {
            return Err(Problem::new("name", format!("must not be {name:?}, a key of the discovery document")));
        }
        self.adopt(changed)
    }

    /// Takes away every row of that name; the first of them comes back.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Value> {
        let rows = self.rows_mut();
        let first = rows.iter().find(|row| name_of(row) == Some(name)).cloned();
        if first.is_some() {
            rows.retain(|row| name_of(row) != Some(name));
            self.reread();
        }
        first
    }

    /// Takes away the rows that can never be used again: of retired modules, and short names that a row
    /// `parachute-…` on the same port has superseded (files §3.6). They come back.
    pub(crate) fn take_obsolete(&mut self) -> Vec<Value> {
        let legacy: HashSet<String> = legacy_names(self.rows()).into_iter().map(str::to_owned).collect();
        let is_obsolete = |row: &Value| name_of(row).is_some_and(|name| legacy.contains(name)) || row::is_retired(row);
        let taken: Vec<Value> = self.rows().iter().filter(|row| is_obsolete(row)).cloned().collect();
        if !taken.is_empty() {
            self.rows_mut().retain(|row| !is_obsolete(row));
            self.reread();
        }
        taken
    }

    /// Sets one field of the first row of that name, or takes it away. Refused like [`Document::upsert`], but a row
    /// that was bad before may stay bad.
    pub(crate) fn set_field(&mut self, name: &str, field: &str, value: Option<Value>) -> Result<(), Problem> {
        let mut changed = self.clone();
        let index =
            self.position(name).ok_or_else(|| Problem::new("name", format!("no row is named {}", shown(name))))?;
        if let Some(Value::Object(fields)) = changed.rows_mut().get_mut(index) {
            match value {
                Some(value) => drop(fields.insert(field.to_owned(), value)),
                // `remove` would put the last field in its place.
                None => drop(fields.shift_remove(field)),
            }
        }
        changed.reread();
        self.adopt(changed)
    }

    /// Takes over `changed`, unless a row that was good is bad in it.
    fn adopt(&mut self, changed: Self) -> Result<(), Problem> {
        let newly_bad = changed.entries().iter().find_map(|entry| {
            let problem = entry.row.as_ref().err()?;
            let was_good = self.entries().get(entry.index).is_some_and(|before| before.row.is_ok());
            was_good.then_some(problem)
        });
        match newly_bad {
            Some(problem) => Err(problem.clone()),
            None => {
                *self = changed;
                Ok(())
            }
        }
    }

    fn from_root(root: Value) -> Self {
        let mut document = Self { root, listing: Listing::default() };
        document.reread();
        document
    }

    fn rows(&self) -> &[Value] {
        self.root.get(SERVICES).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn rows_mut(&mut self) -> &mut Vec<Value> {
        self.root.get_mut(SERVICES).and_then(Value::as_array_mut).expect("the root was checked to hold the array")
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.rows().iter().position(|row| name_of(row) == Some(name))
    }

    /// The first row of that name.
    fn named(&self, name: &str) -> Option<&Value> {
        self.position(name).and_then(|at| self.rows().get(at))
    }

    /// The first row of each name.
    fn firsts(&self) -> impl Iterator<Item = (&str, &Value)> {
        let mut seen = HashSet::new();
        let named = self.rows().iter().filter_map(|row| Some((name_of(row)?, row)));
        named.filter(move |(name, _)| seen.insert(*name))
    }

    /// Makes the entries anew from the tree.
    fn reread(&mut self) {
        self.listing = Listing { entries: entries(self.rows()) };
    }
}

fn name_of(row: &Value) -> Option<&str> {
    row.get("name").and_then(Value::as_str)
}

/// Judges every row, first by itself and then among the others. The first of two that get in each other's way wins.
fn entries(rows: &[Value]) -> Vec<Entry> {
    let legacy = legacy_names(rows);
    let mut by_port: HashMap<Port, (String, Short)> = HashMap::new();
    let mut by_short: HashMap<Short, usize> = HashMap::new();
    let mut entries = Vec::with_capacity(rows.len());
    for (index, value) in rows.iter().enumerate() {
        let name = name_of(value).filter(|name| !name.is_empty());
        let short = name.and_then(|name| Short::parse(known::short_of_row_name(name)).ok());
        let mut served_by = None;
        let row = Row::parse(value).and_then(|row| {
            if legacy.contains(row.name.as_str()) {
                return Err(Problem::new(
                    "name",
                    format!("is superseded by the row parachute-{} on the same port", row.name),
                ));
            }
            if let Some(first) = by_short.get(&row.short) {
                let reason = format!("{} is already the module of row #{first}", row.short);
                return Err(Problem::new("name", reason));
            }
            match by_port.get(&row.port) {
                Some((other, short)) if row::is_vault(other) && row.is_vault() => served_by = Some(short.clone()),
                Some((other, _)) => {
                    return Err(Problem::new("port", format!("{} is already the port of {other}", row.port)));
                }
                None => drop(by_port.insert(row.port, (row.name.clone(), row.short.clone()))),
            }
            by_short.insert(row.short.clone(), index);
            Ok(Arc::new(row))
        });
        let name = name.map_or_else(|| format!("#{index}"), str::to_owned);
        entries.push(Entry { index, name, short, row, served_by });
    }
    entries
}

/// Names `X` that stand beside a usable row `parachute-X` on the same port: what an older release left (files §3.6,
/// pass 2).
fn legacy_names(rows: &[Value]) -> HashSet<&str> {
    let port_of = |row: &Value| row.get("port").and_then(|port| fields::port(port, "port").ok());
    let long_names: HashSet<(&str, Port)> = rows
        .iter()
        .filter(|row| Row::parse(row).is_ok())
        .filter_map(|row| Some((name_of(row)?.strip_prefix("parachute-")?, port_of(row)?)))
        .collect();
    rows.iter()
        .filter_map(|row| Some((name_of(row)?, port_of(row)?)))
        .filter(|(name, port)| !name.starts_with("parachute-") && long_names.contains(&(name, *port)))
        .map(|(name, _)| name)
        .collect()
}
