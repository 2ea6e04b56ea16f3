//! Our edit and a foreign one, brought together.

use super::*;

#[test]
fn a_merge_keeps_both_sides() {
    let base = document(&[row("a", 1), row("b", 2), row("gone", 3)]);
    let edited = |edit: &dyn Fn(&mut Document)| {
        let mut document = base.clone();
        edit(&mut document);
        document
    };
    let ours = edited(&|d| {
        d.upsert(row("ours", 10)).expect("a row");
        d.set_field("a", "installDir", Some(json!("/ours"))).expect("a field");
        d.set_field("a", "version", Some(json!("ours"))).expect("a field");
        d.set_field("b", "run", Some(json!({}))).expect("a field");
        d.remove("gone");
    });
    let theirs = edited(&|d| {
        d.upsert(row("theirs", 11)).expect("a row");
        d.set_field("a", "version", Some(json!("theirs"))).expect("a field");
        d.set_field("a", "port", Some(json!(7))).expect("a field");
        d.set_field("a", "odd", Some(json!(null))).expect("a field");
        d.set_field("gone", "version", Some(json!("again"))).expect("a field");
        d.remove("b");
    });
    let merged = merge(&base, &ours, &theirs);
    let names: Vec<_> = merged.entries().iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["a", "theirs", "b", "ours"], "a row that they did not know stays, one that we removed goes");
    let a = merged.rows().first().expect("a");
    assert_eq!(a["installDir"], "/ours", "the hub's field is ours");
    assert_eq!(a["version"], "theirs", "the module's field is the module's");
    assert_eq!(a["port"], 7, "what only they changed is theirs");
    assert!(a.get("odd").is_some());
    assert!(merge(&base, &ours, &ours).same_content(&ours));
}

/// What one side has taken away or changed against the other, for a field of the hub and for one of the module.
#[test]
fn a_merge_judges_field_by_field() {
    for (base, ours, theirs, of_hub, of_module) in [
        (None, Some("ours"), Some("theirs"), Some("ours"), Some("theirs")),
        (None, Some("ours"), None, Some("ours"), Some("ours")),
        (None, None, Some("theirs"), Some("theirs"), Some("theirs")),
        (Some("base"), Some("ours"), Some("theirs"), Some("ours"), Some("theirs")),
        (Some("base"), Some("base"), Some("theirs"), Some("theirs"), Some("theirs")),
        (Some("base"), Some("ours"), Some("base"), Some("ours"), Some("ours")),
        (Some("base"), Some("ours"), None, Some("ours"), None),
        (Some("base"), Some("base"), None, Some("base"), None),
        (Some("base"), None, Some("base"), None, None),
        (Some("base"), None, Some("theirs"), None, Some("theirs")),
    ] {
        for (field, expected) in [("lastStartError", of_hub), ("odd", of_module)] {
            let with = |text: Option<&str>| {
                let mut row = good_row();
                text.map(|text| row.as_object_mut().expect("a row").insert(field.to_owned(), json!(text)));
                document(&[row])
            };
            let merged = merge(&with(base), &with(ours), &with(theirs));
            let found = merged.rows().first().and_then(|row| row.get(field)).and_then(Value::as_str);
            assert_eq!(found, expected, "{field}: {base:?}, ours {ours:?}, theirs {theirs:?}");
        }
    }
}

#[test]
fn a_module_that_drops_a_field_of_the_hub_gets_it_back() {
    let base = document(&[with("installDir", json!("/opt/wiki"))]);
    let theirs = document(&[good_row()]);
    let merged = merge(&base, &base, &theirs);
    assert_eq!(merged.rows().first().expect("wiki")["installDir"], "/opt/wiki");
}
