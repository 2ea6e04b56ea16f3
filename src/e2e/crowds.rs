//! Callers who are too many, too slow or gone too soon. Each test ends with a hub that answers and has given everything
//! back.

use crate::support::{Victim, descriptors, eventually, threads};
use serde_json::{Value, json};

/// Beyond the hub's threads: for requests of its own that are under way at the moment of the look.
const BUSY_THREADS: usize = 4;

#[test]
fn slow_heads_keep_nobody_waiting_and_are_told_off() {
    /// Nearly all the connections that the hub takes.
    const SLOW: usize = 1_000;
    let victim = Victim::new();
    // One says nothing more, and one never stops saying a little.
    for kind in ["slow", "trickle"] {
        let slow = victim.attacker(kind, SLOW);
        assert_eq!(slow.line_after("open "), SLOW.to_string());
        for _ in 0..10 {
            victim.answers();
        }
        // Their time for a head runs out.
        eventually("all of them closed", || (slow.line_after("closed ") == SLOW.to_string()).then_some(()));
        victim.has_recovered();
    }
}

#[test]
fn slow_bodies_for_the_hub_take_nothing_away_from_anybody_else() {
    /// More than the hub has in hand at a time.
    const SLOW: usize = 300;
    let victim = Victim::new();
    let slow = victim.attacker("body", SLOW);
    assert_eq!(slow.line_after("open "), SLOW.to_string());
    assert!(threads(&victim.hub) <= victim.threads + BUSY_THREADS, "{} threads", threads(&victim.hub));
    for _ in 0..10 {
        victim.answers();
        victim.hub.run(&["status", "--check"]).succeeds();
    }
    // Their time for a body runs out, however busily they send.
    eventually("all of them closed", || (slow.line_after("closed ") == SLOW.to_string()).then_some(()));
    victim.has_recovered();
}

#[test]
fn slow_uploads_to_a_module_lock_nobody_out() {
    /// As many as the hub takes.
    const SLOW: usize = 1_024;
    let victim = Victim::new();
    let slow = victim.attacker("upload", SLOW);
    assert_eq!(slow.line_after("open "), SLOW.to_string());
    for _ in 0..10 {
        victim.answers();
        victim.hub.run(&["status", "--check"]).succeeds();
    }
    // A byte now and then is not enough to stay.
    eventually("all of them closed", || {
        let closed: usize = slow.line_after("closed ").parse().expect("a number");
        (closed >= SLOW).then_some(())
    });
    victim.has_recovered();
}

#[test]
fn slow_readers_of_the_hubs_answers_keep_nobody_waiting() {
    /// So many rows make a document that no socket's buffer holds.
    const ROWS: usize = 1_000;
    /// More than the hub has threads for quick answers, and less than one caller may have in hand.
    const SLOW: usize = 24;
    let victim = Victim::new();
    let mut list: Value = serde_json::from_str(&victim.hub.home.read("services.json")).expect("JSON");
    let rows = list["services"].as_array_mut().expect("rows");
    for number in 0..ROWS {
        let (name, path) = (format!("row{number}"), format!("/row{number}"));
        rows.push(json!({"name": name, "port": 20_000 + number, "paths": [path], "health": "/", "version": "1.0.0"}));
    }
    victim.hub.home.write("services.json", &list.to_string());
    eventually("a large document", || {
        (victim.hub.get("/.well-known/parachute.json").body.len() > 200_000).then_some(())
    });
    // What so many rows take stays for as long as they do.
    let victim = Victim::measured(victim.hub);
    let slow = victim.attacker("sip", SLOW);
    assert_eq!(slow.line_after("open "), SLOW.to_string());
    for _ in 0..10 {
        victim.answers();
        victim.hub.run(&["status"]);
    }
    drop(slow);
    victim.has_recovered();
}

#[test]
fn idle_connections_give_way_to_new_ones() {
    /// More than the hub keeps.
    const IDLE: usize = 2_000;
    const KEPT: usize = 1_024;
    let victim = Victim::new();
    let idle = victim.attacker("idle", IDLE);
    assert_eq!(idle.line_after("open "), IDLE.to_string());
    for _ in 0..10 {
        victim.answers();
    }
    eventually("the oldest closed", || {
        let closed: usize = idle.line_after("closed ").parse().expect("a number");
        (closed >= IDLE - KEPT).then_some(())
    });
    assert!(descriptors(&victim.hub) < KEPT + 100, "{} descriptors", descriptors(&victim.hub));
    assert!(threads(&victim.hub) <= victim.threads + BUSY_THREADS, "{} threads", threads(&victim.hub));
    drop(idle);
    victim.has_recovered();
}

#[test]
fn idle_connections_stay_where_the_limit_lets_them() {
    const IDLE: usize = 2_000;
    let victim = Victim::with(&[("PARACHUTE_MAX_CONNECTIONS", "2100")]);
    let mut idle = victim.attacker("idle", IDLE);
    assert_eq!(idle.line_after("open "), IDLE.to_string());
    eventually("all of them taken", || (descriptors(&victim.hub) >= IDLE).then_some(()));
    for _ in 0..10 {
        victim.answers();
    }
    assert!(threads(&victim.hub) <= victim.threads + BUSY_THREADS, "{} threads", threads(&victim.hub));
    assert!(idle.ended().is_none() && !idle.output().contains("closed "), "some were closed: {}", idle.output());
    victim.memory_is_flat();
    drop(idle);
    victim.has_recovered();
}

#[test]
fn connections_that_break_off_at_any_moment_leave_nothing_behind() {
    const RESETS: usize = 2_000;
    let victim = Victim::new();
    let mut flood = victim.attacker("reset", RESETS);
    assert_eq!(flood.line_after("done "), RESETS.to_string());
    assert!(flood.wait().success(), "{}", flood.output());
    victim.has_recovered();
}
