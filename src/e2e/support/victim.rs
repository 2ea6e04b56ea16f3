//! A hub that a test attacks, and what it used before: everything has to be given back.

use super::http::{self, Response};
use super::hub::Hub;
use super::module::module;
use super::process::{Spawned, testchild};
use super::wait::{deadline, eventually, within};
use std::fs;
use std::path::Path;

/// What no attack may add to the hub's memory: far less than any of them sends or asks for.
const ALLOWANCE_BYTES: u64 = 24 * 1024 * 1024;

/// What may stay after one: buffers that the allocator keeps for the next.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;

/// A hub with the module `web`, the test child as a server.
pub(crate) struct Victim {
    pub(crate) hub: Hub,
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
    peak_bytes: u64,
    held_bytes: u64,
}

impl Victim {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// The same with these variables.
    #[track_caller]
    pub(crate) fn with(environment: &[(&str, &str)]) -> Self {
        let hub = Hub::start_with(&[module("web", testchild(&["http"]))], environment);
        hub.until_ready("web");
        Self::measured(hub)
    }

    /// This hub, which has `web` already, as it is now.
    #[track_caller]
    pub(crate) fn measured(hub: Hub) -> Self {
        // What is made for the first requests belongs to the hub.
        for _ in 0..20 {
            assert_eq!((hub.get("/health").status, hub.get("/web/a").status), (200, 200));
        }
        let (threads, descriptors) = (threads(&hub), descriptors(&hub));
        let (peak_bytes, held_bytes) = (memory(&hub, "VmHWM:"), memory(&hub, "RssAnon:"));
        Self { hub, threads, descriptors, peak_bytes, held_bytes }
    }

    /// Many connections of one kind, made by a process of its own; see `attacker.py`.
    pub(crate) fn attacker(&self, kind: &str, count: usize) -> Spawned {
        assert!(Path::new("/usr/bin/python3").exists(), "python3 is missing: apt-get install python3");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/children/attacker.py");
        let script = script.to_str().expect("the source directory is UTF-8");
        let (port, count) = (self.hub.port.to_string(), count.to_string());
        Spawned::start(&["/usr/bin/python3", script, &port, kind, &count].map(str::to_owned))
    }

    /// The answer to exactly these bytes.
    #[track_caller]
    pub(crate) fn raw(&self, request: &[u8]) -> Response {
        let answer = http::exchange(self.hub.port, request).and_then(|bytes| Response::parse(&bytes));
        answer.unwrap_or_else(|error| panic!("{}: {error}", request[..request.len().min(200)].escape_ascii()))
    }

    #[track_caller]
    pub(crate) fn memory_is_flat(&self) {
        let peak_bytes = memory(&self.hub, "VmHWM:");
        assert!(
            peak_bytes < self.peak_bytes + ALLOWANCE_BYTES,
            "the hub's memory grew from {} to {peak_bytes} bytes",
            self.peak_bytes
        );
    }

    /// The hub answers, for itself and for its module.
    #[track_caller]
    pub(crate) fn answers(&self) {
        assert_eq!(self.hub.get("/health").status, 200);
        assert_eq!(self.hub.get("/web/a").status, 200);
    }

    /// Waits until a number of bytes grows no more, while other callers are served; what they cause does not count.
    #[track_caller]
    pub(crate) fn comes_to_a_standstill(&self, what: &str, mut look: impl FnMut() -> u64) -> u64 {
        const NOISE_BYTES: u64 = 64 * 1024;
        let (mut last, mut same) = (0, 0);
        eventually(&format!("an end of {what}"), || {
            self.answers();
            let now = look();
            same = if now < last + NOISE_BYTES { same + 1 } else { 0 };
            last = now;
            (same >= 8).then_some(now)
        })
    }

    #[track_caller]
    pub(crate) fn has_recovered(&self) {
        self.answers();
        self.memory_is_flat();
        eventually(&format!("at most {} threads again", self.threads), || {
            (threads(&self.hub) <= self.threads).then_some(())
        });
        eventually(&format!("at most {} descriptors again", self.descriptors), || {
            (descriptors(&self.hub) <= self.descriptors).then_some(())
        });
        let mut held = 0;
        let back = within(deadline(), || {
            held = memory(&self.hub, "RssAnon:");
            (held <= self.held_bytes + KEPT_BYTES).then_some(())
        });
        assert!(back.is_some(), "the hub had {} bytes of its own and keeps {held}", self.held_bytes);
        assert!(!self.hub.output().contains("panicked"), "{}", self.hub.output());
    }
}

fn entries(hub: &Hub, directory: &str) -> usize {
    fs::read_dir(format!("/proc/{}/{directory}", hub.pid())).expect("the hub runs, and is ours").count()
}

pub(crate) fn threads(hub: &Hub) -> usize {
    entries(hub, "task")
}

pub(crate) fn descriptors(hub: &Hub) -> usize {
    entries(hub, "fd")
}

/// What the kernel says of the hub's memory: `VmHWM:`, the most that it has had so far, or `RssAnon:`, what of it is its
/// own now.
fn memory(hub: &Hub, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", hub.pid())).expect("the hub runs, and is ours");
    let value = status.lines().find_map(|text| text.strip_prefix(line));
    let kib = value.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.expect("Linux says so") * 1024
}
