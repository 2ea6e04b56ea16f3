use super::rows::{self, HubRow, ModuleRow, State};
use super::{Shown, table, verdict};
use crate::cli::exit::{Exit, Failure};
use crate::client::ClientError;
use crate::manifest::services::Document;
use crate::store::identity::Identity;
use crate::wire::{Code, Health, LastExit, ModuleInfo, ModuleList, StartError, Status};
use std::path::Path;
use std::time::Duration;

const SERVICES: &str = r#"{"services":[
 {"name":"parachute-vault","port":1940,"paths":["/vault/default"],"health":"/health","version":"0.4.5","installDir":"/home/op/vault"},
 {"name":"parachute-scribe","port":1944,"paths":["/scribe"],"health":"/health","version":"0.3.1"},
 {"name":"wiki","port":1950,"paths":["/wiki","/admin"],"health":"/","version":"","installDir":"/p/modules/wiki"},
 {"name":"bad","port":"x","paths":[],"health":"/","version":"1"},
 {"name":"slow","port":1951,"paths":[],"health":"/","version":"1"}
]}"#;

/// 2026-11-23T02:50:43.123Z
const NOW_MS: i64 = 1_795_402_243_123;

fn info(short: &str, status: Option<Status>) -> ModuleInfo {
    ModuleInfo {
        short: short.into(),
        name: short.into(),
        package: None,
        display_name: None,
        tagline: None,
        available: true,
        installed: true,
        installed_version: None,
        latest_version: None,
        port: None,
        paths: Vec::new(),
        supervisor_status: status,
        ready: status == Some(Status::Running),
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

fn start_error(kind: &str, text: &str, binary: Option<&str>) -> StartError {
    StartError {
        error_type: kind.into(),
        error_description: text.into(),
        binary: binary.map(str::to_owned),
        why: None,
        docs_url: None,
        install: None,
        sysadmin_hint: None,
        at: "2026-11-23T02:50:00.000Z".into(),
    }
}

fn list() -> ModuleList {
    let vault = ModuleInfo { pid: Some(12345), uptime_ms: Some(8_000_000), ..info("vault", Some(Status::Running)) };
    let scribe = ModuleInfo {
        restarts_in_window: 3,
        last_exit: Some(LastExit { code: Some(1), signal: None, at: String::new() }),
        next_retry_at: Some("2026-11-23T02:51:10.200Z".into()),
        supervisor_start_error: Some(start_error("missing_dependency", "long\ntext", Some("parachute-scribe"))),
        ..info("scribe", Some(Status::Crashed))
    };
    let wiki = ModuleInfo {
        pid: Some(7),
        uptime_ms: Some(45_000),
        ready: false,
        supervisor_start_error: Some(start_error("started_but_unbound", "nothing listens\u{1b}[2J on 1950", None)),
        ..info("wiki", Some(Status::Running))
    };
    let slow = ModuleInfo {
        restarts_in_window: 1,
        last_exit: Some(LastExit { code: None, signal: Some(9), at: String::new() }),
        next_retry_at: Some("2026-11-23T02:50:43.623Z".into()),
        ..info("slow", Some(Status::Restarting))
    };
    ModuleList {
        modules: vec![
            slow,
            wiki,
            scribe,
            vault,
            info("notes", None),
            ModuleInfo { port: Some(2000), ..info("gone", Some(Status::Running)) },
        ],
        supervised: Vec::new(),
        supervisor_available: true,
        module_install_channel: "latest".into(),
        problem: None,
    }
}

fn document() -> Document {
    Document::parse(SERVICES.as_bytes()).expect("a list of rows")
}

fn rows(list: Option<&ModuleList>) -> Vec<ModuleRow> {
    rows::modules(Some(&*document()), list, Path::new("/p"), NOW_MS)
}

fn hub_up() -> HubRow {
    let (health, identity) = hub_says();
    HubRow::up(&health, &identity, None, NOW_MS)
}

fn hub_says() -> (Health, Identity) {
    let health = Health {
        status: "ok".into(),
        service: "parachute".into(),
        version: "0.7.0".into(),
        db: "ok".into(),
        instance: "abc".into(),
        proof: None,
    };
    let identity = Identity {
        instance: "abc".into(),
        secret: None,
        pid: 99,
        start_ticks: 1,
        port: 1939,
        started_at: Some("2026-11-23T02:48:43.000Z".into()),
    };
    (health, identity)
}

#[test]
fn the_table_shows_every_row_and_why_one_is_not_well() {
    assert_eq!(
        table::render(&rows(Some(&list())), Some(&hub_up())),
        "\
SERVICE                   PORT  VERSION  STATE    PID    UPTIME  LATENCY  SOURCE
parachute-vault           1940  0.4.5    active   12345  2h 13m  -        directory /home/op/vault
  → http://127.0.0.1:1940/vault/default/mcp
parachute-scribe          1944  0.3.1    failing  -      -       -        unknown
  → http://127.0.0.1:1944
  ! crashed: exit code 1, 3 failures in 60 s; next retry in 28 s
  ! canonical port is 1943
  ! failed to start: parachute-scribe is missing
wiki                      1950  -        active   7      45s     -        command
  → http://127.0.0.1:1950/wiki
  ! not served: field \"paths[1]\": \"/admin\" belongs to the hub
  ! not reachable yet: nothing listens\u{fffd}[2J on 1950
bad                       -     -        invalid  -      -       -        -
  ! row cannot be used: field \"port\": must be an integer 1..65535, not \"x\"
slow                      1951  1        pending  -      -       -        unknown
  → http://127.0.0.1:1951
  ! restarting: killed by signal 9, 1 failure in 60 s; next retry in 500 ms
gone                      2000  -        active   -      -       -        -
  ! the hub runs it, services.json has no row for it
parachute-hub (internal)  1939  0.7.0    active   99     2m      -        binary (0.7.0)
  → http://127.0.0.1:1939
"
    );
}

#[test]
fn with_the_hub_down_the_files_are_shown() {
    let text = table::render(&rows(None), Some(&HubRow::down(1939, Vec::new())));
    assert!(text.contains("parachute-vault           1940  0.4.5    inactive  -"), "{text}");
    assert!(text.contains("bad                       -     -        invalid"), "{text}");
    assert!(text.ends_with("  → http://127.0.0.1:1939\n  ! hub is down; start it with: parachute serve\n"), "{text}");
}

#[test]
fn how_long_the_hub_is_up_is_told_by_a_clock_that_nobody_sets() {
    let of = |age| {
        let (health, identity) = hub_says();
        // By the wall clock, which was set back, it has not been started yet.
        HubRow::up(&health, &identity, age, 0).uptime_s
    };
    assert_eq!((of(Some(Duration::from_millis(61_900))), of(None)), (Some(61), None));
}

/// Nothing but the hub.
fn shown(hub: HubRow) -> Shown {
    Shown { hub, modules: Vec::new(), with_hub: true, unread: None, unknown: None }
}

#[test]
fn only_what_fails_fails_and_a_check_wants_everything_well() {
    let row = |state| ModuleRow { state, ..rows(None)[0].clone() };
    let broken = ClientError::Broken { port: 1, reason: "x".into() };
    for (name, states, hub, plain, check) in [
        ("all well", &[State::Active, State::Inactive][..], hub_up(), 0, 0),
        ("nothing installed", &[], hub_up(), 0, 0),
        ("one failing", &[State::Active, State::Failing], hub_up(), 1, 6),
        ("one pending", &[State::Pending], hub_up(), 0, 6),
        ("one bad row", &[State::Invalid], hub_up(), 0, 6),
        ("hub down", &[State::Inactive], HubRow::down(1, Vec::new()), 0, 6),
        ("hub unwell", &[], HubRow::unwell(1, &broken), 1, 6),
    ] {
        let rows: Vec<ModuleRow> = states.iter().copied().map(row).collect();
        for (with_check, expected) in [(false, plain), (true, check)] {
            let shown = Shown { modules: rows.clone(), ..shown(hub.clone()) };
            let exit = verdict(&shown, with_check).map_or(0, |failure| failure.exit.number());
            assert_eq!(exit, expected, "{name}, --check: {with_check}");
        }
    }
    for (with_hub, plain, check) in [(true, 1, 6), (false, 0, 0)] {
        let modules = vec![row(State::Active)];
        let shown = Shown { modules, with_hub, unread: Some("x".to_owned()), ..shown(hub_up()) };
        let exit = |check| verdict(&shown, check).map_or(0, |failure| failure.exit.number());
        assert_eq!((exit(false), exit(true)), (plain, check), "a list that cannot be read, {with_hub}");
    }
}

#[test]
fn a_check_wants_it_known_that_all_is_well_and_says_what_is_not() {
    let unwell = HubRow { database: Some("error: other".to_owned()), ..hub_up() };
    let unknown = Some(Failure::new(Code::NoOperatorToken, "no operator token at /p", "create one"));
    let row = |name: &str| rows(Some(&list())).into_iter().find(|row| row.name == name).expect("a row");
    let hostile = "$(touch x)".to_owned();
    for (shown, expected) in [
        (
            // Nothing listens on the port of the first; the second need not listen anywhere.
            Shown { modules: vec![row("wiki"), row("parachute-vault")], ..shown(hub_up()) },
            Some(("1 of 2 modules not well: wiki (runs, not ready)", "see: parachute logs wiki")),
        ),
        (
            Shown { modules: vec![ModuleRow { name: hostile.clone(), ..row("bad") }], ..shown(hub_up()) },
            Some(("1 of 1 modules not well: $(touch x)", "see: parachute check")),
        ),
        (
            Shown {
                modules: vec![ModuleRow { name: hostile, short: None, state: State::Pending, ..row("slow") }],
                ..shown(hub_up())
            },
            Some(("1 of 1 modules not well: $(touch x)", "see: parachute logs '$(touch x)'")),
        ),
        (
            // Its health path answers.
            Shown {
                modules: vec![ModuleRow { state: State::Active, ..rows(None)[0].clone() }],
                unknown: unknown.clone(),
                ..shown(hub_up())
            },
            Some(("how the modules are is not known: no operator token at /p", "create one")),
        ),
        (
            Shown { unknown, ..shown(hub_up()) },
            Some(("how the modules are is not known: no operator token at /p", "create one")),
        ),
        (shown(unwell.clone()), Some(("the hub's database is not well: error: other", "see: parachute doctor"))),
        (Shown { modules: vec![row("parachute-vault")], with_hub: false, ..shown(unwell) }, None),
    ] {
        assert_eq!(verdict(&shown, false), None, "{expected:?}");
        let failure = verdict(&shown, true);
        let said = failure.as_ref().map(|failure| (failure.message.as_str(), failure.hint.as_str()));
        assert_eq!(said, expected);
        assert!(failure.is_none_or(|failure| failure.exit == Exit::Unhealthy), "{expected:?}");
    }
}

#[test]
fn json_has_the_same_rows_without_glyphs() {
    let value = table::to_json(&rows(Some(&list())), &hub_up());
    let modules = value["modules"].as_array().expect("rows");
    assert_eq!(modules.len(), 6);
    assert_eq!(modules[0]["pid"], 12345);
    assert_eq!(modules[0]["uptime_s"], 8000);
    assert_eq!(modules[1]["state"], "failing");
    assert_eq!(modules[1]["status"], "crashed");
    assert_eq!(modules[1]["start_error"]["binary"], "parachute-scribe");
    assert_eq!(modules[3]["state"], "invalid");
    assert_eq!(value["hub"]["instance"], "abc");
    let text = value.to_string();
    assert!(!text.contains('→') && !text.contains('✗'), "{text}");
}

#[test]
fn a_start_error_that_was_kept_in_the_row_is_shown_while_the_hub_is_down() {
    let document = Document::parse(
        br#"{"services":[{"name":"a","port":1,"paths":[],"health":"/","version":"1",
            "lastStartError":{"error_type":"x","error_description":"it broke\nmore"}}]}"#,
    )
    .expect("a list");
    let rows = rows::modules(Some(&*document), None, Path::new("/p"), NOW_MS);
    assert_eq!(rows[0].notes, ["failed to start: it broke"]);
}

#[test]
fn a_row_that_another_has_superseded_is_shown_beside_it_and_not_instead() {
    let row = |name: &str| serde_json::json!({"name": name, "port": 1940, "paths": [], "health": "/", "version": "1"});
    let rows = serde_json::json!({"services": [row("vault"), row("parachute-vault")]});
    let document = Document::parse(rows.to_string().as_bytes()).expect("a list");
    let of_vault = list().modules.into_iter().find(|info| info.short == "vault").expect("it is in there");
    let of_vault = ModuleInfo { name: "parachute-vault".into(), ..of_vault };
    let bad = ModuleInfo {
        name: "vault".into(),
        supervisor_status: None,
        problem: Some("is superseded".into()),
        ..of_vault.clone()
    };
    let list = ModuleList { modules: vec![bad, of_vault], ..list() };
    let rows = rows::modules(Some(&*document), Some(&list), Path::new("/p"), NOW_MS);
    let (shown, _) = super::chosen(&["vault".to_owned()], rows, &document).expect("both");
    let states: Vec<_> = shown.iter().map(|row| (row.name.as_str(), row.state)).collect();
    assert_eq!(states, [("vault", State::Invalid), ("parachute-vault", State::Active)]);
    assert!(shown[1].notes.iter().all(|note| !note.contains("superseded")), "{:?}", shown[1].notes);
}

#[test]
fn without_a_list_that_can_be_read_nobody_is_said_to_have_no_row() {
    let rows = rows::modules(None, Some(&list()), Path::new("/p"), NOW_MS);
    assert!(!rows.is_empty());
    for row in rows {
        assert!(row.notes.iter().any(|note| note == "the hub runs it, services.json cannot be read"), "{row:?}");
    }
}

#[test]
fn those_that_are_named_are_shown_in_that_order_and_no_other() {
    let chosen = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (rows, with_hub) = super::chosen(&names, rows(Some(&list())), &document())?;
        Ok((rows.into_iter().map(|row| row.name).collect::<Vec<_>>(), with_hub))
    };
    let shown = |names: &[&str]| chosen(names).map_err(|failure: Failure| failure.message);
    assert_eq!(shown(&[]).map(|(rows, with_hub)| (rows.len(), with_hub)), Ok((6, true)));
    assert_eq!(shown(&["hub"]), Ok((vec![], true)));
    // By short name, by the row's, one whose row cannot be used, one without a row; twice is once.
    let names = ["slow", "bad", "vault", "gone", "parachute-vault", "hub"];
    let expected: Vec<String> = ["slow", "bad", "parachute-vault", "gone"].map(str::to_owned).to_vec();
    assert_eq!(shown(&names), Ok((expected, true)));
    let unknown = chosen(&["wiki", "walt"]).expect_err("there is no walt");
    assert_eq!((unknown.code, unknown.exit.number()), (Code::UnknownService, 9), "{unknown:?}");
}

#[test]
fn the_address_of_a_module_has_its_path_only_if_it_gets_to_see_it() {
    let hub_says = |strip_prefix: bool| ModuleList {
        modules: vec![ModuleInfo { strip_prefix, ..info("wiki", Some(Status::Running)) }],
        ..list()
    };
    let (with, without) = ("http://127.0.0.1:1950/wiki", "http://127.0.0.1:1950");
    for (row_says, hub, expected) in [
        ("false", None, with),
        ("false", Some(hub_says(false)), with),
        ("false", Some(hub_says(true)), without),
        ("true", None, without),
    ] {
        let row = format!(
            r#"{{"name":"wiki","port":1950,"paths":["/wiki"],"health":"/","version":"1","stripPrefix":{row_says}}}"#
        );
        let document = Document::parse(format!(r#"{{"services":[{row}]}}"#).as_bytes()).expect("a list");
        let rows = rows::modules(Some(&*document), hub.as_ref(), Path::new("/p"), NOW_MS);
        assert_eq!(rows[0].url.as_deref(), Some(expected), "{row_says} {hub:?}");
    }
}
