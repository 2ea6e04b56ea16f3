//! A module as a test wants it: a row of services.json and a `module.json`.

use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Below the range that the kernel takes for outgoing connections (32768 and up), so that none of them takes a port
/// between the look and the bind.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;

/// A module that the next hub finds installed.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) port: u16,
    row: Map<String, Value>,
    manifest: Map<String, Value>,
}

/// A module of this name on a free port, mounted at `/<name>`, that starts with `argv`.
pub(crate) fn module(name: &str, argv: Vec<String>) -> Module {
    let port = free_port();
    let common = json!({ "name": name, "port": port, "paths": [format!("/{name}")], "health": "/health" });
    let Value::Object(common) = common else { unreachable!("an object was written above") };
    let mut module = Module { name: name.to_owned(), port, row: common.clone(), manifest: common };
    module.row.insert("version".into(), json!("1.0.0"));
    module.manifest("manifestName", json!(name)).manifest("startCmd", json!(argv))
}

impl Module {
    /// Sets its `run` settings in `module.json`.
    pub(crate) fn run(self, run: Value) -> Self {
        self.manifest("run", run)
    }

    /// Sets a field of `module.json`.
    pub(crate) fn manifest(mut self, field: &str, value: Value) -> Self {
        self.manifest.insert(field.to_owned(), value);
        self
    }

    /// Sets a field of the row in services.json.
    pub(crate) fn row(mut self, field: &str, value: Value) -> Self {
        self.row.insert(field.to_owned(), value);
        self
    }

    /// The row, and the text of `module.json`, for a package in `install_dir`.
    pub(super) fn files(&self, install_dir: &Path) -> (Value, String) {
        let mut row = self.row.clone();
        row.entry("installDir").or_insert_with(|| json!(install_dir));
        (Value::Object(row), Value::Object(self.manifest.clone()).to_string())
    }
}

/// A port of 127.0.0.1 that nothing holds at this moment and that no other test of this process is given.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side begin at different places.
    let age_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.subsec_nanos());
    let start = (age_ns / 1000 % u32::from(PORTS)) as u16;
    let _ = NEXT.compare_exchange(0, start.max(1), Ordering::Relaxed, Ordering::Relaxed);
    for _ in 0..PORTS {
        let port = FIRST_PORT + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST_PORT} to {} is free", FIRST_PORT + PORTS - 1)
}
