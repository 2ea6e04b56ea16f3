//! The operator's token between many processes and kills; the numbers are those of operator-token Part C.

use crate::introspection::{introspect, mint, module_key, web};
use crate::support::{Finished, Hub};
use serde_json::Value;
use std::process::Command;
use std::thread;

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
        let plain = hub.home.command(&["auth", "rotate-operator"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-e", &format!("trace={CALLS}"), "-o", "/dev/null"]);
        command.args(["-e", &format!("inject={CALLS}:signal=KILL:when={at}")]);
        command.arg(plain.get_program()).args(plain.get_args()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = Finished::run(command);
        if ended.code() == Some(0) {
            break;
        }
        kills += 1;
        assert!(at < 200, "it does not end: {ended}");
        assert!(!ended.stderr.contains("strace:"), "strace (Debian: strace) must be allowed to trace: {ended}");
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
