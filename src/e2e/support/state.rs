//! What a running hub and the machine say of one module.

use super::hub::Hub;
use super::process::with_module;
use super::wait::eventually;
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};

impl Hub {
    /// The body of `GET /api/modules/<short>`.
    #[track_caller]
    pub(crate) fn module(&self, short: &str) -> Value {
        let reply = self.api("GET", &format!("/api/modules/{short}"));
        assert_eq!(reply.status, 200, "{short}: {}", reply.text());
        reply.json()
    }

    /// Waits until that body is as wanted and returns it.
    #[track_caller]
    pub(crate) fn until(&self, short: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = super::wait::within(super::deadline(), || {
            last = self.module(short);
            wanted(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("{short} did not come to be {what}: {last:#}"))
    }

    /// Waits for the module to be running and ready; its pid.
    #[track_caller]
    pub(crate) fn until_ready(&self, short: &str) -> u32 {
        pid_of(&self.until(short, "ready", |module| module["ready"] == true))
    }

    /// The same with another pid than this one.
    #[track_caller]
    pub(crate) fn until_replaced(&self, short: &str, old: u32) -> u32 {
        pid_of(&self.until(short, "ready anew", |module| module["ready"] == true && module["pid"] != old))
    }

    #[track_caller]
    pub(crate) fn until_status(&self, short: &str, status: &str) -> Value {
        self.until(short, status, |module| module["supervisor_status"] == status)
    }

    /// Every living process that was started for this module, with its command line.
    pub(crate) fn processes(&self, short: &str) -> Vec<(u32, String)> {
        with_module(self.home.path(), short)
    }

    /// Checks, at once, that no process of the module is left and that its port can be bound.
    #[track_caller]
    pub(crate) fn has_nothing_left(&self, short: &str, port: u16) {
        let left = self.processes(short);
        assert!(left.is_empty(), "left of {short}: {left:?}");
        assert!(is_free(port), "port {port} of {short} is still held");
    }

    /// Waits for the newest line of the module that begins with `key` to go on with `rest`.
    #[track_caller]
    pub(crate) fn until_line(&self, short: &str, key: &str, rest: &str) {
        eventually(&format!("{short} saying \"{key}{rest}\""), || {
            self.lines_after(short, key).last().is_some_and(|last| last == rest).then_some(())
        });
    }
}

/// The pid in the body of a module.
#[track_caller]
pub(crate) fn pid_of(module: &Value) -> u32 {
    let pid = module["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.unwrap_or_else(|| panic!("no pid in {module:#}"))
}

/// Whether this port of 127.0.0.1 can be bound.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
