//! Which hub runs in this home: a lock for life, and the files by which others find it (files §14.6, hub identity).

use super::atomic::{self, PRIVATE, PUBLIC, SMALL_FILE_MAX_BYTES};
use super::{Home, StoreError};
use crate::manifest::{Port, json};
use crate::sys::fs::{self, FileLock};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::Instant;

const LOCK: &str = "hub.lock";
const RUN_DIR: &str = "hub/run";
const PID: &str = "hub/run/hub.pid";
const PORT: &str = "hub/run/hub.port";
const INSTANCE: &str = "hub-instance.json";

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
        let dir = home.make_dir(Path::new(RUN_DIR))?;
        let path = home.run_dir().join(LOCK);
        let write_error = |source| StoreError::Write { path: path.clone(), source };
        let file = dir.open_lock(OsStr::new(LOCK), PRIVATE).map_err(write_error)?;
        let reader = file.try_clone().map_err(write_error)?;
        match FileLock::acquire(file, Instant::now()) {
            Ok(lock) => {
                // Who holds it, for the message of the one who comes second.
                fs::set_size(lock.file(), 0)
                    .and_then(|()| fs::write_all(lock.file(), format!("{}\n", std::process::id()).as_bytes()))
                    .map_err(write_error)?;
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
    pub(crate) pid: u32,
    /// The process's start time in clock ticks since boot, so that a reused pid is not taken for it.
    pub(crate) start_ticks: u64,
    pub(crate) port: u16,
    /// ISO 8601, UTC, milliseconds.
    pub(crate) started_at: String,
}

/// Tells others where the hub is. Called once it listens, never before.
pub(crate) fn publish(home: &Home, identity: &Identity) -> Result<(), StoreError> {
    let Identity { instance, pid, start_ticks, port, started_at } = identity;
    let record = json!({ "instance": instance, "pid": pid, "port": port, "startedAt": started_at });
    atomic::write_volatile(home, Path::new(INSTANCE), &json::to_bytes(&record), PUBLIC)?;
    atomic::write_volatile(home, Path::new(PID), format!("{pid} {start_ticks} {instance}\n").as_bytes(), PRIVATE)?;
    // Last, because clients look here first.
    atomic::write_volatile(home, Path::new(PORT), format!("{port}\n").as_bytes(), PRIVATE)
}

/// What the last hub published; `None` when anything is missing, garbled or of two different hubs. It may have died
/// since: compare the start time, or ask its port.
pub(crate) fn read(home: &Home) -> Option<Identity> {
    let pid = read_text(home, PID)?;
    let mut words = pid.split_whitespace();
    let (pid, start_ticks, instance) = (words.next()?, words.next()?, words.next()?);
    let record: Value = json::parse(read_text(home, INSTANCE)?.as_bytes()).ok()?;
    if record.get("instance").and_then(Value::as_str) != Some(instance) {
        return None;
    }
    Some(Identity {
        instance: instance.to_owned(),
        pid: pid.parse().ok().filter(|pid| *pid > 0)?,
        start_ticks: start_ticks.parse().ok()?,
        port: Port::new(read_text(home, PORT)?.trim().parse().ok()?)?.get(),
        started_at: record.get("startedAt").and_then(Value::as_str)?.to_owned(),
    })
}

/// Takes back what [`publish`] wrote, unless another hub has published since.
pub(crate) fn clear(home: &Home, instance: &str) -> Result<(), StoreError> {
    let published = read_text(home, PID);
    if published.as_deref().and_then(|text| text.split_whitespace().nth(2)) != Some(instance) {
        return Ok(());
    }
    // The pid file last: it says whose the others are, so that a second attempt finds what a failed one left.
    for relative in [PORT, INSTANCE, PID] {
        atomic::remove(home, Path::new(relative))?;
    }
    Ok(())
}

fn read_text(home: &Home, relative: &str) -> Option<String> {
    let bytes = atomic::read(home, relative, SMALL_FILE_MAX_BYTES).ok().flatten()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestHome;

    fn identity() -> Identity {
        Identity {
            instance: "3f2a".to_owned(),
            pid: 4711,
            start_ticks: 99,
            port: 1939,
            started_at: "2026-05-20T10:00:00.000Z".to_owned(),
        }
    }

    #[test]
    fn what_is_published_is_read_until_it_is_cleared() {
        let home = TestHome::new();
        assert_eq!(read(&home), None);
        publish(&home, &identity()).expect("published");
        assert_eq!(read(&home), Some(identity()));
        assert_eq!(home.text(PORT), "1939\n");
        assert_eq!(home.text(PID).split(' ').next(), Some("4711"));
        clear(&home, "another").expect("not ours");
        assert_eq!(read(&home), Some(identity()), "another hub's files stay");
        clear(&home, "3f2a").expect("cleared");
        assert_eq!(read(&home), None);
        assert_eq!(home.names(), ["hub"]);
        clear(&home, "3f2a").expect("cleared twice");
    }

    #[test]
    fn garbage_is_no_hub() {
        for (relative, text) in [
            (PORT, ""),
            (PORT, "0\n"),
            (PORT, "65536\n"),
            (PORT, "1939abc\n"),
            (PID, ""),
            (PID, "4711\n"),
            (PID, "0 99 3f2a\n"),
            (PID, "-1 99 3f2a\n"),
            (PID, "x 99 3f2a\n"),
            (PID, "4711 99 other\n"),
            (PID, "\0\0\0\0"),
            (INSTANCE, ""),
            (INSTANCE, "[]"),
            (INSTANCE, "{\"instance\":\"3f2a\"}"),
            (INSTANCE, "{\"instance\":5,\"startedAt\":\"x\"}"),
        ] {
            let home = TestHome::new();
            publish(&home, &identity()).expect("published");
            home.put(relative, text);
            assert_eq!(read(&home), None, "{relative} holds {text:?}");
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
        drop(first);
        HubLock::acquire(&home).expect("free again");
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
