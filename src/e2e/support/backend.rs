//! A module, or who takes the hub's place, that is part of the test: it keeps what it is asked, and says, byte by byte, what the test wants it to say.

use super::http::{Fields, read_body, read_head};
use super::module::free_port;
use serde_json::{Value, json};
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A request as the module got it.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) line: String,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The last segment of the path.
    pub(crate) fn name(&self) -> &str {
        let path = self.line.split([' ', '?']).nth(1).unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// What goes back, and what becomes of the connection then.
pub(crate) enum Said {
    AndWaits(Vec<u8>),
    AndHangsUp(Vec<u8>),
}

pub(crate) struct Backend {
    pub(crate) port: u16,
    records: Arc<Mutex<Vec<Recorded>>>,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// Answers on a port of its own until the test's process ends.
    pub(crate) fn start(answer: impl Fn(&Recorded) -> Said + Send + Sync + 'static) -> Self {
        Self::start_on(free_port(), answer)
    }

    /// The same on this port, which must be free.
    pub(crate) fn start_on(port: u16, answer: impl Fn(&Recorded) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let records = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (kept, count, answer) = (Arc::clone(&records), Arc::clone(&connections), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while serve_one(&mut reader, &kept, &*answer).unwrap_or(false) {}
                });
            }
        });
        Self { port, records, connections }
    }

    /// See [`services_at`].
    pub(crate) fn services(&self) -> String {
        services_at(self.port)
    }

    /// How many it has taken so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What it was asked since the last time.
    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The text of a `services.json` whose only row is mounted at `/web` and has this port; no hub starts it.
pub(crate) fn services_at(port: u16) -> String {
    let row: Value = json!({"name": "web", "port": port, "paths": ["/web"], "health": "/health", "version": "1.0.0"});
    json!({ "services": [row] }).to_string()
}

/// Says whether another request may follow.
fn serve_one(
    reader: &mut BufReader<TcpStream>,
    records: &Mutex<Vec<Recorded>>,
    answer: &dyn Fn(&Recorded) -> Said,
) -> io::Result<bool> {
    let Some((line, fields)) = read_head(reader)? else { return Ok(false) };
    let body = read_body(reader, &fields)?.unwrap_or_default();
    let request = Recorded { line, fields, body };
    let said = answer(&request);
    // It is there to be looked at before anybody has its answer.
    records.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let (bytes, goes_on) = match said {
        Said::AndWaits(bytes) => (bytes, true),
        Said::AndHangsUp(bytes) => (bytes, false),
    };
    reader.get_mut().write_all(&bytes)?;
    Ok(goes_on)
}
