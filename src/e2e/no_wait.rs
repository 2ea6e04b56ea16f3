//! `--no-wait`: what is ordered is done later, and what cannot be is refused at once.

use crate::support::{Hub, is_alive, kill, module, testchild};
use serde_json::json;

#[test]
fn who_does_not_wait_is_answered_before_anything_is_done() {
    // Neither ends before it is killed.
    let deaf =
        |name| module(name, testchild(&["ignore-term"])).run(json!({ "stopTimeoutMs": 600_000, "restart": "never" }));
    let hub = Hub::start(&[deaf("web"), deaf("other")]);
    let (web, other) = (hub.until_ready("web"), hub.until_ready("other"));

    let ordered = hub.run(&["stop", "--no-wait", "web", "other"]).succeeds().stdout;
    assert_eq!(ordered, "✓ stop of web ordered; it was running\n✓ stop of other ordered; it was running\n");
    assert!(is_alive(web) && is_alive(other));
    for pid in [web, other] {
        kill(pid, "KILL");
    }
    hub.until_status("web", "stopped");
    hub.until_status("other", "stopped");
    assert_eq!(hub.run(&["stop", "--no-wait", "web"]).succeeds().stdout, "✓ web was not running\n");

    let ordered = hub.run(&["start", "web", "--no-wait", "--json"]).succeeds().json();
    assert_eq!(ordered["data"]["results"][0]["state"]["status"], "stopped", "{ordered:#}");
    let first = hub.until_ready("web");
    let ordered = hub.run(&["restart", "web", "--no-wait"]).succeeds().stdout;
    assert_eq!(ordered, "✓ restart of web ordered; it was running\n");
    assert!(is_alive(first), "it ignores the signal");
    kill(first, "KILL");
    let second = hub.until_replaced("web", first);
    // One that does not run is started.
    hub.run(&["restart", "other", "--no-wait"]).succeeds();
    for pid in [second, hub.until_ready("other")] {
        kill(pid, "KILL");
    }
}

#[test]
fn what_is_registered_without_waiting_may_come_up_later_or_never() {
    let hub = Hub::start(&[]);
    let child = testchild(&["exit", "3"]);
    let add = ["add", "late", "--no-wait", "--restart", "never", "--"];
    let args: Vec<&str> = add.into_iter().chain(child.iter().map(String::as_str)).collect();
    let text = hub.run(&args).succeeds().stdout;
    assert!(text.contains("start of late ordered; it was stopped"), "{text}");
    hub.until_status("late", "crashed");
    hub.run(&["start", "late"]).fails_with(6);
    hub.run(&["start", "late", "--no-wait"]).succeeds();
}

#[test]
fn an_order_that_cannot_be_taken_is_refused_at_once() {
    let hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({ "ready": "none" }))]);
    hub.until_status("web", "running");
    for verb in ["start", "stop", "restart"] {
        hub.run(&[verb, "--no-wait", "webb"]).fails_with(9);
        let path = format!("/api/modules/web/{verb}");
        for (query, status) in [("?wait=1", 400), ("?wait=no", 400), ("?wait=", 400), ("?wait=0", 202), ("", 200)] {
            let answer = hub.api("POST", &format!("{path}{query}"));
            assert_eq!(answer.status, status, "{verb}{query}: {}", answer.text());
        }
        let unknown = |query: &str| hub.api("POST", &format!("/api/modules/webb/{verb}{query}")).text();
        assert_eq!(unknown("?wait=0"), unknown(""), "{verb}");
    }
}
