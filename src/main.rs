//! `parachute`: supervises a handful of services on one small machine and serves them under one origin.
//!
//! This file holds what the process is from its start on, argv in, the exit code out and the list of parts; nothing else.

mod archive;
mod cli;
mod client;
mod config;
mod db;
mod edge;
mod html;
mod hub;
mod logs;
mod manifest;
mod ops;
mod origin;
mod serve;
mod shell;
mod stamp;
mod store;
mod supervisor;
mod sys;
mod token;
mod wire;

fn main() -> std::process::ExitCode {
    sys::process::restrict_umask();
    sys::signals::outlive_size_limit();
    #[cfg(feature = "fault-injection")]
    if let Some(config::faults::Faults { at, errno, trace }) = config::faults::Faults::of_process() {
        sys::fault::arm(at, errno.map_or(sys::fault::Fault::Kill, sys::fault::Fault::Errno), trace.as_deref());
    }
    cli::run()
}
