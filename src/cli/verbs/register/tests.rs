use super::*;
use serde_json::json;

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.into(),
        short: Short::parse(name).expect("valid"),
        port: Wish::Any,
        paths: vec![format!("/{name}")],
        health: "/".into(),
        version: "0.0.0".into(),
        install_dir: format!("/p/modules/{name}").into(),
        extras: Extras::Exactly { run: None, strip_prefix: None, exposure: None },
    }
}

fn document(rows: &[Value]) -> Document {
    Document::parse(json!({ "services": rows }).to_string().as_bytes()).expect("a list")
}

fn decide_on(
    rows: &[Value],
    wanted: &Wanted,
    replace: bool,
    files_changed: bool,
) -> Result<(u16, Change), (u8, String)> {
    let prepare = |_: u16, _: Prepare| Ok(files_changed);
    decide(&document(rows), wanted, 1939, replace, &prepare, &|_| true, &|_| None)
        .map_err(|failure| (failure.exit.number(), failure.message))
}

#[test]
fn the_same_twice_is_unchanged_and_something_else_needs_to_be_wanted() {
    let wiki = || row(&wanted("wiki"), 1944);
    let other = json!({"name":"other","port":1944,"paths":["/wiki/"],"health":"/","version":"1"});
    let far = json!({"name":"far","port":1944,"paths":["/far"],"health":"/","version":"1"});
    let moved = Wanted { paths: vec!["/w".into()], ..wanted("wiki") };
    let loud = Wanted {
        extras: Extras::Exactly { run: Some(json!({"restart":"never"})), strip_prefix: None, exposure: None },
        ..wanted("wiki")
    };
    let exact = Wanted { port: Wish::Exactly(3000), ..wanted("wiki") };
    let differs = Err((7, "wiki exists and is not the same".to_owned()));
    for (name, rows, wanted, replace, files_changed, expected) in [
        ("new", vec![], wanted("wiki"), false, true, Ok((1944, Change::Added))),
        ("beside another", vec![far.clone()], wanted("wiki"), false, true, Ok((1947, Change::Added))),
        ("again", vec![wiki()], wanted("wiki"), false, false, Ok((1944, Change::Unchanged))),
        ("again, replacing", vec![wiki()], wanted("wiki"), true, false, Ok((1944, Change::Unchanged))),
        ("another command", vec![wiki()], wanted("wiki"), false, true, differs.clone()),
        ("another command, replacing", vec![wiki()], wanted("wiki"), true, true, Ok((1944, Change::Replaced))),
        ("another path", vec![wiki()], moved, false, false, differs.clone()),
        ("other settings", vec![wiki()], loud, false, false, differs.clone()),
        ("another port", vec![wiki()], exact.clone(), false, false, differs),
        ("another port, replacing", vec![wiki()], exact, true, false, Ok((3000, Change::Replaced))),
        (
            "somebody's path",
            vec![other],
            wanted("wiki"),
            true,
            true,
            Err((7, "the path /wiki is already the path of other".to_owned())),
        ),
    ] {
        assert_eq!(decide_on(&rows, &wanted, replace, files_changed), expected, "{name}");
    }
}

#[test]
fn a_replaced_row_loses_what_the_new_command_line_does_not_say() {
    let mut before = row(&wanted("wiki"), 1944);
    before["run"] = json!({"restart":"never"});
    before["somebodys"] = json!(1);
    assert_eq!(stale_fields(&document(&[before]), &wanted("wiki")), ["run", "stripPrefix", "publicExposure"]);
    assert!(stale_fields(&document(&[]), &wanted("wiki")).is_empty());
    let install = Wanted { extras: Extras::AsTheyAre, ..wanted("wiki") };
    assert!(stale_fields(&document(&[row(&install, 1)]), &install).is_empty());
}

#[test]
fn a_row_holds_what_was_asked_for_and_no_nulls() {
    let full = Wanted {
        extras: Extras::Exactly {
            run: Some(json!({"ready":"none"})),
            strip_prefix: Some(true),
            exposure: Some(Exposure::Loopback),
        },
        ..wanted("wiki")
    };
    assert_eq!(
        row(&full, 1950).to_string(),
        r#"{"name":"wiki","port":1950,"paths":["/wiki"],"health":"/","version":"0.0.0","installDir":"/p/modules/wiki","stripPrefix":true,"publicExposure":"loopback","run":{"ready":"none"}}"#
    );
    assert!(!row(&wanted("wiki"), 1950).to_string().contains("null"));
}

#[test]
fn a_port_with_a_listener_on_one_address_is_not_free() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    assert!(!is_free(port));
}
