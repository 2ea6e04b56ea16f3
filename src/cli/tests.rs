//! Verbs from argv to what they print, with a real home and a small hub on a real socket.

use super::out::tests::pages;
use super::{dispatch, parse};
use crate::config::Config;
use crate::shell;
use crate::store::identity::{self, Identity};
use crate::store::{Create, Home};
use crate::sys::proc;
use crate::token::proof::{BootSecret, Challenge};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A home of its own, removed afterwards.
struct Fixture {
    path: PathBuf,
    hub: Option<FakeHub>,
}

/// Answers by method and path, and writes down what it was asked.
struct FakeHub {
    asked: Arc<Mutex<Vec<String>>>,
}

/// Method and path in lower case, status, body.
type Answers = &'static [(&'static str, u16, &'static str)];

const INSTANCE: &str = "0123456789abcdef";
const HEALTH: &str =
    r#"{"status":"ok","service":"parachute-hub","version":"0.7.0","db":"ok","instance":"0123456789abcdef"}"#;
const RUNNING: &str = r#"{"short":"wiki","state":{"short":"wiki","status":"running","ready":true,"pid":4711,"restartsInWindow":0,"restartsTotal":0}}"#;

fn secret() -> BootSecret {
    BootSecret::take(&mut [7; 32])
}

impl Fixture {
    fn new() -> Self {
        let name = format!("parachute-cli-{}-{}", std::process::id(), crate::sys::random::hex(8));
        let path = std::env::temp_dir().join(name);
        Home::open(&path, Create::Yes).expect("a fresh directory");
        Self { path, hub: None }
    }

    fn with_hub(answers: Answers) -> Self {
        let mut fixture = Self::new();
        let (hub, port) = FakeHub::start(answers);
        fixture.publish(port, INSTANCE);
        std::fs::write(fixture.path.join("operator.token"), "secret\n").expect("written");
        fixture.hub = Some(hub);
        fixture
    }

    fn publish(&self, port: u16, instance: &str) {
        let home = Home::open(&self.path, Create::No).expect("it is there");
        let identity = Identity {
            instance: instance.into(),
            secret: Some(secret()),
            pid: std::process::id(),
            start_ticks: proc::own_start_ticks(),
            port,
            started_at: Some("2026-11-23T02:50:43.123Z".into()),
        };
        identity::publish(&home, &identity).expect("written");
    }

    fn services(&self, rows: Value) {
        std::fs::write(self.path.join("services.json"), json!({ "services": rows }).to_string()).expect("written");
    }

    fn wiki(&self) {
        self.services(json!([{"name":"wiki","port":1950,"paths":["/wiki"],"health":"/","version":"1"}]));
    }

    /// Exit code, stdout, stderr.
    fn run(&self, args: &[&str]) -> (u8, String, String) {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let invocation = parse::parse(args).expect("valid");
        let (mut out, page, complaints) = pages(invocation.globals.json, invocation.globals.quiet);
        out.set_home(invocation.globals.home.as_deref().map(shell::word));
        let environment =
            [("PARACHUTE_HOME", self.path.as_os_str()), ("PATH", "/usr/bin:/bin".as_ref()), ("PORT", "1".as_ref())];
        let environment = environment.map(|(key, value)| (key.into(), value.to_owned())).to_vec();
        let config = Config::from_environment(environment).expect("valid");
        let name = super::verb_name(&invocation.command);
        let outcome = dispatch(&invocation.globals, invocation.command, &mut out, |_| Ok(config));
        let exit = out.finish(name, outcome).number();
        (exit, page.text(), complaints.text())
    }

    fn asked(&self) -> Vec<String> {
        self.hub.as_ref().map(|hub| hub.asked.lock().expect("not poisoned").clone()).unwrap_or_default()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).ok();
    }
}

impl FakeHub {
    fn start(answers: Answers) -> (Self, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // Ends with the test process: nobody waits for the last accept.
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                serve(stream, port, answers, &log);
            }
        });
        (Self { asked }, port)
    }
}

fn serve(stream: TcpStream, port: u16, answers: Answers, log: &Mutex<Vec<String>>) {
    let mut writer = stream.try_clone().expect("a socket");
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push(line.trim().to_ascii_lowercase()),
            }
        }
        let request = head.first().cloned().unwrap_or_default().replace(" http/1.1", "");
        let token = if head.iter().any(|line| line == "authorization: bearer secret") { " +token" } else { "" };
        let (request, challenge) = match request.split_once("?challenge=") {
            Some((request, challenge)) => (request.to_owned(), Challenge::parse(challenge)),
            None => (request, None),
        };
        log.lock().expect("not poisoned").push(format!("{request}{token}"));
        let health = match challenge {
            Some(challenge) => HEALTH.replace('}', &format!(r#","proof":"{}"}}"#, secret().proof(&challenge, port))),
            None => HEALTH.to_owned(),
        };
        let health = ("get /health", 200, health.as_str());
        let (_, status, body) =
            answers.iter().chain([&health]).find(|(path, ..)| *path == request).copied().unwrap_or(("", 404, "no"));
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_start_is_two_requests_and_the_token_goes_with_the_second() {
    let fixture = Fixture::with_hub(&[("post /api/modules/wiki/start", 200, RUNNING)]);
    fixture.wiki();
    let (exit, stdout, stderr) = fixture.run(&["start", "wiki"]);
    assert_eq!((exit, stdout.as_str(), stderr.lines().count()), (0, "✓ wiki started (pid 4711)\n", 1), "{stderr}");
    assert!(stderr.contains("0600") || stderr.contains("600"), "the loose token file was made private: {stderr}");
    assert_eq!(fixture.asked(), ["get /health", "post /api/modules/wiki/start +token"]);
}

#[test]
fn a_restart_of_what_does_not_run_is_a_start() {
    let fixture = Fixture::with_hub(&[
        ("post /api/modules/wiki/restart", 404, r#"{"error":"not_supervised","error_description":"x"}"#),
        ("post /api/modules/wiki/start", 200, RUNNING),
    ]);
    fixture.wiki();
    let (exit, stdout, _) = fixture.run(&["restart", "wiki"]);
    assert_eq!((exit, stdout.as_str()), (0, "✓ wiki started (pid 4711)\n"));
}

#[test]
fn a_start_that_crashed_shows_the_last_lines_and_fails() {
    let fixture = Fixture::with_hub(&[
        (
            "post /api/modules/wiki/start",
            200,
            r#"{"short":"wiki","state":{"short":"wiki","status":"crashed","ready":false,"restartsInWindow":0,"restartsTotal":0,"startError":{"error_type":"exited","error_description":"exited with code 1","at":"x"}}}"#,
        ),
        (
            "get /api/modules/wiki/logs",
            200,
            r#"{"short":"wiki","lines":[],"text":"","next":3,"missed":0,"entries":[{"seq":1,"at":"x","stream":"stderr","text":"no such file"}]}"#,
        ),
    ]);
    fixture.wiki();
    let (exit, stdout, stderr) = fixture.run(&["start", "wiki"]);
    let path = fixture.path.join("wiki/logs/wiki.log");
    assert_eq!((exit, stdout.as_str()), (6, ""));
    let expected = format!(
        "✗ wiki failed to start: exited with code 1\n  ── last 1 log line(s) ({}) ──\n  │ no such file\n  see: parachute logs wiki\n",
        path.display()
    );
    assert!(stderr.ends_with(&expected), "{stderr}");
    let (exit, stdout, stderr) = fixture.run(&["start", "wiki", "--json"]);
    let (data, error): (Value, Value) =
        (serde_json::from_str(&stdout).expect("one object"), serde_json::from_str(&stderr).expect("one object"));
    assert_eq!((exit, &data["ok"], &error["error"]["exit"]), (6, &json!(false), &json!(6)));
    assert_eq!(error["error"]["code"], "start_failed");
}

#[test]
fn several_targets_are_all_tried_and_the_first_failure_is_the_exit_code() {
    let fixture = Fixture::with_hub(&[
        ("post /api/modules/wiki/stop", 500, r#"{"error":"stop_timeout","error_description":"2 are left"}"#),
        ("post /api/modules/other/stop", 200, r#"{"short":"other","stopped":true}"#),
    ]);
    fixture.services(json!([
        {"name":"wiki","port":1950,"paths":[],"health":"/","version":"1"},
        {"name":"other","port":1951,"paths":[],"health":"/","version":"1"}]));
    let (exit, stdout, stderr) = fixture.run(&["stop", "wiki", "other", "hub"]);
    assert_eq!((exit, stdout.as_str()), (6, "✓ other stopped\n"));
    assert!(stderr.contains("✗ wiki did not stop: 2 are left\n"), "{stderr}");
    assert!(stderr.contains(&format!("kill -TERM {}\n", std::process::id())), "{stderr}");
    assert_eq!(fixture.run(&["stop", "hub"]).0, 10);
    assert_eq!(fixture.run(&["start"]).0, 0);
    let (exit, ..) = fixture.run(&["stop", "other", "nosuch"]);
    assert_eq!(exit, 9, "and nothing is stopped");
}

#[test]
fn a_stranger_on_the_port_never_sees_the_token() {
    let fixture = Fixture::with_hub(&[]);
    fixture.wiki();
    let home = Home::open(&fixture.path, Create::No).expect("it is there");
    let port = identity::read(&home).expect("published").port;
    fixture.publish(port, "another-instance");
    let (exit, _, stderr) = fixture.run(&["start", "wiki"]);
    assert_eq!(exit, 5);
    assert!(stderr.contains("another hub answers"), "{stderr}");
    let (exit, stdout, _) = fixture.run(&["status"]);
    assert_eq!(exit, 1, "its port is taken by somebody else");
    assert!(stdout.contains("! probe: another hub answers"), "{stdout}");
    assert!(fixture.asked().iter().all(|request| request == "get /health"), "{:?}", fixture.asked());
}

#[test]
fn without_a_token_status_still_shows_the_rows_and_says_why_the_states_are_not_known() {
    let fixture = Fixture::with_hub(&[]);
    fixture.wiki();
    std::fs::remove_file(fixture.path.join("operator.token")).expect("it was there");
    let (exit, stdout, _) = fixture.run(&["status"]);
    assert_eq!(exit, 0, "{stdout}");
    assert!(stdout.contains("wiki "), "{stdout}");
    assert!(stdout.contains("! states unknown: no operator token at "), "{stdout}");
    assert_eq!(fixture.run(&["start", "wiki"]).0, 11);
}

#[test]
fn with_the_hub_down_files_are_enough() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(&["stop"]).0, 0);
    let (exit, stdout, _) = fixture.run(&["add", "wiki", "--env", "A=1", "--", "sh", "-c", "exit 0"]);
    assert_eq!(exit, 0);
    assert!(stdout.contains("wiki registered: port ") && stdout.contains("it starts with the hub"), "{stdout}");
    let (exit, stdout, _) = fixture.run(&["add", "wiki", "--env", "A=1", "--", "sh", "-c", "exit 0"]);
    assert!(exit == 0 && stdout.contains("wiki unchanged"), "{stdout}");
    assert_eq!(fixture.run(&["add", "wiki", "--env", "A=2", "--", "sh", "-c", "exit 0"]).0, 7);
    assert_eq!(fixture.run(&["add", "wiki", "--replace", "--", "sh", "-c", "exit 1"]).0, 0);
    let services = std::fs::read_to_string(fixture.path.join("services.json")).expect("written");
    assert!(!services.contains("\"env\""), "the variable is gone: {services}");
    assert_eq!(fixture.run(&["stop", "wiki"]).0, 0);
    assert_eq!(fixture.run(&["start", "wiki"]).0, 5);
    assert_eq!(fixture.run(&["status"]).0, 0);
    assert_eq!(fixture.run(&["check"]).0, 0);
    assert_eq!(fixture.run(&["completions", "modules"]).1, "wiki\n");
    let (exit, stdout, _) = fixture.run(&["remove", "wiki"]);
    assert!(exit == 0 && stdout.contains("-- sh -c 'exit 1'\n"), "{stdout}");
    assert!(!fixture.path.join("modules/wiki/.parachute/module.json").exists());
    let kept = std::fs::read_to_string(fixture.path.join("services.json.removed")).expect("the row is kept");
    assert!(kept.contains("\"wiki\""), "{kept}");
    assert_eq!(fixture.run(&["remove", "wiki"]).0, 9);
}

#[test]
fn a_refused_add_leaves_nothing_behind() {
    let fixture = Fixture::new();
    for (args, expected) in [
        (&["add", "x", "--path", "/admin/x", "--", "sh"][..], 7),
        (&["add", "x", "--port", "1939", "--", "no-such-program"], 3),
        (&["add", "x", "--health", "no", "--", "sh"], 2),
        (&["add", "hub", "--", "sh"], 2),
        (&["add", "..", "--", "sh"], 2),
        (&["add", "vault", "--", "sh"], 7),
        (&["install", "/no/such/directory"], 2),
    ] {
        let (exit, stdout, stderr) = fixture.run(args);
        assert_eq!((exit, stdout.as_str()), (expected, ""), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 2, "one reason and the next command: {stderr}");
    }
    for (program, hint) in
        [("no-such-program", "PARACHUTE_EXTRA_PATH"), ("/no/such/program", "install it there, or correct its path")]
    {
        let (exit, _, stderr) = fixture.run(&["add", "x", "--", program]);
        assert!(exit == 3 && stderr.contains(hint), "{stderr}");
    }
    // What is said to do does.
    for name in ["x y", "A.b"] {
        let (exit, _, stderr) = fixture.run(&["add", name, "--", "sh"]);
        assert!(exit == 2 && stderr.contains("NAME must be a lower case letter, then lower case"), "{stderr}");
    }
    assert!(!fixture.path.join("modules").exists());
    assert!(!fixture.path.join("services.json").exists());
}

#[test]
fn a_directory_is_installed_in_place_and_its_operators_settings_stay() {
    let fixture = Fixture::new();
    let package = fixture.path.join("package");
    std::fs::create_dir_all(package.join(".parachute")).expect("made");
    let manifest =
        json!({"name":"wiki","manifestName":"wiki","port":45_017,"paths":["/wiki"],"health":"/up","startCmd":["sh"]});
    std::fs::write(package.join(".parachute/module.json"), manifest.to_string()).expect("written");
    std::fs::write(package.join("package.json"), r#"{"version":"1.2.3"}"#).expect("written");
    let directory = package.to_str().expect("UTF-8");
    let (exit, stdout, stderr) = fixture.run(&["install", directory]);
    assert!(exit == 0 && stdout.contains("wiki registered: port "), "{stdout}{stderr}");
    let services = fixture.path.join("services.json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&services).expect("written")).expect("JSON");
    assert_eq!(document["services"][0]["version"], "1.2.3");
    document["services"][0]["run"] = json!({"restart":"never"});
    std::fs::write(&services, document.to_string()).expect("written");
    let (exit, stdout, _) = fixture.run(&["install", directory, "--replace"]);
    assert!(exit == 0 && stdout.contains("wiki replaced"), "what its manifest said before is not known: {stdout}");
    let (exit, stdout, _) = fixture.run(&["install", directory]);
    assert!(exit == 0 && stdout.contains("wiki unchanged"), "{stdout}");
    assert!(std::fs::read_to_string(&services).expect("there").contains("never"));
}

#[test]
fn a_manifest_that_cannot_be_used_is_to_be_corrected_where_it_is() {
    let fixture = Fixture::new();
    let package = fixture.path.join("package");
    std::fs::create_dir_all(package.join(".parachute")).expect("made");
    let manifest = |paths: &str, more: Value| {
        let mut manifest =
            json!({"name":"fm","manifestName":"fm","port":45_018,"paths":[paths],"health":"/","startCmd":["sh"]});
        manifest.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        manifest.to_string()
    };
    for (text, said) in [
        ("{".to_owned(), "cannot be used"),
        (manifest("/", json!({})), r#""/" belongs to the hub; its own place is "/fm""#),
        (manifest("/fm", json!({"run":{"restart":"x"}})), "restart"),
        (manifest("/fm", json!({"manifestName":"a/b"})), "manifestName"),
    ] {
        std::fs::write(package.join(".parachute/module.json"), &text).expect("written");
        let (exit, stdout, stderr) = fixture.run(&["install", package.to_str().expect("UTF-8")]);
        assert!(exit != 0 && stdout.is_empty() && stderr.contains(said), "{text}: {stderr}");
        assert!(
            stderr.ends_with("\n  correct its .parachute/module.json, then install it again\n"),
            "{text}: {stderr}"
        );
    }
}

#[test]
fn commands_in_data_are_for_the_home_that_was_named() {
    let fixture = Fixture::new();
    fixture.wiki();
    for (args, command) in [
        (&["status"][..], "serve"),
        (&["status", "--json"], "serve"),
        (&["stop", "wiki"], "start wiki"),
        (&["stop", "wiki", "--json"], "start wiki"),
        (&["check"], "serve"),
        (&["doctor", "--json"], "serve"),
    ] {
        let (_, stdout, _) = fixture.run(&[&["--home", "/else where"], args].concat());
        assert!(stdout.contains(&format!("parachute --home '/else where' {command}")), "{args:?}: {stdout}");
        assert!(!stdout.contains(&format!("parachute {command}")), "{args:?}: {stdout}");
    }
}

#[test]
fn a_check_names_file_and_field_of_every_problem() {
    let fixture = Fixture::new();
    fixture.services(json!([
        {"name":"a","port":"x","paths":[],"health":"/","version":"1"},
        {"name":"b","port":1950,"paths":["/api"],"health":"/","version":"1"},
        {"name":"vault","port":1951,"paths":[],"health":"/","version":"1","run":{"stopTimeout":3}}]));
    std::fs::create_dir(fixture.path.join("b")).expect("made");
    std::fs::write(fixture.path.join("b/.env"), "LD_PRELOAD=x\n").expect("written");
    let (exit, stdout, stderr) = fixture.run(&["check"]);
    assert_eq!(exit, 78, "{stdout}{stderr}");
    for expected in [
        "services.json: row a: field \"port\"",
        "services.json: row b: field \"paths[0]\"",
        "row b: field \"installDir\" is missing",
        "services.json: row vault: field \"run.stopTimeout\"",
        "b/.env: ",
    ] {
        assert!(stdout.contains(expected), "{expected}: {stdout}");
    }
    std::fs::write(fixture.path.join("services.json"), "{").expect("written");
    assert_eq!(fixture.run(&["check"]).0, 78);
    assert_eq!(fixture.run(&["status"]).0, 1, "a broken file does not stop a look, and is not well");
}

#[test]
fn a_check_says_who_is_not_waited_for() {
    let fixture = Fixture::new();
    let package = fixture.path.join("package");
    std::fs::create_dir_all(package.join(".parachute")).expect("made");
    let manifest = json!({"name":"a","manifestName":"a","port":1950,"paths":[],"health":"/","startCmd":["sh"]});
    std::fs::write(package.join(".parachute/module.json"), manifest.to_string()).expect("written");
    let row = |name: &str, port: u16, needs: &[&str]| {
        json!({ "name": name, "port": port, "paths": [], "health": "/", "version": "1",
            "installDir": package, "run": { "dependsOn": needs } })
    };
    fixture.services(json!([
        row("a", 1950, &["b"]),
        row("b", 1951, &["a", "db"]),
        row("c", 1952, &["parachute-d"]),
        row("parachute-d", 1953, &["parachute-d"]),
    ]));
    let (exit, stdout, stderr) = fixture.run(&["check"]);
    assert_eq!(exit, 0, "{stdout}{stderr}");
    let told: Vec<&str> = stdout.lines().filter_map(|line| line.split_once("services.json: ")).map(|at| at.1).collect();
    assert_eq!(
        told,
        [
            "row b: dependsOn names db, which is no module; it is not waited for",
            "a, b: depend on each other; none of them waits for another",
            "parachute-d: depends on itself, which it does not wait for",
        ],
        "{stdout}"
    );
}

#[test]
fn logs_come_from_the_file_when_the_hub_is_down() {
    let fixture = Fixture::new();
    fixture.wiki();
    std::fs::create_dir_all(fixture.path.join("wiki/logs")).expect("made");
    std::fs::write(fixture.path.join("wiki/logs/wiki.log"), "one\ntwo\nthree\n").expect("written");
    assert_eq!(fixture.run(&["logs", "wiki", "-n", "2"]).1, "two\nthree\n");
    let (exit, stdout, _) = fixture.run(&["logs", "wiki", "-n1", "--json"]);
    let line: Value = serde_json::from_str(&stdout).expect("one object a line");
    assert_eq!((exit, line), (0, json!({ "seq": null, "at": null, "stream": null, "text": "three" })));
    assert_eq!(fixture.run(&["logs", "hub"]).0, 10);
    assert_eq!(fixture.run(&["logs", "nosuch"]).0, 9);
}

#[test]
fn logs_come_from_the_hub_while_it_is_up() {
    let fixture = Fixture::with_hub(&[(
        "get /api/modules/wiki/logs",
        200,
        r#"{"short":"wiki","lines":[],"text":"","next":3,"missed":0,"entries":[{"seq":1,"at":"x","stream":"stdout","text":"one"},{"seq":2,"at":"y","stream":"stderr","text":"two"}]}"#,
    )]);
    fixture.wiki();
    assert_eq!(fixture.run(&["logs", "wiki"]).1, "one\ntwo\n");
    assert_eq!(fixture.run(&["logs", "wiki", "-n", "1"]).1, "two\n");
}

/// A token as a hub might have written it; nobody checks it here. It has `left_s` seconds to go.
fn token_with(left_s: i64) -> String {
    use crate::token::{b64, claims};
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let exp = now.checked_add_signed(left_s).expect("in range");
    let claims = claims::Claims {
        v: claims::VERSION,
        iss: "http://127.0.0.1:1939".into(),
        sub: "operator".into(),
        aud: "operator".into(),
        iat: exp - 1_000_000,
        nbf: exp - 1_000_000,
        exp,
        jti: "abcdefghijklmnopqrstuv".into(),
        client_id: "parachute-hub".into(),
        scope: "parachute:host:admin".into(),
        vault_scope: Vec::new(),
        pa_scope_set: Some("admin".into()),
        permissions: None,
        hid: "00".into(),
    };
    format!("h.{}.s", b64::encode(&claims.to_json()))
}

/// C32
#[test]
fn c32_an_expired_token_is_told_as_such_by_every_verb_and_stays_as_it_is() {
    let fixture = Fixture::with_hub(&[("post /api/modules/wiki/start", 200, RUNNING)]);
    fixture.wiki();
    let path = fixture.path.join("operator.token");
    let token = token_with(-10);
    std::fs::write(&path, &token).expect("written");
    for args in [
        &["start", "wiki"][..],
        &["stop", "wiki"],
        &["restart", "wiki"],
        &["auth", "list-tokens"],
        &["auth", "show-token"],
    ] {
        let (exit, _, stderr) = fixture.run(args);
        assert_eq!(exit, 11, "{args:?}: {stderr}");
        assert!(stderr.contains("operator token expired on 20") && stderr.contains("rotate-operator"), "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("there"), token);
    assert!(fixture.asked().iter().all(|asked| asked == "get /health"), "{:?}", fixture.asked());
}

#[test]
fn a_token_in_its_last_week_is_renewed_on_the_way_and_only_the_homes_own() {
    const RENEWED: &str = r#"{"renewed":true,"jti":"j","scope_set":"admin","expires_at":"2027-01-01T00:00:00.000Z"}"#;
    for (left_s, answer, asks, says) in [
        (8 * 86_400, (200, RENEWED), false, ""),
        (6 * 86_400, (200, RENEWED), true, "renewed the operator token: set admin, valid until 2027-01-01"),
        (6 * 86_400, (200, r#"{"renewed":false,"reason":"not_due"}"#), true, ""),
        (6 * 86_400, (503, r#"{"error":"service_unavailable","error_description":"no"}"#), true, "was not renewed"),
    ] {
        let answers: Vec<_> = vec![
            ("post /api/auth/operator/rotate", answer.0, answer.1),
            ("post /api/modules/wiki/start", 200, RUNNING),
        ];
        let fixture = Fixture::with_hub(answers.leak());
        fixture.wiki();
        std::fs::write(fixture.path.join("operator.token"), token_with(left_s)).expect("written");
        let (exit, stdout, stderr) = fixture.run(&["start", "wiki"]);
        assert_eq!((exit, stdout.as_str()), (0, "✓ wiki started (pid 4711)\n"), "the token at hand does: {stderr}");
        assert!(stderr.contains(says), "{stderr}");
        let asked = fixture.asked().iter().any(|asked| asked.starts_with("post /api/auth/operator/rotate"));
        assert_eq!(asked, asks, "{left_s} s left");
    }
}
