//! What black-box tests stand on: a hub in a home of its own, the test child, HTTP by hand, and the one place that
//! waits. Must not know anything of the program but its binary, its files and its answers.

mod backend;
mod connection;
mod home;
pub(crate) mod http;
mod hub;
mod module;
mod process;
mod run;
mod secrets;
mod state;
mod strace;
pub(crate) mod tokens;
mod victim;
mod wait;

pub(crate) use backend::{Backend, Recorded, Said, services_at};
pub(crate) use connection::Connection;
pub(crate) use home::{Home, through};
pub(crate) use hub::{Hub, Refused, WITHOUT_GROUPS, start_without_groups};
pub(crate) use module::{Module, free_port, module};
pub(crate) use process::{Spawned, children, is_alive, kill, testchild};
pub(crate) use run::Finished;
pub(crate) use secrets::remember;
pub(crate) use state::{is_free, pid_of};
pub(crate) use victim::{Victim, descriptors, threads};
pub(crate) use wait::{deadline, eventually, eventually_within};
