//! Every file of the home, damaged in every way: the hub says which one it is, runs what it can and loses nothing.

use crate::support::{Finished, Home, Hub, Refused, eventually, module, testchild};
use Outcome::{Refuses, Runs, Says};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Larger than any file of the home may be.
const TOO_LARGE_BYTES: usize = (1 << 20) + 1;
/// `nobody`: neither root nor whoever runs the tests.
const STRANGER: u32 = 65534;

/// What `serve` makes of a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The damage is none, or of no account: the file is written anew at every start.
    Runs,
    /// Names the file and runs what does not need it.
    Says,
    /// Names the file and ends with this exit code.
    Refuses(i32),
}

/// The ways in which a file can be bad, in the order of the tables below.
const DAMAGES: [&str; 9] =
    ["truncated", "empty", "too large", "not UTF-8", "fifo", "symlink", "directory", "mode 0644", "foreign owner"];

fn damage(path: &Path, how: &str) {
    let old = fs::read(path).unwrap_or_else(|error| panic!("{} is to be damaged: {error}", path.display()));
    if matches!(how, "fifo" | "symlink" | "directory") {
        fs::rename(path, aside(path)).expect("the home is ours");
    }
    let done = match how {
        "truncated" => fs::write(path, &old[..old.len() / 2]),
        "empty" => fs::write(path, b""),
        "too large" => fs::write(path, vec![b'x'; TOO_LARGE_BYTES]),
        "not UTF-8" => fs::write(path, b"\xff\xfe\xfd = \x80\n"),
        "fifo" => Command::new("mkfifo").arg(path).status().map(|status| assert!(status.success(), "mkfifo: {status}")),
        "symlink" => symlink(aside(path), path),
        "directory" => fs::create_dir(path),
        "mode 0644" => fs::set_permissions(path, fs::Permissions::from_mode(0o644)),
        "foreign owner" => chown(path, Some(STRANGER), Some(STRANGER)),
        _ => unreachable!("a damage that is not in the table: {how}"),
    };
    done.unwrap_or_else(|error| panic!("cannot make {} {how}: {error}", path.display()));
}

/// Where the file went whose name something else has now.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().expect("a file").to_owned();
    name.push(".elsewhere");
    path.with_file_name(name)
}

/// A home that a hub has used and left in the middle of its work: every file that can be there is there.
fn used_home() -> Home {
    let mut hub = Hub::start_in(Home::new(), &[]);
    for name in ["web", "other"] {
        hub.home.install(&module(name, testchild(&["sleep"])).run(serde_json::json!({"ready": "none"})));
        let dotenv = format!("{name}/.env");
        hub.home.write(&dotenv, "GREETING=hello\n");
        set_mode(&hub.home.path().join(dotenv), 0o600);
    }
    hub.home.install(&module("idle", testchild(&["sleep"])).run(serde_json::json!({"ready": "none"})));
    hub.run(&["start", "web", "other", "idle"]).succeeds();
    hub.run(&["stop", "idle"]).succeeds();
    // Something was taken back: a new database must not look like an older copy.
    hub.run(&["auth", "rotate-operator"]).succeeds();
    let volatile = ["hub-instance.json", "hub/run/hub.port", "hub/run/hub.pid", "hub/run/children"];
    let left = volatile.map(|file| (file, hub.home.read(file)));
    assert!(hub.end().success(), "the first hub ends well: {}", hub.output());
    let home = copy_of(&hub.home);
    home.write("hub/run/services.edits", "{}\n");
    for (file, text) in left {
        home.write(file, &text);
        set_mode(&home.path().join(file), 0o600);
    }
    home
}

/// The same files in another place; the packages are its own.
fn copy_of(home: &Home) -> Home {
    let copy = Home::new();
    let (from, to) = (home.path().parent().expect("a root"), copy.path().parent().expect("a root"));
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "cp: {status:?}");
    let rows = copy.read("services.json").replace(&*from.to_string_lossy(), &to.to_string_lossy());
    copy.write("services.json", &rows);
    copy
}

/// Damages `file` of a used home in every way, and holds what the binary makes of it against `expected`.
#[track_caller]
fn each_damage(file: &str, expected: [Outcome; 9]) {
    let used = used_home();
    let mut wrong = Vec::new();
    for (how, expected) in DAMAGES.into_iter().zip(expected) {
        let home = copy_of(&used);
        let path = match file.strip_prefix("package/") {
            Some(below) => home.package("web").join(below),
            None => home.path().join(file),
        };
        damage(&path, how);
        let before = content(&path);
        let mut blame = |what: &str, shown: &dyn std::fmt::Display| wrong.push(format!("--- {how}: {what}\n{shown}"));

        // Both look at the files alone, and neither may hang or change them.
        for verb in ["check", "status"] {
            let looked = Finished::run(home.command(&[verb]));
            if looked.status.code().is_none() || looked.stderr.contains("panicked") {
                blame("it breaks", &looked);
            }
            if content(&path) != before {
                blame("it changes the file", &looked);
            }
            let names = format!("{}{}", looked.stdout, looked.stderr).contains(name_of(file));
            if expected != Runs && verb == "check" && !names {
                blame("it does not name the file", &looked);
            }
        }

        let (outcome, output, hub_home) = serve(home, file, how);
        if outcome != expected {
            blame(&format!("{outcome:?} instead of {expected:?}"), &output);
        }
        if output.contains("panicked") || expected != Runs && !output.contains(name_of(file)) {
            blame("serve does not name it, or breaks", &output);
        }
        // A database that is only made private is in use, so that its bytes go on changing.
        let in_use = (file, how) == ("hub.db", "mode 0644");
        if !VOLATILE.contains(&file) && !in_use && !is_kept(&path, &before) {
            blame("its content is lost", &output);
        }
        // What was moved aside may be a secret, which is looked for where it does not belong.
        let _is_there_only_for_some = fs::remove_file(aside(&path));
        drop(hub_home);
    }
    assert!(wrong.is_empty(), "{file}\n{}", wrong.join("\n"));
}

/// What `serve` has left its home in; a hub's goes with the hub.
enum Left {
    Hub(#[expect(dead_code, reason = "held for its home")] Box<Hub>),
    Home(#[expect(dead_code, reason = "held until the files were looked at")] Home),
}

/// Written anew at every start or added to: what a hub before left in them is void, or not all that is in them.
const VOLATILE: &[&str] = &[
    "hub-instance.json",
    "hub/run/hub.port",
    "hub/run/hub.pid",
    "hub/run/children",
    "hub/run/epoch",
    "hub/run/hub.lock",
    "services.json.bak",
    "web/logs/web.log",
];

fn name_of(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// The bytes of a regular file or of what a link leads to; `None` for anything else.
fn content(path: &Path) -> Option<Vec<u8>> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).and_then(|_| fs::read(path).ok())
}

/// Whether the bytes are still there, under the old name or beside it.
fn is_kept(path: &Path, bytes: &Option<Vec<u8>>) -> bool {
    let Some(bytes) = bytes else { return fs::symlink_metadata(path).is_ok() };
    let beside = fs::read_dir(path.parent().expect("a directory")).expect("it is ours");
    bytes.is_empty() || beside.flatten().any(|entry| content(&entry.path()).as_ref() == Some(bytes))
}

/// Runs `serve` until all modules that the damage does not concern run, or until it has refused.
fn serve(home: Home, file: &str, what: &str) -> (Outcome, String, Left) {
    match Hub::try_start_in(home, &[]) {
        Err(Refused { home, status, output }) => {
            let code = status.code().unwrap_or_else(|| panic!("{what}: ended with {status}: {output}"));
            let reasons = output.lines().filter(|line| line.starts_with("parachute serve: ")).count();
            assert_eq!(reasons, 1, "{what}: one reason: {output}");
            (Refuses(code), output, Left::Home(home))
        }
        Ok(mut hub) => {
            // All rows are gone with the file that lists them.
            if file != "services.json" {
                eventually(&format!("{what}: the other module runs"), || hub.lines_after("other", "ready ").pop());
            }
            if file == "web/logs/web.log" {
                hub.line_after("web", "ready ");
            }
            assert_eq!(hub.get("/health").status, 200, "{what}");
            // One that is in force under another hub's keys, or was, is left to whoever put it there.
            if file != "operator.token" {
                // Without the note of its epoch nobody knows whether the database is an older copy.
                let expected = if file == "hub/run/epoch" && matches!(what, "empty" | "not UTF-8") { 503 } else { 200 };
                assert_eq!(hub.api("GET", "/api/modules").status, expected, "{what}: {}", hub.output());
            }
            assert!(hub.end().success(), "{what}: ends well: {}", hub.output());
            let output = hub.output();
            let what_it_says = |line: &&str| !line.contains("listening on");
            let said = output.lines().filter(what_it_says).any(|line| line.contains(name_of(file)));
            (if said { Says } else { Runs }, output, Left::Hub(Box::new(hub)))
        }
    }
}

#[test]
fn services_json_that_is_bad_is_named_and_kept() {
    each_damage("services.json", [Says, Says, Says, Says, Says, Runs, Says, Runs, Says]);
}

#[test]
fn a_manifest_that_is_bad_costs_only_its_own_module() {
    each_damage("package/.parachute/module.json", [Says, Says, Says, Says, Says, Runs, Says, Runs, Says]);
}

#[test]
fn a_dot_env_that_is_bad_costs_only_its_own_module() {
    each_damage("web/.env", [Says, Runs, Says, Says, Says, Runs, Says, Runs, Says]);
}

#[test]
fn an_operator_token_that_is_bad_keeps_no_module_from_running() {
    each_damage("operator.token", [Says; 9]);
}

#[test]
fn a_database_that_is_bad_is_kept_aside_or_refused() {
    each_damage("hub.db", [Says, Runs, Says, Says, Refuses(78), Refuses(78), Refuses(78), Says, Refuses(78)]);
}

#[test]
fn a_remembered_stop_that_cannot_be_read_is_said() {
    each_damage("hub/intent.json", [Says, Says, Says, Says, Says, Says, Says, Runs, Says]);
}

#[test]
fn an_instance_file_that_is_bad_keeps_no_hub_from_running() {
    each_damage("hub-instance.json", [Runs, Runs, Runs, Runs, Runs, Says, Says, Runs, Runs]);
}

#[test]
fn a_port_file_that_is_bad_is_replaced_or_refused() {
    each_damage("hub/run/hub.port", [Runs, Runs, Runs, Runs, Runs, Refuses(78), Refuses(78), Runs, Runs]);
}

#[test]
fn a_pid_file_that_is_bad_is_replaced_or_refused() {
    each_damage("hub/run/hub.pid", [Runs, Runs, Runs, Runs, Runs, Refuses(78), Refuses(78), Runs, Runs]);
}

#[test]
fn a_record_of_children_that_is_bad_is_said_or_refused() {
    each_damage("hub/run/children", [Says, Says, Says, Says, Refuses(78), Refuses(78), Refuses(78), Runs, Refuses(78)]);
}

#[test]
fn an_epoch_that_is_bad_lets_no_token_in_or_is_refused() {
    each_damage(
        "hub/run/epoch",
        [Runs, Says, Refuses(78), Says, Refuses(78), Refuses(78), Refuses(78), Runs, Refuses(78)],
    );
}

#[test]
fn a_lock_of_the_hub_that_is_bad_is_taken_or_refused() {
    each_damage("hub/run/hub.lock", [Runs, Runs, Runs, Runs, Refuses(78), Refuses(78), Refuses(78), Runs, Runs]);
}

#[test]
fn notes_of_edits_that_are_bad_are_said() {
    each_damage("hub/run/services.edits", [Runs, Runs, Says, Runs, Says, Says, Says, Runs, Says]);
}

#[test]
fn a_backup_that_is_bad_is_replaced_or_said() {
    each_damage("services.json.bak", [Runs, Runs, Runs, Runs, Runs, Says, Says, Runs, Runs]);
}

#[test]
fn a_log_that_is_bad_costs_only_its_own_lines() {
    each_damage("web/logs/web.log", [Runs, Runs, Runs, Runs, Says, Says, Says, Runs, Runs]);
}

/// The files of the home and how large they are.
fn listing(home: &Home) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(home.path()).expect("ours").flatten();
    let mut listing: Vec<_> =
        entries.map(|entry| (entry.path(), entry.metadata().expect("it is there").len())).collect();
    listing.sort();
    listing
}

#[test]
fn check_looks_into_the_database_and_the_token_and_leaves_no_trace() {
    let hub = Hub::start(&[]);
    let running = hub.run(&["check"]).succeeds();
    assert!(running.stdout.contains("nothing is wrong"), "{running}");
    hub.run(&["auth", "rotate-operator"]).succeeds();
    let home = used_home();
    let cut = |file: &str, bytes: usize| fs::read(home.path().join(file)).expect("there")[..bytes].to_vec();
    for (file, content) in [
        ("hub.db", cut("hub.db", 3_000)),
        ("hub.db", Vec::new()),
        ("hub.db", b"no database\n".repeat(1_000)),
        ("operator.token", cut("operator.token", 200)),
        ("operator.token", Vec::new()),
    ] {
        let home = copy_of(&home);
        Finished::run(home.command(&["check"])).succeeds();
        let path = home.path().join(file);
        fs::write(&path, &content).expect("ours");
        let before = listing(&home);
        let checked = Finished::run(home.command(&["check"])).fails_with(78);
        let said = format!("✗ {}: ", path.display());
        assert_eq!(checked.stdout.matches(&said).count(), 1, "{file}, {} bytes: {checked}", content.len());
        assert_eq!(listing(&home), before, "{file}, {} bytes", content.len());
        assert_eq!(fs::read(&path).expect("there"), content);
        let doctor = Finished::run(home.command(&["doctor"])).fails_with(6);
        assert_eq!(doctor.stdout.matches(&said).count(), 1, "{doctor}");
    }
}

#[test]
fn what_is_in_the_way_of_a_file_or_directory_of_the_hub_is_found_by_check() {
    let used = used_home();
    let files = [
        "hub-instance.json",
        "hub/run/epoch",
        "hub/run/hub.lock",
        "hub/run/intent.lock",
        "hub/run/operator.lock",
        "hub/run/services.edits",
        "services.json.bak",
        "services.json.lock",
        "services.json.removed",
        "web/logs/web.log",
        "web/run/hub.key",
    ];
    for file in files {
        for how in ["fifo", "symlink", "directory"] {
            let home = copy_of(&used);
            let path = home.path().join(file);
            if fs::symlink_metadata(&path).is_err() {
                home.write(file, "");
            }
            damage(&path, how);
            let checked = Finished::run(home.command(&["check"])).fails_with(78);
            assert!(checked.stdout.contains(&*path.to_string_lossy()), "{file}, {how}: {checked}");
        }
    }
}

#[test]
fn what_is_in_the_way_of_a_directory_of_a_module_is_found_by_check() {
    let used = used_home();
    for (directory, is_link, code) in [
        ("web", true, 78),
        ("web/logs", false, 78),
        // Lines may well be kept on another disk.
        ("web/logs", true, 0),
        ("web/run", false, 78),
        ("web/run", true, 78),
    ] {
        let home = copy_of(&used);
        let path = home.path().join(directory);
        let before = Finished::run(home.command(&["check"])).succeeds();
        assert!(before.stdout.contains("nothing is wrong"), "{before}");
        // A secret, which is looked for where it does not belong.
        fs::remove_file(home.path().join("web/run/hub.key")).expect("there");
        fs::rename(&path, aside(&path)).expect("ours");
        if is_link {
            symlink(aside(&path), &path).expect("ours");
        } else {
            fs::write(&path, "x").expect("ours");
        }
        let checked = Finished::run(home.command(&["check"])).fails_with(code);
        let said = format!("✗ {}: is not a directory; move it away\n", path.display());
        assert_eq!(checked.stdout.contains(&said), code != 0, "{directory}: {checked}");
        let (outcome, output, _left) = serve(home, directory, directory);
        assert_ne!(outcome, Refuses(78), "{directory}: {output}");
        let complains = ["is a symbolic link", "web.log: Not a directory", "cannot ask the hub about tokens"];
        assert_eq!(complains.iter().any(|said| output.contains(said)), code != 0, "{directory}: {output}");
    }
}

#[test]
fn what_takes_the_place_of_the_run_directory_or_the_socket_is_refused() {
    type Make = fn(&Path);
    let rows: &[(&str, &str, Make)] = &[
        ("a file as socket", "hub/run/hub.sock", |path| fs::write(path, "x").expect("ours")),
        ("a link as socket", "hub/run/hub.sock", |path| symlink("elsewhere", path).expect("ours")),
        ("a file as directory", "hub/run", |path| {
            fs::rename(path, aside(path)).expect("ours");
            fs::write(path, "x").expect("ours");
        }),
        ("a link as directory", "hub/run", |path| {
            fs::rename(path, aside(path)).expect("ours");
            symlink(aside(path), path).expect("ours");
        }),
    ];
    let used = used_home();
    for (what, file, make) in rows {
        let home = copy_of(&used);
        let path = home.path().join(file);
        make(&path);
        let checked = Finished::run(home.command(&["check"])).fails_with(78);
        assert!(checked.stdout.contains(&*path.to_string_lossy()), "{what}: {checked}");
        let (outcome, output, _left) = serve(home, file, what);
        assert_eq!(outcome, Refuses(78), "{what}: {output}");
        assert!(output.contains(&*path.to_string_lossy()), "{what}: {output}");
    }
}

#[test]
fn a_home_that_cannot_be_one_is_refused_with_its_path() {
    type Make = fn(&Path);
    let rows: &[(&str, Make, Outcome)] = &[
        ("mode 0777", |home| set_mode(home, 0o777), Says),
        ("foreign owner", |home| chown(home, Some(STRANGER), None).expect("root"), Refuses(78)),
        (
            "a file",
            |home| {
                fs::remove_dir_all(home).expect("ours");
                fs::write(home, b"precious").expect("ours");
            },
            Refuses(78),
        ),
        ("missing", |home| fs::remove_dir_all(home).expect("ours"), Runs),
    ];
    for (what, make, expected) in rows {
        let home = Home::new();
        make(home.path());
        let path = home.path().to_owned();
        let (outcome, output) = match Hub::try_start_in(home, &[]) {
            Ok(mut hub) => {
                assert!(hub.end().success(), "{what}: {}", hub.output());
                let said = hub.output().contains("written by others");
                (if said { Says } else { Runs }, hub.output())
            }
            Err(refused) => (Refuses(refused.status.code().unwrap_or(-1)), refused.output),
        };
        assert_eq!(outcome, *expected, "{what}: {output}");
        assert!(output.contains(&*path.to_string_lossy()), "{what}: names the home: {output}");
        assert!(!output.contains("panicked"), "{what}: {output}");
    }
}

#[test]
fn a_home_below_a_missing_or_foreign_parent_or_a_relative_one_is_told_as_such() {
    let home = Home::new();
    for (what, value, code, said) in [
        ("relative", "some/where", 78, "PARACHUTE_HOME"),
        ("a parent that is a file", "/etc/hostname/home", 1, "/etc/hostname/home"),
        ("a parent that nobody can make", "/proc/no/home", 1, "/proc/no/home"),
        ("longer than a path can be", &format!("/{}", "x/".repeat(3000)), 1, "x/x"),
    ] {
        for verb in ["serve", "status", "check"] {
            let mut command = home.command(&[verb]);
            command.env("PARACHUTE_HOME", value).env("PORT", crate::support::free_port().to_string());
            let done = Finished::run(command);
            let exit = done.status.code().unwrap_or_else(|| panic!("{what}: {done}"));
            if verb == "serve" {
                assert_eq!(exit, code, "{what}: {done}");
                assert!(done.stderr.contains(said), "{what}: names {said}: {done}");
            }
            assert!(!done.stderr.contains("panicked"), "{what}: {done}");
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}
