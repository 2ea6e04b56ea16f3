//! The edge from outside: real TCP clients, a real Unix socket behind it.

use crate::manifest::mounts::Mount;
use crate::manifest::{Port, Short};
use std::time::Duration;

/// A mount of the module `wiki` with nothing special about it; a test says what it is about.
pub(crate) fn mount(path: &str) -> Mount {
    let short = Short::parse("wiki").expect("a short");
    Mount {
        path: path.to_owned(),
        process: short.clone(),
        short,
        port: Port::new(2000).expect("a port"),
        strip: false,
        local_only: false,
        websocket: false,
        hold: Duration::ZERO,
        hub_credentials: false,
        proof_headers: false,
        gates: None,
        served: None,
    }
}

mod callers;
mod hostile;
mod modules;
mod relaying;
mod support;
mod visits;
