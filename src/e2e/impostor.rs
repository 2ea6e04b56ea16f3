//! Another program on the port of a hub that was killed, such as another user's: what it says to be the hub, and what
//! the commands tell it.

use crate::support::{Backend, Finished, Home, Hub, Recorded, Said, eventually, http, is_free, module, testchild};
use serde_json::Value;

/// What a command ends with that finds it.
const UNREACHABLE: i32 = 5;
/// What it says then.
const UNPROVEN: &str = "claims to be the hub of this home and cannot prove it; nothing was sent to it";

/// An answer as a program gives it that knows its trade.
fn answer(body: &str) -> Said {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    Said::AndWaits([head.as_bytes(), body.as_bytes()].concat())
}

/// The path and the query that it was asked for.
fn target(request: &Recorded) -> &str {
    request.line.split(' ').nth(1).unwrap_or_default()
}

/// All that was heard so far: requests for `/health` only, and no token with any of them.
#[track_caller]
fn heard_nothing(impostor: &Backend, what: &str) {
    let heard = impostor.take();
    assert!(!heard.is_empty(), "{what} asked nobody");
    for request in heard {
        assert!(target(&request).starts_with("/health"), "{what}: {request:?}");
        let names: Vec<&str> = request.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.contains(&"authorization") && !names.contains(&"cookie"), "{what}: {request:?}");
        assert!(request.body.is_empty(), "{what}: {request:?}");
    }
}

/// Kills the hub, and puts a program in its place that answers like this.
fn replaced(hub: &mut Hub, answers: impl Fn(&Recorded) -> Said + Send + Sync + 'static) -> Backend {
    let port = hub.port;
    hub.kill();
    eventually("the port of the killed hub free", || is_free(port).then_some(()));
    Backend::start_on(port, answers)
}

#[test]
fn an_impostor_that_knows_the_instance_of_a_killed_hub_gets_no_token() {
    let mut hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let health = hub.get("/health").text();
    let impostor = replaced(&mut hub, move |_| answer(&health));
    let file = hub.home.path().with_file_name("backup.tar");
    let file = file.to_str().expect("a temporary directory is UTF-8");
    for (args, code) in [
        (&["start", "web"][..], UNREACHABLE),
        (&["stop", "web"], UNREACHABLE),
        (&["restart"], UNREACHABLE),
        (&["remove", "web"], UNREACHABLE),
        (&["open"], UNREACHABLE),
        (&["auth", "list-tokens"], UNREACHABLE),
        (&["auth", "mint-token", "--scope", "web:read", "--ephemeral"], UNREACHABLE),
        (&["auth", "log"], UNREACHABLE),
        (&["hub", "show-origin"], UNREACHABLE),
        (&["hub", "set-origin", "https://example.org"], UNREACHABLE),
        (&["add", "new", "--", "sleep", "1"], UNREACHABLE),
        (&["status"], 1),
        (&["doctor"], 6),
        // The file tells what the module said.
        (&["logs", "web"], 0),
    ] {
        let ended = hub.run(args).fails_with(code);
        assert!(ended.stderr.contains(UNPROVEN) || ended.stdout.contains(UNPROVEN), "{args:?}: {ended}");
        heard_nothing(&impostor, &format!("{args:?}"));
    }
    // It only asks whether there is a hub to copy under.
    hub.run(&["backup", file]).succeeds();
    heard_nothing(&impostor, "backup");
}

#[test]
fn an_impostor_that_asks_another_hub_for_the_proof_gets_no_token() {
    let mut hub = Hub::start(&[]);
    let other = Hub::start(&[]);
    let (instance, others_port) = (hub.get("/health").json()["instance"].clone(), other.port);
    let impostor = replaced(&mut hub, move |request| {
        let theirs = http::get(others_port, target(request)).expect("the other hub answers");
        let mut health = theirs.json();
        assert!(health["proof"].is_string(), "the other hub proves what it can: {health}");
        health["instance"] = instance.clone();
        answer(&health.to_string())
    });
    let refused = hub.run(&["auth", "list-tokens"]).fails_with(UNREACHABLE);
    assert!(refused.stderr.contains(UNPROVEN), "{refused}");
    heard_nothing(&impostor, "list-tokens");
}

#[test]
fn an_impostor_that_repeats_an_earlier_proof_gets_no_token() {
    let mut hub = Hub::start(&[]);
    let heard = hub.get("/health?challenge=0123456789abcdef");
    assert!(heard.json()["proof"].is_string(), "{heard:?}");
    let heard = heard.text();
    let impostor = replaced(&mut hub, move |_| answer(&heard));
    let refused = hub.run(&["--json", "open"]).fails_with(UNREACHABLE);
    let error: Value = serde_json::from_str(&refused.stderr).unwrap_or_else(|_| panic!("JSON: {refused}"));
    assert_eq!(error["error"]["code"], "wrong_hub", "{refused}");
    heard_nothing(&impostor, "open");
}

#[test]
fn doctor_names_another_homes_hub_on_the_port() {
    let other = Hub::start(&[]);
    let home = Home::new();
    let mut doctor = home.command(&["doctor"]);
    doctor.env("PORT", other.port.to_string());
    let looked = Finished::run(doctor).succeeds();
    let expected = format!("its hub is down, and another hub has port {}", other.port);
    assert!(looked.stdout.contains(&expected), "{looked}");
}

#[test]
fn the_hub_of_a_binary_without_proofs_still_obeys_the_commands_of_an_upgraded_one() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let pid_file = hub.home.read("hub/run/hub.pid");
    let words: Vec<&str> = pid_file.split_whitespace().collect();
    hub.home.write("hub/run/hub.pid", &format!("{}\n", words[..3].join(" ")));
    assert_eq!(hub.run(&["status", "--json"]).succeeds().json()["data"]["hub"]["instance"], words[2]);
    hub.run(&["stop", "web"]).succeeds();

    // A secret that is none is no reason to believe in the number alone.
    hub.home.write("hub/run/hub.pid", &format!("{} {}\n", words[..3].join(" "), &words[3][1..]));
    hub.run(&["start", "web"]).fails_with(UNREACHABLE);
}
