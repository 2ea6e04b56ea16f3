use super::*;
use serde_json::json;
use std::path::PathBuf;

mod fuzz;
mod merging;

fn good_row() -> Value {
    json!({ "name": "wiki", "port": 3000, "paths": ["/wiki"], "health": "/health", "version": "1.0.0" })
}

fn with(field: &str, value: Value) -> Value {
    let mut row = good_row();
    row[field] = value;
    row
}

fn document(rows: &[Value]) -> Document {
    Document::parse(&json::to_bytes(&json!({ "services": rows }))).expect("a list of rows")
}

fn row(name: &str, port: u16) -> Value {
    json!({ "name": name, "port": port, "paths": [], "health": "/", "version": "" })
}

/// The field that each bad entry complains about, by name of the entry.
fn problems(document: &Document) -> Vec<(String, String)> {
    let bad = |entry: &Entry| Some((entry.name.clone(), entry.row.as_ref().err()?.field.clone()));
    document.entries().iter().filter_map(bad).collect()
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/services");
    std::fs::read_dir(folder)
        .expect("testdata")
        .map(|entry| {
            let entry = entry.expect("an entry");
            (entry.file_name().into_string().expect("UTF-8"), std::fs::read(entry.path()).expect("a sample"))
        })
        .collect()
}

#[test]
fn samples_are_what_their_names_say() {
    for (name, bytes) in samples() {
        let document = Document::parse(&bytes);
        match (name.starts_with("bad-root-"), document) {
            (true, outcome) => assert!(outcome.is_err(), "{name}"),
            (false, Err(problem)) => panic!("{name}: {problem}"),
            (false, Ok(document)) => {
                let bad = usize::from(name.starts_with("bad-row-"));
                assert_eq!(problems(&document).len(), bad, "{name}: {:?}", document.entries());
                // The first row is good in every sample: a bad one never takes it down.
                assert!(document.entries().first().is_none_or(|entry| entry.row.is_ok()), "{name}");
            }
        }
    }
}

#[test]
fn every_field_has_its_type_and_its_limits() {
    let ui = |field: &str, value: Value| {
        let mut unit = json!({ "displayName": "A", "path": "/a" });
        unit[field] = value;
        json!({ "a": unit })
    };
    for (field, value, ok) in [
        ("port", json!(0), false),
        ("port", json!(1), true),
        ("port", json!(65535), true),
        ("port", json!(65536), false),
        ("port", json!(-1), false),
        ("port", json!(1940.0), true),
        ("port", json!(1.94e3), true),
        ("port", json!(1940.5), false),
        ("port", json!(1e300), false),
        ("port", json!("1940"), false),
        ("port", json!(null), false),
        ("name", json!(""), false),
        ("name", json!(5), false),
        ("name", json!(null), false),
        ("name", json!("a/b"), false),
        ("paths", json!([]), true),
        ("paths", json!("/wiki"), false),
        ("paths", json!([1]), false),
        ("paths", json!(null), false),
        ("health", json!("/"), true),
        ("health", json!("health"), false),
        ("health", json!(""), false),
        ("health", json!("/a\nb"), false),
        ("health", json!(null), false),
        ("version", json!(""), true),
        ("version", json!(1), false),
        ("version", json!(null), false),
        ("displayName", json!(""), true),
        ("displayName", json!(1), false),
        ("displayName", json!(null), false),
        ("tagline", json!(null), false),
        ("publicExposure", json!("allowed"), true),
        ("publicExposure", json!("loopback"), true),
        ("publicExposure", json!("auth-required"), true),
        ("publicExposure", json!("public"), false),
        ("publicExposure", json!(null), false),
        ("installDir", json!("/opt/wiki"), true),
        ("installDir", json!("opt/wiki"), false),
        ("installDir", json!(""), false),
        ("installDir", json!("/opt\0"), false),
        ("installDir", json!(null), false),
        ("stripPrefix", json!(true), true),
        ("stripPrefix", json!("true"), false),
        ("stripPrefix", json!(null), false),
        ("websocket", json!(false), true),
        ("websocket", json!(null), false),
        ("lastStartError", json!(null), true),
        ("lastStartError", json!("broken"), true),
        ("run", json!({}), true),
        ("run", json!({ "typo": 1 }), true),
        ("run", json!([]), false),
        ("run", json!(null), false),
        ("uis", json!({}), true),
        ("uis", json!([]), false),
        ("uis", json!(null), false),
        ("uis", json!({ "": { "displayName": "A", "path": "/a" } }), false),
        ("uis", json!({ "a": { "path": "/a" } }), false),
        ("uis", ui("path", json!("a")), false),
        ("uis", ui("iconUrl", json!(null)), false),
        ("uis", ui("status", json!("disabled")), true),
        ("uis", ui("status", json!("on")), false),
        ("uis", ui("audience", json!("surface")), true),
        ("uis", ui("audience", json!("all")), false),
        ("uis", ui("scopes_required", json!([""])), false),
        ("uis", ui("unknown", json!(null)), true),
        ("unknown", json!(null), true),
    ] {
        let outcome = Row::parse(&with(field, value.clone()));
        assert_eq!(outcome.is_ok(), ok, "{field} = {value}: {outcome:?}");
        if let Err(problem) = outcome {
            assert!(problem.field.starts_with(field), "{field} = {value} blames {:?}", problem.field);
        }
    }
    for field in ["name", "port", "paths", "health", "version"] {
        let mut row = good_row();
        row.as_object_mut().expect("an object").remove(field);
        assert_eq!(Row::parse(&row), Err(Problem::new(field, "is missing")), "{field}");
    }
    let problem = Row::parse(&with("port", json!("abc"))).expect_err("no number");
    assert_eq!(problem.to_string(), "field \"port\": must be an integer 1..65535, not \"abc\"");
}

#[test]
fn a_malformed_start_error_counts_as_absent() {
    let good = json!({ "error_type": "a", "error_description": "b" });
    for (value, there) in [(good, true), (json!(null), false), (json!({ "error_type": "a" }), false), (json!(7), false)]
    {
        let row = Row::parse(&with("lastStartError", value.clone())).expect("a good row");
        assert_eq!(row.last_start_error.is_some(), there, "{value}");
    }
}

#[test]
fn a_path_that_a_row_may_not_have_is_left_out_and_the_row_lives() {
    for (path, ok) in [
        ("/wiki", true),
        ("/wiki/", true),
        ("/.parachute", true),
        ("/administrator", true),
        ("/", false),
        ("/admin", false),
        ("/api/x", false),
        ("/oauth", false),
        ("/.well-known/x", false),
        ("/health", false),
        ("wiki", false),
        ("", false),
        ("/a/../b", false),
        ("/./a", false),
        ("//evil", false),
        ("/a\r\nb", false),
        ("/\\evil.example", false),
        ("/a%2fb", false),
        ("/a%5Cb", false),
        ("/a%20b", true),
        ("/caf%C3%a9", true),
        ("/a%2eb", true),
        ("/%2e%2e/x", false),
        ("/a/.%2E", false),
        ("/a/%2e/b", false),
        ("/a%zz", false),
        ("/a%4", false),
        ("/a%", false),
        ("/a%00", false),
        ("/%c0%ae", false),
        ("/a?b", false),
        ("/a#b", false),
        ("/metrics", false),
        ("/vault", false),
        ("/vault/", false),
        ("/vault/default", false),
        ("/vault/default/mcp", false),
        ("/vaults", true),
        ("/hub.html", false),
    ] {
        let row = Row::parse(&with("paths", json!(["/kept", path]))).expect("a good row");
        assert_eq!(row.refused_paths.is_empty(), ok, "{path:?}");
        assert_eq!(row.paths.len(), 1 + usize::from(ok), "{path:?}");
        let refused = document(&[]).upsert(with("paths", json!(["/kept", path])));
        assert_eq!(refused.is_ok(), ok, "we do not write {path:?}: {refused:?}");
    }
}

#[test]
fn only_a_vault_has_paths_below_vault() {
    for (name, ok) in [
        ("parachute-vault", true),
        ("parachute-vault-work", true),
        ("vault", true),
        ("tool", false),
        ("vaults", false),
        ("vault-work", false),
        ("parachute-vaultx", false),
    ] {
        let mut value = with("paths", json!(["/kept", "/vault/default"]));
        value["name"] = json!(name);
        let row = Row::parse(&value).expect("a good row");
        assert_eq!((row.paths.len(), row.refused_paths.is_empty()), (1 + usize::from(ok), ok), "{name}");
        if let Some(problem) = row.refused_paths.first() {
            assert!(problem.to_string().contains("belongs to the vaults"), "{problem}");
        }
    }
}

#[test]
fn an_older_module_that_wants_the_whole_origin_is_at_its_name() {
    for (name, paths, expected, remaps_root) in [
        ("wiki", json!(["/"]), json!(["/wiki"]), true),
        ("wiki", json!(["/", "/more"]), json!(["/wiki", "/more"]), true),
        ("wiki", json!(["/", "/wiki"]), json!(["/wiki"]), false),
        ("wiki", json!(["/more", "/"]), json!(["/more"]), false),
        ("parachute-scribe", json!(["/"]), json!(["/scribe"]), true),
        ("health", json!(["/"]), json!([]), true),
    ] {
        let mut value = with("paths", paths.clone());
        value["name"] = json!(name);
        let row = Row::parse(&value).expect("a good row");
        assert_eq!((json!(row.paths), row.remaps_root), (expected, remaps_root), "{name} {paths}");
        assert_eq!(row.refused_paths.len(), 1, "{name} {paths}: it is told");
    }
}

#[test]
fn we_register_no_name_that_the_discovery_document_needs() {
    for (name, ok) in [("services", false), ("parachute-vaults", false), ("vaults", false), ("service", true)] {
        let mut value = with("tagline", json!("x"));
        value["name"] = json!(name);
        assert!(Row::parse(&value).is_ok(), "{name} is used when it is there");
        assert_eq!(document(&[]).upsert(value).is_ok(), ok, "{name}");
    }
}

#[test]
fn rows_are_retired_by_name_and_shape_together() {
    for (name, port, path, gone) in [
        ("app", 1946, "/x", true),
        ("parachute-app", 3000, "/surface", true),
        ("parachute-app", 3000, "/surface/x", true),
        ("parachute-app", 1944, "/app", false),
        ("agent", 1944, "/x", true),
        ("parachute-agent", 3000, "/agent", true),
        ("parachute-agent", 3000, "/agents", false),
        ("claw", 3000, "/claw", true),
        ("claw", 3000, "/x", false),
        ("surface", 1946, "/surface", false),
        ("parachute-runner", 1945, "/runner", false),
    ] {
        let value = json!({ "name": name, "port": port, "paths": [path], "health": "/", "version": "" });
        let outcome = Row::parse(&value);
        assert_eq!(outcome.is_err(), gone, "{name} {port} {path}");
        if let Err(problem) = outcome {
            assert!(problem.reason.contains("was retired on 2026-05-2"), "{problem}");
        }
    }
}

#[test]
fn rows_that_get_in_each_others_way_are_marked_and_stay() {
    let no_names: &[(&str, &str)] = &[];
    for (rows, bad) in [
        (vec![row("a", 1), row("b", 2)], no_names),
        (vec![row("a", 1), row("b", 1)], &[("b", "port")]),
        (vec![row("a", 1), row("b", 1), row("c", 1)], &[("b", "port"), ("c", "port")]),
        (vec![row("a", 1), row("a", 2)], &[("a", "name")]),
        (vec![row("parachute-notes", 1), row("parachute-lens", 2)], &[("parachute-lens", "name")]),
        (vec![row("parachute-vault", 1), row("parachute-vault-a", 1), row("parachute-vault-b", 1)], no_names),
        (vec![row("parachute-vault", 1), row("wiki", 1)], &[("wiki", "port")]),
        (vec![row("wiki", 1), row("parachute-vault", 1)], &[("parachute-vault", "port")]),
        (vec![row("parachute-vault", 1), row("parachute-vaulted", 1)], &[("parachute-vaulted", "port")]),
        // What an older release wrote under the short name, whichever comes first.
        (vec![row("scribe", 1), row("parachute-scribe", 1)], &[("scribe", "name")]),
        (vec![row("parachute-wiki", 1), row("wiki", 1)], &[("wiki", "name")]),
        (vec![row("wiki", 1), row("parachute-wiki", 2)], no_names),
        // A bad row takes nothing away from a good one.
        (vec![json!({ "name": "a", "port": 1 }), row("b", 1)], &[("a", "paths")]),
        (vec![json!({ "name": "parachute-a", "port": 1 }), row("a", 1)], &[("parachute-a", "paths")]),
    ] {
        let document = document(&rows);
        let expected: Vec<_> = bad.iter().map(|(name, field)| ((*name).to_owned(), (*field).to_owned())).collect();
        assert_eq!(problems(&document), expected, "{rows:?}");
        assert_eq!(document.entries().len(), rows.len());
    }
}

#[test]
fn vaults_on_one_port_have_one_process() {
    let document = document(&[row("parachute-vault-a", 1), row("parachute-vault-b", 1), row("parachute-vault-c", 2)]);
    let served: Vec<_> = document.entries().iter().map(|e| e.served_by.as_ref().map(Short::as_str)).collect();
    assert_eq!(served, [None, Some("parachute-vault-a"), None]);
}

#[test]
fn whoever_is_depended_on_is_a_process_by_its_name_or_that_of_its_row() {
    let document = document(&[row("parachute-vault", 1), row("parachute-vault-work", 1), row("wiki", 2)]);
    for (name, process, needed) in [
        ("vault", "vault", Some("vault")),
        ("parachute-vault-work", "vault", Some("vault")),
        ("parachute-vault", "parachute-vault", Some("vault")),
        ("wiki", "wiki", Some("wiki")),
        ("other", "other", None),
    ] {
        let short = Short::parse(name).expect("a short");
        assert_eq!(document.process_of(&short).as_str(), process, "{name}");
        assert_eq!(document.dependency(&short).as_ref().map(Short::as_str), needed, "{name}");
    }
}

#[test]
fn what_is_taken_away_is_listed_no_more() {
    let name_of = |entry: &Entry| entry.name.clone();
    let retired = json!({ "name": "claw", "port": 9, "paths": ["/claw"], "health": "/", "version": "1" });
    let mut document = document(&[row("a", 1), retired, row("b", 2), json!({ "name": "" }), json!({})]);
    assert!(document.remove("nobody").is_none() && document.remove("a").is_some());
    assert_eq!(document.entries().iter().map(name_of).collect::<Vec<_>>(), ["claw", "b", "#2", "#3"]);
    assert_eq!(document.take_obsolete().len(), 1);
    assert_eq!(document.entries().iter().map(name_of).collect::<Vec<_>>(), ["b", "#1", "#2"]);
}

#[test]
fn a_row_serves_what_is_below_its_mounts() {
    let row = Row::parse(&with("paths", json!(["/wiki/", "/more"]))).expect("a good row");
    for (path, expected) in
        [("/wiki", true), ("/wiki/", true), ("/wiki/a", true), ("/wikis", false), ("/more/b", true), ("/", false)]
    {
        assert_eq!(row.serves(path), expected, "{path}");
    }
}

#[test]
fn find_prefers_the_usable_row() {
    let document =
        document(&[json!({ "name": "parachute-notes", "port": 0 }), row("parachute-lens", 2), row("notes", 3)]);
    let found = document.find(&Short::parse("notes").expect("a short")).expect("there");
    assert_eq!((found.index, found.name.as_str()), (1, "parachute-lens"));
    assert!(document.find(&Short::parse("vault").expect("a short")).is_none());
}

/// files §15, case 3.
#[test]
fn c15_03_what_we_do_not_know_survives_every_edit_in_its_place() {
    let original = r#"{
  "z": 1,
  "services": [
    5,
    {
      "zeta": {
        "deep": [
          null,
          1.50
        ]
      },
      "name": "wiki",
      "port": 3000,
      "mine": null,
      "paths": [],
      "health": "/",
      "version": "1",
      "uis": {
        "b": {
          "displayName": "B",
          "path": "/b",
          "colour": 3
        }
      },
      "last": true
    },
    {
      "name": "bad",
      "port": "x"
    }
  ],
  "a": {}
}
"#;
    let mut document = Document::parse(original.as_bytes()).expect("a document");
    document.upsert(json!({ "name": "wiki", "version": "2", "tagline": "t" })).expect("a good row");
    document.upsert(row("new", 4000)).expect("a new row");
    document.set_field("wiki", "port", Some(json!(3001))).expect("a free port");
    document.set_field("wiki", "lastStartError", Some(json!({ "error_type": "a" }))).expect("any value");
    document.set_field("wiki", "lastStartError", None).expect("taken away");
    document.set_field("wiki", "mine", None).expect("taken away");
    document.set_field("bad", "tagline", Some(json!("still bad"))).expect("a bad row may stay bad");
    assert!(document.remove("new").is_some());
    assert!(document.remove("new").is_none());
    let expected = original
        .replace("\"port\": 3000,\n      \"mine\": null", "\"port\": 3001")
        .replace("\"version\": \"1\"", "\"version\": \"2\"")
        .replace("\"last\": true", "\"last\": true,\n      \"tagline\": \"t\"")
        .replace("\"port\": \"x\"", "\"port\": \"x\",\n      \"tagline\": \"still bad\"");
    assert_eq!(String::from_utf8(document.to_bytes()).expect("UTF-8"), expected);
}

/// files §15, case 3: no number loses a digit, however large, exact or oddly written it is. Only an exponent gets the
/// one spelling that the parser has for it.
#[test]
fn c15_03_numbers_stay_as_they_were_written() {
    for (written, kept) in [
        ("0", "0"),
        ("-0", "-0"),
        ("-0.0", "-0.0"),
        ("1.0", "1.0"),
        ("1.50", "1.50"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("12345678901234567890", "12345678901234567890"),
        ("-12345678901234567890", "-12345678901234567890"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1e3", "1e+3"),
        ("1E3", "1e+3"),
        ("-1.50e-07", "-1.50e-07"),
        ("1e400", "1e+400"),
    ] {
        let text = |number: &str| {
            format!(
                concat!(
                    r#"{{"top":{0},"services":[{{"name":"wiki","port":3000,"paths":[],"health":"/","version":"1","#,
                    r#""mine":[{0}],"uis":{{"a":{{"displayName":"A","path":"/a","n":{0}}}}}}},"#,
                    r#"{{"name":"bad","n":{0}}},{0}]}}"#
                ),
                number
            )
        };
        let expected = Document::parse(text(kept).as_bytes()).expect("a document").to_bytes();
        assert_eq!(String::from_utf8_lossy(&expected).matches(&format!(" {kept}")).count(), 5, "{kept}");
        let mut document = Document::parse(text(written).as_bytes()).expect("a document");
        document.upsert(row("new", 4000)).expect("a new row");
        document.upsert(json!({ "name": "wiki", "tagline": "t" })).expect("a good row");
        document.set_field("wiki", "tagline", None).expect("taken away");
        document.set_field("wiki", "port", Some(json!(3001))).expect("a free port");
        document.set_field("wiki", "port", Some(json!(3000))).expect("a free port");
        document.set_field("wiki", "lastStartError", Some(json!({ "error_type": "a" }))).expect("any value");
        document.set_field("wiki", "lastStartError", None).expect("taken away");
        document.remove("new").expect("there");
        assert_eq!(document.to_bytes(), expected, "{written}");
    }
}

#[test]
fn an_edit_that_would_break_a_row_is_refused_and_changes_nothing() {
    let mut document = document(&[row("a", 1), row("b", 2), json!({ "name": "c", "port": "x" })]);
    let before = document.to_bytes();
    for (what, outcome) in [
        ("no object", document.upsert(json!([]))),
        ("no name", document.upsert(json!({ "port": 3 }))),
        ("an incomplete new row", document.upsert(json!({ "name": "d", "port": 3 }))),
        ("a wrong type", document.upsert(json!({ "name": "a", "health": 1 }))),
        ("a taken port, ours later", document.upsert(row("d", 2))),
        ("a taken port, ours earlier", document.upsert(row("a", 2))),
        ("a port that another gets in the way of", document.set_field("a", "port", Some(json!(2)))),
        ("a broken field", document.set_field("a", "paths", None)),
        ("no such row", document.set_field("d", "port", Some(json!(9)))),
        ("a row that stays bad", document.upsert(json!({ "name": "c", "port": 3 }))),
    ] {
        assert!(outcome.is_err(), "{what}");
    }
    assert_eq!(document.to_bytes(), before);
    document.upsert(row("c", 3)).expect("a bad row can be mended");
    assert!(document.entries().iter().all(|entry| entry.row.is_ok()));
}

#[test]
fn an_edit_is_done_again_where_it_was_undone_and_nowhere_else() {
    let with = |name: &str, port: u16, field: &str, value: Value| {
        let mut row = row(name, port);
        row[field] = value;
        row
    };
    let (a, b) = (row("a", 1), row("b", 2));
    let (moved, elsewhere, both_moved) = (with("a", 3, "x", json!(1)), row("a", 4), with("a", 4, "x", json!(1)));
    let tagged = with("a", 1, "tagline", json!("t"));
    let otherwise_tagged = with("a", 1, "tagline", json!("u"));
    let foreign = with("a", 1, "version", json!("9"));
    let both = {
        let mut both = tagged.clone();
        both["version"] = json!("9");
        both
    };
    for (what, before, after, found, expected) in [
        ("a new row is gone", &[][..], &[&a][..], &[][..], Some(&[&a][..])),
        ("a new row is there", &[], &[&a], &[&a], None),
        ("a new row beside another's", &[], &[&a], &[&b], Some(&[&b, &a])),
        ("a removed row is back", &[&a, &b], &[&b], &[&a, &b], Some(&[&b])),
        ("a removed row is back as another", &[&a], &[], &[&foreign], None),
        ("a field is back", &[&a], &[&tagged], &[&a], Some(&[&tagged])),
        ("a field is back beside another's", &[&a], &[&tagged], &[&foreign], Some(&[&both])),
        ("a field was taken away and is back", &[&tagged], &[&a], &[&tagged], Some(&[&a])),
        ("a field was taken away and is back as another", &[&tagged], &[&a], &[&otherwise_tagged], None),
        ("a new row is gone, and a row that was removed", &[&b], &[&a], &[], Some(&[&a])),
        ("a changed row is gone", &[&a], &[&tagged], &[], None),
        ("a changed field is something else", &[&a], &[&moved], &[&elsewhere], Some(&[&both_moved])),
        ("nothing was changed", &[&a], &[&a], &[], None),
    ] {
        let rows = |rows: &[&Value]| document(&rows.iter().map(|row| (*row).clone()).collect::<Vec<_>>());
        let edits = edits(&rows(before), &rows(after));
        let noted: Vec<Edit> = edits.iter().filter_map(|edit| Edit::from_json(&edit.to_json())).collect();
        assert_eq!(noted, edits, "{what}: as it is noted");
        let redone = redone(&rows(found), &noted).map(|(document, _)| document.to_bytes());
        assert_eq!(redone, expected.map(|expected| rows(expected).to_bytes()), "{what}");
    }
    // One after the other: what counts is where they lead to.
    let chain = [document(&[]), document(&[row("a", 1)]), document(&[row("a", 5)]), document(&[])];
    let all: Vec<Edit> = chain.windows(2).flat_map(|pair| edits(&pair[0], &pair[1])).collect();
    for found in &chain {
        let end = redone(found, &all).map_or_else(|| found.to_bytes(), |(document, _)| document.to_bytes());
        assert_eq!(end, document(&[]).to_bytes());
    }
    assert!(redone(&chain[1], &[]).is_none());
    // What somebody else wrote between two edits is in none of them.
    let none = document(&[]);
    let mut noted = edits(&none, &document(&[row("a", 1)]));
    noted.extend(edits(&document(&[foreign]), &none));
    assert!(redone(&none, &noted).is_none(), "a row that is gone as its last edit wants");
    noted.extend(edits(&none, &document(&[row("a", 5)])));
    let found = redone(&none, &noted).map(|(document, _)| document.entries().len());
    assert_eq!(found, Some(1), "one that was added again");
}

/// As every other reader of JSON has it.
#[test]
fn c15_08_of_a_key_that_stands_twice_the_last_value_counts() {
    let text = br#"{"services":[],"services":[{"name":"old","name":"wiki","port":1,"port":3000,"paths":[],"health":"/","version":""}]}"#;
    let document = Document::parse(text).expect("a document");
    let rows: Vec<_> = document.entries().iter().filter_map(|entry| entry.row.as_ref().ok()).collect();
    assert_eq!(rows.iter().map(|row| (row.name.as_str(), row.port.get())).collect::<Vec<_>>(), [("wiki", 3000)]);
}

#[test]
fn a_further_row_of_a_name_is_no_change_of_the_first() {
    let (first, second) = (row("wiki", 3000), row("wiki", 3001));
    let base = document(&[first.clone(), second.clone()]);
    let mut ours = base.clone();
    ours.upsert(row("notes", 4000)).expect("a new row");
    let expected = document(&[first, second, row("notes", 4000)]);
    assert_eq!(merge(&base, &ours, &base).to_bytes(), expected.to_bytes());
    assert_eq!(edits(&base, &ours).len(), 1);
}
