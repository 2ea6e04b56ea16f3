//! Which hub runs in this home: a lock for life, and the files by which others find it (files §14.6, hub identity).

use super::atomic::{self, Links, PRIVATE, PUBLIC, SMALL_FILE_MAX_BYTES, Secret, Target, Trust};
use super::{Home, StoreError};
use crate::manifest::{Port, json};
use crate::sys::fs::{self, FileLock};
use crate::sys::wipe::wipe;
use crate::token::proof::BootSecret;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::str::SplitWhitespace;
use std::time::Instant;

const LOCK: &str = "hub.lock";
const RUN_DIR: &str = "hub/run";
const PID: &str = "hub/run/hub.pid";
const PORT: &str = "hub/run/hub.port";
const INSTANCE: &str = "hub-instance.json";

/// Two numbers of at most 20 digits, and two words of 32 and 64.
const PID_MAX_BYTES: usize = 256;
/// Enough for every decimal number that a pid can be.
const LOCK_MAX_BYTES: u64 = 64;

/// The right to be this home's hub, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct HubLock {
    _lock: FileLock,
}

impl HubLock {
    /// Takes the lock without waiting. [`StoreError::Locked`] names the hub that has it.
    pub(crate) fn acquire(home: &Home) -> Result<Self, StoreError> {
        let path = home.run_dir().join(LOCK);
        let write_error = |source| StoreError::Write { path: path.clone(), source };
        let file = home.open_lock(&Path::new(RUN_DIR).join(LOCK))?;
        let reader = file.try_clone().map_err(write_error)?;
        match FileLock::acquire(file, Instant::now()) {
            Ok(lock) => {
                // Who holds it, for the message of the one who comes second. A file that has another name elsewhere is
                // locked as well as any, and not ours to write.
                if fs::stat_of(lock.file()).map_err(write_error)?.links == 1 {
                    fs::set_size(lock.file(), 0)
                        .and_then(|()| fs::write_all(lock.file(), format!("{}\n", std::process::id()).as_bytes()))
                        .map_err(write_error)?;
                }
                Ok(Self { _lock: lock })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let text = fs::read_to_limit(&reader, LOCK_MAX_BYTES).ok().flatten().unwrap_or_default();
                let holder = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
                Err(StoreError::Locked { path, holder })
            }
            Err(source) => Err(write_error(source)),
        }
    }
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

/// Tells everybody which hub runs here (supervisor §2, step 13). Commands find it without, see [`publish`].
pub(crate) fn announce(home: &Home, identity: &Identity) -> Result<(), StoreError> {
    let Identity { instance, pid, port, started_at, .. } = identity;
    let record = json!({ "instance": instance, "pid": pid, "port": port, "startedAt": started_at });
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
        started_at: record_of(home, instance).and_then(|record| Some(record.get("startedAt")?.as_str()?.to_owned())),
    })
}

/// The public record, when it is of this hub.
fn record_of(home: &Home, instance: &str) -> Option<Value> {
    let record: Value = json::parse(read_text(home, INSTANCE)?.as_bytes()).ok()?;
    (record.get("instance").and_then(Value::as_str) == Some(instance)).then_some(record)
}

/// Takes back what [`publish`] and [`announce`] wrote, unless another hub has published since.
pub(crate) fn clear(home: &Home, instance: &str) -> Result<(), StoreError> {
    let published = read_pid(home);
    if published.as_ref().and_then(words).and_then(|mut words| words.nth(2)) != Some(instance) {
        return Ok(());
    }
    if record_of(home, instance).is_some() {
        atomic::remove(home, Path::new(INSTANCE))?;
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
        let copy = first._lock.file().try_clone().expect("a descriptor");
        drop(first);
        HubLock::acquire(&home).expect("free again");
        drop(copy);
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
