//! Which modules the operator stopped: they stay stopped when the hub comes back (supervisor B18).

use super::atomic::{self, PRIVATE};
use super::{Home, StoreError};
use crate::manifest::{Problem, Short, json};
use crate::sys::random;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTENT: &str = "hub/intent.json";
const STOPPED: &str = "stopped";
const LOCK: &str = "hub/run/intent.lock";
/// Each holds it for one small write.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Every name of a list of modules that can be read fits.
const MAX_BYTES: u64 = 1 << 20;

/// The remembered intent of one home. Shared between threads.
#[derive(Debug)]
pub(crate) struct Intent {
    home: Home,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The file's tree: an object whose `stopped` is an array. What else is in it stays.
    tree: Value,
    /// Why the file could not be used; it is moved aside before the first write.
    unusable: Option<StoreError>,
}

impl State {
    fn stops(&self, short: &Short) -> bool {
        names(&self.tree).any(|name| name == short.as_str())
    }
}

impl Intent {
    /// Reads `hub/intent.json`. A missing one means that nothing was stopped, and so does one that cannot be used:
    /// [`Intent::warning`] then says why.
    pub(crate) fn load(home: &Home) -> Self {
        let (tree, unusable) = match read(home) {
            Ok(tree) => (tree.unwrap_or_else(empty), None),
            Err(error) => (empty(), Some(error)),
        };
        Self { home: home.clone(), state: Mutex::new(State { tree, unusable }) }
    }

    /// What was wrong with the file, if anything.
    pub(crate) fn warning(&self) -> Option<String> {
        self.lock(|state| state.unusable.as_ref().map(|error| format!("{error}; every module is started")))
    }

    /// Whether the module is to stay stopped.
    pub(crate) fn is_stopped(&self, short: &Short) -> bool {
        self.lock(|state| state.stops(short))
    }

    /// The modules that are to stay stopped.
    pub(crate) fn stopped(&self) -> BTreeSet<Short> {
        self.lock(|state| names(&state.tree).filter_map(|name| Short::parse(name).ok()).collect())
    }

    /// Remembers, durably, whether the module is to stay stopped. Nothing is written when that is known already. After
    /// a failure memory and disk hold the same: the old intent, or the new one with [`StoreError::Unsettled`].
    pub(crate) fn set_stopped(&self, short: &Short, stopped: bool) -> Result<(), StoreError> {
        self.lock(|state| {
            if state.unusable.is_some() {
                // It may have been only this process that could not read it then, for want of a descriptor.
                match read(&self.home) {
                    Ok(tree) => *state = State { tree: tree.unwrap_or_else(empty), unusable: None },
                    Err(error @ StoreError::Read { .. }) => return Err(error),
                    Err(_) => {}
                }
            }
            if state.stops(short) == stopped {
                return Ok(());
            }
            let mut tree = state.tree.clone();
            if let Some(list) = tree.get_mut(STOPPED).and_then(Value::as_array_mut) {
                list.retain(|name| name != short.as_str());
                if stopped {
                    list.push(Value::from(short.as_str()));
                }
            }
            let overfull = || StoreError::Overfull { path: self.home.path().join(INTENT), limit_bytes: MAX_BYTES };
            let bytes = json::to_bytes_within(&tree, MAX_BYTES).ok_or_else(overfull)?;
            if state.unusable.is_some() {
                let aside = format!("intent.json.corrupt-{}", random::hex(4));
                let moved = atomic::move_aside(&self.home, Path::new(INTENT), &aside);
                if matches!(moved, Ok(_) | Err(StoreError::Unsettled { .. })) {
                    state.unusable = None;
                }
                moved?;
            }
            let written = atomic::write(&self.home, INTENT, &bytes, PRIVATE);
            if matches!(written, Ok(()) | Err(StoreError::Unsettled { .. })) {
                state.tree = tree;
            }
            written
        })
    }

    /// Reads what commands may have written before they could see that this hub runs. A file that cannot be used
    /// changes nothing.
    pub(crate) fn read_again(&self) {
        self.lock(|state| {
            if let Ok(tree) = read(&self.home) {
                *state = State { tree: tree.unwrap_or_else(empty), unusable: None };
            }
        });
    }

    /// [`Intent::set_stopped`] in a home whose hub is down; a hub that runs keeps the intent itself. Whoever finds no hub
    /// after this as well was in time for the next one, see [`Intent::read_again`]. Waits at most [`LOCK_WAIT`] for
    /// other commands.
    pub(crate) fn set_without_hub(home: &Home, short: &Short, stopped: bool) -> Result<(), StoreError> {
        let _one_at_a_time = home.lock(Path::new(LOCK), Instant::now() + LOCK_WAIT)?;
        Self::load(home).set_stopped(short, stopped)
    }

    fn lock<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // The state is replaced as a whole, so a panic elsewhere leaves it sound.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn empty() -> Value {
    json!({ "version": 1, STOPPED: [] })
}

fn names(tree: &Value) -> impl Iterator<Item = &str> {
    tree.get(STOPPED).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn read(home: &Home) -> Result<Option<Value>, StoreError> {
    let Some(bytes) = atomic::read(home, INTENT, MAX_BYTES)? else { return Ok(None) };
    let syntax = |problem| StoreError::Syntax { path: home.path().join(INTENT), problem };
    let tree = json::parse(&bytes).map_err(syntax)?;
    match tree.get(STOPPED) {
        Some(Value::Array(_)) => Ok(Some(tree)),
        _ => Err(syntax(Problem::new(STOPPED, "must be an array of module names"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestHome, short};

    #[test]
    fn a_stop_is_remembered_and_a_start_forgets_it() {
        let home = TestHome::new();
        let intent = Intent::load(&home);
        assert!(intent.stopped().is_empty() && intent.warning().is_none());
        intent.set_stopped(&short("wiki"), false).expect("nothing to do");
        assert_eq!(home.names(), [] as [String; 0], "nothing is written for nothing");
        for name in ["wiki", "vault"] {
            intent.set_stopped(&short(name), true).expect("written");
        }
        intent.set_stopped(&short("wiki"), true).expect("nothing to do");
        assert!(intent.is_stopped(&short("wiki")) && !intent.is_stopped(&short("notes")));
        assert_eq!(Intent::load(&home).stopped(), ["vault", "wiki"].map(short).into());
        intent.set_stopped(&short("vault"), false).expect("written");
        assert_eq!(Intent::load(&home).stopped(), [short("wiki")].into());
    }

    #[test]
    fn commands_that_stop_modules_without_a_hub_lose_nothing_and_a_hub_reads_them_again() {
        let home = TestHome::new();
        let hub = Intent::load(&home);
        let all: BTreeSet<Short> = (0..8).map(|number| short(&format!("m{number}"))).collect();
        std::thread::scope(|scope| {
            for short in &all {
                let home = &home;
                scope.spawn(move || Intent::set_without_hub(home, short, true).expect("written"));
            }
        });
        assert!(hub.stopped().is_empty());
        hub.read_again();
        assert_eq!(hub.stopped(), all);
        home.put(INTENT, "{");
        hub.read_again();
        assert_eq!((hub.stopped(), hub.warning()), (all, None), "what cannot be used changes nothing");
    }

    #[test]
    fn as_many_stops_are_remembered_as_there_are_modules() {
        let home = TestHome::in_memory();
        let all: BTreeSet<Short> = (0..1_000).map(|number| short(&format!("{number:064}"))).collect();
        let tree = json!({ "version": 1, STOPPED: all.iter().skip(1).map(Short::as_str).collect::<Vec<_>>() });
        home.put(INTENT, json::to_bytes(&tree));
        let read = Intent::load(&home);
        assert_eq!(read.warning(), None);
        read.set_stopped(all.first().expect("a name"), true).expect("written");
        assert_eq!(Intent::load(&home).stopped(), all);
    }

    #[test]
    fn what_a_later_release_wrote_survives() {
        let home = TestHome::new();
        home.put(INTENT, "{\"later\":{\"x\":1},\"stopped\":[\"../odd\",7]}");
        let intent = Intent::load(&home);
        assert!(intent.stopped().is_empty() && intent.warning().is_none());
        intent.set_stopped(&short("wiki"), true).expect("written");
        let tree = json::parse(home.text(INTENT).as_bytes()).expect("JSON");
        assert_eq!(tree, json!({ "later": { "x": 1 }, "stopped": ["../odd", 7, "wiki"] }));
    }

    #[test]
    fn an_unusable_file_stops_nobody_and_is_kept() {
        for text in ["", "{", "[]", "{\"stopped\":{}}", "{}"] {
            let home = TestHome::new();
            home.put(INTENT, text);
            let intent = Intent::load(&home);
            assert!(intent.stopped().is_empty());
            let warning = intent.warning().expect("a warning");
            assert!(warning.contains("hub/intent.json cannot be used"), "{warning}");
            assert_eq!(home.text(INTENT), text, "reading changes nothing");
            intent.set_stopped(&short("wiki"), true).expect("written");
            assert_eq!(Intent::load(&home).stopped(), [short("wiki")].into());
            assert_eq!(intent.warning(), None, "it is out of the way");
            let files = std::fs::read_dir(home.path().join("hub")).expect("a directory");
            let kept = files.map(|file| file.expect("a file").path()).find(|path| !path.ends_with("intent.json"));
            assert_eq!(std::fs::read_to_string(kept.expect("a copy")).expect("text"), text);
        }
    }

    #[test]
    fn a_file_that_can_be_used_again_is_no_longer_replaced() {
        let home = TestHome::new();
        home.put(INTENT, "{");
        let intent = Intent::load(&home);
        assert!(intent.warning().is_some());
        home.put(INTENT, "{\"stopped\":[\"vault\"]}");
        intent.set_stopped(&short("wiki"), true).expect("written");
        assert_eq!(Intent::load(&home).stopped(), ["vault", "wiki"].map(short).into());
        assert_eq!(std::fs::read_dir(home.path().join("hub")).expect("a directory").count(), 1, "none is set aside");
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let home = TestHome::new();
        let intent = Intent::load(&home);
        home.put("hub", "a file where the directory belongs");
        assert!(intent.set_stopped(&short("wiki"), true).is_err());
        assert!(intent.stopped().is_empty());
    }
}
