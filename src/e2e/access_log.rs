//! The access log: off unless it is asked for, one line a request, and never a secret, a stray byte or a wait in it.

use crate::full_disk::SmallDisk;
use crate::support::http;
use crate::support::{Connection, Finished, Home, Hub, eventually, free_port, module, testchild};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FILE: &str = "hub/logs/access.log";
/// Every secret of these tests has it inside.
const SECRET: &str = "hush";

fn hub_with(variables: &[(&str, &str)]) -> Hub {
    let hub = Hub::start_with(&[module("web", testchild(&["http"]))], variables);
    hub.until_ready("web");
    hub
}

/// The lines whose path begins with `/web/`, once there are so many. Others are about the hub's start.
#[track_caller]
fn lines(file: &Path, count: usize) -> Vec<String> {
    eventually(&format!("{count} lines in {}", file.display()), || {
        let text = fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'))?;
        let is_ours = |line: &&str| line.contains("GET /web/") || line.contains("\"/web/");
        let lines: Vec<String> = text.lines().filter(is_ours).map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// Requests with secrets at every place that they have, and with bytes that would end a line or a string.
fn ask_all(hub: &Hub) {
    let own = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
    let secrets = format!(
        "Authorization: Bearer {SECRET}-1\r\nCookie: a={SECRET}-2\r\nReferer: http://a/?code={SECRET}-3\r\n\
         Proxy-Authorization: {SECRET}-4\r\nUser-Agent: test\r\n\r\n"
    );
    let target = format!("/web/one?access_token={SECRET}-5&b=1&%74oken={SECRET}-6");
    for (request, status) in [
        ([own(&target).as_bytes(), secrets.as_bytes()].concat(), 200),
        ([own("/web/two").as_bytes(), b"User-Agent: a\" \xff\xc2\x9b\x80\tb\\\r\n\r\n"].concat(), 200),
        (format!("GET /web/three?key={SECRET}-7 HTTP/1.1\nHost: a\n\n").into_bytes(), 400),
        (
            format!("GET /web/four?sig={SECRET}-8 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
                .into_bytes(),
            421,
        ),
        ([own("/web/five").as_bytes(), b"X-Large: ", &b"x".repeat(20_000)[..], b"\r\n\r\n"].concat(), 431),
    ] {
        let bytes = http::exchange(hub.port, &request).expect("an answer");
        assert_eq!(http::Response::parse(&bytes).expect("an answer").status, status, "{}", request.escape_ascii());
    }
}

#[test]
fn both_formats_say_what_was_asked_and_keep_every_secret() {
    for format in ["combined", "json"] {
        let hub = hub_with(&[("PARACHUTE_ACCESS_LOG", format)]);
        ask_all(&hub);
        let file = hub.home.path().join(FILE);
        let lines = lines(&file, 5);
        let bytes = fs::read(&file).expect("the file");
        assert!(bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "only printable ASCII: {lines:?}");
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{lines:#?}");
        assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
        if format == "combined" {
            check_combined(&lines);
        } else {
            check_json(&lines);
        }
    }
}

fn check_combined(lines: &[String]) {
    for (line, end) in lines.iter().zip([
        "\"GET /web/one?access_token=***&b=1&%74oken=*** HTTP/1.1\" 200 ",
        "\"GET /web/two HTTP/1.1\" 200 ",
        "\"GET /web/three?key=*** HTTP/1.1\" 400 ",
        "\"GET /web/four?sig=*** HTTP/1.1\" 421 ",
        "\"GET /web/five HTTP/1.1\" 431 ",
    ]) {
        assert!(line.starts_with("127.0.0.1 - - [") && line.contains(end), "{line} {end}");
    }
    assert!(lines[0].ends_with(" \"http://a/?code=***\" \"test\""), "{}", lines[0]);
    assert!(lines[1].ends_with(" \"-\" \"a\\\" \\xff\\xc2\\x9b\\x80\\x09b\\\\\""), "{}", lines[1]);
}

fn check_json(lines: &[String]) {
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (line, (path, status, by)) in lines.iter().zip([
        ("/web/one?access_token=***&b=1&%74oken=***", 200, "module"),
        ("/web/two", 200, "module"),
        ("/web/three?key=***", 400, "edge"),
        ("/web/four?sig=***", 421, "edge"),
        ("/web/five", 431, "edge"),
    ]) {
        let said = (&line["method"], &line["path"], &line["status"], &line["answered_by"], &line["complete"]);
        assert_eq!(said, (&json!("GET"), &json!(path), &json!(status), &json!(by), &json!(true)), "{line}");
        assert!(line["duration_ms"].is_number() && line["client"] == "127.0.0.1", "{line}");
    }
    assert_eq!(lines[0]["module"], "web");
    assert_eq!(lines[0]["referer"], "http://a/?code=***");
    assert_eq!(lines[1]["user_agent"], "a\" \u{fffd}\u{9b}\u{fffd}\tb\\");
}

#[test]
fn nothing_is_logged_unless_it_is_asked_for() {
    let hub = hub_with(&[]);
    ask_all(&hub);
    assert!(!hub.home.path().join("hub/logs").exists());
    assert!(!hub.output().contains("GET /web"), "{}", hub.output());
}

#[test]
fn standard_output_is_a_place_for_it_too() {
    let hub = hub_with(&[("PARACHUTE_ACCESS_LOG", "json"), ("PARACHUTE_ACCESS_LOG_FILE", "-")]);
    ask_all(&hub);
    let line = hub.says("\"/web/two\"");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&line["status"], &line["module"]), (&json!(200), &json!("web")), "{line}");
    assert!(!hub.output().contains(SECRET) && !hub.home.path().join("hub/logs").exists(), "{}", hub.output());
}

#[test]
fn a_stream_is_logged_at_its_end_also_when_that_is_the_hubs() {
    let mut hub = hub_with(&[("PARACHUTE_ACCESS_LOG", "json")]);
    let file = hub.home.path().join(FILE);
    let mut left = Connection::open(hub.port);
    let mut stays = Connection::open(hub.port);
    for (connection, path) in [(&mut left, "/web/left/sse"), (&mut stays, "/web/stays/sse")] {
        connection.ask("GET", path, "");
        assert_eq!(connection.head().expect("an answer").status, 200);
        assert_eq!(connection.chunk().expect("a chunk").as_deref(), Some(&b"data: 1\n\n"[..]));
    }
    assert_eq!(hub.get("/web/now").status, 200);
    let now = lines(&file, 1);
    assert!(now.len() == 1 && now[0].contains("/web/now"), "the streams run: {now:?}");
    drop(left);
    let two = lines(&file, 2);
    assert!(two[1].contains("/web/left/sse"), "{two:?}");
    assert!(hub.end().success());
    let three = lines(&file, 3);
    let line: Value = serde_json::from_str(&three[2]).expect("JSON");
    let said = (&line["path"], &line["status"], &line["bytes"], &line["complete"]);
    assert_eq!(said, (&json!("/web/stays/sse"), &json!(200), &json!(9), &json!(false)), "{line}");
}

#[test]
fn a_full_disk_costs_lines_and_no_request() {
    let place = Home::new();
    let disk = SmallDisk::mount(place.path());
    let file = place.path().join("access.log");
    let path = file.to_str().expect("the path is UTF-8");
    let hub = hub_with(&[("PARACHUTE_ACCESS_LOG", "combined"), ("PARACHUTE_ACCESS_LOG_FILE", path)]);
    assert_eq!(hub.get("/web/first").status, 200);
    lines(&file, 1);
    disk.fill();
    eventually("the loss is said", || {
        assert_eq!(hub.get(&format!("/web/{}", "x".repeat(1000))).status, 200);
        hub.line_with("[edge] access log: cannot write ")
    });
    for _ in 0..100 {
        assert_eq!(hub.get("/web/served").status, 200);
    }
    disk.make_room();
    let said = eventually("the recovery is said", || {
        assert_eq!(hub.get("/web/again").status, 200);
        hub.line_with("access log: the file works again")
    });
    assert!(said.contains(" lines are missing in it"), "{said}");
    // A line that is being written right now may be seen in part.
    let text = eventually("the file with whole lines again", || {
        let text = fs::read_to_string(&file).expect("the file");
        (text.contains("/web/again") && text.ends_with('\n')).then_some(text)
    });
    for line in text.lines() {
        assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with('"'), "a torn line: {line:?}");
    }
}

#[test]
fn values_that_mean_nothing_are_refused_with_their_names() {
    for (variables, name) in [
        (&[("PARACHUTE_ACCESS_LOG", "common")][..], "PARACHUTE_ACCESS_LOG is \"common\""),
        (&[("PARACHUTE_ACCESS_LOG_FILE", "/tmp/a")], "PARACHUTE_ACCESS_LOG_FILE is \"/tmp/a\"; it must be unset"),
        (&[("PARACHUTE_ACCESS_LOG", "json"), ("PARACHUTE_ACCESS_LOG_FILE", "a")], "PARACHUTE_ACCESS_LOG_FILE is \"a\""),
    ] {
        let home = Home::new();
        let mut command = home.command(&["serve"]);
        command.env("PORT", free_port().to_string()).envs(variables.iter().copied());
        let done = Finished::run(command);
        assert_eq!(done.status.code(), Some(78), "{done}");
        assert!(done.stderr.contains(name), "{done}");
    }
}
