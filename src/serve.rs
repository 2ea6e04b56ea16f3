//! Builds the hub in boot order, waits for a signal, takes it down.

/// Runs the hub until a signal ends it; the exit code.
pub(crate) fn run(_config: crate::config::Config, _port: Option<u16>) -> u8 {
    0
}
