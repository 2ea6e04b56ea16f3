//! The same faults in verbs whose files are not the list of modules: what exit code and file say is the same, and the
//! next run works.

use crate::faults::{Scenario, owned, row, used, used_with, walk};
use crate::support::{Finished, Home, module, testchild};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const NEW: &str = "https://new.example";
const ENV_BEFORE: &str = "# of the vault\nA=1\n";
/// What a writer of `web/.env` left that was killed.
const OLD_TEMP: &str = "web/..env.0123456789abcdef.tmp";

fn stored_origin(home: &Home) -> Value {
    let shown = Finished::run(home.command(&["hub", "show-origin", "--json"])).succeeds();
    shown.json()["data"]["hub_origin"].clone()
}

#[test]
fn an_origin_that_is_set_while_it_is_struck_is_the_old_or_the_new_one_for_the_vault_too() {
    let vault = module("vault", testchild(&["sleep"])).run(json!({"ready": "none"}));
    let home = used_with(&[vault.row("paths", json!(["/vault/default"]))]);
    home.write("vault/.env", ENV_BEFORE);
    let env_after = || format!("{ENV_BEFORE}PARACHUTE_HUB_ORIGIN={NEW}\n");
    let is_done = |home: &Home| {
        let env = home.read("vault/.env");
        let new = format!("{ENV_BEFORE}PARACHUTE_HUB_ORIGIN={NEW}\n");
        assert!(env == ENV_BEFORE || env == new, "{env:?} is neither old nor new");
        let stored = stored_origin(home);
        assert!(stored == NEW || stored.is_null(), "{stored}");
        assert!(stored == NEW || env == ENV_BEFORE, "the vault is told what is not stored");
        stored == NEW
    };
    let undo = |home: &Home| {
        assert_eq!(
            home.read("vault/.env"),
            format!("{ENV_BEFORE}PARACHUTE_HUB_ORIGIN={NEW}\n"),
            "in the end it follows"
        );
        Finished::run(home.command(&["hub", "set-origin", "--unset"])).succeeds();
        assert_eq!((home.read("vault/.env"), stored_origin(home)), (ENV_BEFORE.to_owned(), Value::Null));
    };
    walk(&home, &Scenario { args: owned(&["hub", "set-origin", NEW]), then: &[0], is_done, undo });
    // And back: what was written is taken away again, or not yet.
    Finished::run(home.command(&["hub", "set-origin", NEW])).succeeds();
    assert_eq!(home.read("vault/.env"), env_after());
}

fn token_file(home: &Home) -> PathBuf {
    home.path().with_extension("minted")
}

#[test]
fn a_token_file_that_is_struck_is_a_whole_token_or_none() {
    let home = used();
    let file = token_file(&home).to_str().expect("UTF-8").to_owned();
    let is_done = |home: &Home| {
        let file = token_file(home);
        let Ok(text) = fs::read_to_string(&file) else { return false };
        assert!(text.ends_with('\n') && text.trim_end().split('.').count() == 3, "a torn token");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o7777, 0o600);
        true
    };
    let undo = |home: &Home| {
        fs::remove_file(token_file(home)).expect("there");
        // Killed before it had its name: nobody else sweeps where the operator keeps files.
        let beside = fs::read_dir(home.path().parent().expect("a directory")).expect("ours").flatten();
        let left = beside.filter(|entry| entry.file_name().to_string_lossy().starts_with(".home.minted."));
        left.for_each(|entry| fs::remove_file(entry.path()).expect("ours"));
    };
    let args = owned(&["auth", "mint-token", "--scope", "web:read", "--token-file", &file]);
    // 7: the first run got as far as giving it its name.
    walk(&home, &Scenario { args, then: &[0, 7], is_done, undo });
}

/// A home with everything that the doctor mends.
fn spoil(home: &Home) {
    let mut list: Value = serde_json::from_str(&home.read("services.json")).expect("whole");
    let retired = json!({"name": "agent", "port": 1944, "paths": ["/agent"], "health": "/", "version": "1"});
    list["services"].as_array_mut().expect("rows").push(retired);
    home.write("services.json", &format!("{list:#}\n"));
    home.write("web/.env", "A=1\n");
    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(home.path().join("web/.env"), open).expect("ours");
    home.write(OLD_TEMP, "half");
    let file = fs::File::options().write(true).open(home.path().join(OLD_TEMP)).expect("ours");
    file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).expect("a time");
}

#[test]
fn a_doctor_that_is_struck_has_mended_or_says_what_is_left() {
    let home = used();
    spoil(&home);
    let is_done = |home: &Home| {
        let mode = fs::metadata(home.path().join("web/.env")).expect("kept").permissions().mode() & 0o777;
        assert!(mode == 0o666 || mode == 0o600, "{mode:o}");
        assert_eq!(home.read("web/.env"), "A=1\n");
        assert!(row(home, "web").is_some(), "the other row");
        let removed = row(home, "agent").is_none();
        let kept = home.read("services.json.removed").contains("\"agent\"");
        assert!(kept || !removed, "a row is lost");
        // The mode is a warning, which the look after the mending shows and the exit code leaves out.
        removed
    };
    let undo = |home: &Home| {
        let mode = fs::metadata(home.path().join("web/.env")).expect("kept").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "in the end it is private");
        assert!(!home.path().join(OLD_TEMP).exists(), "an old temporary file goes");
        // Otherwise the row that is there twice would hide one that was not kept.
        fs::remove_file(home.path().join("services.json.removed")).expect("there");
        // And a row that comes back at once would count as one that somebody's old list has brought back.
        // It is not there where noting the edit was what failed.
        let _not_noted = fs::remove_file(home.path().join("hub/run/services.edits"));
        spoil(home);
    };
    walk(&home, &Scenario { args: owned(&["doctor", "--fix"]), then: &[0], is_done, undo });
}
