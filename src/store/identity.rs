//! Which hub runs in this home: a lock for life, and the files by which others find it (files §14.6, hub identity).

use super::atomic::{self, Links, PRIVATE, PUBLIC, SMALL_FILE_MAX_BYTES, Secret, Target, Trust};
use super::children::{self, Header};
use super::{Home, StoreError};
use crate::manifest::{Port, json};
use crate::sys::fs::{self, FileLock};
use crate::sys::wipe::wipe;
use crate::sys::{proc, process};
use crate::token::proof::BootSecret;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::str::SplitWhitespace;
use std::time::Instant;

const LOCK: &str = "hub.lock";
const RUN_DIR: &str = "hub/run";
const PID: &str = "hub/run/hub.pid";
const PORT: &str = "hub/run/hub.port";
const INSTANCE: &str = "hub-instance.json";

/// Two numbers of at most 20 digits, and two words of 32 and 64.
const PID_MAX_BYTES: usize = 256;
/// Enough for a pid and a start time.
const LOCK_MAX_BYTES: u64 = 64;

/// The right to be this home's hub, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct HubLock {
    lock: FileLock,
    /// Its file was found to have been removed.
    is_lost: Cell<bool>,
}

impl HubLock {
    /// Takes the lock without waiting. [`StoreError::Locked`] names the hub that has it, and [`StoreError::HubLives`] one
    /// whose lock file somebody has removed.
    pub(crate) fn acquire(home: &Home) -> Result<Self, StoreError> {
        let path = Self::path(home);
        let write_error = |source| StoreError::Write { path: path.clone(), source };
        let file = home.open_lock(&Path::new(RUN_DIR).join(LOCK))?;
        let reader = file.try_clone().map_err(write_error)?;
        match FileLock::acquire(file, Instant::now()) {
            Ok(lock) => {
                if let Some((path, pid)) = living(home) {
                    return Err(StoreError::HubLives { path, pid });
                }
                // Who holds it, for the message of the one who comes second. A file that has another name elsewhere is
                // locked as well as any, and not ours to write.
                if fs::stat_of(lock.file()).map_err(write_error)?.links == 1 {
                    let words = format!("{} {}\n", process::own_pid(), proc::own_start_ticks());
                    fs::set_size(lock.file(), 0)
                        .and_then(|()| fs::write_all(lock.file(), words.as_bytes()))
                        .map_err(write_error)?;
                }
                Ok(Self { lock, is_lost: Cell::new(false) })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let text = fs::read_to_limit(&reader, LOCK_MAX_BYTES).ok().flatten().unwrap_or_default();
                Err(StoreError::Locked { path, holder: std::str::from_utf8(&text).ok().and_then(holder) })
            }
            Err(source) => Err(write_error(source)),
        }
    }

    pub(crate) fn path(home: &Home) -> PathBuf {
        home.run_dir().join(LOCK)
    }

    /// Whether the file of the lock is no longer the one at its path, so that others could take theirs; `true` only the
    /// first time. No, where that cannot be told.
    pub(crate) fn is_newly_lost(&self, home: &Home) -> bool {
        let is_lost = match (fs::stat(&Self::path(home)), fs::stat_of(self.lock.file())) {
            (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
            (Ok(found), Ok(ours)) => (found.dev, found.ino) != (ours.dev, ours.ino),
            (Ok(_), Err(_)) => false,
        };
        is_lost && !self.is_lost.replace(true)
    }
}

/// Who wrote these words into the lock, if it runs: another program may hold it after that one's end. A hub of an older
/// release left its pid alone.
fn holder(words: &str) -> Option<u32> {
    let mut words = words.split_whitespace();
    let pid = words.next()?.parse().ok()?;
    let is_alive = match words.next() {
        Some(start_ticks) => proc::is_alive(pid, start_ticks.parse().ok()?),
        None => proc::stat(pid).is_some_and(|stat| !stat.is_zombie()),
    };
    u32::try_from(pid).ok().filter(|_| is_alive)
}

/// The file that names a hub of this home that runs, and its pid, whatever became of its lock. It is never this process.
pub(crate) fn living(home: &Home) -> Option<(PathBuf, u32)> {
    let recorded = children::read_previous(home).ok().flatten().map(|(header, _)| (children::path(home), header));
    let announced = announced(home).map(|header| (home.path().join(INSTANCE), header));
    let mut hubs = [recorded, announced].into_iter().flatten();
    hubs.find(|(_, hub)| hub.is_of(home) && hub.lives()).map(|(file, hub)| (file, hub.hub_pid))
}

/// A running hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// This boot's random number, as `/health` says it too.
    pub(crate) instance: String,
    /// By which it proves to be this boot: everybody can read the number above and say it, too. Kept in its pid file,
    /// for the home's owner alone. `None` for a hub of before there were proofs, which stays reachable with the
    /// commands of an upgraded binary until it is restarted; only the number tells it from others.
    pub(crate) secret: Option<BootSecret>,
    pub(crate) pid: u32,
    /// The process's start time in clock ticks since boot, so that a reused pid is not taken for it.
    pub(crate) start_ticks: u64,
    pub(crate) port: u16,
    /// ISO 8601, UTC, milliseconds; `None` when the public record of this hub is not there to say it.
    pub(crate) started_at: Option<String>,
}

impl Identity {
    /// Whether the process still is that hub, and not another one of the same number.
    pub(crate) fn is_alive(&self) -> bool {
        process::Pid::try_from(self.pid).is_ok_and(|pid| proc::is_alive(pid, self.start_ticks))
    }
}

/// Tells everybody which hub runs here (supervisor §2, step 13). Commands find it without, see [`publish`].
pub(crate) fn announce(home: &Home, identity: &Identity) -> Result<(), StoreError> {
    let Identity { instance, pid, start_ticks, port, started_at, .. } = identity;
    let record = json!({
        "instance": instance, "pid": pid, "port": port, "startedAt": started_at,
        // By which the next hub knows whether this process still is that one.
        "startTicks": start_ticks, "bootId": proc::boot_id(), "home": home.mark(),
    });
    atomic::write_volatile(home, Path::new(INSTANCE), &json::to_bytes(&record), PUBLIC)
}

/// Tells commands where the hub is. Called once it listens, never before.
pub(crate) fn publish(home: &Home, identity: &Identity) -> Result<(), StoreError> {
    let Identity { instance, secret, pid, start_ticks, port, .. } = identity;
    // Large enough from the start, so that no copy of the secret stays behind in a buffer that was grown.
    let mut words = String::with_capacity(PID_MAX_BYTES + instance.len());
    write!(words, "{pid} {start_ticks} {instance}").expect("writing into a String cannot fail");
    if let Some(secret) = secret {
        words.push(' ');
        words.extend(secret.hex_digits());
    }
    words.push('\n');
    let mut words = words.into_bytes();
    let written = atomic::write_volatile(home, Path::new(PID), &words, PRIVATE);
    wipe(&mut words);
    written?;
    // Last, because clients look here first.
    atomic::write_volatile(home, Path::new(PORT), format!("{port}\n").as_bytes(), PRIVATE)
}

/// What the last hub published; `None` when anything is missing or garbled. It may have died since: compare the start
/// time, or ask its port, where only that hub can prove to be it.
pub(crate) fn read(home: &Home) -> Option<Identity> {
    let record = record(home);
    if record.as_ref().is_some_and(|record| is_of_another_home(home, record)) {
        return None;
    }
    let pid = read_pid(home)?;
    let mut words = words(&pid)?;
    let (pid, start_ticks, instance) = (words.next()?, words.next()?, words.next()?);
    let secret = match words.next() {
        Some(word) => Some(BootSecret::parse(word)?),
        None => None,
    };
    Some(Identity {
        instance: instance.to_owned(),
        secret,
        pid: pid.parse().ok().filter(|pid| *pid > 0)?,
        start_ticks: start_ticks.parse().ok()?,
        port: Port::new(read_text(home, PORT)?.trim().parse().ok()?)?.get(),
        started_at: record
            .filter(|record| is_of_hub(record, instance))
            .and_then(|record| Some(record.get("startedAt")?.as_str()?.to_owned())),
    })
}

/// The last hub that told everybody of itself and had no clean end, or that runs.
pub(crate) fn announced(home: &Home) -> Option<Header> {
    let record = record(home)?;
    let text = |key: &str| record.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Header {
        instance: text("instance")?,
        boot_id: text("bootId")?,
        hub_pid: u32::try_from(record.get("pid")?.as_u64()?).ok()?,
        hub_start_ticks: record.get("startTicks")?.as_u64()?,
        home: text("home"),
        session: None,
    })
}

fn record(home: &Home) -> Option<Value> {
    json::parse(read_text(home, INSTANCE)?.as_bytes()).ok()
}

/// Whether the files came here with a copy of another home, of whose hub they tell: nobody is to take that for ours.
fn is_of_another_home(home: &Home, record: &Value) -> bool {
    record.get("home").and_then(Value::as_str).is_some_and(|mark| !home.has_mark(mark))
}

/// Whether the public record is of this hub.
fn is_of_hub(record: &Value, instance: &str) -> bool {
    record.get("instance").and_then(Value::as_str) == Some(instance)
}

/// Takes back what [`publish`] and [`announce`] wrote, unless another hub has published since.
pub(crate) fn clear(home: &Home, instance: &str) -> Result<(), StoreError> {
    if record(home).is_some_and(|record| is_of_hub(&record, instance)) {
        atomic::remove(home, Path::new(INSTANCE))?;
    }
    let published = read_pid(home);
    if published.as_ref().and_then(words).and_then(|mut words| words.nth(2)) != Some(instance) {
        return Ok(());
    }
    // The pid file last: it says whose the others are, so that a second attempt finds what a failed one left.
    atomic::remove(home, Path::new(PORT))?;
    atomic::remove(home, Path::new(PID))
}

/// Pid, start time, instance and, of a hub that can prove who it is, its secret.
fn words(pid: &Secret) -> Option<SplitWhitespace<'_>> {
    std::str::from_utf8(pid.as_slice()).ok().map(str::split_whitespace)
}

/// Reading it changes nothing about the file, whatever its mode is.
fn read_pid(home: &Home) -> Option<Secret> {
    let target = Target::locate(home, Path::new(PID), Links::Refuse).ok().flatten()?;
    target.read_secret(PID_MAX_BYTES, Trust::AsGiven).ok().flatten()
}

fn read_text(home: &Home, relative: &str) -> Option<String> {
    let bytes = atomic::read(home, relative, SMALL_FILE_MAX_BYTES).ok().flatten()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestHome;

    fn secret() -> BootSecret {
        BootSecret::take(&mut [0xa5; 32])
    }

    fn identity() -> Identity {
        Identity {
            instance: "3f2a".to_owned(),
            secret: Some(secret()),
            pid: 4711,
            start_ticks: 99,
            port: 1939,
            started_at: Some("2026-05-20T10:00:00.000Z".to_owned()),
        }
    }

    fn publish(home: &Home, identity: &Identity) -> Result<(), StoreError> {
        announce(home, identity)?;
        super::publish(home, identity)
    }

    #[test]
    fn what_is_published_is_read_until_it_is_cleared() {
        let home = TestHome::new();
        assert_eq!(read(&home), None);
        publish(&home, &identity()).expect("published");
        assert_eq!(read(&home), Some(identity()));
        assert_eq!(home.text(PORT), "1939\n");
        assert_eq!(home.text(PID), format!("4711 99 3f2a {}\n", "a5".repeat(32)));
        clear(&home, "another").expect("not ours");
        assert_eq!(read(&home), Some(identity()), "another hub's files stay");
        clear(&home, "3f2a").expect("cleared");
        assert_eq!(read(&home), None);
        assert_eq!(home.names(), ["hub"]);
        clear(&home, "3f2a").expect("cleared twice");
        publish(&home, &identity()).expect("published");
        std::fs::remove_dir_all(home.run_dir()).expect("removed");
        clear(&home, "3f2a").expect("cleared");
        assert_eq!(home.names(), ["hub"], "also when the rest is gone already");
    }

    /// Whoever copies a home that is in use would otherwise have its hub in both.
    #[test]
    fn a_copy_of_a_home_in_use_tells_of_no_hub_of_its_own() {
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().expect("a child");
        let stat = proc::stat(i32::try_from(child.id()).expect("a pid")).expect("it lives");
        let (home, copy) = (TestHome::new(), TestHome::new());
        let hub = Identity { pid: child.id(), start_ticks: stat.start_ticks, ..identity() };
        publish(&home, &hub).expect("published");
        let header = Header {
            instance: hub.instance.clone(),
            boot_id: proc::boot_id(),
            hub_pid: hub.pid,
            hub_start_ticks: hub.start_ticks,
            home: Some(home.mark().to_owned()),
            session: None,
        };
        children::Journal::begin(&home, &header).expect("a record");
        for name in [INSTANCE, PID, PORT, "hub/run/children"] {
            copy.put(name, home.text(name));
        }
        assert!(living(&home).is_some() && read(&home).is_some());
        assert_eq!((living(&copy), read(&copy)), (None, None));
        let recorded = || children::read_previous(&copy).expect("read").expect("a record").0;
        for found in [recorded(), announced(&copy).expect("a record")] {
            assert_eq!(found, header);
            assert!(found.is_of_another(&copy) && !found.is_of_another(&home));
        }
        child.kill().expect("ours");
        child.wait().expect("collected");
        assert!(!recorded().is_of_another(&copy), "what it left behind is nobody's, so whoever knows of it ends it");
    }

    #[test]
    fn the_secret_stands_in_a_private_file_and_nowhere_else() {
        use std::os::unix::fs::PermissionsExt;
        let home = TestHome::new();
        publish(&home, &identity()).expect("published");
        let mode = std::fs::metadata(home.path().join(PID)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let digits: String = secret().hex_digits().collect();
        for other in [INSTANCE, PORT] {
            assert!(!home.text(other).contains(&digits), "{other}");
        }
        assert!(!format!("{:?}", identity()).contains("a5"), "{:?}", identity());
    }

    #[test]
    fn the_hub_of_an_older_binary_is_found_and_has_no_secret() {
        let home = TestHome::new();
        let older = Identity { secret: None, ..identity() };
        publish(&home, &older).expect("published");
        assert_eq!(home.text(PID), "4711 99 3f2a\n");
        assert_eq!(read(&home), Some(older));
        clear(&home, "3f2a").expect("cleared");
        assert_eq!(read(&home), None);
    }

    #[test]
    fn garbage_is_no_hub() {
        let a5 = "a5".repeat(32);
        let pid_with = |secret: &str| format!("4711 99 3f2a {secret}\n");
        let bad_secrets =
            [&a5[1..], &format!("{a5}a5"), &a5.to_uppercase(), &a5.replace('5', "g"), "\0", &"a".repeat(500)]
                .map(pid_with);
        let bad_secrets = bad_secrets.iter().map(|text| (PID, text.as_str()));
        let others = [
            (PORT, ""),
            (PORT, "0\n"),
            (PORT, "65536\n"),
            (PORT, "1939abc\n"),
            (PID, ""),
            (PID, "4711\n"),
            (PID, "0 99 3f2a\n"),
            (PID, "-1 99 3f2a\n"),
            (PID, "x 99 3f2a\n"),
            (PID, "\0\0\0\0"),
        ];
        for (relative, text) in others.into_iter().chain(bad_secrets) {
            let home = TestHome::new();
            publish(&home, &identity()).expect("published");
            home.put(relative, text);
            assert_eq!(read(&home), None, "{relative} holds {text:?}");
        }
    }

    #[test]
    fn a_public_record_that_cannot_be_used_hides_no_hub_and_stays() {
        for text in ["", "[]", "{\"instance\":\"other\",\"startedAt\":\"x\"}", "{\"instance\":5,\"startedAt\":\"x\"}"] {
            let home = TestHome::new();
            publish(&home, &identity()).expect("published");
            home.put(INSTANCE, text);
            assert_eq!(read(&home), Some(Identity { started_at: None, ..identity() }), "{text:?}");
            clear(&home, "3f2a").expect("cleared");
            assert_eq!((read(&home), home.text(INSTANCE).as_str()), (None, text));
        }
    }

    #[test]
    fn the_second_hub_hears_who_the_first_is() {
        let home = TestHome::new();
        let first = HubLock::acquire(&home).expect("free");
        let error = HubLock::acquire(&home).expect_err("taken");
        let holder = std::process::id();
        assert!(matches!(error, StoreError::Locked { holder: Some(pid), .. } if pid == holder), "{error}");
        assert!(error.to_string().contains(&format!("is locked by process {holder}")), "{error}");
        // What a child has for a moment that another thread has forked.
        let copy = first.lock.file().try_clone().expect("a descriptor");
        drop(first);
        HubLock::acquire(&home).expect("free again");
        drop(copy);
    }

    #[test]
    fn only_a_holder_that_lives_is_named() {
        let own = format!("{} {}", process::own_pid(), proc::own_start_ticks());
        let not_then = format!("{} {}", process::own_pid(), proc::own_start_ticks() + 1);
        let older = process::own_pid().to_string();
        let pid = Some(std::process::id());
        for (words, named) in [
            (&*own, pid),
            (&older, pid),
            (&not_then, None),
            ("4194305 1", None),
            ("-1 1", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(holder(words), named, "{words:?}");
        }
    }

    /// A hub in the place of which nobody may start another, and then the same one gone.
    #[test]
    fn a_hub_that_lives_is_found_without_its_lock_and_one_that_is_gone_is_not() {
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().expect("a child");
        let pid = child.id();
        let stat = proc::stat(i32::try_from(pid).expect("a pid")).expect("it lives");
        let hub = Identity { pid, start_ticks: stat.start_ticks, ..identity() };
        let header = |boot_id: String, hub_start_ticks| Header {
            instance: "3f2a".to_owned(),
            boot_id,
            hub_pid: pid,
            hub_start_ticks,
            home: None,
            session: None,
        };
        let announced = TestHome::new();
        publish(&announced, &hub).expect("published");
        let recorded = TestHome::new();
        children::Journal::begin(&recorded, &header(proc::boot_id(), stat.start_ticks)).expect("a record");
        for (home, file) in [(&announced, INSTANCE), (&recorded, "hub/run/children")] {
            let error = HubLock::acquire(home).expect_err("that hub lives");
            assert!(
                matches!(&error, StoreError::HubLives { path, pid: named } if path.ends_with(file) && *named == pid)
            );
        }
        for header in [header("another".to_owned(), stat.start_ticks), header(proc::boot_id(), stat.start_ticks + 1)] {
            let other = TestHome::new();
            children::Journal::begin(&other, &header).expect("a record");
            HubLock::acquire(&other).expect("that process is another");
        }
        child.kill().expect("ours");
        child.wait().expect("collected");
        for home in [&announced, &recorded] {
            HubLock::acquire(home).expect("it is gone");
        }
    }

    #[test]
    fn a_lock_whose_file_is_removed_or_replaced_is_told_once() {
        let home = TestHome::new();
        let lock = HubLock::acquire(&home).expect("free");
        assert!(!lock.is_newly_lost(&home));
        std::fs::remove_dir_all(home.run_dir()).expect("removed");
        assert!(lock.is_newly_lost(&home) && !lock.is_newly_lost(&home));
        let lock = HubLock::acquire(&home).expect("a file of its own");
        std::fs::rename(HubLock::path(&home), home.path().join("kept")).expect("moved");
        home.put("hub/run/hub.lock", "");
        assert!(lock.is_newly_lost(&home));
    }

    #[test]
    fn the_directory_of_the_socket_is_made_private() {
        use std::os::unix::fs::PermissionsExt;
        let home = TestHome::new();
        home.put("hub/run/x", "");
        let mode = || std::fs::metadata(home.run_dir()).expect("a directory").permissions().mode() & 0o777;
        std::fs::set_permissions(home.run_dir(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let _lock = HubLock::acquire(&home).expect("free");
        assert_eq!(mode(), 0o700);
    }
}
