//! Pure: doing again what a writer that knows no lock has undone (files §14.3). Such a writer puts back a list that it
//! read before our last edits, and nobody can see that at the moment it happens.

use super::Document;
use serde_json::{Map, Value, json};

/// What an edit of ours did to one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edit {
    name: String,
    /// `None` where the row was new; of one that was changed, the fields that are different now.
    before: Option<Value>,
    /// `None` where it was taken away; of one that was changed, the fields that were different before.
    after: Option<Value>,
}

impl Edit {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "name": self.name, "before": self.before, "after": self.after })
    }

    /// `None` for what [`Edit::to_json`] has not written.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let row = |field: &str| value.get(field).filter(|row| row.is_object()).cloned();
        let name = value.get("name").and_then(Value::as_str)?.to_owned();
        Some(Self { name, before: row("before"), after: row("after") })
    }
}

/// How `after` differs from `before`, row by row. Rows without a name, and further ones of a name, have no identity and
/// do not count.
pub(crate) fn edits(before: &Document, after: &Document) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (name, row) in after.firsts() {
        match before.named(name) {
            None => edits.push(Edit { name: name.to_owned(), before: None, after: Some(row.clone()) }),
            Some(old) if old != row => edits.push(Edit {
                name: name.to_owned(),
                before: Some(different(old, row)),
                after: Some(different(row, old)),
            }),
            Some(_) => {}
        }
    }
    for (name, row) in before.firsts() {
        if after.named(name).is_none() {
            edits.push(Edit { name: name.to_owned(), before: Some(row.clone()), after: None });
        }
    }
    edits
}

/// The fields of `row` that `other` does not have as they are.
fn different(row: &Value, other: &Value) -> Value {
    let fields = row.as_object().into_iter().flatten();
    let different = fields.filter(|(field, value)| other.get(field) != Some(value));
    Value::Object(different.map(|(field, value)| (field.clone(), value.clone())).collect())
}

/// The document with all `edits` in it, oldest first, and the rows for which that took doing something again; `None`
/// when nothing of theirs was undone.
///
/// Only what is again as it was before an edit counts as undone: a row or a field that has become something else is
/// somebody's later decision.
pub(crate) fn redone<'a>(
    document: &Document,
    edits: impl IntoIterator<Item = &'a Edit>,
) -> Option<(Document, Vec<String>)> {
    let edits: Vec<&Edit> = edits.into_iter().collect();
    if edits.is_empty() {
        return None;
    }
    // Where a row is gone, as the last edit of it wants, the earlier ones would only bring it back, and perhaps not as
    // the one that the last was about.
    let is_gone = |name: &str| {
        let last = edits.iter().rev().find(|edit| edit.name == name);
        last.is_some_and(|last| last.after.is_none()) && document.position(name).is_none()
    };
    let mut redone = document.clone();
    let mut names: Vec<String> = Vec::new();
    for edit in edits.iter().filter(|edit| !is_gone(&edit.name)) {
        apply(&mut redone, edit);
        if !names.contains(&edit.name) {
            names.push(edit.name.clone());
        }
    }
    names.retain(|name| document.named(name) != redone.named(name));
    if names.is_empty() {
        return None;
    }
    redone.reread();
    Some((redone, names))
}

fn apply(document: &mut Document, edit: &Edit) {
    match (document.position(&edit.name), &edit.before, &edit.after) {
        (None, None, Some(after)) => document.rows_mut().push(after.clone()),
        (Some(at), Some(before), None) => {
            if document.rows().get(at) == Some(before) {
                document.rows_mut().remove(at);
            }
        }
        (Some(at), before, Some(Value::Object(after))) => {
            let nothing = Map::new();
            let before = before.as_ref().and_then(Value::as_object).unwrap_or(&nothing);
            if let Some(Value::Object(row)) = document.rows_mut().get_mut(at) {
                apply_fields(row, before, after);
            }
        }
        // A row that we changed and that is gone was there before and after, so somebody took it away.
        (None, Some(_), _) | (None, None, None) | (Some(_), _, _) => {}
    }
}

fn apply_fields(row: &mut Map<String, Value>, before: &Map<String, Value>, after: &Map<String, Value>) {
    for (field, value) in after {
        if before.get(field) != Some(value) && row.get(field) == before.get(field) {
            row.insert(field.clone(), value.clone());
        }
    }
    for (field, value) in before {
        if !after.contains_key(field) && row.get(field) == Some(value) {
            row.shift_remove(field);
        }
    }
}
