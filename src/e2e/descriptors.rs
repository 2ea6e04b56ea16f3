//! A hub without descriptors for its callers: it says so once, serves again as soon as there are some, and its modules
//! notice nothing.

use crate::support::{Hub, Victim, descriptors, eventually, http};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

/// What the hub may have besides: more than any other test needs.
const PLENTY: usize = 8_192;
/// For an answer that may never come: long after the hub has met the missing descriptor.
const UNANSWERED: Duration = Duration::from_secs(2);

/// Lets the hub's descriptors have only numbers below `soft`.
#[track_caller]
fn limit(hub: &Hub, soft: usize) {
    let target = format!("--pid={}", hub.pid());
    let done = Command::new("prlimit").args([&target, &format!("--nofile={soft}:")]).output();
    let done = done.unwrap_or_else(|error| panic!("cannot run prlimit (Debian: util-linux): {error}"));
    assert!(done.status.success(), "prlimit: {}", String::from_utf8_lossy(&done.stderr));
}

/// The limit that leaves the hub `spare` descriptors, as many as it has now.
#[track_caller]
fn limit_with_spare(hub: &Hub, spare: usize) -> usize {
    let entries = fs::read_dir(format!("/proc/{}/fd", hub.pid())).expect("the hub runs, and is ours");
    let taken: BTreeSet<usize> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let free = (0..).filter(|number| !taken.contains(number));
    // Behind the last spare one, or before the first.
    free.take(spare + 1).last().expect("numbers have no end")
}

/// Waits until what earlier requests have opened is closed.
#[track_caller]
fn comes_to_rest(victim: &Victim) {
    eventually("its descriptors back", || (descriptors(&victim.hub) <= victim.descriptors).then_some(()));
}

/// Whether it is answered is not the question: what waits in the hub's queue stays there for as long as nothing is free.
fn ask_for_a_while(port: u16) {
    let Ok(mut stream) = http::connect(port) else { return };
    stream.set_read_timeout(Some(UNANSWERED)).expect("more than nothing");
    let _ = write!(stream, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let _ = stream.read_to_end(&mut Vec::new());
}

#[track_caller]
fn module_is_unharmed(victim: &Victim, pid: u32) {
    assert_eq!(victim.hub.until_ready("web"), pid, "the module is the same");
    victim.hub.run(&["status", "--check"]).succeeds();
}

#[test]
fn callers_who_take_every_descriptor_are_turned_away_until_there_are_some_again() {
    const ROOM: usize = 60;
    const CALLERS: usize = 300;
    const COMPLAINT: &str = "cannot accept a connection";
    let victim = Victim::new();
    let module = victim.hub.until_ready("web");
    comes_to_rest(&victim);
    limit(&victim.hub, limit_with_spare(&victim.hub, ROOM));
    for round in 1..=2 {
        let callers = victim.attacker("idle", CALLERS);
        assert_eq!(callers.line_after("open "), CALLERS.to_string());
        // Those without a place are not kept waiting for one.
        eventually("the others turned away", || {
            let turned_away: usize = callers.line_after("closed ").parse().expect("a number");
            (turned_away >= CALLERS - ROOM).then_some(())
        });
        victim.hub.says(COMPLAINT);
        drop(callers);
        eventually("descriptors again", || {
            http::get(victim.hub.port, "/health").is_ok_and(|answer| answer.status == 200).then_some(())
        });
        eventually("the module reached again", || {
            http::get(victim.hub.port, "/web/a").is_ok_and(|answer| answer.status == 200).then_some(())
        });
        let said = victim.hub.output().matches(COMPLAINT).count();
        assert_eq!(said, 1, "round {round}: {}", victim.hub.output());
    }
    limit(&victim.hub, PLENTY);
    module_is_unharmed(&victim, module);
    victim.has_recovered();
}

#[test]
fn the_control_server_lives_on_wherever_the_descriptors_end() {
    let victim = Victim::new();
    let module = victim.hub.until_ready("web");
    // One request to the hub takes a handful: each of them is the first that is not there once.
    for spare in 0..8 {
        comes_to_rest(&victim);
        limit(&victim.hub, limit_with_spare(&victim.hub, spare));
        ask_for_a_while(victim.hub.port);
        limit(&victim.hub, PLENTY);
        eventually(&format!("an answer after {spare} spare descriptors"), || {
            http::get(victim.hub.port, "/health").is_ok_and(|answer| answer.status == 200).then_some(())
        });
        victim.hub.run(&["status", "--check"]).succeeds();
    }
    victim.hub.says("the control server cannot accept");
    module_is_unharmed(&victim, module);
    victim.answers();
}
