//! What becomes of a module's output: ring, file, console, and the ways to read them.

use crate::support::{Home, Hub, Spawned, eventually, free_port, http, is_alive, kill, module, testchild, through};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;

/// How much a hub may grow while a module floods it: buffers of the pipe, the ring, the file and the console.
const GROWTH_KIB: u64 = 8 * 1024;
/// So much without a line end, and how much of it is waited for at a time. `scripts/bench logs` does it with a gibibyte.
const FLOOD_BYTES: u64 = 64 * MIB;
const PIECE_BYTES: u64 = 16 * MIB;
const MIB: u64 = 1 << 20;
/// What a line is cut at, and what then ends it.
const LINE_BYTES: usize = 16 * 1024;
const CONTINUES: &str = " [...]";

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

/// The lines in the ring of a module.
#[track_caller]
fn entries(hub: &Hub, short: &str) -> Vec<Value> {
    let reply = hub.api("GET", &format!("/api/modules/{short}/logs")).json();
    reply["entries"].as_array().cloned().unwrap_or_else(|| panic!("no entries: {reply:#}"))
}

#[track_caller]
fn texts(hub: &Hub, short: &str) -> Vec<String> {
    entries(hub, short).iter().map(|entry| entry["text"].as_str().expect("a text").to_owned()).collect()
}

/// A value in KiB from `/proc/<pid>/status`.
#[track_caller]
fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {status}"));
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn lines_are_kept_over_a_restart_and_after_the_end_of_the_hub() {
    let mut hub = Hub::start(&[module("web", testchild(&["http"]))]);
    let first = hub.until_ready("web");
    hub.run(&["restart", "web"]).succeeds();
    let second = hub.until_replaced("web", first);
    let (first, second) = (format!("ready {first}"), format!("ready {second}"));

    let from_hub = hub.run(&["logs", "web"]).succeeds().stdout;
    let said: Vec<&str> = from_hub.lines().filter(|line| line.starts_with("ready ")).collect();
    assert_eq!(said, [&*first, &second], "{from_hub}");
    assert_eq!(
        hub.run(&["logs", "-n", "1", "web"]).succeeds().stdout,
        format!("{}\n", from_hub.lines().last().unwrap_or_default())
    );

    hub.end();
    let from_file = hub.run(&["logs", "web"]).succeeds().stdout;
    let said: Vec<&str> = from_file.lines().filter(|line| line.starts_with("ready ")).collect();
    assert_eq!(said, [&*first, &second], "{from_file}");
    assert_eq!(hub.run(&["logs", "-n", "3", "web"]).succeeds().stdout.lines().count(), 3);
    for line in hub.run(&["logs", "--json", "web"]).succeeds().stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(line["seq"].is_null() && line["text"].is_string(), "{line:#}");
    }
}

#[test]
fn lines_that_are_no_longer_in_memory_come_from_the_file() {
    let script =
        "i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo \"line $i of many\"; done; echo done; exec sleep 100000";
    let hub = Hub::start(&[module("chatty", shell(script)).run(json!({ "ready": "none" }))]);
    hub.line_after("chatty", "done");
    let numbers = |lines: &str| {
        let hub_says = hub.run(&["logs", "-n", lines, "chatty"]).succeeds().stdout;
        let number = |line: &str| line.strip_prefix("line ")?.strip_suffix(" of many")?.parse::<u32>().ok();
        hub_says.lines().filter_map(number).collect::<Vec<_>>()
    };
    assert!(entries(&hub, "chatty").len() < 5000, "the ring holds fewer than are asked for");
    // The last line of all says that it is done.
    assert_eq!(numbers("8000"), (1_002..=9_000).collect::<Vec<_>>());
    assert_eq!(numbers("20000"), (1..=9_000).collect::<Vec<_>>());
    let json = hub.run(&["logs", "-n", "8000", "--json", "chatty"]).succeeds().stdout;
    let seqs: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("an object a line")["seq"].clone())
        .collect();
    assert_eq!(seqs.len(), 8000);
    assert!(seqs[0].is_null() && seqs[7999].is_number(), "the newest are the hub's");
}

#[test]
fn following_goes_on_over_a_restart() {
    let hub = Hub::start(&[module("clock", testchild(&["tick", "50"])).run(json!({ "ready": "none" }))]);
    let first = hub.line_after("clock", "ready ");
    let follower = Spawned::spawn(hub.home.command(&["logs", "-f", "-n", "1", "clock"]));
    follower.line_after("tick ");
    hub.run(&["restart", "clock"]).succeeds();
    eventually("the second child's first line", || (follower.line_after("ready ") != first).then_some(()));
    let pid = follower.pid();
    // Not INT: whoever runs the tests in the background of a shell has it ignored, and so have their children.
    kill(pid, "TERM");
    eventually("the end of the follower", || (!is_alive(pid)).then_some(()));
}

#[test]
fn following_goes_on_when_the_operators_token_is_replaced() {
    let hub = Hub::start(&[module("clock", testchild(&["tick", "50"])).run(json!({ "ready": "none" }))]);
    hub.line_after("clock", "tick ");
    let mut follower = Spawned::spawn(hub.home.command(&["logs", "-f", "clock", "-n", "100000"]));
    for _ in 0..2 {
        hub.run(&["auth", "rotate-operator"]).succeeds();
        let newest: u32 = hub.line_after("clock", "tick ").parse().expect("a number");
        // The first of them may still be of the answer that the old token asked for.
        eventually("lines that the new token asked for", || {
            assert!(follower.ended().is_none(), "{}", follower.output());
            (follower.line_after("tick ").parse::<u32>().expect("a number") > newest + 2).then_some(())
        });
    }
    let output = follower.output();
    let ticks: Vec<u32> = output.lines().filter_map(|line| line.strip_prefix("tick ")?.parse().ok()).collect();
    let last = ticks.last().copied().expect("lines");
    assert_eq!(ticks, (1..=last).collect::<Vec<_>>(), "each once");

    // It is refused, and there is no other.
    let old = hub.token();
    let mut command = hub.home.command(&["logs", "-f", "clock"]);
    command.env("PARACHUTE_OPERATOR_TOKEN", &old);
    let mut given = Spawned::spawn(command);
    given.line_after("tick ");
    hub.run(&["auth", "rotate-operator"]).succeeds();
    assert_eq!(given.wait().code(), Some(11), "{}", given.output());
}

/// Whoever runs the tests in the background of a shell has it ignored, and so have their children: each says what it
/// wants.
#[test]
fn followers_end_well_on_an_interrupt_unless_it_is_ignored() {
    let hub = Hub::start(&[module("clock", testchild(&["tick", "50"])).run(json!({ "ready": "none" }))]);
    hub.line_after("clock", "tick ");
    for (args, key) in [(&["logs", "-f", "clock"][..], "tick "), (&["status", "-w"], "parachute-hub")] {
        let follow = |wrapper| Spawned::spawn(through(&["env", wrapper], &hub.home.command(args)));
        let (mut ended, mut stays) = (follow("--default-signal=INT"), follow("--ignore-signal=INT"));
        for follower in [&ended, &stays] {
            follower.line_after(key);
            kill(follower.pid(), "INT");
        }
        assert_eq!(ended.wait().code(), Some(0), "{args:?}");
        assert!(ended.whole_output().ends_with('\n'), "{args:?}");
        if args[0] == "logs" {
            let before: u32 = stays.line_after("tick ").parse().expect("a number");
            eventually("a line after the signal", || {
                (stays.line_after("tick ").parse::<u32>().expect("a number") > before + 1).then_some(())
            });
        }
        assert!(stays.ended().is_none(), "{args:?}: {}", stays.output());
    }
}

/// `logs -f web | grep -m 1 ready` in a script: the next line may be hours away.
#[test]
fn a_follower_ends_with_its_reader_also_when_nothing_is_printed() {
    let mut hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({ "ready": "none" }))]);
    hub.line_after("web", "ready ");
    let follow = |hub: &Hub, flags: &[&str]| {
        let mut command = hub.home.command(&["logs", "web", "-f"]);
        let mut child = command.args(flags).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let found = lines.map(|line| line.expect("a line")).find(|line| line.contains("ready "));
        assert!(found.is_some(), "{flags:?}: it ended before its reader");
        // The reader went with its lines.
        let ended = eventually("the end of the follower", || child.try_wait().expect("it is ours"));
        assert_eq!(ended.code(), Some(0), "{flags:?}");
    };
    follow(&hub, &[]);
    follow(&hub, &["--json"]);
    assert_eq!(hub.end().code(), Some(0));
    follow(&hub, &[]);
}

#[test]
fn a_stream_delivers_what_there_is_at_once_and_then_every_line() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    let first = hub.until_ready("web");
    let mut stream = http::connect(hub.port).expect("the hub listens");
    let head = format!(
        "GET /api/modules/web/logs?follow=1 HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n\r\n",
        hub.port,
        hub.token()
    );
    stream.write_all(head.as_bytes()).expect("the hub reads");
    // Each read has the deadline of the tests: a line that is held back fails here.
    let mut lines = BufReader::new(stream).lines();
    let mut until = |wanted: String| {
        let found = lines.by_ref().map(|line| line.expect("a line in time")).find(|line| line.contains(&wanted));
        found.unwrap_or_else(|| panic!("the stream ended before {wanted:?}"))
    };
    until(format!("[web] ready {first}"));
    hub.run(&["restart", "web"]).succeeds();
    let second = hub.until_replaced("web", first);
    until(format!("[web] ready {second}"));
}

#[test]
fn a_long_poll_is_answered_by_the_next_line() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let read = |query: &str| hub.api("GET", &format!("/api/modules/web/logs?{query}")).json();
    // Its first line may still be on its way when it is ready.
    hub.line_after("web", "ready ");
    let next = read("n=0")["next"].as_u64().expect("a number");
    assert_eq!(read(&format!("after={next}"))["entries"], json!([]), "nothing is new yet");
    let reply = thread::scope(|scope| {
        let poll = scope.spawn(|| read(&format!("after={next}&wait=60")));
        hub.run(&["restart", "web"]).succeeds();
        poll.join().expect("an answer")
    });
    let news = reply["entries"].as_array().expect("entries");
    assert!(!news.is_empty() && reply["missed"] == 0, "{reply:#}");
    assert!(news.iter().all(|entry| entry["seq"].as_u64() > Some(next)), "{reply:#}");
}

/// A stream of the log, and its head.
#[track_caller]
fn stream_of_web(hub: &Hub) -> (http::Response, BufReader<TcpStream>) {
    let head = format!(
        "GET /api/modules/web/logs?follow=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\r\n",
        hub.token()
    );
    let mut stream = http::connect(hub.port).expect("the hub listens");
    stream.write_all(head.as_bytes()).expect("the hub reads");
    let mut stream = BufReader::new(stream);
    let begun = http::Response::read_head(&mut stream).expect("it is being followed");
    assert_eq!(begun.status, 200);
    (begun, stream)
}

#[test]
fn one_stream_too_many_breaks_the_oldest_off() {
    const MOST: usize = 32;
    let mut hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({ "ready": "none" }))]);
    hub.line_after("web", "ready ");
    let mut streams: Vec<_> = (0..=MOST).map(|_| stream_of_web(&hub)).collect();
    let (begun, mut oldest) = streams.remove(0);
    let cut = http::read_body(&mut oldest, &begun.headers).expect_err("its last chunk does not come");
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof, "{cut}");
    assert!(hub.end().success(), "{}", hub.output());
    for (begun, mut stream) in streams {
        http::read_body(&mut stream, &begun.headers).expect("the others end with the hub");
    }
}

/// They would hold their places among all streams and long polls for as long as their clients stay.
#[test]
fn whoever_follows_a_module_that_is_removed_is_told_that_nothing_more_comes() {
    let hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({ "ready": "none" }))]);
    hub.line_after("web", "ready ");
    let (begun, mut stream) = stream_of_web(&hub);
    let mut follower = Spawned::spawn(hub.home.command(&["logs", "-f", "web"]));
    follower.line_after("ready ");
    thread::scope(|scope| {
        // It may come too late, and is told that at once.
        let poll = scope.spawn(|| hub.api("GET", "/api/modules/web/logs?n=0&wait=60"));
        hub.run(&["remove", "web"]).succeeds();
        let poll = poll.join().expect("an answer");
        assert!(matches!(poll.status, 200 | 404), "{}", poll.text());
    });
    let said = http::read_body(&mut stream, &begun.headers).expect("its last chunk").expect("chunks");
    assert!(String::from_utf8_lossy(&said).contains("[web] ready "), "{}", said.escape_ascii());
    assert_eq!(follower.wait().code(), Some(0), "{}", follower.output());
    assert!(follower.whole_output().contains("web was removed"), "{}", follower.output());
}

/// The lines of the one that comes are not taken for those of the one that went, which were read.
#[test]
fn whoever_slept_while_a_module_was_replaced_misses_nothing_of_the_new_one() {
    let web = module("web", testchild(&["sleep"])).run(json!({ "ready": "none" }));
    let hub = Hub::start(&[web]);
    hub.line_after("web", "ready ");
    let follower = Spawned::spawn(hub.home.command(&["logs", "-f", "web"]));
    let before = follower.line_after("ready ");
    let read = |query: &str| hub.api("GET", &format!("/api/modules/web/logs?{query}")).json();
    let next = read("n=0")["next"].as_u64().expect("a number");
    kill(follower.pid(), "STOP");
    hub.run(&["remove", "web"]).succeeds();
    hub.run(&["install", hub.home.package("web").to_str().expect("UTF-8")]).succeeds();
    let again = hub.next_line_after("web", "ready ", &before);
    let all = read("n=1000")["entries"].clone();
    assert_eq!(read(&format!("after={next}"))["entries"], all, "all of them are new");
    assert_eq!(read("after=1000000")["entries"], all, "another hub's number");
    kill(follower.pid(), "CONT");
    assert_eq!(follower.line_after(&format!("ready {again}")), "");
}

#[test]
fn whoever_follows_a_module_of_a_hub_that_ends_is_told_of_the_hub() {
    let mut hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({ "ready": "none" }))]);
    hub.line_after("web", "ready ");
    let mut followers: Vec<Spawned> =
        (0..4).map(|_| Spawned::spawn(hub.home.command(&["logs", "-f", "web"]))).collect();
    for follower in &followers {
        follower.line_after("ready ");
    }
    assert!(hub.end().success(), "{}", hub.output());
    for follower in &mut followers {
        assert_eq!(follower.wait().code(), Some(5), "{}", follower.output());
        assert!(!follower.whole_output().contains("removed"), "{}", follower.output());
    }
}

#[test]
fn a_long_line_is_cut_with_a_mark_and_nothing_of_it_is_lost() {
    let script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end; exec sleep 3600";
    let hub = Hub::start(&[module("long", shell(script)).run(json!({ "ready": "none" }))]);
    hub.line_after("long", "end");
    let pieces: Vec<String> = texts(&hub, "long").into_iter().filter(|text| text.starts_with('x')).collect();
    let cut: Vec<&str> = pieces.iter().filter_map(|piece| piece.strip_suffix(CONTINUES)).collect();
    assert_eq!(cut.len() + 1, pieces.len(), "all but the last are marked");
    assert!(pieces.iter().all(|piece| piece.len() <= LINE_BYTES + CONTINUES.len()));
    assert_eq!(pieces.concat().replace(CONTINUES, ""), "x".repeat(40_000));
}

#[test]
fn bytes_that_are_no_text_do_no_harm() {
    let script = r"printf 'a\000b\377c\033[31md\n\r\n\302\nafter\n'; exec sleep 3600";
    let hub = Hub::start(&[module("junk", shell(script)).run(json!({ "ready": "none" }))]);
    hub.line_after("junk", "after");
    let shown = texts(&hub, "junk");
    assert_eq!(shown.last().map(String::as_str), Some("after"), "{shown:?}");
    assert!(shown.iter().any(|text| text.starts_with('a') && text.contains('d')), "{shown:?}");
    let control = |text: &String| text.chars().any(|c| c.is_control() && c != '\t');
    assert!(!shown.iter().any(control), "{shown:?}");
    let printed = hub.run(&["logs", "junk"]).succeeds().stdout;
    assert!(!printed.contains(['\0', '\u{1b}']), "{printed:?}");
}

#[test]
fn a_flood_without_a_line_end_neither_fills_memory_nor_stalls_others() {
    let flood = module("flood", testchild(&["flood-nonewline", &FLOOD_BYTES.to_string()]));
    let web = module("web", testchild(&["http"]));
    let port = web.port;
    let hub = Hub::start(&[web]);
    hub.until_ready("web");
    let before = memory_kib(hub.pid(), "VmRSS");
    // The console of this hub is read into the memory of the test.
    hub.home.install(&flood.run(json!({ "ready": "none", "logs": { "console": false } })));
    hub.run(&["start", "flood"]).succeeds();
    let pid = hub.until_ready("flood");
    let written = || {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("it runs as us and waits for ever");
        io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok()).expect("a number")
    };
    // Each piece is waited for on its own: how fast a flood is taken is not what this is about.
    for taken in (1..=FLOOD_BYTES / PIECE_BYTES).map(|pieces| pieces * PIECE_BYTES) {
        eventually("the next piece of the flood taken", || (written() >= taken).then_some(()));
        assert_eq!(http::get(port, "/health").expect("another module answers").status, 200);
        assert_eq!(hub.get("/health").status, 200);
    }
    let peak = memory_kib(hub.pid(), "VmHWM");
    assert!(peak < before + GROWTH_KIB, "the hub grew from {before} to {peak} KiB");
    hub.run(&["stop", "flood"]).succeeds();
}

#[test]
fn rotated_files_hold_the_lines_in_order() {
    let run = json!({ "ready": "none", "restart": "never", "logs": { "maxBytes": 4096, "files": 3 } });
    let mut hub = Hub::start(&[module("flood", testchild(&["flood", "20000", "100"])).run(run)]);
    // It reads as stopped before it was started, too.
    let has_run = |state: &Value| state["supervisor_status"] == "stopped" && state["last_exit"].is_object();
    hub.until("flood", "stopped after it ran", has_run);
    hub.end();
    let files = ["flood.log.2", "flood.log.1", "flood.log"].map(|file| hub.home.read(&format!("flood/logs/{file}")));
    assert!(files.iter().all(|text| !text.is_empty() && text.len() <= 4096), "{:?}", files.each_ref().map(String::len));
    assert_eq!(hub.home.read("flood/logs/flood.log.3"), "", "three files are kept");
    let all = files.concat();
    let numbers: Vec<u64> = all
        .lines()
        .filter(|line| line.ends_with('x'))
        .map(|line| line.split(' ').nth(2).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("torn: {line}")))
        .collect();
    let last = 20_000 / 100 - 1;
    let expected: Vec<u64> = (last + 1 - numbers.len() as u64..=last).collect();
    assert_eq!(numbers, expected);
    let shown = hub.run(&["logs", "-n", "1000", "flood"]).succeeds().stdout;
    assert!(shown.lines().filter(|line| line.ends_with('x')).count() > 0, "{shown}");
}

/// A hub whose standard output nobody reads. Killed when dropped.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_console_that_nobody_reads_stalls_no_module() {
    let home = Home::new();
    let bytes = (8 * 1024 * 1024).to_string();
    let run = json!({ "ready": "none", "restart": "never" });
    home.install(&module("flood", testchild(&["flood", &bytes])).run(run));
    home.install(&module("web", testchild(&["http"])));
    let port = free_port();
    let mut command = home.command(&["serve", "--port", &port.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut hub = Unread(command.spawn().expect("the binary runs"));
    eventually("the flood at its end", || home.read("flood/logs/flood.log").contains("flooded 83886 in").then_some(()));
    eventually("the other module ready", || home.read("web/logs/web.log").contains("ready ").then_some(()));
    assert_eq!(http::get(port, "/health").expect("the hub answers").status, 200);
    kill(hub.0.id(), "TERM");
    let status = eventually("the end of the hub", || hub.0.try_wait().expect("a child of ours"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_last_line_stands_before_the_word_of_the_exit() {
    let hub = Hub::start(&[module("brief", testchild(&["exit", "3"])).run(json!({ "giveUp": true, "ready": "none" }))]);
    hub.until_status("brief", "crashed");
    let shown = texts(&hub, "brief");
    let told: Vec<&str> = shown
        .iter()
        .filter_map(|text| match text {
            text if text == "exiting 3" => Some("line"),
            text if text.contains("exited with code 3") => Some("exit"),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["line", "exit", "line", "exit", "line", "exit"], "{shown:#?}");
    // What the hub printed has the same order.
    hub.says("brief: exited with code 3");
    let output = hub.output();
    let place = |words: &str| output.find(words).unwrap_or_else(|| panic!("{words:?} is not in {output}"));
    assert!(place("[brief] exiting 3") < place("brief: exited with code 3"), "{output}");
}
