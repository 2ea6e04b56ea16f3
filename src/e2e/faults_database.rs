//! The writes of SQLite itself, which pass no door of ours: each of them meets a full disk, and each wait for the disk
//! an error of it, as the kernel would say it (files §15, cases 5, 6 and 18).

use crate::database::sql;
use crate::support::{Finished, Home};
use std::fs;

/// The calls that SQLite writes with and waits for the disk with, and what each comes to.
const FAULTS: [(&str, &str); 2] = [("pwrite64", "ENOSPC"), ("fsync,fdatasync", "EIO")];

/// How many of `calls` a run makes when nothing goes wrong.
#[track_caller]
fn count(home: &Home, calls: &str, args: &[&str]) -> usize {
    let trace = home.path().with_extension("trace");
    let options = ["-qq", "-e", "signal=none", "-o", trace.to_str().expect("UTF-8"), "-e", &format!("trace={calls}")];
    home.traced(&options, args).succeeds();
    fs::read_to_string(&trace).expect("strace wrote it").lines().count()
}

/// What must hold after any fault: a database that is whole, and a way on for the operator.
#[track_caller]
fn goes_on(home: &Home, what: &str) {
    assert_eq!(sql(home, "PRAGMA integrity_check"), "[('ok',)]", "{what}");
    let list = || Finished::run(home.command(&["auth", "list-tokens", "--json"]));
    let listed = list();
    if listed.code() != Some(0) {
        assert!(listed.stderr.contains("parachute auth rotate-operator"), "{what}: {listed}");
        Finished::run(home.command(&["auth", "rotate-operator"])).succeeds();
        list().succeeds();
    }
    let aside = fs::read_dir(home.path()).expect("the home").flatten();
    let aside: Vec<_> = aside.filter(|entry| entry.file_name().to_string_lossy().contains(".corrupt-")).collect();
    assert!(aside.is_empty(), "{what}: a sound database was set aside: {aside:?}");
}

/// Strikes each call of a run of `args`, every time in a home that `prepare` made or left.
fn walk(args: &[&str], home: &Home, prepare: &dyn Fn() -> Option<Home>) {
    for (calls, error) in FAULTS {
        let first = prepare();
        let total = count(first.as_ref().unwrap_or(home), calls, args);
        assert!(total > 1, "{args:?} makes no {calls}");
        let mut failed = 0;
        for at in 1..=total {
            let fresh = prepare();
            let home = fresh.as_ref().unwrap_or(home);
            let what = format!("{args:?}, {error} of {calls} number {at}");
            let inject = format!("inject={calls}:error={error}:when={at}");
            let ended = home.traced(&["-qq", "-o", "/dev/null", "-e", &inject], args);
            if ended.code() != Some(0) {
                failed += 1;
                assert!(ended.stderr.contains(&*home.path().to_string_lossy()), "{what} names no file: {ended}");
                assert!(!ended.stderr.contains("panicked"), "{what}: {ended}");
            }
            goes_on(home, &what);
            Finished::run(home.command(args)).succeeds();
        }
        assert!(failed > 0, "{args:?}: no {calls} of {total} mattered");
    }
}

#[test]
fn a_database_whose_disk_fails_at_any_call_is_whole_and_the_operator_goes_on() {
    let home = Home::new();
    Finished::run(home.command(&["auth", "rotate-operator"])).succeeds();
    for args in [
        &["auth", "mint-token", "--scope", "web:read"][..],
        &["auth", "rotate-key", "--now"],
        &["hub", "set-origin", "https://new.example"],
    ] {
        let unset = || {
            Finished::run(home.command(&["hub", "set-origin", "--unset"])).succeeds();
            None
        };
        walk(args, &home, &unset);
    }
}

#[test]
fn a_first_database_whose_disk_fails_at_any_call_is_made_by_the_next_command() {
    walk(&["auth", "rotate-operator"], &Home::new(), &|| Some(Home::new()));
}
