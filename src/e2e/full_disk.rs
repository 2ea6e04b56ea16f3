//! A home on a full disk: what is there stays whole, what fails is said, and room is all that is needed to go on.

use crate::support::{Finished, Home, Hub, Refused, Spawned, eventually, kill, module, testchild, through};
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of one MiB in the place of a home's directory; gone when dropped. Declare it before what uses it.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Needs root and CAP_SYS_ADMIN, as in the container of a build machine that allows mounting.
    pub(crate) fn mount(at: &Path) -> Self {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"]).arg(at).output();
        let done = done.unwrap_or_else(|error| panic!("cannot run mount, which this test needs: {error}"));
        assert!(
            done.status.success(),
            "this test needs root and CAP_SYS_ADMIN to mount a small tmpfs: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Self(at.to_owned())
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).expect("a new file");
        for size in [64 * 1024, 4096, 1] {
            let piece = vec![b'x'; size];
            while filler.write_all(&piece).is_ok() {}
        }
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there must not keep it mounted. Nothing else can be done about failure.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        if let Some(root) = self.0.parent() {
            let _ = fs::remove_dir_all(root);
        }
    }
}

fn sleeper(name: &str) -> crate::support::Module {
    module(name, testchild(&["sleep"])).run(json!({"ready": "none"}))
}

#[test]
fn serve_on_a_full_disk_says_so_leaves_all_files_whole_and_runs_once_there_is_room() {
    for used in [false, true] {
        let home = Home::new();
        let disk = SmallDisk::mount(home.path());
        home.install(&sleeper("web"));
        let home = if used {
            let mut hub = Hub::start_in(home, &[]);
            hub.line_after("web", "ready ");
            assert!(hub.end().success(), "used {used}: {}", hub.output());
            disk.fill();
            let files = contents(hub.home.path());
            let done = Finished::run(serve(&hub.home));
            refuses(&done, &format!("used {used}"));
            assert_eq!(contents(hub.home.path()), files, "used {used}: old files whole: {done}");
            disk.make_room();
            hub.start_again();
            hub.line_after("web", "ready ");
            continue;
        } else {
            home
        };
        disk.fill();
        let before = home.read("services.json");
        match Hub::try_start_in(home, &[]) {
            Ok(hub) => panic!("it runs on a full disk: {}", hub.output()),
            Err(Refused { home, status, output }) => {
                assert_eq!(status.code(), Some(1), "{output}");
                assert!(output.contains(&*home.path().to_string_lossy()), "names the file: {output}");
                assert!(is_about_space(&output), "says why: {output}");
                assert!(!output.contains("panicked"), "{output}");
                assert_eq!(home.read("services.json"), before, "the list is whole");
                disk.make_room();
                let hub = Hub::start_in(home, &[]);
                hub.line_after("web", "ready ");
            }
        }
    }
}

#[test]
fn a_file_that_may_not_grow_ends_no_hub_and_costs_its_lines_on_disk_alone() {
    let home = Home::new();
    home.install(&module("flood", testchild(&["flood", "1500000"])).run(json!({"ready": "none", "restart": "never"})));
    let mut hub = Spawned::spawn(through(&["/bin/sh", "-c", "ulimit -f 1000; exec \"$@\"", "sh"], &serve(&home)));
    let why = hub.line_after("[supervisor] flood: cannot write ");
    assert!(why.contains("flood.log: File too large"), "{why}");
    hub.line_after("[flood] flooded ");
    kill(hub.pid(), "TERM");
    assert!(hub.wait().success());
}

fn serve(home: &Home) -> Command {
    let mut command = home.command(&["serve"]);
    command.env("PORT", crate::support::free_port().to_string());
    command
}

fn is_about_space(text: &str) -> bool {
    // SQLite has no other word than "I/O error" where its shared memory finds no room.
    text.contains("No space left on device") || text.contains("disk full") || text.contains("is the disk full?")
}

#[track_caller]
fn refuses(done: &Finished, what: &str) {
    assert_eq!(done.status.code(), Some(1), "{what}: {done}");
    assert!(is_about_space(&done.stderr), "{what}: says why: {done}");
    assert!(!done.stderr.contains("panicked"), "{what}: {done}");
}

/// What an operator or a module would miss: everything but the hub's own lock, record and traces of its run.
fn contents(home: &Path) -> Vec<(&'static str, Option<Vec<u8>>)> {
    ["services.json", "services.json.bak", "operator.token", "hub.db", "web/.env", "hub/intent.json"]
        .into_iter()
        .map(|file| (file, fs::read(home.join(file)).ok()))
        .collect()
}

#[test]
fn modules_run_on_while_the_disk_is_full_and_the_lines_that_are_lost_are_counted() {
    let home = Home::new();
    let disk = SmallDisk::mount(home.path());
    home.install(&module("clock", testchild(&["tick", "5"])).run(json!({"ready": "none"})));
    let hub = Hub::start_in(home, &[]);
    hub.line_after("clock", "tick ");
    let pid = hub.number_after("clock", "ready ");
    disk.fill();
    let said = hub.says("kept in memory only");
    assert!(is_about_space(&said), "with its reason: {said}");
    let ticks = hub.lines_after("clock", "tick ").len();
    eventually("it runs on", || (hub.lines_after("clock", "tick ").len() > ticks).then_some(()));
    assert_eq!(hub.get("/health").status, 200);
    let told = hub.api("GET", "/api/modules/clock").json();
    assert_eq!(told["pid"], pid, "the same process: {told}");
    let ring = hub.api("GET", "/api/modules/clock/logs?n=1");
    assert_eq!(ring.status, 200, "the ring goes on: {ring:?}");
    disk.make_room();
    let said = hub.says("the log file works again");
    assert!(said.contains("lines are missing"), "{said}");
    let log = hub.home.path().join("clock/logs/clock.log");
    let size = fs::metadata(&log).expect("the log").len();
    eventually("the log file grows again", || (fs::metadata(&log).ok()?.len() > size).then_some(()));
    // Every line begins with its time: what did not go in whole was cut off again.
    let text = hub.home.read("clock/logs/clock.log");
    let (whole, _being_written) = text.rsplit_once('\n').expect("lines");
    for line in whole.lines() {
        assert!(line.starts_with("20") && line.contains("Z "), "a torn line: {line:?}");
    }
}

#[test]
fn a_verb_that_writes_on_a_full_disk_fails_with_the_path_and_changes_nothing() {
    let home = Home::new();
    let disk = SmallDisk::mount(home.path());
    home.install(&sleeper("web"));
    let hub = Hub::start_in(home, &[]);
    hub.line_after("web", "ready ");
    disk.fill();
    let rows = hub.home.read("services.json");
    for args in [&["add", "new", "--no-start", "--", "/bin/true"][..], &["stop", "web"], &["remove", "web"]] {
        let done = hub.run(args);
        if done.status.success() {
            assert_ne!(args[0], "add", "it says that it has added: {done}");
            // What is done all the same is not done without a word.
            let what = "⚠ web: that it is to be stopped will not outlive the hub: ";
            assert!(args[0] != "stop" || done.stderr.contains(what) && is_about_space(&done.stderr), "{done}");
            continue;
        }
        assert!(is_about_space(&done.stderr), "{args:?}: says why: {done}");
        assert!(done.stderr.contains(&*hub.home.path().to_string_lossy()), "{args:?}: names the file: {done}");
        assert_eq!(hub.home.read("services.json"), rows, "{args:?}: the list is whole: {done}");
    }
    disk.make_room();
    hub.run(&["add", "new", "--no-start", "--", "/bin/true"]).succeeds();
    assert!(hub.home.read("services.json").contains("\"new\""), "room is all that it needed");
    let mode = fs::metadata(hub.home.path().join("operator.token")).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// That is when one is needed most.
#[test]
fn a_home_that_takes_no_more_files_can_be_backed_up_elsewhere() {
    let home = Home::new();
    let disk = SmallDisk::mount(home.path());
    home.install(&sleeper("web"));
    let mut hub = Hub::start_in(home, &[]);
    hub.line_after("web", "ready ");
    assert!(hub.end().success(), "{}", hub.output());
    disk.fill();
    let home = &hub.home;
    for what in ["full", "read-only"] {
        if what == "read-only" {
            let done = Command::new("mount").args(["-o", "remount,ro"]).arg(home.path()).status();
            assert!(done.is_ok_and(|done| done.success()), "this test needs to make a mount read-only");
        }
        let at = |extension: &str| home.path().with_extension(format!("{what}{extension}"));
        let (archive, to) = (at(".tar"), at(""));
        let (file, to_text) = (archive.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
        Finished::run(home.command(&["backup", file])).succeeds();
        Finished::run(home.command(&["--home", to_text, "restore", file])).succeeds();
        assert_eq!(fs::read(to.join("services.json")).expect("there"), home.read("services.json").as_bytes(), "{what}");
        assert!(to.join("hub.db").is_file(), "{what}");
    }
}
