//! What takes long or is large: event streams, big bodies both ways, and real clients.

use crate::pattern::{BLOCK_BYTES, Pattern};
use crate::support::{Connection, Finished, Home, Hub, Victim, http, module, testchild};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;

const MIB: usize = 1024 * 1024;
const LARGE_BYTES: usize = 64 * MIB;

fn offset(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("it fits")
}

#[test]
fn an_event_arrives_when_it_is_said_and_the_end_of_its_reader_is_heard() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let mut stream = Connection::open(hub.port);
    stream.ask("GET", "/web/sse", "Accept: text/event-stream\r\n");
    let head = stream.head().expect("an answer");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
    // Nothing more is said until somebody asks for it: what arrives has not waited for what follows.
    for number in 1..=3 {
        let event = stream.chunk().expect("the stream goes on").expect("an event");
        assert_eq!(String::from_utf8_lossy(&event), format!("data: {number}\n\n"));
        assert_eq!(hub.get("/web/tick").status, 200);
    }
    assert!(hub.lines_after("web", "gone ").is_empty(), "it is still there");
    drop(stream);
    hub.until_line("web", "gone ", "/web/sse");

    let mut unread = Connection::open(hub.port);
    unread.ask("GET", "/web/big?1099511627776", "");
    assert_eq!(unread.head().expect("an answer").status, 200);
    drop(unread);
    hub.until_line("web", "gone ", "/web/big?1099511627776");
}

#[test]
fn large_bodies_arrive_as_they_were_sent() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let pattern = Pattern::new();
    let mut connection = Connection::open(hub.port);

    connection.ask("GET", &format!("/web/big?{LARGE_BYTES}"), "");
    let head = connection.head().expect("an answer");
    assert_eq!(head.header("content-length"), Some(LARGE_BYTES.to_string().as_str()), "{head:?}");
    for at in (0..LARGE_BYTES).step_by(MIB) {
        let part = connection.take(MIB).expect("the body goes on");
        assert_eq!(pattern.first_difference(offset(at), &part), None);
    }

    let head = |framing: &str| format!("POST /web/upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
    connection.send(head(&format!("Content-Length: {LARGE_BYTES}")).as_bytes());
    for at in (0..LARGE_BYTES).step_by(BLOCK_BYTES) {
        connection.send(pattern.at(offset(at), BLOCK_BYTES));
    }
    let answer = connection.answer("POST").expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, format!("{LARGE_BYTES} right\n")));

    // Chunks of odd sizes, so that their borders meet those of buffers everywhere.
    connection.send(head("Transfer-Encoding: chunked").as_bytes());
    let (mut at, mut size) = (0, 1);
    while at < 8 * MIB {
        let part = pattern.at(offset(at), size);
        connection.send(&[format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        at += part.len();
        size = (size * 7 + 3) % BLOCK_BYTES + 1;
    }
    connection.send(b"0\r\n\r\n");
    let answer = connection.answer("POST").expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, format!("{at} right\n")));
}

#[test]
fn a_gibibyte_each_way_at_once_arrives_whole_and_is_never_held() {
    const BYTES: usize = 1024 * MIB;
    let victim = Victim::new();
    let pattern = Pattern::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut down = Connection::open(victim.hub.port);
            down.ask("GET", &format!("/web/big?{BYTES}"), "");
            assert_eq!(down.head().expect("an answer").status, 200);
            for at in (0..BYTES).step_by(MIB) {
                let part = down.take(MIB).expect("the body goes on");
                assert_eq!(pattern.first_difference(offset(at), &part), None);
            }
        });
        scope.spawn(|| {
            let mut up = Connection::open(victim.hub.port);
            let head = format!("POST /web/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BYTES}\r\n\r\n");
            up.send(head.as_bytes());
            for at in (0..BYTES).step_by(BLOCK_BYTES) {
                up.send(pattern.at(offset(at), BLOCK_BYTES));
            }
            // The module compares each byte with what it has to be, which says more than a sum over all of them.
            assert_eq!(up.answer("POST").expect("an answer").text(), format!("{BYTES} right\n"));
        });
    });
    victim.has_recovered();
}

#[test]
fn curl_with_the_old_protocol_gets_and_sends_whole_bodies() {
    const BYTES: usize = 3 * MIB + 17;
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let (down, up) = (hub.home.path().join("down"), hub.home.path().join("up"));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", hub.port);
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]).args(args);
        Finished::run(command).succeeds()
    };
    let down_path = down.to_str().expect("UTF-8");
    for version in ["--http1.0", "--http1.1"] {
        curl(&[version, "--output", down_path, &url(&format!("/web/big?{BYTES}"))]);
        let got = fs::read(&down).expect("curl has written it");
        assert_eq!((got.len(), Pattern::new().first_difference(0, &got)), (BYTES, None), "{version}");

        fs::File::create(&up).and_then(|mut file| file.write_all(&got)).expect("the home is ours");
        let file = format!("@{}", up.display());
        // With 1.1 it waits for `100 Continue` first, because the body is large.
        let sent = curl(&[version, "--data-binary", &file, &url("/web/upload")]);
        assert_eq!(sent.stdout, format!("{BYTES} right\n"), "{version}");
    }
    // The module is asked in the new protocol all the same.
    let echo = curl(&["--http1.0", &url("/web/echo")]).stdout;
    assert!(echo.starts_with("GET /web/echo HTTP/1.1\r\n"), "{echo}");
    assert_eq!(http::get(hub.port, "/health").expect("the hub lives").status, 200);
}

#[test]
fn git_pushes_and_clones_over_http() {
    const BYTES: usize = 3 * MIB + 17;
    let home = Home::new();
    let (user, repositories) = (home.path().join("git-user"), home.path().join("repositories"));
    for dir in [&user, &repositories] {
        fs::create_dir(dir).expect("the home is ours");
    }
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command
            .env("HOME", &user)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_DIR");
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "http.proxy="]).args(args);
        Finished::run(command).succeeds()
    };
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let bare = text(&repositories.join("notes.git"));
    git(&["init", "--quiet", "--bare", "--initial-branch=main", &bare]);

    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/children/git-server.py");
    let argv = ["/usr/bin/python3".to_owned(), text(&server), text(&repositories)].to_vec();
    home.install(&module("code", argv).row("stripPrefix", json!(true)));
    let hub = Hub::start_in(home, &[]);
    hub.until_ready("code");

    let url = format!("http://127.0.0.1:{}/code/notes.git", hub.port);
    let (first, second) = (user.join("first"), user.join("second"));
    git(&["init", "--quiet", "--initial-branch=main", &text(&first)]);
    // No two blocks are alike, so that it stays large when it is compressed.
    let mut state = 1_u32;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(BYTES)
    .collect();
    fs::write(first.join("large"), &content).expect("the home is ours");
    let in_first = |args: &[&str]| git(&[&["-C", &text(&first)], args].concat());
    in_first(&["add", "large"]);
    in_first(&["commit", "--quiet", "--message=one"]);
    // More than git sends in one piece of known length: it goes in chunks.
    in_first(&["push", "--quiet", &url, "main"]);
    git(&["clone", "--quiet", &url, &text(&second)]);
    assert!(fs::read(second.join("large")).expect("it was cloned") == content, "the clone has another content");
}
