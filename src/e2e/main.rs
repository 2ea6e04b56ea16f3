//! The binary from outside: real children, real files, a home of its own for every test. Knows none of our modules.
//!
//! Run with plain `cargo test`: that builds the test child too.

mod attacks;
mod audience;
mod browser;
mod callers;
mod checking;
mod control_groups;
mod crowds;
mod descriptors;
mod differential;
mod discovery;
mod environment;
mod half_closed;
mod hub_life;
mod impostor;
mod introspection;
mod live_changes;
mod login;
mod logs;
mod metrics;
mod no_pidfds;
mod no_wait;
mod operator_token;
mod orders;
mod origin;
mod origin_setting;
mod pages;
mod pattern;
mod programs;
mod ready;
mod restart;
mod status;
mod stop;
mod streams;
mod stuck_forks;
mod support;
mod upstreams;
mod verify_keys;
mod watching;
mod websockets;
mod welch;

mod access;
mod access_log;
mod archives;
mod bad_arguments;
mod bad_home;
mod bad_modules;
mod database;
mod dead_child;
mod failures;
mod faults;
mod faults_database;
mod faults_verbs;
mod files;
mod full_disk;
mod origin_files;
mod registration;
mod shortage;
mod signing_key;
mod thousand;
mod tokens;

use support::{eventually, is_alive, kill, testchild};

#[test]
fn the_test_child_shows_what_it_was_handed_and_ends_on_term() {
    let mut child = support::Spawned::start(&testchild(&["args", "one", "two words"]));
    assert_eq!(child.line_after("argv 1 "), "one");
    assert_eq!(child.line_after("argv 2 "), "two words");
    let pid = child.line_after("ready ").parse().expect("a process id");
    assert!(is_alive(pid), "a child that waits is alive");
    kill(pid, "TERM");
    eventually("the child gone", || (!is_alive(pid)).then_some(()));
    assert_eq!(child.wait().code(), None, "ended by the signal, not by itself");
}
