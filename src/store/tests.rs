//! Every write of the home with each of its kernel calls going wrong in turn: failing, or being the last before the
//! process is killed (files §15, cases 5 and 6).

use super::children::{Child, Header, Journal};
use super::identity::{self, HubLock, Identity};
use super::intent::Intent;
use super::services::Services;
use super::testing::{TestHome, short};
use super::{Home, atomic, dotenv, epoch, module_secrets, modules, operator_token, private};
use crate::manifest::services::Listing;
use crate::sys::fault::{Fault, Played, play};
use crate::token::proof::BootSecret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

mod planted;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EACCES: i32 = 13;
const EXDEV: i32 = 18;
const EINVAL: i32 = 22;
const EROFS: i32 = 30;
/// Most calls wait for nothing but the processor, those around a list that cannot be parsed for a time: more threads
/// than there are processors.
const THREADS: usize = 16;
/// Holds times, and is no more than a note.
const JOURNAL: &str = "hub/run/services.edits";

/// One thing that is done to a home.
struct Scenario {
    name: &'static str,
    /// Makes the old state.
    before: fn(&TestHome),
    act: fn(&Home) -> Result<(), String>,
}

/// Mode and content of every file, by its path below the home.
type Files = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn row(name: &str, port: u16) -> Value {
    json!({ "name": name, "port": port, "paths": [format!("/{name}")], "health": "/", "version": "", "mine": [1] })
}

fn edit(home: &Home, name: &str, port: u16) -> Result<(), String> {
    Services::new(home.clone()).edit(|document| document.upsert(row(name, port))).map_err(|error| error.to_string())
}

fn text(result: Result<(), super::StoreError>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}

fn this_hub(instance: &str) -> Identity {
    Identity {
        instance: instance.to_owned(),
        secret: Some(BootSecret::take(&mut [7; 32])),
        pid: 4711,
        start_ticks: 99,
        port: 1939,
        started_at: Some("2026-05-20T10:00:00.000Z".to_owned()),
    }
}

fn journal(home: &Home, instance: &str) -> Result<(), String> {
    let header = Header {
        instance: instance.to_owned(),
        boot_id: "b-o-o-t".to_owned(),
        hub_pid: 100,
        hub_start_ticks: 7,
        home: None,
        session: None,
    };
    let journal = Journal::begin(home, &header).map_err(|error| error.to_string())?;
    text(journal.append(&Child { short: short("wiki"), pid: 200, start_ticks: 8 }))
}

fn variable(home: &Home, value: Option<&str>) -> Result<(), String> {
    dotenv::set(home, &short("wiki"), "A", value).map(drop).map_err(|error| error.to_string())
}

/// Puts a file of that content elsewhere in the home, and a link to it in its place.
fn linked(home: &TestHome, relative: &str, content: &str) {
    let real = home.put(format!("elsewhere/{}", relative.replace('/', "-")), content);
    let path = home.path().join(relative);
    std::fs::create_dir_all(path.parent().expect("below the home")).expect("directories");
    symlink(real, path).expect("a link");
}

fn stop(home: &Home) -> Result<(), String> {
    text(Intent::load(home).set_stopped(&short("wiki"), true))
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a first file below a new directory",
        before: |_| {},
        act: |home| text(atomic::write(home, "hub/state.json", b"{\"new\":true}\n", atomic::PRIVATE)),
    },
    Scenario {
        name: "a file is replaced",
        before: |home| drop(home.put("state.json", "{\"old\":true}\n")),
        act: |home| text(atomic::write(home, "state.json", b"{\"new\":true}\n", atomic::PUBLIC)),
    },
    Scenario {
        name: "the operator token is replaced",
        before: |home| operator_token::write(home, "old.token").expect("written"),
        act: |home| text(operator_token::write(home, "new.token.longer")),
    },
    Scenario { name: "the first row", before: |_| {}, act: |home| edit(home, "wiki", 3000) },
    Scenario {
        name: "a row is added",
        before: |home| edit(home, "wiki", 3000).expect("edited"),
        act: |home| edit(home, "notes", 3001),
    },
    Scenario {
        name: "a row is removed",
        before: |home| {
            edit(home, "wiki", 3000).expect("edited");
            edit(home, "notes", 3001).expect("edited");
        },
        act: |home| {
            let removed = Services::new(home.clone()).edit(|document| Ok(document.remove("wiki")));
            removed.map(drop).map_err(|error| error.to_string())
        },
    },
    Scenario {
        name: "the backup is saved",
        before: |home| {
            edit(home, "wiki", 3000).expect("edited");
            Services::new(Home::clone(home)).save_backup(&Listing::default()).expect("saved");
            edit(home, "notes", 3001).expect("edited");
        },
        act: |home| text(Services::new(home.clone()).save_backup(&Listing::default())),
    },
    Scenario {
        name: "an unusable list is replaced by its backup",
        before: |home| {
            edit(home, "wiki", 3000).expect("edited");
            Services::new(Home::clone(home)).save_backup(&Listing::default()).expect("saved");
            home.put("services.json", "{\"services\":[{");
        },
        act: |home| edit(home, "notes", 3001),
    },
    Scenario {
        name: "a stop is remembered",
        before: |home| drop(home.put("hub/intent.json", "{\"stopped\":[\"vault\"],\"later\":1}")),
        act: stop,
    },
    Scenario {
        name: "a stop is remembered where the file was unusable",
        before: |home| drop(home.put("hub/intent.json", "{")),
        act: stop,
    },
    Scenario {
        name: "a hub is published",
        before: |home| identity::publish(home, &this_hub("old")).expect("published"),
        act: |home| text(identity::publish(home, &this_hub("new"))),
    },
    Scenario {
        name: "a hub is taken back",
        before: |home| identity::publish(home, &this_hub("old")).expect("published"),
        act: |home| text(identity::clear(home, "old")),
    },
    Scenario {
        name: "children are recorded",
        before: |home| journal(home, "old").expect("recorded"),
        act: |home| journal(home, "new"),
    },
    Scenario {
        name: "a row is added behind a link",
        before: |home| linked(home, "services.json", "{\"services\":[]}\n"),
        act: |home| edit(home, "notes", 3001),
    },
    Scenario { name: "the first variable", before: |_| {}, act: |home| variable(home, Some("1")) },
    Scenario {
        name: "a variable is replaced",
        before: |home| drop(home.put("wiki/.env", "# A=\nA=0\r\nB=2\nA='9'")),
        act: |home| variable(home, Some("two words")),
    },
    Scenario {
        name: "a variable is taken away behind a link",
        before: |home| linked(home, "wiki/.env", "B=2\nA=0\n"),
        act: |home| variable(home, None),
    },
    Scenario {
        name: "the key of a child",
        before: |home| module_secrets::write_key(home, &short("wiki"), "old").expect("written"),
        act: |home| text(module_secrets::write_key(home, &short("wiki"), "new")),
    },
    Scenario {
        name: "the key of a later child",
        before: |home| {
            for key in ["odd", "old"] {
                module_secrets::write_key(home, &short("wiki"), key).expect("written");
            }
        },
        act: |home| text(module_secrets::write_key(home, &short("wiki"), "new")),
    },
    Scenario {
        name: "keys to check tokens with",
        before: |home| module_secrets::write_verify_keys(home, &short("wiki"), b"{}").expect("written"),
        act: |home| text(module_secrets::write_verify_keys(home, &short("wiki"), b"{\"keys\":[]}")),
    },
    Scenario {
        name: "keys to check tokens with are taken back",
        before: |home| module_secrets::write_verify_keys(home, &short("wiki"), b"{}").expect("written"),
        act: |home| text(module_secrets::remove_verify_keys(home, &short("wiki"))),
    },
    Scenario {
        name: "a later epoch",
        before: |home| epoch::note(home, 1).expect("written"),
        act: |home| text(epoch::note(home, 2)),
    },
    Scenario {
        name: "a file is made private",
        before: |home| {
            let path = home.put("wiki/.env", "A=1\n");
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("a mode");
        },
        act: |home| text(private::tighten(home, Path::new("wiki/.env")).map(drop)),
    },
    Scenario { name: "the lock of the hub", before: |_| {}, act: |home| text(HubLock::acquire(home).map(drop)) },
    Scenario {
        name: "the manifest of an adopted command",
        before: |_| {},
        act: |home| {
            let manifest = json!({"name": "wiki", "manifestName": "wiki", "port": 3000, "paths": [], "health": "/"});
            text(modules::write_manifest(home, &short("wiki"), &manifest))
        },
    },
];

fn files_of(home: &Home) -> Files {
    let mut files = Files::new();
    let mut pending = vec![home.path().to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let facts = std::fs::metadata(&path).expect("a file");
            let below = path.strip_prefix(home.path()).expect("below the home").to_string_lossy().into_owned();
            // The name of what was put aside holds time and chance.
            let aside =
                below.split_once(".corrupt-").filter(|_| !is_temp(&path)).map(|(name, _)| format!("{name}.corrupt"));
            let below = aside.unwrap_or(below);
            if below == JOURNAL {
                continue;
            }
            // Means nothing before it has changed places.
            if path.extension().is_some_and(|extension| extension == "spare") {
                assert_eq!(facts.permissions().mode() & 0o077, 0, "{} is open to others", path.display());
                continue;
            }
            let content = std::fs::read(&path).expect("a file");
            files.insert(below.into(), (facts.permissions().mode() & 0o7777, content));
        }
    }
    files
}

fn is_temp(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp")))
}

fn played(scenario: &Scenario, at: u64, fault: Fault) -> (TestHome, Played<Result<(), String>>) {
    // Hundreds of homes: every sync is asked for and counted, and none has to wait for a disk.
    let home = TestHome::in_memory();
    (scenario.before)(&home);
    let played = play(at, fault, || (scenario.act)(&home));
    (home, played)
}

/// Holds what a fault left against the old and the new state.
fn judge(left: &Files, old: &Files, new: &Files, what: &str) {
    for path in left.keys().chain(old.keys()).chain(new.keys()) {
        let (found, before, after) = (left.get(path), old.get(path), new.get(path));
        if is_temp(path) {
            let shown = path.to_string_lossy();
            let is_secret =
                ["operator.token", "intent.json", "hub.pid", "hub.port", ".env", "wiki-.env", "hub.key", "epoch"]
                    .iter()
                    .any(|name| shown.contains(name));
            let forbidden = if is_secret { 0o077 } else { 0o033 };
            assert!(found.is_none_or(|(mode, _)| mode & forbidden == 0), "{what}: {shown} is open to others");
            continue;
        }
        // These are written on the way, before they mean anything: a line that is cut off is none.
        let grows = path.ends_with("children") || path.ends_with("hub.lock");
        let is_part = || found.is_some_and(|(_, found)| after.is_some_and(|(_, after)| after.starts_with(found)));
        // On the way from an unusable list to a new one its backup stands there, or nothing but what was put aside.
        let backup = old.get(&PathBuf::from(format!("{}.bak", path.display()))).map(|(_, content)| content);
        let is_backup = found.is_some_and(|(_, found)| Some(found) == backup);
        let aside = left.get(&PathBuf::from(format!("{}.corrupt", path.display()))).map(|(_, content)| content);
        let is_aside = found.is_none() && aside.is_some() && aside == before.map(|(_, content)| content);
        assert!(
            found == before || found == after || grows && is_part() || is_backup || is_aside,
            "{what}: {} is neither old nor new: {found:?}",
            path.display()
        );
    }
    // What could not be used is in its place or beside it, at every moment.
    for (path, (_, content)) in new.iter().filter(|(path, _)| path.to_string_lossy().ends_with(".corrupt")) {
        let place = PathBuf::from(path.to_string_lossy().trim_end_matches(".corrupt"));
        let kept = [path, &place].iter().any(|path| left.get(*path).is_some_and(|(_, found)| found == content));
        assert!(kept, "{what}: the unusable file is lost");
    }
}

/// One scenario with nothing going wrong.
struct Whole {
    scenario: &'static Scenario,
    old: Files,
    new: Files,
    calls: Vec<&'static str>,
}

impl Whole {
    fn of(scenario: &'static Scenario) -> Self {
        let before = TestHome::in_memory();
        (scenario.before)(&before);
        let old = files_of(&before);
        let (home, whole) = played(scenario, 0, Fault::Dead);
        whole.outcome.unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
        assert!(!whole.calls.is_empty(), "{}: goes past sys", scenario.name);
        Self { scenario, old, new: files_of(&home), calls: whole.calls }
    }

    /// Every call with everything that it can come to.
    fn strikes(&self) -> impl Iterator<Item = (u64, &'static str, Fault)> {
        let all = (1..).zip(self.calls.iter().copied());
        all.flat_map(|(at, call)| {
            let errnos: &[i32] = match call {
                // EINVAL is also what a file system says that knows no flags for it.
                "rename" => &[EIO, ENOSPC, EACCES, EROFS, EXDEV, EINVAL],
                "open" | "mkdir" => &[EIO, ENOSPC, EACCES, EROFS],
                _ => &[EIO, ENOSPC],
            };
            let errors = errnos.iter().map(|errno| Fault::Errno(*errno));
            errors.chain([Fault::Dead]).map(move |fault| (at, call, fault))
        })
    }

    /// Plays it with one call going wrong, looks at what that leaves, and plays it again.
    fn strike(&self, at: u64, call: &str, fault: Fault) {
        let Self { scenario, old, new, .. } = self;
        let (home, played) = played(scenario, at, fault);
        let what = format!("{}: {fault:?} at call {at}, {call}", scenario.name);
        let left = files_of(&home);
        judge(&left, old, new, &what);
        if fault != Fault::Dead {
            match &played.outcome {
                Ok(()) => {
                    let missing = new.iter().find(|(path, content)| left.get(*path) != Some(*content));
                    assert!(missing.is_none(), "{what}: success, and not done: {missing:?}");
                }
                Err(error) => {
                    let names_a_file = error.contains(&*home.path().to_string_lossy());
                    assert!(names_a_file, "{what}: no file is named: {error}");
                }
            }
            let temp = left.keys().find(|path| is_temp(path));
            assert!(temp.is_none() || call == "unlink", "{what}: {temp:?} is left");
        }
        // Whoever comes next finds nothing in the way.
        (scenario.act)(&home).unwrap_or_else(|error| panic!("{what}, then again: {error}"));
        let mut again = files_of(&home);
        again.retain(|path, _| !is_temp(path));
        assert_eq!(&again, new, "{what}, then again");
        let later = SystemTime::now() + Duration::from_secs(7_200);
        atomic::sweep(&home, later, atomic::Sweep::Everywhere).expect("swept");
        let temp = files_of(&home).into_keys().find(|path| is_temp(path));
        assert!(temp.is_none(), "{what}: {temp:?} stays for ever");
    }
}

/// files §15, cases 5 and 6.
#[test]
fn c15_05_c15_06_every_write_that_fails_or_is_killed_at_any_call_leaves_the_old_or_the_new_file() {
    let whole: Vec<Whole> = SCENARIOS.iter().map(Whole::of).collect();
    let strikes: Vec<_> = whole.iter().flat_map(|whole| whole.strikes().map(move |strike| (whole, strike))).collect();
    let next = AtomicUsize::new(0);
    // Faults are a thread's own.
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((whole, (at, call, fault))) = strikes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    whole.strike(*at, call, *fault);
                }
            });
        }
    });
}
