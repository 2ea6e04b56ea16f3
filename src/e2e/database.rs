//! `hub.db` as several processes meet it (files §15, case 18).

use crate::support::{Finished, Home, Hub, Spawned, free_port, module, testchild};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const PYTHON: &str = "/usr/bin/python3";
const FIRST_OPENERS: usize = 6;
const DAMAGED_ROUNDS: usize = 6;

/// Runs statements on the database of a home and returns what the last one found.
#[track_caller]
pub(crate) fn sql(home: &Home, statements: &str) -> String {
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        for one in sys.argv[2].split(';'): rows = db.execute(one).fetchall()\n\
        print(rows)\n\
        db.close()\n";
    let mut command = Command::new(PYTHON);
    command.args(["-c", script]).arg(home.path().join("hub.db")).arg(statements);
    Finished::run(command).succeeds().stdout.trim().to_owned()
}

fn modes_are_private(home: &Home, needed: &[&str]) {
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        match fs::metadata(home.path().join(name)) {
            Ok(facts) => assert_eq!(facts.permissions().mode() & 0o777, 0o600, "{name}"),
            Err(error) => assert!(!needed.contains(&name), "{name}: {error}"),
        }
    }
}

#[test]
fn c15_18_commands_that_make_the_database_at_once_make_one_with_one_key() {
    make_the_database_at_once(Home::new(), |_| {});
}

/// The database before was lost, and tokens had been taken back in it.
#[test]
fn c15_18_commands_that_make_a_lost_database_anew_at_once_do_the_same() {
    let home = Home::new();
    home.write("hub/run/epoch", "7\n");
    make_the_database_at_once(home, |_| {});
}

/// The first one to see the damage moves it aside; the others must not do so to what it has made.
#[test]
fn c15_18_commands_that_meet_a_damaged_database_at_once_keep_one_copy_of_it() {
    for round in 0..DAMAGED_ROUNDS {
        let home = Home::new();
        let path = home.path().to_owned();
        home.write("hub/run/epoch", "7\n");
        home.write("hub.db", &"x".repeat(8_192));
        fs::set_permissions(path.join("hub.db"), fs::Permissions::from_mode(0o600)).expect("set");
        make_the_database_at_once(home, |home| {
            let names = fs::read_dir(home.path()).expect("listed").flatten().map(|entry| entry.file_name());
            let kept: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".corrupt-")).collect();
            assert_eq!(kept.len(), 1, "round {round}: {kept:?}");
        });
    }
}

#[track_caller]
fn make_the_database_at_once(home: Home, and_then: impl Fn(&Home)) {
    let together = || {
        let mut command = home.command(&["auth", "rotate-operator"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary")
    };
    let openers: Vec<_> = (0..FIRST_OPENERS).map(|_| together()).collect();
    let mut done = 0;
    for opener in openers {
        let output = opener.wait_with_output().expect("its output");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // 8: another one was at it for longer than anybody waits.
        assert!(matches!(output.status.code(), Some(0 | 8)) && !told.contains("panicked"), "{}: {told}", output.status);
        done += usize::from(output.status.success());
    }
    assert!(done >= 1);
    and_then(&home);
    modes_are_private(&home, &["hub.db"]);
    assert_eq!(sql(&home, "SELECT count(*) FROM hs_keys WHERE state = 'active'"), "[(1,)]");
    assert_eq!(sql(&home, "PRAGMA quick_check"), "[('ok',)]");
    let live = "SELECT count(*) FROM tokens WHERE aud = 'operator' AND revoked_at IS NULL";
    assert_eq!(sql(&home, live), "[(1,)]", "the last one revoked all before it");
    let hub = Hub::start_in(home, &[]);
    hub.run(&["auth", "rotate-operator"]).succeeds();
    assert_eq!(hub.api("GET", "/api/modules").status, 200, "{}", hub.output());
    modes_are_private(&hub.home, &["hub.db", "hub.db-wal", "hub.db-shm"]);
}

/// Design §6: reads never write. `serve` and what changes something make a new one, and say so.
#[test]
fn what_only_shows_something_makes_no_database_and_replaces_none() {
    let mut hub = Hub::start(&[]);
    assert!(hub.end().success(), "{}", hub.output());
    let databases = || {
        let all = fs::read_dir(hub.home.path()).expect("the home").flatten();
        let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("hub.db")).collect::<Vec<_>>()
    };
    let database = hub.home.path().join("hub.db");
    let jti = hub.run(&["auth", "show-token", "--json"]).succeeds().json()["data"]["claims"]["jti"].clone();
    let showing = [
        &["hub", "show-origin"][..],
        &["auth", "list-tokens"],
        &["auth", "show-token", jti.as_str().expect("a number")],
        &["auth", "log"],
    ];
    let epoch = hub.home.read("hub/run/epoch");
    let sound = fs::read(&database).expect("there");
    for (damage, exit) in [(None, 5), (Some(&b""[..]), 5), (Some(&b"no database"[..]), 78), (Some(&[7; 8_192]), 78)] {
        match damage {
            None => fs::remove_file(&database).expect("it was there"),
            Some(bytes) => fs::write(&database, bytes).expect("ours"),
        }
        for args in showing {
            let refused = hub.run(args).fails_with(exit);
            assert!(refused.stdout.is_empty() && refused.stderr.contains("hub.db"), "{args:?}: {refused}");
            assert!(refused.stderr.contains("parachute serve"), "{args:?}: {refused}");
            assert_eq!(fs::read(&database).ok().as_deref(), damage, "{args:?}");
            assert!(databases().iter().all(|name| name == "hub.db"), "{args:?}: {:?}", databases());
        }
        // What the copy of the discovery document is brought in line by.
        let added = hub.run(&["add", "idle", "--json", "--", "/bin/true"]);
        assert_eq!(fs::read(&database).ok().as_deref(), damage, "{added}");
        hub.run(&["remove", "idle"]);
        assert_eq!(fs::read(&database).ok().as_deref(), damage);
    }
    assert_eq!(hub.home.read("hub/run/epoch"), epoch);
    fs::write(&database, sound).expect("ours");
    for args in showing {
        hub.run(args).succeeds();
    }
    fs::write(&database, [7; 8_192]).expect("ours");
    let made = hub.run(&["auth", "rotate-operator"]).succeeds();
    assert!(made.stderr.contains("void"), "{made}");
    hub.run(&["auth", "list-tokens"]).succeeds();
}

#[test]
fn c15_18_a_database_of_a_later_release_or_of_somebody_else_is_refused_and_not_touched() {
    for (what, statements, told) in [
        ("later", "PRAGMA user_version = 99", "99"),
        ("somebody's", "PRAGMA application_id = 7", "hub.db"),
        ("unmarked", "PRAGMA application_id = 0", "hub.db"),
    ] {
        let mut hub = Hub::start(&[]);
        assert!(hub.end().success(), "{}", hub.output());
        sql(&hub.home, &format!("{statements};PRAGMA journal_mode = DELETE"));
        let database = hub.home.path().join("hub.db");
        let before = fs::read(&database).expect("there");
        let token = hub.home.read("operator.token");
        let port = free_port().to_string();
        for args in [
            &["serve"][..],
            &["auth", "list-tokens"],
            &["auth", "mint-token", "--scope", "web:read"],
            &["auth", "rotate-key", "--now"],
            &["hub", "set-origin", "https://a.example"],
            &["doctor", "--fix"],
        ] {
            let mut command = hub.home.command(args);
            command.env("PORT", &port);
            let done = Finished::run(command);
            assert!(done.code().is_some_and(|code| code != 0), "{what}: {done}");
            let all = format!("{}{}", done.stdout, done.stderr);
            assert!(all.contains("hub.db") && all.contains(told) && !all.contains("panicked"), "{what}: {done}");
            assert_eq!(fs::read(&database).expect("there"), before, "{what}: {done}");
        }
        assert_eq!(hub.home.read("operator.token"), token, "{what}");
    }
}

#[test]
fn c15_18_a_database_that_another_process_has_locked_costs_a_wait_and_no_more() {
    let mut hub = Hub::start(&[]);
    let script = "import sqlite3, sys, time\n\
        db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        db.execute('BEGIN IMMEDIATE')\n\
        print('locked', flush=True)\n\
        time.sleep(100000)\n";
    let database = hub.home.path().join("hub.db");
    let argv = [PYTHON, "-c", script, database.to_str().expect("UTF-8")].map(str::to_owned);
    let mint = ["auth", "mint-token", "--scope", "web:read"];
    for hub_runs in [true, false] {
        if !hub_runs {
            assert!(hub.end().success(), "{}", hub.output());
        }
        let mut holder = Spawned::start(&argv);
        holder.line_after("locked");
        let refused = hub.run(&mint);
        assert!(refused.code().is_some_and(|code| code != 0) && refused.stdout.is_empty(), "{hub_runs}: {refused}");
        let told = if hub_runs { "the hub cannot do this now" } else { "hub.db" };
        assert!(refused.stderr.contains(told), "{hub_runs}: {refused}");
        if hub_runs {
            assert_eq!(hub.get("/health").status, 200, "the hub is there, and reads");
            assert_eq!(hub.api("GET", "/api/modules").status, 200);
        }
        crate::support::kill(holder.pid(), "KILL");
        holder.wait();
        hub.run(&mint).succeeds();
        if hub_runs {
            continue;
        }
        // Not even its readers are let in.
        let script = script.replace("BEGIN IMMEDIATE", "PRAGMA locking_mode = EXCLUSIVE;BEGIN EXCLUSIVE");
        let script = script.replace("db.execute", "db.executescript");
        let argv = [PYTHON, "-c", &script, database.to_str().expect("UTF-8")].map(str::to_owned);
        let holder = Spawned::start(&argv);
        holder.line_after("locked");
        let refused = hub.run(&["serve", "--port", &free_port().to_string()]).fails_with(8);
        assert!(refused.stderr.contains("another program has it"), "{refused}");
    }
    hub.start_again();
    assert_eq!(hub.api("GET", "/api/modules").status, 200);
    assert!(!hub.home.path().join("hub.db.corrupt").exists() && !hub.output().contains("corrupt"), "{}", hub.output());
}

/// What is damaged is a matter of tokens; the modules run on, and whoever asks is told.
#[test]
fn a_database_that_is_emptied_while_the_hub_runs_is_told_and_made_anew_by_the_next_hub() {
    let mut hub = Hub::start(&[module("web", testchild(&["http"]))]);
    let pid = hub.until_ready("web");
    assert_eq!(hub.get("/health").json()["db"], "ok");
    let file = fs::File::options().write(true).open(hub.home.path().join("hub.db")).expect("ours");
    file.set_len(0).expect("emptied");
    assert_eq!(hub.get("/health").json()["db"], "error: corrupt");
    hub.says("hub.db is damaged (error: corrupt)");
    let status = hub.run(&["status"]);
    assert!(status.stdout.contains("error: corrupt"), "{status}");
    assert_eq!(hub.processes("web").into_iter().map(|(pid, _)| pid).collect::<Vec<_>>(), [pid]);
    assert_eq!(hub.output().matches("hub.db is damaged").count(), 1, "{}", hub.output());
    hub.end();
    hub.start_again();
    hub.until_ready("web");
}

/// `check` and `serve` look at the same.
#[test]
fn a_database_without_one_of_its_tables_is_told_by_check_and_made_anew_by_serve() {
    let mut hub = Hub::start(&[]);
    assert!(hub.end().success());
    sql(&hub.home, "DROP TABLE module_keys");
    let told = hub.run(&["check"]).fails_with(78);
    assert!(told.stdout.contains("table module_keys is missing"), "{told}");
    hub.start_again();
    hub.says("hub.db.corrupt-");
    assert_eq!(hub.api("GET", "/api/modules").status, 200);
}

#[test]
fn a_database_that_may_be_an_older_copy_is_told_by_check_as_well() {
    let mut hub = Hub::start(&[]);
    hub.run(&["auth", "rotate-key", "--now"]).succeeds();
    assert!(hub.end().success());
    hub.run(&["check"]).succeeds();
    for (epoch, told) in [("99\n", "hub.db is an older copy"), ("garbage", "hub/run/epoch: holds no number")] {
        hub.home.write("hub/run/epoch", epoch);
        let checked = hub.run(&["check"]).fails_with(78);
        assert!(checked.stdout.contains(told), "{checked}");
    }
    hub.start_again();
    hub.says("hub.db may be an older copy");
    assert_eq!(hub.api("GET", "/api/modules").status, 503, "{}", hub.output());
    hub.run(&["auth", "rotate-key", "--now"]).succeeds();
    assert_eq!(hub.api("GET", "/api/modules").status, 200, "{}", hub.output());
    hub.run(&["check"]).succeeds();
}

#[test]
fn another_program_s_database_is_left_as_it_is_by_all() {
    let home = Home::new();
    sql(&home, "CREATE TABLE theirs (a)");
    let file = home.path().join("hub.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
    for (args, code) in
        [(&["check"][..], 78), (&["doctor"], 6), (&["doctor", "--fix"], 6), (&["serve", "--port", "0"], 78)]
    {
        let told = Finished::run(home.command(args)).fails_with(code);
        let told = format!("{}{}", told.stdout, told.stderr);
        assert!(told.contains("is a database of another program") && !told.contains("0600"), "{told}");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o644, "{args:?}");
    }
}
