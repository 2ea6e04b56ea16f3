//! Arguments and variables that cannot be understood: one reason, the exit code of the table, nothing touched.

use crate::support::{Finished, Home, Hub, module, testchild};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

/// Every verb with arguments that it accepts.
const VERBS: &[&[&str]] = &[
    &["serve"],
    &["start", "web"],
    &["stop", "web"],
    &["restart", "web"],
    &["status"],
    &["logs", "web"],
    &["add", "new", "--no-start", "--", "/bin/true"],
    &["install", "/nowhere"],
    &["remove", "web"],
    &["check"],
    &["version"],
    &["help"],
    &["completions", "bash"],
];

/// How many reasons a failed call gave: exactly one is right.
fn reasons(done: &Finished) -> usize {
    done.stderr.lines().filter(|line| line.starts_with("parachute: ") || line.starts_with("parachute serve: ")).count()
}

#[test]
fn a_variable_that_cannot_be_used_is_named_with_its_value() {
    let home = Home::new();
    for (variable, value) in [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "8080abc"),
        ("PORT", "-1"),
        ("PORT", "+80"),
        ("PORT", " 80"),
        ("PORT", "80 "),
        ("PORT", "0x50"),
        ("PORT", "1e3"),
        ("PORT", "99999999999999999999"),
        ("PARACHUTE_BIND_HOST", "junk"),
        ("PARACHUTE_BIND_HOST", "127.0.0.1:80"),
        ("PARACHUTE_BIND_HOST", "256.0.0.1"),
        ("PARACHUTE_BIND_HOST", "http://127.0.0.1"),
        ("RENDER_EXTERNAL_URL", "x"),
        ("PARACHUTE_ALLOWED_HOSTS", "a b"),
        ("PARACHUTE_EXTRA_PATH", "bin"),
    ] {
        for verb in ["serve", "status", "check", "start"] {
            let mut command = home.command(&[verb]);
            command.env(variable, value);
            let done = Finished::run(command).fails_with(78);
            assert_eq!(reasons(&done), 1, "{variable}={value} {verb}: {done}");
            let named = done.stderr.contains(variable) && done.stderr.contains(&format!("{value:?}"));
            assert!(named, "{variable}={value} {verb}: {done}");
        }
        assert!(home.read("services.json").is_empty(), "{variable}={value}: nothing is made");
    }
}

#[test]
fn an_origin_that_cannot_be_one_is_refused_before_anything_listens() {
    for value in ["junk", "ftp://host", "https://", "https://user:pass@host", "https://host/path?x#y"] {
        let home = Home::new();
        let mut command = home.command(&["serve"]);
        command.env("PARACHUTE_HUB_ORIGIN", value).env("PORT", crate::support::free_port().to_string());
        let done = Finished::run(command).fails_with(78);
        assert_eq!(reasons(&done), 1, "{value}: {done}");
        assert!(done.stderr.contains("PARACHUTE_HUB_ORIGIN"), "{value}: {done}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let home = Home::new();
    let mut command = home.command(&["status"]);
    command.env("PORT", "").env("PARACHUTE_BIND_HOST", "");
    Finished::run(command).succeeds();
}

#[test]
fn invalid_utf8_in_a_variable_is_told_and_in_an_argument_is_refused() {
    let home = Home::new();
    let junk = OsStr::from_bytes(b"\xff\xfe");
    let mut command = home.command(&["status"]);
    command.env("PORT", junk);
    let done = Finished::run(command).fails_with(78);
    assert!(done.stderr.contains("PORT"), "{done}");
    for before in [&[][..], &["start"], &["logs"], &["status"], &["add"], &["help"], &["status", "--json"], &["--json"]]
    {
        let mut command = home.command(before);
        command.arg(junk);
        let done = Finished::run(command);
        assert_eq!(done.status.code(), Some(2), "{before:?}: {done}");
        assert!(!done.stderr.contains("panicked"), "{before:?}: {done}");
    }
    let mut command = home.command(&["check", "--home"]);
    command.arg(OsStr::from_bytes(b"/tmp/\xff\xfe-no-such-home"));
    Finished::run(command).succeeds();
}

#[test]
fn what_is_mistyped_is_refused_with_what_was_meant() {
    let home = Home::new();
    home.install(&module("web", testchild(&["sleep"])));
    for (args, code, said) in [
        (&["stauts"][..], 2, "did you mean status?"),
        (&["serv"], 2, "did you mean serve?"),
        (&["status", "--jsno"], 2, "did you mean --json?"),
        (&["check", "extra"], 2, "unexpected argument"),
        (&["logs"], 2, "is missing"),
        (&["logs", "a", "b"], 2, "unexpected argument"),
        (&["logs", "-n", "many", "web"], 2, "--lines"),
        (&["logs", "-n"], 2, "needs a value"),
        (&["serve", "--port", "65536"], 2, "--port"),
        (&["serve", "--port", "8080abc"], 2, "--port"),
        (&["--timeout", "0", "status"], 2, "--timeout"),
        (&["add", "new"], 2, "--"),
        (&["add", "new", "--restart", "sometimes", "--", "x"], 2, "--restart"),
        (&["add", "new", "--public", "--private", "--", "x"], 2, "exclude"),
        (&["add", "new", "--env", "1=2", "--", "x"], 2, "--env"),
        (&["completions", "tcsh"], 2, "tcsh"),
        (&["help", "stauts"], 2, "did you mean"),
        (&["start", "wbe"], 9, "did you mean web?"),
        (&["stop", "zzzzzz"], 9, "unknown module"),
        (&["restart", "../web"], 9, "unknown module"),
        (&["logs", "wep"], 9, "did you mean web?"),
        (&["remove", "web\nweb"], 9, "unknown module"),
        (&["start", ""], 9, "unknown module"),
        (&["start", "vault"], 9, "not installed"),
    ] {
        let done = Finished::run(home.command(args));
        assert_eq!(done.status.code(), Some(code), "{args:?}: {done}");
        assert!(done.stderr.contains(said), "{args:?} says {said:?}: {done}");
        assert_eq!(reasons(&done), 1, "{args:?}: {done}");
        assert_eq!(done.stdout, "", "{args:?}: data only on stdout: {done}");

        let mut json = home.command(&["--json"]);
        json.args(args);
        let done = Finished::run(json);
        assert_eq!(done.status.code(), Some(code), "--json {args:?}: {done}");
        let error: serde_json::Value =
            serde_json::from_str(&done.stderr).unwrap_or_else(|error| panic!("--json {args:?} ({error}): {done}"));
        assert_eq!(error["ok"], false, "--json {args:?}: {done}");
        assert_eq!(error["error"]["exit"], code, "--json {args:?}: {done}");
        for field in ["code", "message", "hint"] {
            assert!(error["error"][field].as_str().is_some_and(|text| !text.is_empty()), "--json {args:?}: {done}");
        }
    }
}

#[test]
fn help_is_given_for_every_verb_even_where_nothing_else_works() {
    let home = Home::new();
    for verb in VERBS {
        for args in [&[verb[0], "--help"][..], &[verb[0], "-h"], &["help", verb[0]]] {
            let mut command = home.command(args);
            command.env("PARACHUTE_HOME", "not/absolute").env("PORT", "junk");
            let done = Finished::run(command).succeeds();
            assert!(done.stdout.contains(verb[0]) && done.stderr.is_empty(), "{args:?}: {done}");
            assert!(done.stdout.lines().all(|line| line.chars().count() <= 80), "{args:?}: {done}");
        }
    }
}

#[test]
fn every_verb_that_fails_gives_one_reason_and_the_same_in_json() {
    let home = Home::new();
    home.write("services.json", "{ this is no JSON");
    for verb in VERBS.iter().filter(|verb| verb[0] != "serve") {
        let done = Finished::run(home.command(verb));
        let code = done.status.code().unwrap_or_else(|| panic!("{verb:?}: {done}"));
        assert_eq!(reasons(&done), usize::from(code != 0), "{verb:?}: {done}");
        let mut json = home.command(&["--json"]);
        json.args(*verb);
        let done = Finished::run(json);
        assert_eq!(done.status.code(), Some(code), "--json {verb:?}: {done}");
        if code != 0 {
            let last = done.stderr.lines().last().unwrap_or_default();
            let error: serde_json::Value =
                serde_json::from_str(last).unwrap_or_else(|error| panic!("--json {verb:?} ({error}): {done}"));
            assert_eq!(error["error"]["exit"], code, "--json {verb:?}: {done}");
        }
        home.write("services.json", "{ this is no JSON");
    }
}

#[test]
fn a_reader_that_closes_its_end_early_is_no_failure() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    for args in [&["status"][..], &["status", "--json"], &["help"], &["logs", "web"], &["completions", "bash"]] {
        let mut command = hub.home.command(args);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let done = command.spawn().expect("the binary starts").wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "{args:?}: {stderr}");
        assert_eq!(stderr, "", "{args:?}");
    }
}

#[test]
fn a_full_disk_behind_stdout_is_a_failure_with_its_reason() {
    let home = Home::new();
    for args in [&["help"][..], &["status", "--json"]] {
        let mut command = home.command(args);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
        let done = command.spawn().expect("the binary starts").wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains("standard output"), "{args:?}: {stderr}");
    }
}
