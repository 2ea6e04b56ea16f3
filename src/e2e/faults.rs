//! The real binary, in a build that can make its N-th kernel call go wrong: killed there, or with a full disk. Over
//! whole scenarios, one call after the other: what is in the home is the old or the new, and the next run works.
//!
//! The build is the same source with the feature `fault-injection`, in a directory of its own beside the other one.

use crate::support::{Finished, Home, Hub, Module, Spawned, deadline, eventually, free_port, kill, module, testchild};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// What a build from nothing takes on a slow machine.
const BUILD: Duration = Duration::from_secs(3600);
const ENOSPC: &str = "28";
/// Looks change nothing: being killed between two changes is the same wherever it happens between them.
const LOOKS: &[&str] = &["stat", "open", "read", "pipe", "pidfd_open", "eventfd", "flock"];
/// One in so many of the calls that only open something gets an error.
const OPENS_STRIDE: usize = 7;
/// A whole life of a hub is a second: one in so many of its calls gets an error. It is killed at each.
const LIFE_STRIDE: usize = 3;

/// The binary that can fail, built when it is not there or old.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let usual = Path::new(env!("CARGO_BIN_EXE_parachute"));
        let target = usual.ancestors().nth(2).expect("below the target directory").join("faults");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--offline", "--bin", "parachute", "--features", "fault-injection", "--target-dir"]);
        build.arg(&target).current_dir(env!("CARGO_MANIFEST_DIR"));
        Finished::run_within(BUILD, build).succeeds();
        target.join("debug/parachute")
    })
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    FullDisk,
}

fn faulty(home: &Home, args: &[&str], at: usize, fault: Fault) -> Command {
    let mut command = home.command_of(binary(), args);
    command.env("PARACHUTE_FAULT_AT", at.to_string());
    if fault == Fault::FullDisk {
        command.env("PARACHUTE_FAULT_ERRNO", ENOSPC);
    }
    command
}

/// The names of the calls, of which the first is number 1. Several threads make them in another order every time.
fn traced(home: &Home, run: impl FnOnce(Command) -> String, args: &[&str]) -> Vec<String> {
    let trace = home.path().with_extension("trace");
    let mut command = faulty(home, args, 0, Fault::Kill);
    command.env("PARACHUTE_FAULT_TRACE", &trace);
    let told = run(command);
    let calls = fs::read_to_string(&trace).unwrap_or_else(|error| panic!("no trace ({error}): {told}"));
    calls.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
}

/// Where it is worth to strike; one in `errors` of the calls that change something gets an error.
fn strikes(calls: &[String], errors: usize) -> Vec<(usize, Fault)> {
    let mut strikes = Vec::new();
    let (mut opens, mut changes) = (0, 0);
    for (at, call) in (1..).zip(calls) {
        let look = LOOKS.contains(&call.as_str());
        opens += usize::from(call == "open");
        if !look {
            strikes.push((at, Fault::Kill));
            if changes % errors == 0 {
                strikes.push((at, Fault::FullDisk));
            }
            changes += 1;
        } else if call == "open" && opens % OPENS_STRIDE == 1 {
            strikes.push((at, Fault::FullDisk));
        }
    }
    assert!(strikes.len() > 10, "nothing goes past the fault shim: {calls:?}");
    strikes
}

/// What must hold of a home at every moment.
#[track_caller]
fn is_sound(home: &Home, what: &str) {
    let list = home.read("services.json");
    let whole = serde_json::from_str::<Value>(&list).is_ok_and(|list| list["services"].is_array());
    assert!(whole || list.is_empty() && !home.path().join("services.json").exists(), "{what}: {list:?}");
    let token = home.read("operator.token");
    assert!(token.is_empty() || token.ends_with('\n') && token.split('.').count() == 3, "{what}: a torn token");
    for entry in fs::read_dir(home.path()).expect("the home").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mode = entry.metadata().expect("there").permissions().mode();
        // A temporary file is one of the same, before it has its name.
        let secret = ["operator.token", "hub.db"].iter().any(|secret| name.contains(secret));
        assert!(mode & if secret { 0o077 } else { 0o022 } == 0, "{what}: {name} has mode {mode:o}");
        assert!(!name.contains(".corrupt-"), "{what}: {name}");
    }
}

/// A verb that is struck, and then run as it should be.
pub(crate) struct Scenario {
    pub(crate) args: Vec<String>,
    /// Exit codes of the run that follows: what was done already may not have to be done again.
    pub(crate) then: &'static [i32],
    /// Whether it is done; fails the test where it is neither done nor not done.
    pub(crate) is_done: fn(&Home) -> bool,
    /// Brings the home back to where it was before; run after each strike.
    pub(crate) undo: fn(&Home),
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Temporary files anywhere below the home.
fn temps(home: &Home) -> Vec<PathBuf> {
    let (mut found, mut pending) = (Vec::new(), vec![home.path().to_owned()]);
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of ours").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type().expect("there") {
                kind if kind.is_dir() => pending.push(entry.path()),
                _ if name.starts_with('.') && name.ends_with(".tmp") => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

/// What writers left that were killed goes once it is an hour old.
#[track_caller]
fn is_swept(home: &Home) {
    for temp in temps(home) {
        let long_ago = SystemTime::now() - Duration::from_secs(7_200);
        let file = fs::File::options().write(true).open(&temp).expect("ours");
        file.set_modified(long_ago).expect("a time");
    }
    let doctor = Finished::run(home.command(&["doctor", "--fix"]));
    assert_eq!(temps(home), [] as [PathBuf; 0], "{doctor}");
}

#[track_caller]
pub(crate) fn walk(home: &Home, scenario: &Scenario) {
    let args = words(&scenario.args);
    let calls = traced(home, |command| Finished::run(command).succeeds().to_string(), &args);
    (scenario.undo)(home);
    for (at, fault) in strikes(&calls, 1) {
        let struck = Finished::run(faulty(home, &args, at, fault));
        let call = &calls[at - 1];
        let what = format!("{fault:?} at call {at}, {call}: {struck}");
        assert!(!struck.stderr.contains("panicked"), "{what}");
        match fault {
            Fault::Kill => assert!(struck.code().is_none() || struck.code() == Some(0), "{what}"),
            Fault::FullDisk => {
                let told = struck.code().is_some_and(|code| code == 0 || !struck.stderr.is_empty());
                assert!(told, "{what}");
            }
        }
        is_sound(home, &what);
        let done = (scenario.is_done)(home);
        assert!(done || struck.code() != Some(0), "it says that it is done, and it is not: {what}");
        let again = Finished::run(home.command(&args));
        assert!(again.code().is_some_and(|code| scenario.then.contains(&code)), "{what}\nthen {again}");
        is_sound(home, &format!("{what}\nthen {again}"));
        assert!((scenario.is_done)(home), "{what}\nthen {again}");
        (scenario.undo)(home);
    }
    is_swept(home);
}

/// A home in which a hub has run.
pub(crate) fn used() -> Home {
    used_with(&[])
}

/// The same with these modules beside the one that every such home has.
pub(crate) fn used_with(modules: &[Module]) -> Home {
    let home = new();
    modules.iter().for_each(|module| home.install(module));
    let told = life(&home, home.command(&["serve"]));
    assert!(!home.read("operator.token").is_empty(), "{told}");
    home
}

/// One in which none has.
fn new() -> Home {
    let home = Home::new();
    home.install(&module("web", testchild(&["sleep"])).run(json!({"ready": "none"})));
    home
}

pub(crate) fn row(home: &Home, name: &str) -> Option<Value> {
    let list: Value = serde_json::from_str(&home.read("services.json")).expect("whole");
    list["services"].as_array().expect("rows").iter().find(|row| row["name"] == name).cloned()
}

pub(crate) fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn an_add_that_is_struck_at_any_call_is_done_or_not_done() {
    let home = used();
    let undo = |home: &Home| {
        assert!(row(home, "web").is_some(), "the other row");
        assert!(row(home, "new").is_some_and(|row| row["installDir"].is_string()), "the whole row");
        Finished::run(home.command(&["remove", "new"])).succeeds();
    };
    let args = owned(&["add", "new", "--no-start", "--", "/bin/true"]);
    walk(&home, &Scenario { args, then: &[0], is_done: |home| row(home, "new").is_some(), undo });
}

#[test]
fn a_remove_that_is_struck_at_any_call_is_done_or_not_done() {
    let home = used();
    let undo = |home: &Home| {
        assert!(row(home, "new").is_none() && row(home, "web").is_some());
        Finished::run(home.command(&["add", "new", "--no-start", "--", "/bin/true"])).succeeds();
    };
    Finished::run(home.command(&["add", "new", "--no-start", "--", "/bin/true"])).succeeds();
    // 9: it was removed, and what came after that was not to be.
    let is_done = |home: &Home| row(home, "new").is_none();
    walk(&home, &Scenario { args: owned(&["remove", "new"]), then: &[0, 9], is_done, undo });
    assert!(home.read("services.json.removed").contains("\"new\""), "what was removed was kept aside");
}

#[test]
fn a_change_of_the_key_that_is_struck_at_any_call_leaves_a_home_that_a_hub_can_use() {
    let home = used();
    let args = owned(&["auth", "rotate-key", "--now"]);
    walk(&home, &Scenario { args, then: &[0], is_done: |_| true, undo: |_| {} });
    let hub = Hub::start_in(home, &[]);
    assert_eq!(hub.api("GET", "/api/modules").status, 200, "{}", hub.output());
}

#[test]
fn a_backup_that_is_struck_at_any_call_is_whole_or_not_there() {
    let home = used();
    let archive = home.path().with_extension("tar");
    let file = archive.to_str().expect("UTF-8").to_owned();
    let undo = |home: &Home| {
        let archive = home.path().with_extension("tar");
        let check = r#"cd "$1" && tar xf "$2" && sha256sum --quiet -c SHA256SUMS && rm -r parachute-home SHA256SUMS"#;
        let root = archive.parent().expect("a directory");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", check, "sh"]).arg(root).arg(&archive);
        Finished::run(command).succeeds();
        fs::remove_file(&archive).expect("there");
    };
    // 7: the first run got as far as giving it its name.
    let is_done = |home: &Home| home.path().with_extension("tar").exists();
    walk(&home, &Scenario { args: owned(&["backup", &file]), then: &[0, 7], is_done, undo });
}

#[test]
fn a_restore_that_is_struck_at_any_call_makes_a_whole_home_or_none() {
    let home = used();
    let archive = home.path().with_extension("tar");
    let (file, to) = (archive.to_str().expect("UTF-8").to_owned(), home.path().with_extension("restored"));
    Finished::run(home.command(&["backup", &file])).succeeds();
    let to = to.to_str().expect("UTF-8").to_owned();
    let undo = |home: &Home| {
        let to = home.path().with_extension("restored");
        for name in ["services.json", "operator.token", "hub.db", "hub/run/epoch"] {
            assert!(to.join(name).is_file(), "{name} is restored");
        }
        assert_eq!(fs::read(to.join("services.json")).expect("there"), home.read("services.json").as_bytes());
        fs::remove_dir_all(&to).expect("ours");
    };
    let is_done = |home: &Home| home.path().with_extension("restored").exists();
    walk(&home, &Scenario { args: owned(&["--home", &to, "restore", &file]), then: &[0, 7], is_done, undo });
}

/// From an empty home to its end, with a module that is stopped and started in between.
fn life(home: &Home, command: Command) -> String {
    let mut command = command;
    command.env("PORT", free_port().to_string());
    let mut serve = Spawned::spawn(command);
    let listens = |serve: &Spawned| serve.output().lines().any(|line| line.starts_with("[hub] listening on "));
    let up = eventually("a hub that listens or has ended", || {
        serve.ended().map(|_| false).or_else(|| listens(&serve).then_some(true))
    });
    if up {
        for verb in ["stop", "start"] {
            let done = Finished::run(home.command(&[verb, "web"]));
            assert!(!done.stderr.contains("panicked"), "{done}");
        }
        kill(serve.pid(), "TERM");
    }
    eventually(&format!("the end of the hub within {:?}", deadline()), || serve.ended());
    serve.whole_output()
}

#[test]
fn a_hub_that_is_struck_at_any_call_of_its_life_leaves_a_home_that_the_next_one_runs() {
    let home = new();
    let calls = traced(&home, |command| life(&home, command), &["serve"]);
    for (at, fault) in strikes(&calls, LIFE_STRIDE) {
        let home = new();
        let list = home.read("services.json");
        let told = life(&home, faulty(&home, &["serve"], at, fault));
        let what = format!("{fault:?} at call {at}, such as {}: {told}", calls[at - 1]);
        assert!(!told.contains("panicked"), "{what}");
        is_sound(&home, &what);
        assert_eq!(home.read("services.json"), list, "{what}");
        let mut next = Hub::start_in(home, &[]);
        next.run(&["start", "web"]).succeeds();
        assert_eq!(next.api("GET", "/api/modules/web").status, 200, "{what}\nthen {}", next.output());
        assert!(next.end().success(), "{what}\nthen {}", next.output());
    }
}
