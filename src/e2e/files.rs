//! The files of the home, attacked from outside while the binary works with them.
//!
//! Where the cases of files §15 are tested, by their numbers:
//!
//! | Case | Tests |
//! |---|---|
//! | 1 | `config`: `the_home_is_parachute_home_or_below_the_users_home`; `store::home`: `a_home_is_made_private_…`, `an_open_home_gets_a_warning_…`, `a_link_to_the_home_is_resolved_once`; `bad_home`: `a_home_that_cannot_be_one_…`, `a_home_below_…`; here `c15_01_…` |
//! | 2 | `manifest::services::tests`: `every_field_has_its_type_and_its_limits`, `a_malformed_start_error_…`; `bad_modules`: `a_row_that_cannot_be_used_…` |
//! | 3 | `manifest::services::tests`: `c15_03_…` |
//! | 4 | `store::services::tests::undone`: `c15_04_…` and the rest of it; here `c15_19_…` |
//! | 5 | `store::tests`: `c15_05_c15_06_…`; `faults`; `faults_verbs`; `archive::tests`: `at_every_call_that_fails_…` |
//! | 6 | the same; `full_disk`; `ops` of the database: `db::tests`: `c39_…` |
//! | 7 | `store::tests::planted`: `c15_07_…`; `store::atomic::tests`: `links_are_not_followed_…`, `what_is_no_file_…`, `another_name_of_the_old_file_…`; `store::operator_token`: `c38_…`; `store::atomic::secret`; `store::services::tests`: `a_link_is_written_through_…`; `bad_home` |
//! | 8 | `manifest::json`: `hostile_bytes_…`; `manifest::services::tests`: `samples_are_…`, `c15_08_…`, `rows_that_get_in_each_others_way_…`, `fuzz`; `store::services::tests`: `a_file_that_cannot_be_parsed_…`; `store::atomic::tests`: `the_limit_is_exact` |
//! | 9 | `manifest::services::tests`: `rows_that_get_in_each_others_way_are_marked_and_stay` |
//! | 10 | `manifest::services::tests`: `rows_are_retired_…`, `rows_that_get_in_…`; `cli::verbs::doctor`: `fix_mends_what_loses_nothing_…` |
//! | 11 | `manifest::services::tests`: `vaults_on_one_port_have_one_process`; `manifest::mounts`; `manifest::discovery::tests`: `a_vault_that_is_not_there_yet_…`; `ops::reconcile` |
//! | 12 | `store::dotenv`, `store::dotenv::write`: `c15_12_…`, `the_file_is_private_and_a_link_stays_one` |
//! | 13 | `registration`: `c15_13_…`; `cli::verbs::ports`; `cli::verbs::register::tests`: `a_port_with_a_listener_…` |
//! | 14 | `store::identity`; `bad_home`; `hub_life`: `a_second_hub_…`, `a_killed_hub_…`; `cli::tests`: `a_stranger_on_the_port_…`; every test here is on a port of its own |
//! | 15 | here `c15_15_…` |
//! | 16 | `origin_files`: `c15_16_…`; `origin`; `config`: `an_empty_hub_origin_…`; `bad_arguments`: `an_origin_that_cannot_be_one_…` |
//! | 17 | `origin_files`: `c15_17_…`; `ops::origin`: `a_vaults_env_follows_the_public_origin_and_no_other`; `origin_setting` |
//! | 18 | `database`: `c15_18_…`; `db::tests`; `bad_home`: `a_database_that_is_bad_…`; `access`: `what_holds_a_secret_…`; here `c15_18_…` |
//! | 19 | here and in `registration`: `c15_19_…` |
//! | 20 | `manifest::services::tests`: `a_path_that_a_row_may_not_have_…`; `manifest::mounts`; `bad_modules`: `a_mount_that_belongs_to_the_hub_…`, `a_second_row_…`; `ready`: `a_stranger_on_the_port_…` |

use crate::full_disk::SmallDisk;
use crate::support::{Finished, Home, Hub, eventually, is_alive, kill, module, testchild};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn sleeper(name: &str) -> crate::support::Module {
    module(name, testchild(&["sleep"])).run(json!({"ready": "none"}))
}

fn rows(home: &Home) -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&home.read("services.json")).expect("a whole list");
    let rows = document["services"].as_array().expect("rows");
    rows.iter().filter_map(|row| Some(row["name"].as_str()?.to_owned())).collect()
}

#[test]
fn c15_01_a_home_that_cannot_be_written_is_told_and_runs_once_it_can() {
    let home = Home::new();
    let path = home.path().to_owned();
    let _disk = SmallDisk::mount(&path);
    home.install(&sleeper("web"));
    let mut hub = Hub::start_in(home, &[]);
    hub.line_after("web", "ready ");
    assert!(hub.end().success(), "{}", hub.output());
    let remount = |how: &str| {
        let done = Command::new("mount").args(["-o", how]).arg(&path).status();
        assert!(done.is_ok_and(|status| status.success()), "mount -o {how}");
    };
    remount("remount,ro");
    for (args, writes) in [
        (&["serve"][..], true),
        (&["add", "new", "--no-start", "--", "/bin/true"], true),
        (&["remove", "web"], true),
        (&["auth", "rotate-operator"], true),
        (&["status"], false),
        (&["check"], false),
    ] {
        let mut command = hub.home.command(args);
        command.env("PORT", hub.port.to_string());
        let done = Finished::run(command);
        let refused = done.code().is_some_and(|code| code != 0) && done.stderr.contains(&*path.to_string_lossy());
        assert!(refused || !writes, "fails and names the file: {done}");
        assert!(done.code().is_some() && !done.stderr.contains("panicked"), "{done}");
    }
    remount("remount,rw");
    hub.start_again();
    hub.line_after("web", "ready ");
}

/// Whatever the state of exposure says, no verb stumbles over it, and it stays as it is.
#[test]
fn c15_15_a_state_of_exposure_that_is_bad_blocks_nothing() {
    let mut hub = Hub::start(&[sleeper("web")]);
    hub.line_after("web", "ready ");
    let good = json!({"version": 1, "layer": "public", "mode": "path", "canonicalFqdn": "a.example", "port": 443,
        "funnel": false, "entries": [], "hubOrigin": "https://a.example"});
    let entry = json!({"kind": "proxy", "mount": "/", "target": "http://127.0.0.1:1939/", "service": "hub"});
    let mut texts: Vec<String> = [
        "",
        " ",
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{}",
        "\0",
        "\u{feff}{}",
        "{\"version\":1}",
        "{} x",
        "{\"version\":1e400}",
    ]
    .map(str::to_owned)
    .into();
    texts.push(good.to_string());
    texts.push(format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)));
    texts.push(format!("{{\"version\":1,\"x\":\"{}\"}}", "x".repeat(100_000)));
    for (field, values) in [
        ("version", json!([0, 2, 1.5, "1", null, -1])),
        ("layer", json!(["moon", "", 1, null])),
        ("mode", json!(["other", 1, null])),
        ("canonicalFqdn", json!(["", 1, null, "a b", "localhost", "a\nb"])),
        ("port", json!(["x", 1.5, -1, 65536, null])),
        ("funnel", json!(["true", 1, null])),
        ("entries", json!([{}, null, [1], [null]])),
        ("hubOrigin", json!(["::", "", 1, null, "ftp://a", "http://127.0.0.1:1"])),
        ("unknown", json!([{"later": true}])),
    ] {
        for value in values.as_array().expect("an array") {
            let mut state = good.clone();
            state[field] = value.clone();
            texts.push(state.to_string());
        }
        let mut state = good.clone();
        state.as_object_mut().expect("an object").remove(field);
        texts.push(state.to_string());
    }
    for (field, value) in
        [("kind", json!("other")), ("mount", json!("x")), ("target", json!("")), ("service", json!(1))]
    {
        let mut state = good.clone();
        state["entries"] = json!([entry]);
        state["entries"][0][field] = value;
        texts.push(state.to_string());
    }
    let mint = ["auth", "mint-token", "--scope", "web:read"];
    for (number, text) in texts.iter().enumerate() {
        // Sixty a minute are what may be minted with one token.
        if number % 40 == 39 {
            hub.run(&["auth", "rotate-operator"]).succeeds();
        }
        hub.home.write("expose-state.json", text);
        for args in [&["stop", "web"][..], &["start", "web"], &mint] {
            hub.run(args).succeeds();
        }
        assert_eq!(hub.home.read("expose-state.json"), *text);
    }

    // What is no file, or not to be read; with the hub down as well, and for a hub that starts.
    type Plant = fn(&Path);
    let plants: &[(&str, Plant)] = &[
        ("not UTF-8", |path| fs::write(path, b"{\"version\":\"\xff\"}").expect("ours")),
        ("too large", |path| fs::write(path, vec![b' '; (64 << 10) + 1]).expect("ours")),
        ("a directory", |path| fs::create_dir(path).expect("ours")),
        ("a link to nothing", |path| std::os::unix::fs::symlink("nowhere", path).expect("ours")),
        ("a link to itself", |path| std::os::unix::fs::symlink("expose-state.json", path).expect("ours")),
        ("a FIFO", |path| {
            let made = Command::new("mkfifo").arg(path).status();
            assert!(made.is_ok_and(|status| status.success()), "mkfifo");
        }),
        ("truncated", |path| fs::write(path, "{\"version\":1,\"layer\":").expect("ours")),
    ];
    let path = hub.home.path().join("expose-state.json");
    hub.run(&["auth", "rotate-operator"]).succeeds();
    for (what, plant) in plants {
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).expect("there");
        plant(&path);
        for args in [&["stop", "web"][..], &["start", "web"], &mint, &["status"], &["hub", "show-origin"]] {
            let done = hub.run(args);
            assert_eq!(done.code(), Some(0), "{what}: {done}");
        }
        assert!(hub.end().success(), "{what}: {}", hub.output());
        let done = hub.run(&mint);
        assert_eq!(done.code(), Some(0), "{what}, with the hub down: {done}");
        hub.start_again();
        hub.line_after("web", "ready ");
        assert!(fs::symlink_metadata(&path).is_ok(), "{what}: it is kept");
    }
}

fn above(home: &Path) -> &Path {
    home.parent().expect("a directory of the test")
}

/// SQLite would go on with a file that nobody finds any more, and all would look well.
#[test]
fn c15_18_a_hub_whose_database_or_home_is_taken_away_says_so_and_ends() {
    type Take = fn(&Path);
    let cases: &[(&str, Take, Take)] = &[
        ("database deleted", |home| fs::remove_file(home.join("hub.db")).expect("ours"), |_| {}),
        (
            "database replaced",
            |home| {
                fs::copy(home.join("hub.db"), home.join("copy")).expect("ours");
                fs::rename(home.join("copy"), home.join("hub.db")).expect("ours");
            },
            |_| {},
        ),
        (
            "home moved away",
            |home| fs::rename(home, home.with_extension("away")).expect("ours"),
            |home| fs::rename(home.with_extension("away"), home).expect("ours"),
        ),
        (
            "moved away with what is above it",
            |home| fs::rename(above(home), above(home).with_extension("away")).expect("ours"),
            |home| fs::rename(above(home).with_extension("away"), above(home)).expect("ours"),
        ),
        (
            "another home in its place",
            |home| {
                let copy = home.with_extension("copy");
                let copied = Command::new("cp").arg("-a").arg(home).arg(&copy).status();
                assert!(copied.is_ok_and(|status| status.success()), "cp");
                fs::rename(home, home.with_extension("away")).expect("ours");
                fs::rename(copy, home).expect("ours");
            },
            |home| fs::remove_dir_all(home.with_extension("away")).expect("ours"),
        ),
    ];
    for (what, take, give_back) in cases {
        let mut hub = Hub::start(&[sleeper("web")]);
        let module = hub.number_after("web", "ready ");
        take(hub.home.path());
        assert_eq!(hub.until_it_ends().code(), Some(1), "{what}: {}", hub.output());
        hub.says("/hub.db is ");
        assert!(!is_alive(module), "{what}: its module ended before it");
        give_back(hub.home.path());
        hub.start_again();
        assert_eq!(hub.api("GET", "/api/modules/web").status, 200, "{what}: the token is good");
        hub.line_after("web", "ready ");
    }
}

#[test]
fn c15_18_the_database_of_the_typescript_hub_is_recognised_and_left_alone() {
    let home = Home::new();
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        db.executescript('''PRAGMA journal_mode = WAL;\n\
        CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT);\n\
        INSERT INTO schema_version VALUES (11, 'x');\n\
        CREATE TABLE signing_keys (kid TEXT PRIMARY KEY);''')\n\
        db.close()\n";
    let database = home.path().join("hub.db");
    let made = Command::new("/usr/bin/python3").args(["-c", script]).arg(&database).status();
    assert!(made.is_ok_and(|status| status.success()), "python3 with sqlite3 is needed");
    fs::write(home.path().join("operator.token"), "a.b.c\n").expect("ours");
    let before = fs::read(&database).expect("made");
    let port = crate::support::free_port().to_string();
    for args in [&["serve"][..], &["auth", "list-tokens"], &["auth", "rotate-key", "--now"], &["doctor", "--fix"]] {
        let mut command = home.command(args);
        command.env("PORT", &port);
        let done = Finished::run(command);
        assert!(done.code().is_some_and(|code| code != 0), "{done}");
        assert!(format!("{}{}", done.stdout, done.stderr).contains("belongs to the TypeScript hub"), "{done}");
        assert_eq!(fs::read(&database).expect("there"), before, "{done}");
    }
    let beside = fs::read_dir(home.path()).expect("ours").flatten();
    let aside: Vec<_> =
        beside.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("corrupt")).collect();
    assert_eq!(aside, [] as [&str; 0]);
}

/// files §15, case 19: also what the module is killed in the middle of costs nothing.
#[test]
fn c15_19_beside_a_module_that_never_stops_rewriting_the_list_no_row_is_lost() {
    let home = Home::new();
    let list = home.path().join("services.json");
    let list = list.to_str().expect("UTF-8");
    home.install(&module("restless", testchild(&["rewrite", list, "10"])).run(json!({"ready": "none"})));
    home.install(&sleeper("web"));
    let hub = Hub::start_in(home, &[]);
    let mut pid = hub.number_after("restless", "ready ");
    let web = hub.number_after("web", "ready ");
    let mut expected: BTreeSet<String> = ["restless", "web"].map(str::to_owned).into();
    for number in 0..12 {
        let name = format!("m{number}");
        hub.run(&["add", &name, "--no-start", "--", "/bin/true"]).succeeds();
        expected.insert(name);
        if number % 4 == 3 {
            let gone = format!("m{}", number - 1);
            // At this moment the list may be one without it.
            eventually("a removal", || hub.run(&["remove", &gone]).status.success().then_some(()));
            expected.remove(&gone);
        }
        // Not a third time, after which it would be left alone for a while.
        if number == 3 || number == 7 {
            kill(pid, "KILL");
            pid = hub.until_replaced("restless", pid);
        }
    }
    hub.run(&["stop", "restless"]).succeeds();
    eventually("every row in the list", || (rows(&hub.home) == expected).then_some(()));
    assert_eq!(hub.number_after("web", "ready "), web, "nobody was stopped because of a list that was put back");
    assert!(is_alive(web));
    assert!(!hub.output().contains("corrupt"), "{}", hub.output());
}

/// operator-token B8: what was revoked after the backup must not be good again.
#[test]
fn a_restored_home_takes_no_token_until_its_key_is_changed() {
    let mut hub = Hub::start(&[]);
    let asked = |hub: &Hub, token: &str| {
        let bearer = format!("Bearer {token}");
        crate::support::http::request(hub.port, "GET", "/api/modules", &[("Authorization", &bearer)], b"")
            .expect("an answer")
            .status
    };
    let old = hub.token();
    let archive = hub.home.path().with_extension("tar");
    let file = archive.to_str().expect("UTF-8");
    hub.run(&["backup", file]).succeeds();
    assert_eq!(asked(&hub, &old), 200);
    hub.run(&["auth", "rotate-operator"]).succeeds();
    assert_eq!((asked(&hub, &old), asked(&hub, &hub.token())), (401, 200));
    assert!(hub.end().success());

    let home = Home::new();
    let told = Finished::run(home.command(&["restore", file])).succeeds();
    assert!(told.stderr.contains("parachute auth rotate-key --now"), "{told}");
    let restored = Hub::start_in(home, &[]);
    assert_eq!(restored.token(), old);
    // Nobody can say of any token what it is worth.
    assert_eq!(asked(&restored, &old), 503, "{}", restored.output());
    restored.says("rotate-key --now");
    let told = restored.run(&["auth", "list-tokens"]).fails_with(5);
    assert!(told.stderr.contains("parachute doctor"), "{told}");
    let told = restored.run(&["doctor"]).fails_with(6);
    assert!(told.to_string().contains("rotate-key --now"), "{told}");
    restored.run(&["auth", "rotate-key", "--now"]).succeeds();
    assert_eq!((asked(&restored, &old), asked(&restored, &restored.token())), (401, 200));
}

/// A module that is killed while it writes the list, or an editor on a full disk.
#[test]
fn a_list_that_was_spoilt_keeps_no_module_from_coming_back() {
    let home = Home::new();
    home.install(&sleeper("web"));
    let mut hub = Hub::start_in(home, &[]);
    let mut pid = hub.number_after("web", "ready ");
    let whole = hub.home.read("services.json");
    for spoilt in ["", &whole[..whole.len() / 2]] {
        hub.home.write("services.json", spoilt);
        kill(pid, "KILL");
        pid = eventually("another child runs", || {
            let newest: u32 = hub.lines_after("web", "ready ").last()?.parse().ok()?;
            (newest != pid && is_alive(newest)).then_some(newest)
        });
    }
    hub.says("started by the list of modules as it was: ");
    hub.home.write("services.json", &whole);
    hub.run(&["restart", "web"]).succeeds();
    hub.end();
}

/// files §14.4
#[test]
fn a_list_that_was_spoilt_while_no_hub_ran_makes_way_for_its_backup() {
    let home = Home::new();
    home.install(&sleeper("web"));
    let mut hub = Hub::start_in(home, &[]);
    hub.line_after("web", "ready ");
    // What is added to a running hub is in the backup as well, without another start.
    hub.run(&["add", "later", "--", "/bin/sleep", "1000"]).succeeds();
    eventually("a backup with the new row", || hub.home.read("services.json.bak").contains("\"later\"").then_some(()));
    hub.end();
    let whole = hub.home.read("services.json");
    let spoilt = &whole[..whole.len() / 2];
    hub.home.write("services.json", spoilt);
    hub.start_again();
    hub.line_after("web", "ready ");
    hub.until_status("later", "running");
    hub.says("its backup took its place");
    let beside: Vec<String> = fs::read_dir(hub.home.path())
        .expect("ours")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("services.json.corrupt-"))
        .map(|entry| fs::read_to_string(entry.path()).expect("kept"))
        .collect();
    assert_eq!(beside, [spoilt]);
    hub.end();
    // Without a backup there is what can be read of the list, and the command that was adopted.
    for known in ["services.json.bak", "hub/run/services.edits"] {
        fs::remove_file(hub.home.path().join(known)).expect("it was made");
    }
    hub.home.write("services.json", spoilt);
    hub.start_again();
    hub.until_status("later", "running");
    hub.says("later: registered again for this machine only");
    hub.end();
    // A list of which nothing is known is nobody's to make up.
    fs::remove_file(hub.home.path().join("services.json.bak")).expect("it was made");
    fs::remove_dir_all(hub.home.path().join("modules")).expect("of the command");
    hub.home.write("services.json", "{");
    hub.start_again();
    hub.says("no module is started");
    assert_eq!(hub.home.read("services.json"), "{");
}

/// files §14.4
#[test]
fn no_module_is_stopped_because_the_list_and_its_backup_were_lost() {
    let home = Home::new();
    home.install(&sleeper("web"));
    let mut hub = Hub::start_in(home, &[]);
    let pid = hub.number_after("web", "ready ");
    hub.home.write("services.json.bak", "");
    hub.home.write("services.json", "");
    eventually("a backup of what the hub knows", || {
        hub.home.read("services.json.bak").contains("\"web\"").then_some(())
    });
    hub.run(&["add", "other", "--", "/bin/sleep", "1000"]).succeeds();
    hub.until_status("other", "running");
    hub.until_status("web", "running");
    assert_eq!(hub.lines_after("web", "ready "), [pid.to_string()], "the same child");
    assert!(is_alive(pid));
    hub.end();
}
