//! What somebody planted in the place of a file that we write, or of a directory above it: nobody waits for it for ever,
//! and nothing is written where it leads (files §15, case 7).

use super::*;
use crate::store::testing::fifo;
use crate::sys::fs::Dir;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc;

/// What a machine takes at most that is ten times slower than ours.
const HANG: Duration = Duration::from_secs(120);
/// What an edit of the list makes beside it.
const BESIDE: &[&str] = &["services.json.lock", "hub/run/services.gate", JOURNAL];
/// A lock is one whatever stands in it, and whoever has written that.
const LOCKS: &[&str] = &["services.json.lock", "hub/run/services.gate", "hub/run/hub.lock"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// To a file of another user, where we can make one; else to our own.
    Link,
    LinkToNothing,
    LinkToDirectory,
    /// One more name of a file elsewhere.
    HardLink,
    Fifo,
    Directory,
    /// In the place of the directory that the file is in.
    LinkedDirectory,
}

const PLANTS: &[Plant] = &[
    Plant::Link,
    Plant::LinkToNothing,
    Plant::LinkToDirectory,
    Plant::HardLink,
    Plant::Fifo,
    Plant::Directory,
    Plant::LinkedDirectory,
];

fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path).expect("ours"),
        Ok(_) => fs::remove_file(path).expect("ours"),
        Err(_) => fs::create_dir_all(path.parent().expect("below the home")).expect("ours"),
    }
}

/// Plants something for the file `relative` of the home; `None` where that cannot be shown.
fn plant(home: &TestHome, elsewhere: &TestHome, relative: &Path, plant: Plant) -> Option<()> {
    let path = home.path().join(relative);
    let victim = elsewhere.path().join("victim");
    let old = fs::read(&path).unwrap_or_else(|_| b"untouched\n".to_vec());
    fs::write(&victim, old).expect("ours");
    if plant == Plant::LinkedDirectory {
        let above = path.parent().filter(|above| *above != home.path())?;
        clear(above);
        symlink(elsewhere.path(), above).expect("a link");
        return Some(());
    }
    clear(&path);
    match plant {
        Plant::Link => {
            // Through a link to a file of our own some are written, by rule.
            let is_foreign = std::os::unix::fs::chown(&victim, Some(65_534), None).is_ok();
            let is_followed = relative.ends_with("services.json") || relative.ends_with(".env");
            (is_foreign || !is_followed).then(|| symlink(&victim, &path).expect("a link"))?;
        }
        Plant::LinkToNothing => symlink(elsewhere.path().join("nothing"), &path).expect("a link"),
        Plant::LinkToDirectory => symlink(elsewhere.path(), &path).expect("a link"),
        Plant::HardLink => fs::hard_link(&victim, &path).expect("one file system"),
        Plant::Fifo => fifo(&path),
        Plant::Directory => fs::create_dir(&path).expect("ours"),
        Plant::LinkedDirectory => {}
    }
    Some(())
}

#[test]
fn c15_07_what_is_planted_at_a_file_or_above_it_is_neither_waited_for_nor_written_through() {
    let mut tried = 0;
    for scenario in SCENARIOS {
        // Links of the scenario's own are what it is about; and a change of mode is no write.
        if ["behind a link", "unusable", "made private"].iter().any(|what| scenario.name.contains(what)) {
            continue;
        }
        let whole = Whole::of(scenario);
        let changed = |path: &&PathBuf| whole.old.get(*path) != whole.new.get(*path);
        let mut paths: Vec<&Path> =
            whole.new.keys().chain(whole.old.keys()).filter(changed).map(PathBuf::as_path).collect();
        if paths.contains(&Path::new("services.json")) {
            paths.extend(BESIDE.iter().map(Path::new));
        }
        paths.sort();
        paths.dedup();
        assert!(!paths.is_empty(), "{}: writes nothing", scenario.name);
        for relative in paths {
            for kind in PLANTS {
                let (home, elsewhere) = (TestHome::in_memory(), TestHome::in_memory());
                (scenario.before)(&home);
                if plant(&home, &elsewhere, relative, *kind).is_none() {
                    continue;
                }
                tried += 1;
                let before = files_of(&elsewhere);
                let what = format!("{}: {kind:?} at {}", scenario.name, relative.display());
                let (sender, done) = mpsc::channel();
                let (act, acting) = (scenario.act, Home::clone(&home));
                std::thread::spawn(move || sender.send(act(&acting)));
                let outcome = done.recv_timeout(HANG).unwrap_or_else(|_| panic!("{what}: it hangs or panics"));
                assert_eq!(files_of(&elsewhere), before, "{what}: {outcome:?}");
                let is_lock = LOCKS.iter().any(|lock| relative == Path::new(lock));
                if *kind == Plant::HardLink && outcome.is_ok() && whole.new.contains_key(relative) && !is_lock {
                    let number = |home: &Home, name: &Path| fs::metadata(home.path().join(name)).expect("there").ino();
                    let (ours, theirs) = (number(&home, relative), number(&elsewhere, Path::new("victim")));
                    assert_ne!(ours, theirs, "{what}: a file of its own");
                }
                let names = |error: &String, home: &Home| error.contains(&*home.path().to_string_lossy());
                let told = |error: &String| names(error, &home) || names(error, &elsewhere);
                assert!(outcome.as_ref().err().is_none_or(told), "{what}: no file is named: {outcome:?}");
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

/// The name of a temporary file cannot be foreseen; and were it, the file would not be made.
#[test]
fn c15_07_a_temporary_file_is_made_by_us_or_not_at_all() {
    let (home, elsewhere) = (TestHome::new(), TestHome::new());
    let victim = elsewhere.put("victim", "untouched");
    let dir = Dir::open(home.path()).expect("a directory");
    let name = ".services.json.0123456789abcdef.tmp";
    let path = home.path().join(name);
    type Make = fn(&Path, &Path);
    let plants: &[(&str, Make)] = &[
        ("link", |victim, path| symlink(victim, path).expect("a link")),
        ("link to nothing", |_, path| symlink("/nonexistent/x", path).expect("a link")),
        ("file", |victim, path| fs::copy(victim, path).map(drop).expect("a file")),
        ("fifo", |_, path| fifo(path)),
        ("directory", |_, path| fs::create_dir(path).expect("a directory")),
    ];
    for (what, make) in plants {
        make(&victim, &path);
        let error = dir.create_new(OsStr::new(name), atomic::PRIVATE).expect_err(what);
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{what}");
        clear(&path);
    }
    assert_eq!((elsewhere.text("victim").as_str(), elsewhere.names()), ("untouched", vec!["victim".to_owned()]));
}
