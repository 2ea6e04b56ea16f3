//! `/metrics`, and how often somebody elsewhere may be wrong about a token.

use crate::support::http::{self, Response};
use crate::support::{Home, Hub, eventually, kill, module, testchild};
use std::collections::BTreeMap;

/// What a proxy on this machine passes on for somebody at `from` who asked `hub.example`.
#[track_caller]
fn ask_from(hub: &Hub, from: &str, path: &str, token: Option<&str>) -> Response {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: hub.example\r\nX-Forwarded-For: {from}\r\n{token}Connection: close\r\n\r\n"
    );
    let bytes = http::exchange(hub.port, head.as_bytes()).unwrap_or_else(|error| panic!("{path}: {error}"));
    Response::parse(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn hub() -> Hub {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    Hub::start_in(home, &[("PARACHUTE_HUB_ORIGIN", "https://hub.example")])
}

/// The numbers by their series.
#[track_caller]
fn numbers(hub: &Hub) -> BTreeMap<String, f64> {
    let answer = hub.get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut numbers = BTreeMap::new();
    for line in answer.text().lines().filter(|line| !line.starts_with('#')) {
        let (series, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no number: {line}"));
        let number = number.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(numbers.insert(series.to_owned(), number).is_none(), "twice: {line}");
    }
    numbers
}

#[test]
fn the_numbers_follow_the_modules() {
    let hub = hub();
    let web = |name: &str| format!("parachute_module_{name}{{module=\"web\"}}");
    let running = "parachute_module_state{module=\"web\",state=\"running\"}";
    let has = |numbers: &BTreeMap<String, f64>, series: &str, value: f64| numbers.get(series) == Some(&value);
    let pid = hub.until_ready("web");
    let first = numbers(&hub);
    assert!(["up", "ready"].iter().all(|name| has(&first, &web(name), 1.0)) && has(&first, running, 1.0), "{first:?}");
    assert!(has(&first, &web("restarts_total"), 0.0), "{first:?}");
    for series in ["uptime_seconds", "process_open_fds", "process_resident_memory_bytes", "process_threads"]
        .map(|name| format!("parachute_{name}"))
    {
        assert!(first.get(&series).is_some_and(|number| *number > 0.0), "{series}: {first:?}");
    }
    kill(pid, "KILL");
    eventually("web restarted", || has(&numbers(&hub), &web("restarts_total"), 1.0).then_some(()));
    hub.run(&["stop", "web"]).succeeds();
    let stopped = numbers(&hub);
    assert!(has(&stopped, &web("up"), 0.0) && has(&stopped, running, 0.0), "{stopped:?}");
    assert!(has(&stopped, "parachute_module_state{module=\"web\",state=\"stopped\"}", 1.0), "{stopped:?}");
}

#[test]
fn the_number_of_requests_has_the_one_in_it_that_asks() {
    let hub = hub();
    let asked = || numbers(&hub).get("parachute_edge_requests_total").copied().expect("a number of requests");
    let first = asked();
    for later in 1..=200 {
        assert_eq!(asked(), first + f64::from(later));
    }
}

#[test]
fn strangers_see_no_numbers_without_a_token() {
    let hub = hub();
    let answer = ask_from(&hub, "203.0.113.7", "/metrics", None);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(!answer.text().contains("web"), "{answer:?}");
    let answer = ask_from(&hub, "203.0.113.7", "/metrics", Some(&hub.token()));
    assert!(answer.status == 200 && answer.text().contains("module=\"web\""), "{answer:?}");
}

#[test]
fn bad_tokens_from_elsewhere_are_looked_at_ten_times_a_minute() {
    let hub = hub();
    let (token, junk) = (hub.token(), Some("junk"));
    for attempt in 0..10 {
        assert_eq!(ask_from(&hub, "203.0.113.7", "/api/modules", junk).status, 401, "attempt {attempt}");
    }
    for path in ["/api/modules", "/metrics", "/api/modules/web"] {
        let answer = ask_from(&hub, "203.0.113.7", path, junk);
        assert_eq!(answer.status, 429, "{path}: {answer:?}");
        assert_eq!(answer.json()["error"], "too_many_failures", "{path}");
        let seconds = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
        assert!(seconds.is_some_and(|seconds| (1..=61).contains(&seconds)), "{path}: {answer:?}");
    }
    // The beginning of the list is what the client made up; only what the proxy wrote counts.
    assert_eq!(ask_from(&hub, "198.51.100.1, 203.0.113.7", "/api/modules", junk).status, 429);
    assert_eq!(ask_from(&hub, "203.0.113.8", "/api/modules", Some(&token)).status, 200, "another address");
    for _ in 0..20 {
        let bearer = [("Authorization", "Bearer junk")];
        let answer = http::request(hub.port, "GET", "/api/modules", &bearer, b"").expect("an answer");
        assert_eq!(answer.status, 401, "this machine is never limited");
    }
    assert_eq!(hub.api("GET", "/api/modules").status, 200);
}
