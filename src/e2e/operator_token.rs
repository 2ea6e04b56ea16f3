//! The operator's token between many processes and kills; the numbers are those of operator-token Part C.

use crate::support::tokens::{introspect, mint, module_key, post, web};
use crate::support::{Finished, Hub, eventually, module, testchild};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

/// `nobody`.
const STRANGER: u32 = 65_534;

const ROTATE: [&str; 2] = ["auth", "rotate-operator"];

/// Makes a token that is in its last days from the start: it lives for an hour, and others live for 90 days.
#[track_caller]
fn rotate_to_a_short_one(hub: &Hub) {
    let mut command = hub.home.command(&["auth", "rotate-operator", "--keep-old"]);
    command.env("PARACHUTE_OPERATOR_TOKEN_TTL_S", "3600");
    Finished::run(command).succeeds();
}

/// The operator tokens that were made because one was about to expire.
#[track_caller]
fn renewed(hub: &Hub) -> usize {
    let listed = hub.run(&["auth", "list-tokens", "--via", "rotate", "--json"]).succeeds().json();
    let tokens = listed["data"]["tokens"].as_array().expect("a list");
    tokens.iter().filter(|token| token["audience"] == "operator").count()
}

/// C35: 20 processes, with the hub up, which renews the token, and with it down, when each could.
#[test]
fn c35_twenty_commands_at_once_make_one_new_token_and_children_live_on() {
    let mut hub = Hub::start(&[web()]);
    hub.until_ready("web");
    for (round, hub_is_up) in [(1, true), (2, false)] {
        rotate_to_a_short_one(&hub);
        let before = hub.token();
        // Renewing would change the token before the twenty come.
        let mut quiet = hub.home.command(&["auth", "mint-token", "--scope", "web:read", "--ephemeral"]);
        quiet.env("PARACHUTE_OPERATOR_TOKEN", &before);
        let child = Finished::run(quiet).succeeds().stdout.trim_end().to_owned();
        if !hub_is_up {
            hub.end();
        }
        let all: Vec<Finished> = thread::scope(|scope| {
            let run = || Finished::run(hub.home.command(&["auth", "list-tokens", "--json"]));
            let threads: Vec<_> = (0..20).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        for one in all {
            one.succeeds();
        }
        assert_ne!(hub.token(), before, "round {round}");
        assert_eq!(renewed(&hub), round, "one new token a round");
        if !hub_is_up {
            hub.start_again();
            hub.until_ready("web");
        }
        let told = introspect(&hub, &module_key(&hub, "web"), &child).json();
        assert_eq!(told["active"], true, "being replaced does not cascade: round {round}");
        assert_ne!(mint(&hub, "web:read"), child);
    }
}

/// The whole token that stands in the file, with nothing beside it.
#[track_caller]
fn whole_token(hub: &Hub, at: u32) -> String {
    let text = hub.home.read("operator.token");
    let token = text.strip_suffix('\n').unwrap_or_else(|| panic!("killed at call {at}: half a file"));
    assert_eq!(token.split('.').count(), 3, "killed at call {at}");
    assert!(token.split('.').all(|part| !part.is_empty()), "killed at call {at}");
    token.to_owned()
}

/// C36: `rotate-operator` killed at each of its calls that write to the disk, by the kernel and in truth.
#[test]
fn c36_a_rotation_that_is_killed_anywhere_leaves_a_whole_file_and_a_way_on() {
    const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat";
    let mut hub = Hub::start(&[]);
    hub.end();
    let (mut kills, mut useless) = (0, 0);
    for at in 1.. {
        let before = whole_token(&hub, at);
        let kill = format!("inject={CALLS}:signal=KILL:when={at}");
        let ended = hub.home.traced(&["-e", &format!("trace={CALLS}"), "-o", "/dev/null", "-e", &kill], &ROTATE);
        if ended.code() == Some(0) {
            break;
        }
        kills += 1;
        assert!(at < 200, "it does not end: {ended}");
        let held = whole_token(&hub, at);
        let next = hub.run(&["auth", "list-tokens", "--json"]);
        if next.code() == Some(0) {
            let told = next.json();
            assert!(
                told["data"]["tokens"].as_array().is_some_and(|all| !all.is_empty()),
                "killed at call {at}: {told}"
            );
        } else {
            useless += 1;
            assert_eq!(held, before, "killed at call {at}: only the old one may be revoked");
            assert!(next.stderr.contains("parachute auth rotate-operator"), "killed at call {at}: {next}");
        }
        hub.run(&["auth", "rotate-operator"]).succeeds();
        hub.run(&["auth", "list-tokens"]).succeeds();
    }
    // The database is committed before the file is written, so that there are both kinds of ends.
    assert!(kills > 3 && useless > 0 && useless < kills, "{useless} of {kills}");
    hub.start_again();
    let live = hub.run(&["auth", "list-tokens", "--active", "--json"]).succeeds().json();
    let live: Vec<Value> = live["data"]["tokens"].as_array().expect("a list").clone();
    assert_eq!(live.len(), 1, "what nobody holds is revoked: {live:?}");
}

/// C38: as the kernel sees it, the token is only ever written to a file that was not there before, under a name of chance.
#[test]
fn c38_the_token_is_written_to_no_file_that_was_there_before() {
    let mut hub = Hub::start(&[]);
    hub.end();
    let trace = hub.home.path().with_file_name("trace");
    let mut names = Vec::new();
    for _ in 0..2 {
        let options = ["-e", "trace=open,openat,openat2,creat", "-o", trace.to_str().expect("UTF-8")];
        hub.home.traced(&options, &ROTATE).succeeds();
        let text = fs::read_to_string(&trace).expect("strace wrote it");
        let to_write = |line: &&str| ["O_WRONLY", "O_RDWR", "O_CREAT", "creat("].iter().any(|flag| line.contains(flag));
        let opened: Vec<_> = text.lines().filter(|line| line.contains("operator.token")).filter(to_write).collect();
        let [line] = opened[..] else { panic!("one file is written: {opened:?}") };
        assert!(line.contains("O_CREAT") && line.contains("O_EXCL"), "{line}");
        let name = line.split('"').nth(1).expect("a path in quotes").to_owned();
        let chance = name.strip_prefix(".operator.token.").and_then(|rest| rest.strip_suffix(".tmp"));
        assert!(chance.is_some_and(|chance| chance.len() == 16), "{name}");
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
}

/// The file to the byte, and which file it is.
fn facts(path: &Path) -> (Vec<u8>, u64, u32) {
    let facts = fs::metadata(path).expect("it is there");
    (fs::read(path).expect("root reads everything"), facts.ino(), facts.mode())
}

/// C32: every verb that sends the token.
#[test]
fn c32_an_expired_token_is_told_by_every_verb_and_stays_as_it_is() {
    const SAYS: &str = "operator token expired on 20";
    let mut hub = Hub::start(&[web()]);
    let pid = hub.until_ready("web");
    let short_lived = post(&hub, "/api/auth/mint-token", &hub.token(), &json!({"scope": "web:read", "expires_in": 1}));
    let short_lived = short_lived.json()["token"].as_str().expect("a token").to_owned();
    hub.home.write("operator.token", &format!("{short_lived}\n"));
    eventually("its end", || hub.run(&["auth", "list-tokens"]).stderr.contains(SAYS).then_some(()));
    let path = hub.home.path().join("operator.token");
    let before = facts(&path);
    let auth: &[&[&str]] = &[
        &["auth", "mint-token", "--scope", "web:read", "--token-file", "unwritten"],
        &["auth", "list-tokens"],
        &["auth", "show-token"],
        &["auth", "show-token", "abcdefghijklmnopqrstuv"],
        &["auth", "revoke-token", "abcdefghijklmnopqrstuv"],
        &["auth", "revoke-all", "--subject", "operator"],
        &["auth", "log"],
    ];
    let with_the_hub: &[&[&str]] = &[
        &["start", "web"],
        &["stop", "web"],
        &["restart", "web"],
        &["open"],
        &["remove", "web"],
        &["hub", "show-origin"],
        &["hub", "set-origin", "https://a.example"],
        &["hub", "set-origin", "--unset"],
    ];
    let refused = |args: &[&str]| {
        let done = hub.run(args).fails_with(11);
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(said.contains(SAYS) && said.contains("parachute auth rotate-operator"), "{args:?}: {done}");
        assert!(!said.contains("401"), "{args:?}: {done}");
    };
    for args in auth.iter().chain(with_the_hub) {
        refused(args);
        refused(&[args, &["--json"][..]].concat());
    }
    // These have something to show without the hub's word.
    for (args, exit) in [(&["status"][..], 0), (&["logs", "web"], 0), (&["doctor"], 6)] {
        let done = hub.run(args);
        assert!(format!("{}{}", done.stdout, done.stderr).contains(SAYS), "{args:?}: {done}");
        assert_eq!(done.code(), Some(exit), "{args:?}: {done}");
    }
    refused(&["add", "new", "--", "/bin/sleep", "3600"]);
    let mut given = hub.home.command(&["start", "web"]);
    given.env("PARACHUTE_OPERATOR_TOKEN", &short_lived);
    assert!(Finished::run(given).fails_with(11).stderr.contains(SAYS));
    assert!(facts(&path) == before, "nothing has touched it");
    let running = hub.number_after("web", "ready ");
    assert_eq!(running, pid, "nothing was stopped or restarted");

    hub.end();
    auth.iter().for_each(|args| {
        let done = hub.run(args).fails_with(11);
        assert!(done.stderr.contains(SAYS) && done.stderr.contains("rotate-operator"), "{args:?}: {done}");
    });
    hub.start_again();
    assert!(facts(&path) == before, "nor does the next hub");
    hub.run(&["auth", "rotate-operator"]).succeeds();
    hub.run(&["remove", "new"]).succeeds();
}

#[test]
fn a_token_that_a_variable_gives_is_not_mended_by_a_new_one_of_the_home() {
    let mut hub = Hub::start(&[web()]);
    hub.until_ready("web");
    let narrow = ["auth", "mint-token", "--scope", "web:read"];
    let narrow = hub.run(&narrow).succeeds().stdout.trim().to_owned();
    let says = |hub: &Hub, args: &[&str], variable: &str, value: &str, reason: &str| {
        let mut command = hub.home.command(args);
        command.env(variable, value);
        let done = Finished::run(command);
        let said = format!("{}{}", done.stdout, done.stderr);
        let hint = format!("correct {variable}, or do without it: unset {variable}");
        assert!(said.contains(&hint) && said.contains(reason), "{args:?} {value}: {done}");
        assert!(!said.contains("rotate-operator") && !said.contains("move it away"), "{args:?} {value}: {done}");
    };
    let bad = [
        ("PARACHUTE_OPERATOR_TOKEN", "garbage", "operator token rejected"),
        ("PARACHUTE_OPERATOR_TOKEN", narrow.as_str(), ""),
        ("PARACHUTE_OPERATOR_TOKEN_FILE", "/nonexistent", "no operator token at /nonexistent"),
        ("PARACHUTE_OPERATOR_TOKEN_FILE", "/dev/null", "/dev/null is not a regular file, so it holds no token"),
    ];
    for (variable, value, reason) in bad {
        for args in [&["auth", "list-tokens"][..], &["restart", "web"], &["status"], &["doctor"]] {
            says(&hub, args, variable, value, reason);
        }
    }
    hub.end();
    for (variable, value, reason) in bad {
        says(&hub, &["auth", "list-tokens"], variable, value, reason);
    }
}

/// C37, C39: root gets past every mode, so this is somebody else in a home of their own.
#[test]
fn c37_c39_whoever_is_not_root_is_told_what_keeps_them_out() {
    let mut hub = Hub::start(&[]);
    hub.end();
    let root = hub.home.path().parent().expect("a home is in a directory").to_owned();
    // They may not get to where ours is built.
    let program = root.join("parachute");
    fs::copy(env!("CARGO_BIN_EXE_parachute"), &program).expect("copied");
    let given = Command::new("chown").arg("-R").arg(format!("{STRANGER}:{STRANGER}")).arg(&root).status();
    assert!(given.is_ok_and(|status| status.success()), "only root can give files away");
    let run = |args: &[&str]| {
        let mut command = hub.home.command_of(&program, args);
        command.uid(STRANGER).gid(STRANGER);
        Finished::run(command)
    };
    let set_mode = |name: &str, mode| {
        fs::set_permissions(hub.home.path().join(name), fs::Permissions::from_mode(mode)).expect("root may");
    };
    run(&["auth", "list-tokens"]).succeeds();
    run(&["check"]).succeeds();

    set_mode("", 0o500);
    let refused = run(&["auth", "rotate-operator"]).fails_with(1);
    assert!(refused.stderr.contains("see: parachute check"), "{refused}");
    let told = run(&["check"]).fails_with(78);
    assert!(told.stdout.contains(&format!("{}: cannot be written to", hub.home.path().display())), "{told}");
    set_mode("", 0o700);

    let path = hub.home.path().join("operator.token");
    set_mode("operator.token", 0o000);
    let before = facts(&path);
    let refused = run(&["auth", "list-tokens"]).fails_with(11);
    assert!(refused.stderr.contains("operator.token") && refused.stderr.contains("rotate-operator"), "{refused}");
    assert!(facts(&path) == before);
    set_mode("operator.token", 0o600);

    set_mode("hub.db", 0o400);
    let before = facts(&path);
    let refused = run(&["auth", "rotate-operator"]);
    assert!(refused.code() != Some(0) && refused.stderr.contains("hub.db"), "{refused}");
    assert!(refused.stderr.contains("readonly") || refused.stderr.contains("read-only"), "{refused}");
    assert!(facts(&path) == before, "no token that is on no record");
    // What SQLite puts beside the file has the mode of the file.
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"].into_iter().filter(|name| hub.home.path().join(name).exists()) {
        set_mode(name, 0o600);
    }
    run(&["auth", "rotate-operator"]).succeeds();
}

#[test]
fn without_a_token_status_asks_the_modules_themselves() {
    let web = module("web", testchild(&["http"]));
    let idle = module("idle", testchild(&["sleep"])).run(json!({"ready": "none"}));
    let hub = Hub::start(&[web, idle]);
    hub.until_ready("web");
    let token = hub.home.path().join("operator.token");
    fs::rename(&token, token.with_extension("away")).expect("ours");
    let status = hub.run(&["status", "--json"]).succeeds().json();
    let of = |name: &str| {
        let modules = status["data"]["modules"].as_array().expect("a list");
        modules.iter().find(|module| module["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(of("web")["state"], "active", "{status:#}");
    assert!(of("web")["latency_ms"].is_number() && of("web")["notes"].to_string().contains("health path answers"));
    assert_eq!((&of("idle")["state"], &of("idle")["latency_ms"]), (&json!("inactive"), &Value::Null), "{status:#}");
    assert!(status["data"]["hub"]["latency_ms"].is_number(), "{status:#}");
    let told = hub.run(&["doctor"]).fails_with(6);
    assert_eq!(told.stdout.matches("operator.token: ").count(), 1, "{told}");
    assert!(told.stdout.contains("create one with: parachute auth rotate-operator"), "{told}");
    assert!(of("web")["notes"].to_string().contains("states unknown"), "the reason is said once: {status:#}");
    fs::rename(token.with_extension("away"), &token).expect("ours");
}

/// What refuses them does not tell to do the same again.
#[test]
fn what_is_no_file_of_ours_in_the_place_of_the_token_is_to_be_moved_away_first() {
    let mut hub = Hub::start(&[]);
    hub.end();
    let path = hub.home.path().join("operator.token");
    let mut kept = hub.home.read("operator.token");
    let away = hub.home.path().join("away");
    for make in [|path: &Path| fs::create_dir(path), |path: &Path| std::os::unix::fs::symlink("nowhere", path)] {
        fs::remove_file(&path).expect("ours");
        make(&path).expect("made");
        for args in [&["auth", "list-tokens"][..], &["auth", "rotate-operator"], &["auth", "rotate-key", "--now"]] {
            let refused = hub.run(args).fails_with(11);
            assert!(refused.stderr.contains("  move it away, then: parachute auth rotate-operator"), "{refused}");
        }
        fs::rename(&path, &away).expect("ours");
        let mut list = hub.home.command(&["auth", "list-tokens"]);
        list.env("PARACHUTE_OPERATOR_TOKEN", kept.trim());
        Finished::run(list).succeeds();
        hub.run(&["auth", "rotate-operator"]).succeeds();
        hub.run(&["auth", "list-tokens"]).succeeds();
        kept = hub.home.read("operator.token");
        fs::remove_dir(&away).or_else(|_| fs::remove_file(&away)).expect("ours");
    }
}
