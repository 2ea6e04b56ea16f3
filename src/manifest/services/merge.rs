//! Pure: what follows when somebody else wrote `services.json` while we did (files §14.3).

use super::{Document, name_of};
use serde_json::{Map, Value};

/// Fields that the operator and the hub decide: modules only copy what they read (files §3.9). A module that drops one
/// did not mean to.
const HUB_FIELDS: &[&str] = &["port", "installDir", "publicExposure", "lastStartError", "run"];

/// Brings our edit and a foreign one together. `base` is what both started from, as far as anybody knows.
///
/// Rows are matched by name. Nobody but us removes rows, so one that `theirs` lacks was only unknown to its writer and
/// stays. Where both changed a field, the hub's fields are ours and the others are the module's.
pub(crate) fn merge(base: &Document, ours: &Document, theirs: &Document) -> Document {
    let mut merged = theirs.clone();
    let find =
        |document: &Document, name: &str| document.position(name).and_then(|at| document.rows().get(at)).cloned();

    merged.rows_mut().retain(|row| {
        let removed_by_us = |name| base.position(name).is_some() && ours.position(name).is_none();
        !name_of(row).is_some_and(removed_by_us)
    });
    // A row without a name, or a further one of a name, has no identity: what the last writer kept of it is all there is.
    for (name, row) in ours.firsts() {
        match merged.position(name) {
            None => merged.rows_mut().push(row.clone()),
            Some(at) => {
                let before = find(base, name);
                if let (Some(Value::Object(target)), Value::Object(row)) = (merged.rows_mut().get_mut(at), row) {
                    merge_row(before.as_ref().and_then(Value::as_object), row, target);
                }
            }
        }
    }
    merged.reread();
    merged
}

/// Lays our changes of one row over theirs.
fn merge_row(base: Option<&Map<String, Value>>, ours: &Map<String, Value>, theirs: &mut Map<String, Value>) {
    let before = |field: &str| base.and_then(|base| base.get(field));
    for (field, value) in ours {
        let hubs = HUB_FIELDS.contains(&field.as_str());
        let we_changed = before(field) != Some(value);
        let they_changed = theirs.get(field) != before(field);
        let they_dropped = !theirs.contains_key(field);
        if (we_changed && (hubs || !they_changed)) || (they_dropped && hubs) {
            theirs.insert(field.clone(), value.clone());
        }
    }
    for (field, value) in base.into_iter().flatten() {
        let hubs = HUB_FIELDS.contains(&field.as_str());
        if !ours.contains_key(field) && (hubs || theirs.get(field) == Some(value)) {
            theirs.shift_remove(field);
        }
    }
}
