//! Pure: a list of modules whose home stands at another path than the one it was written for.

use super::{Document, Problem, json};
use serde_json::Value;
use std::path::{Component, Path, PathBuf};

/// What became of a list.
#[derive(Debug, PartialEq)]
pub(crate) struct Moved {
    /// `None` when the list is good as it is.
    pub(crate) bytes: Option<Vec<u8>>,
    /// How many rows were changed.
    pub(crate) rows: usize,
    /// Name and `installDir` of every row that has one, as they are now.
    pub(crate) packages: Vec<(String, PathBuf)>,
}

/// The list in `bytes` with every path of a row that is `from` or lies below it moved to `to`; without `from` as it is.
/// Whatever else stands in it stays.
pub(crate) fn moved(bytes: &[u8], from: Option<&Path>, to: &str) -> Result<Moved, Problem> {
    let mut document = Document::parse(bytes)?;
    let mut rows = 0;
    for row in document.rows_mut() {
        let mut places: Vec<&mut Value> = Vec::new();
        if let Value::Object(fields) = row {
            for (field, value) in fields {
                match (field.as_str(), value) {
                    ("installDir", value) => places.push(value),
                    ("run", Value::Object(run)) => places.extend(of_run(run)),
                    _ => {}
                }
            }
        }
        let moved = places.into_iter().map(|place| from.is_some_and(|from| move_place(place, from, to)));
        // Each of them, also behind the first that moves.
        rows += usize::from(moved.fold(false, |any, moved| any | moved));
    }
    let packages = document.rows().iter().filter_map(|row| {
        let install_dir = row.get("installDir").and_then(Value::as_str)?;
        Some((super::name_of(row).unwrap_or("a row without a name").to_owned(), install_dir.into()))
    });
    let packages = packages.collect();
    Ok(Moved { bytes: (rows > 0).then(|| json::to_bytes(&document.root)), rows, packages })
}

/// The settings that name places.
fn of_run(run: &mut serde_json::Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    run.iter_mut().flat_map(|(key, value)| match (key.as_str(), value) {
        ("watch", Value::Array(paths)) => paths.iter_mut().collect(),
        ("cwd", value) => vec![value],
        _ => Vec::new(),
    })
}

fn move_place(place: &mut Value, from: &Path, to: &str) -> bool {
    let Some(rest) = place.as_str().and_then(|text| Path::new(text).strip_prefix(from).ok()) else { return false };
    // What goes up again lies elsewhere.
    if rest.components().any(|step| step == Component::ParentDir) {
        return false;
    }
    let moved = if rest.as_os_str().is_empty() { PathBuf::from(to) } else { Path::new(to).join(rest) };
    let Some(moved) = moved.to_str() else { return false };
    *place = moved.into();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_of_the_old_home_becomes_one_of_the_new() {
        for (before, after) in [
            ("/home/p", "/new"),
            ("/home/p/", "/new"),
            ("/home/p/modules/wiki", "/new/modules/wiki"),
            ("/home//p/modules/wiki", "/new/modules/wiki"),
            ("/home/p2", "/home/p2"),
            ("/home/p2/modules/wiki", "/home/p2/modules/wiki"),
            ("/home/p/../q", "/home/p/../q"),
            ("/home", "/home"),
            ("/x/home/p", "/x/home/p"),
            ("home/p", "home/p"),
            ("", ""),
        ] {
            let mut place = json!(before);
            let moves = move_place(&mut place, Path::new("/home/p"), "/new");
            assert_eq!((&place, moves), (&json!(after), before != after), "{before}");
        }
        let mut place = json!("/home/p/a");
        assert!(move_place(&mut place, Path::new("/home/p"), "/home/p/deeper"));
        assert_eq!(place, json!("/home/p/deeper/a"), "once");
    }

    #[test]
    fn only_paths_are_moved_and_all_else_stays_in_order() {
        let list = |home: &str| {
            let rows = json!([
                {"mine": "/home/p", "name": "wiki", "installDir": format!("{home}/modules/wiki"), "port": 1,
                    "run": {"env": {"set": {"A": "/home/p"}}, "watch": ["a", format!("{home}/b")], "cwd": home}},
                {"name": "far", "installDir": "/opt/far"},
                "no row",
                {"installDir": format!("{home}/bad"), "run": {"cwd": "/far/off"}},
                {"name": "odd", "installDir": 7, "run": {"watch": 1, "cwd": null}},
            ]);
            json!({"before": {"installDir": "/home/p"}, "services": rows, "after": 1})
        };
        let bytes = json::to_bytes(&list("/home/p"));
        let found = moved(&bytes, Some(Path::new("/home/p")), "/new").expect("a list");
        let text = String::from_utf8(found.bytes.expect("changed")).expect("text");
        assert_eq!(text, String::from_utf8(json::to_bytes(&list("/new"))).expect("text"));
        assert_eq!(found.rows, 2);
        let packages = [("wiki", "/new/modules/wiki"), ("far", "/opt/far"), ("a row without a name", "/new/bad")];
        assert_eq!(found.packages, packages.map(|(name, path)| (name.to_owned(), path.into())));
        for from in [None, Some(Path::new("/elsewhere"))] {
            let found = moved(&bytes, from, "/new").expect("a list");
            assert_eq!((found.bytes, found.rows, found.packages.len()), (None, 0, 3), "{from:?}");
        }
        assert!(moved(b"{\"services\":", Some(Path::new("/home/p")), "/new").is_err());
    }
}
