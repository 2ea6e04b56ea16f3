//! Where the origin comes from, and what becomes of a vault's `.env`, as one sees them from outside (files §15, cases 16
//! and 17).

use crate::support::{Home, Hub, Module, http, module, testchild};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;

const NEW: &str = "https://new.example";
const NAME: &str = "PARACHUTE_HUB_ORIGIN";

fn vault() -> Module {
    module("vault", testchild(&["sleep"])).run(json!({"ready": "none"})).row("paths", json!(["/vault/default"]))
}

fn environment(hub: &Hub, pid: u32, name: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_else(|error| panic!("{}: {error}", hub.output()));
    let start = format!("{name}=");
    String::from_utf8_lossy(&bytes).split('\0').find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
}

/// Issuer and source, as the command says them.
fn shown(hub: &Hub, environment: &[(&str, &str)]) -> (String, String) {
    let mut command = hub.home.command(&["hub", "show-origin", "--json"]);
    command.envs(environment.iter().copied());
    let shown = crate::support::Finished::run(command).succeeds().json()["data"].clone();
    let text = |field: &str| shown[field].as_str().unwrap_or_default().to_owned();
    (text("resolved_issuer"), text("source"))
}

fn issuer_of_a_new_token(hub: &Hub) -> Value {
    let minted = hub.run(&["auth", "mint-token", "--scope", "web:read", "--ephemeral"]).succeeds();
    let python = "import base64, json, sys\n\
        part = sys.argv[1].split('.')[1]\n\
        print(json.dumps(json.loads(base64.urlsafe_b64decode(part + '=' * (-len(part) % 4)))['iss']))\n";
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args(["-c", python, minted.stdout.trim()]);
    crate::support::Finished::run(command).succeeds().json()
}

#[test]
fn c15_16_who_says_the_origin_first_is_believed_by_hub_children_and_commands() {
    const ENV: (&str, &str) = (NAME, "https://A.example/");
    const RENDER: (&str, &str) = ("RENDER_EXTERNAL_URL", "https://r.example");
    const FLY: (&str, &str) = ("FLY_APP_NAME", "app");
    for (environment_of_the_hub, stored, issuer, source) in [
        (&[][..], None, None, "request"),
        (&[ENV, RENDER, FLY], None, Some("https://a.example"), "env"),
        (&[(NAME, ""), RENDER, FLY], None, Some("https://r.example"), "env"),
        (&[FLY], None, Some("https://app.fly.dev"), "env"),
        (&[("FLY_APP_NAME", "app/x")], None, None, "request"),
        (&[ENV, RENDER, FLY], Some("https://s.example"), Some("https://s.example"), "settings"),
        (&[], Some("https://s.example:8443"), Some("https://s.example:8443"), "settings"),
    ] {
        let home = Home::new();
        home.install(&vault());
        if let Some(origin) = stored {
            crate::support::Finished::run(home.command(&["auth", "rotate-operator"])).succeeds();
            crate::support::Finished::run(home.command(&["hub", "set-origin", origin])).succeeds();
        }
        let mut hub = Hub::start_in(home, environment_of_the_hub);
        if environment_of_the_hub.contains(&("FLY_APP_NAME", "app/x")) {
            hub.says("FLY_APP_NAME is \"app/x\", which is no application name, and is ignored");
        }
        let issuer = issuer.map_or_else(|| format!("http://127.0.0.1:{}", hub.port), str::to_owned);
        let what = format!("{environment_of_the_hub:?}, {stored:?}");
        let expected = (issuer.clone(), source.to_owned());
        assert_eq!(shown(&hub, &[]), expected, "{what}: a command asks the hub");
        assert_eq!(issuer_of_a_new_token(&hub), issuer, "{what}");
        let pid = hub.number_after("vault", "ready ");
        assert_eq!(environment(&hub, pid, NAME).as_ref(), Some(&issuer), "{what}");
        let set = environment(&hub, pid, "PARACHUTE_HUB_ORIGINS").expect("the set");
        let set: Vec<&str> = set.split(',').collect();
        assert_eq!(set.first(), Some(&issuer.as_str()), "{what}");
        for own in [format!("http://localhost:{}", hub.port), format!("http://127.0.0.1:{}", hub.port)] {
            assert_eq!(set.iter().filter(|origin| **origin == own).count(), 1, "{what}: {set:?}");
        }
        // With the hub down: under the name of the last hub, whatever its surroundings were.
        assert!(hub.end().success(), "{}", hub.output());
        assert_eq!(issuer_of_a_new_token(&hub), issuer, "{what}: a command by itself");
        assert_eq!(shown(&hub, environment_of_the_hub).0, issuer, "{what}: a command by itself");
    }
}

#[test]
fn c15_16_a_request_says_the_origin_only_while_nobody_else_does() {
    for configured in [None, Some(NEW)] {
        let mut environment = vec![("PARACHUTE_ALLOWED_HOSTS", "lan.example")];
        environment.extend(configured.map(|origin| (NAME, origin)));
        let hub = Hub::start_with(&[vault()], &environment);
        hub.line_after("vault", "ready ");
        let lan = format!("lan.example:{}", hub.port);
        for (fields, asked) in [
            ("", format!("http://{lan}")),
            ("X-Forwarded-Proto: https\r\n", format!("https://{lan}")),
            ("X-Forwarded-Host: evil.example\r\n", format!("http://{lan}")),
        ] {
            let head =
                format!("GET /.well-known/parachute.json HTTP/1.1\r\nHost: {lan}\r\n{fields}Connection: close\r\n\r\n");
            let answer = http::exchange(hub.port, head.as_bytes()).and_then(|bytes| http::Response::parse(&bytes));
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text());
            let url = answer.json()["services"][0]["url"].as_str().unwrap_or_default().to_owned();
            let expected = configured.map_or(asked, str::to_owned);
            assert!(url.starts_with(&format!("{expected}/")), "{configured:?} {fields:?}: {url}");
        }
        assert_eq!(
            issuer_of_a_new_token(&hub),
            configured.map_or_else(|| format!("http://127.0.0.1:{}", hub.port), str::to_owned)
        );
    }
}

/// What tells whether a file was written anew.
fn written(hub: &Hub) -> (u64, i64, i64) {
    let facts = fs::metadata(hub.home.path().join("vault/.env")).expect("there");
    (facts.ino(), facts.ctime(), facts.ctime_nsec())
}

/// Restarts the vault twice; what its `.env` is then.
#[track_caller]
fn healed(hub: &Hub, before: &str) -> String {
    hub.home.write("vault/.env", before);
    hub.run(&["restart", "vault"]).succeeds();
    let (text, first) = (hub.home.read("vault/.env"), written(hub));
    hub.run(&["restart", "vault"]).succeeds();
    assert_eq!((hub.home.read("vault/.env"), written(hub)), (text.clone(), first), "{before:?}: not written again");
    text
}

#[test]
fn c15_17_c15_16_a_start_tells_a_vault_the_public_origin_in_the_place_of_none_and_of_this_machines() {
    let public = Hub::start_with(&[vault()], &[(NAME, NEW)]);
    let private = Hub::start(&[vault()]);
    let local = Hub::start_with(&[vault()], &[(NAME, "http://localhost:1939")]);
    let ours = format!("{NAME}={NEW}");
    for (before, after) in [
        (String::new(), format!("{ours}\n")),
        ("A=1".to_owned(), format!("A=1\n{ours}\n")),
        (format!("{NAME}=\n# x\n"), format!("{ours}\n# x\n")),
        (format!("{ours}\n"), format!("{ours}\n")),
        (format!("{NAME}='{NEW}'\r\n"), format!("{NAME}='{NEW}'\r\n")),
        (format!("{NAME}=https://other.example\n"), format!("{NAME}=https://other.example\n")),
        (format!("{NAME}=http://127.0.0.1.example\n"), format!("{NAME}=http://127.0.0.1.example\n")),
        (format!("{NAME}=http://128.1\n"), format!("{NAME}=http://128.1\n")),
        (format!("{NAME}=no origin\n"), format!("{NAME}=no origin\n")),
        (format!("# {NAME}=http://localhost\n"), format!("# {NAME}=http://localhost\n{ours}\n")),
        (format!("{NAME}=https://o.example\n{NAME}=http://localhost\n"), format!("{ours}\n")),
    ] {
        assert_eq!(healed(&public, &before), after, "{before:?}");
        assert_eq!(healed(&private, &before), before, "an origin of this machine only is never written");
    }
    for of_this_machine in [
        "http://127.0.0.1:1939",
        "http://127.1",
        "http://127.0.0.9:80",
        "http://localhost",
        "http://localhost.:1939",
        "HTTP://LOCALHOST:1939/",
        "http://0.0.0.0:1939",
        "http://[::1]:1939",
        "http://[::]:1939",
        "http://[::ffff:127.0.0.1]",
        "\"http://127.0.0.1:1939\"",
    ] {
        let before = format!("A=1\n{NAME}={of_this_machine}\nB=2\n");
        assert_eq!(healed(&public, &before), format!("A=1\n{ours}\nB=2\n"), "{of_this_machine}");
    }
    let before = format!("{NAME}=http://127.0.0.1:1\n");
    assert_eq!(healed(&local, &before), before, "one of this machine that was configured is none of the public");
}

#[test]
fn c15_17_an_explicit_change_writes_over_whatever_stands_there_and_takes_only_its_own_away() {
    let hub = Hub::start(&[vault()]);
    let ours = format!("{NAME}={NEW}");
    for (before, set, unset) in [
        ("", format!("{ours}\n"), String::new()),
        ("A=1\n", format!("A=1\n{ours}\n"), "A=1\n".to_owned()),
        (&*format!("{NAME}=http://localhost\nA=1\n"), format!("{ours}\nA=1\n"), "A=1\n".to_owned()),
        (&*format!("A=1\n{NAME}=https://other.example\n"), format!("A=1\n{ours}\n"), "A=1\n".to_owned()),
        (&*format!("{ours}\nA=1\n"), format!("{ours}\nA=1\n"), "A=1\n".to_owned()),
    ] {
        hub.home.write("vault/.env", before);
        let mut last = None;
        for round in 1..=2 {
            hub.run(&["hub", "set-origin", NEW]).succeeds();
            assert_eq!(hub.home.read("vault/.env"), set, "{before:?}, round {round}");
            let now = written(&hub);
            assert!(last.is_none_or(|last| last == now), "{before:?}: not written again");
            last = Some(now);
        }
        for round in 1..=2 {
            hub.run(&["hub", "set-origin", "--unset"]).succeeds();
            assert_eq!(hub.home.read("vault/.env"), unset, "{before:?}, round {round}");
        }
    }
    // Somebody else's word is not ours to take away, and one of this machine is never written.
    let other = format!("{NAME}=https://other.example\n");
    hub.home.write("vault/.env", &other);
    hub.run(&["hub", "set-origin", "--unset"]).succeeds();
    assert_eq!(hub.home.read("vault/.env"), other);
    hub.home.write("vault/.env", "A=1\n");
    hub.run(&["hub", "set-origin", "http://localhost:8080"]).succeeds();
    assert_eq!(hub.home.read("vault/.env"), "A=1\n");
}
