//! `backup` and `restore` beside hubs that run and homes that are there: nothing of theirs is touched.

use crate::support::{Finished, Home, Hub, Spawned, module, testchild};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const PYTHON: &str = "/usr/bin/python3";

fn sleeper(name: &str) -> crate::support::Module {
    module(name, testchild(&["sleep"])).run(json!({"ready": "none"}))
}

/// Every file of a home that is at rest, with its content.
fn contents(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![home.to_owned()]);
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of ours").flatten() {
            match entry.file_type().expect("there").is_dir() {
                true => pending.push(entry.path()),
                false => drop(found.insert(entry.path(), fs::read(entry.path()).expect("a file"))),
            }
        }
    }
    found
}

#[test]
fn a_restore_touches_neither_a_running_hub_nor_a_home_that_is_there() {
    let mut hub = Hub::start(&[sleeper("web")]);
    let web = hub.number_after("web", "ready ");
    let archive = hub.home.path().with_extension("tar");
    let file = archive.to_str().expect("UTF-8");
    hub.run(&["backup", file]).succeeds();
    hub.run(&["add", "later", "--no-start", "--", "/bin/true"]).succeeds();

    let (rows, token) = (hub.home.read("services.json"), hub.token());
    let refused = hub.run(&["restore", file]).fails_with(7);
    assert!(refused.stderr.contains(&*hub.home.path().to_string_lossy()), "{refused}");
    assert!(refused.stderr.contains("stop its hub"), "says what to do: {refused}");
    assert_eq!((hub.home.read("services.json"), hub.token()), (rows, token));
    assert_eq!(hub.api("GET", "/api/modules/web").json()["pid"], web, "the module runs on");
    hub.run(&["status"]).succeeds();

    assert!(hub.end().success(), "{}", hub.output());
    let before = contents(hub.home.path());
    let refused = hub.run(&["restore", file, "--json"]).fails_with(7);
    assert!(refused.stdout.is_empty() || refused.stderr.contains("already"), "{refused}");
    assert_eq!(contents(hub.home.path()), before, "{refused}");
    // A home of which only one file is left is a home.
    let rest = hub.home.path().with_extension("rest");
    fs::create_dir(&rest).expect("ours");
    fs::write(rest.join("services.json"), "{}").expect("ours");
    let mut command = hub.home.command(&["restore", file]);
    command.env("PARACHUTE_HOME", &rest);
    Finished::run(command).fails_with(7);
    assert_eq!(contents(&rest), [(rest.join("services.json"), b"{}".to_vec())].into());
    hub.start_again();
    assert_eq!(hub.api("GET", "/api/modules/later").status, 200);
}

#[test]
fn a_list_that_is_kept_elsewhere_comes_back_with_the_home() {
    let home = Home::new();
    home.install(&sleeper("web"));
    let (list, real) = (home.path().join("services.json"), home.path().with_extension("rows.json"));
    fs::rename(&list, &real).expect("ours");
    symlink(&real, &list).expect("a link");
    let mut hub = Hub::start_in(home, &[]);
    hub.line_after("web", "ready ");
    let archive = hub.home.path().with_extension("tar");
    let file = archive.to_str().expect("UTF-8");
    let told = hub.run(&["backup", file, "--json"]).succeeds();
    assert_eq!(told.json()["data"]["left_out"], json!([]), "{told}");
    hub.run(&["add", "later", "--no-start", "--", "/bin/true"]).succeeds();
    assert!(list.is_symlink() && fs::read_to_string(&real).expect("there").contains("later"));
    assert!(hub.end().success(), "{}", hub.output());

    let home = Home::new();
    Finished::run(home.command(&["restore", file])).succeeds();
    assert!(!home.path().join("services.json").is_symlink());
    assert!(!home.read("services.json").contains("later"), "it is the list of that moment");
    let restored = Hub::start_in(home, &[]);
    restored.line_after("web", "ready ");
}

/// A command that was added, in the home of a hub that is gone, and the archive of it.
fn archived_wiki() -> (Home, PathBuf) {
    let home = Home::new();
    Finished::run(home.command(&["add", "wiki", "--no-start", "--", "/bin/sleep", "1000"])).succeeds();
    let mut list: Value = serde_json::from_str(&home.read("services.json")).expect("JSON");
    list["services"][0]["mine"] = json!(home.path());
    home.write("services.json", &list.to_string());
    let archive = home.path().with_extension("tar");
    let file = archive.to_str().expect("UTF-8");
    Finished::run(home.command(&["backup", file])).succeeds();
    fs::rename(home.path(), home.path().with_extension("away")).expect("ours");
    (home, archive)
}

#[test]
fn a_home_that_comes_back_elsewhere_knows_its_added_commands() {
    let (old, archive) = archived_wiki();
    let file = archive.to_str().expect("UTF-8");
    let empty = Home::new();
    let missing = empty.path().with_extension("new");
    for to in [empty.path(), &missing] {
        let to = to.to_str().expect("UTF-8");
        let told = Finished::run(old.command(&["--home", to, "restore", file, "--json"])).succeeds();
        assert_eq!(
            (&told.json()["data"]["moved_rows"], &told.json()["data"]["archive"]["home"]),
            (&json!(1), &json!(old.path()))
        );
        let list: Value =
            serde_json::from_slice(&fs::read(Path::new(to).join("services.json")).expect("there")).expect("JSON");
        let row = &list["services"][0];
        assert_eq!(
            (&row["installDir"], &row["mine"]),
            (&json!(Path::new(to).join("modules/wiki")), &json!(old.path()))
        );
        Finished::run(old.command(&["--home", to, "check"])).succeeds();
    }
    let told = Finished::run(old.command(&["restore", file])).succeeds();
    assert!(!told.stdout.contains("at the new path"), "it is where it was: {told}");
    Finished::run(old.command(&["check"])).succeeds();
}

/// How often the command waits for the disk; with `fails_at` that one fails.
fn run_on_a_bad_disk(home: &Home, args: &[&str], fails_at: Option<usize>) -> (Finished, usize) {
    let trace = home.path().with_extension("trace");
    let inject = fails_at.map(|at| format!("inject=fsync:error=EIO:when={at}"));
    let mut options = vec!["-qq", "-o", trace.to_str().expect("UTF-8"), "-e", "trace=fsync"];
    options.extend(inject.iter().flat_map(|inject| ["-e", inject.as_str()]));
    let ended = home.traced(&options, args);
    (ended, fs::read_to_string(&trace).expect("a trace").lines().filter(|line| line.contains("fsync(")).count())
}

#[test]
fn a_disk_that_does_not_confirm_the_last_step_takes_nothing_away_and_is_told() {
    let home = Home::new();
    home.install(&sleeper("web"));
    let at = |extension: &str| home.path().with_extension(extension).to_str().expect("UTF-8").to_owned();
    let (file, to, empty) = (at("tar"), at("to"), at("empty"));
    for args in [&["backup", &file][..], &["--home", &to, "restore", &file], &["--home", &empty, "restore", &file]] {
        let made = Path::new(if args.len() == 2 { file.as_str() } else { args[1] });
        if made == Path::new(&empty) {
            fs::create_dir(made).expect("ours");
        }
        let (_, last) = run_on_a_bad_disk(&home, args, None);
        match made.is_dir() {
            true => fs::remove_dir_all(made).expect("there"),
            false => fs::remove_file(made).expect("there"),
        }
        if made == Path::new(&empty) {
            fs::create_dir(made).expect("ours");
        }
        let (told, _) = run_on_a_bad_disk(&home, &[args, &["--json"]].concat(), Some(last));
        let told = told.fails_with(1);
        assert!(told.stderr.contains(&format!("{} is there and whole", made.display())), "{told}");
        assert!(!told.stderr.contains("nothing is left") && told.json()["ok"] == false, "{told}");
        assert!(made.is_file() || made.join("services.json").is_file(), "{told}");
        Finished::run(home.command(args)).fails_with(7);
    }
}

#[test]
fn a_backup_that_lacks_something_is_written_and_is_no_success() {
    let home = Home::new();
    home.install(&sleeper("web"));
    home.write("web/data", "kept");
    fs::write(home.path().join(OsStr::from_bytes(b"web/\xff")), "cannot be named").expect("ours");
    let archive = home.path().with_extension("tar");
    let file = archive.to_str().expect("UTF-8");
    let told = Finished::run(home.command(&["backup", file, "--json"])).fails_with(1);
    let (said, error) = (told.json(), told.stderr.clone());
    assert_eq!((&said["ok"], &said["data"]["left_out"]), (&json!(false), &json!([])), "{told}");
    assert!(said["data"]["missing"][0].as_str().is_some_and(|line| line.contains("web/")), "{told}");
    assert!(error.contains("lacks one thing of the home"), "{told}");
    fs::remove_file(&archive).expect("written");
    let told = Finished::run(home.command(&["backup", file])).fails_with(1);
    assert!(told.stderr.contains("web/") && told.stderr.contains("UTF-8") && !told.stdout.contains('✓'), "{told}");
    let to = home.path().with_extension("to");
    Finished::run(home.command(&["--home", to.to_str().expect("UTF-8"), "restore", file])).succeeds();
    assert_eq!(fs::read(to.join("services.json")).expect("there"), home.read("services.json").as_bytes());
}

#[test]
fn a_file_that_fails_in_its_middle_leaves_no_half_of_it() {
    let home = Home::new();
    home.install(&sleeper("web"));
    home.write("web/a", "kept");
    home.write("web/b", &"x".repeat(1 << 20));
    home.write("web/c", "kept");
    let archive = home.path().with_extension("tar");
    let (file, bad) = (archive.to_str().expect("UTF-8"), home.path().join("web/b"));
    let path = bad.to_str().expect("UTF-8");
    // The disk is bad there; its module has cut it.
    for inject in ["inject=read:error=EIO:when=3", "inject=read:retval=0:when=3"] {
        let options = ["-qq", "-o", "/dev/null", "-P", path, "-e", "trace=read", "-e", inject];
        let told = home.traced(&options, &["backup", file, "--json"]).fails_with(1);
        let missing = &told.json()["data"]["missing"];
        assert!(missing[0].as_str().is_some_and(|line| line.starts_with(path)) && missing[1].is_null(), "{told}");
        let to = home.path().with_extension("to");
        Finished::run(home.command(&["--home", to.to_str().expect("UTF-8"), "restore", file])).succeeds();
        assert!(to.join("web/a").exists() && !to.join("web/b").exists() && to.join("web/c").exists());
        fs::remove_dir_all(&to).expect("ours");
        fs::remove_file(&archive).expect("ours");
    }
}

#[test]
fn what_is_said_of_a_database_is_what_there_is() {
    let home = Home::new();
    home.install(&sleeper("web"));
    let at = |extension: &str| home.path().with_extension(extension).to_str().expect("UTF-8").to_owned();
    Finished::run(home.command(&["backup", &at("none.tar")])).succeeds();
    let told = Finished::run(home.command(&["--home", &at("none"), "restore", &at("none.tar")])).succeeds();
    assert!(!told.stderr.contains("rotate-key"), "there is no token: {told}");

    home.write("hub.db", &"x".repeat(8192));
    let told = Finished::run(home.command(&["backup", &at("bad.tar")])).fails_with(1);
    assert!(told.stderr.contains("hub.db is in the archive as it is"), "{told}");
    let told = Finished::run(home.command(&["--home", &at("bad"), "restore", &at("bad.tar")])).succeeds();
    assert!(told.stderr.contains(&format!("{}/hub.db", at("bad"))) && !told.stderr.contains(".tmp"), "{told}");
    assert!(!told.stderr.contains("rotate-key"), "{told}");
    assert_eq!(fs::read(Path::new(&at("bad")).join("hub.db")).expect("there"), [b'x'; 8192]);

    // One that cannot be opened may be a good one.
    let database = home.path().join("hub.db");
    let options = ["-qq", "-o", "/dev/null", "-P", database.to_str().expect("UTF-8")];
    let options = [&options[..], &["-e", "trace=openat,?open", "-e", "inject=openat,?open:error=EACCES"]].concat();
    let told = home.traced(&options, &["backup", &at("closed.tar"), "--json"]).fails_with(1);
    let missing = &told.json()["data"]["missing"];
    assert!(missing[0].as_str().is_some_and(|line| line.contains("hub.db is not in the archive")), "{told}");
    assert!(missing[1].is_null(), "{told}");
}

/// It is not bad, and half of what that one writes would be in it.
#[test]
fn a_database_that_another_process_holds_is_not_archived_as_it_is() {
    let home = Home::new();
    home.install(&sleeper("web"));
    let script = "import sqlite3, sys, time\n\
        db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        db.executescript('PRAGMA journal_mode = WAL; PRAGMA locking_mode = EXCLUSIVE; CREATE TABLE t(a)')\n\
        print('locked', flush=True)\n\
        time.sleep(100000)\n";
    let (database, archive) = (home.path().join("hub.db"), home.path().with_extension("tar"));
    let argv = [PYTHON, "-c", script, database.to_str().expect("UTF-8")].map(str::to_owned);
    let holder = Spawned::start(&argv);
    holder.line_after("locked");
    let refused = Finished::run(home.command(&["backup", archive.to_str().expect("UTF-8")])).fails_with(8);
    assert!(refused.stderr.contains("another program has it") && !archive.exists(), "{refused}");
}
