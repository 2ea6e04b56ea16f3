//! The yardstick for a respawn: a bare fork, exec, wait loop that does nothing else. `scripts/bench` prints it beside
//! the hub's own number.
//!
//! `respawn N FILE TESTCHILD LIFE_MS` runs `TESTCHILD stamp FILE LIFE_MS` so often, one after the other, each a crash
//! after that time: with 0 the processor has everything at hand, with more it has seen other things in between. The
//! children stamp start and exit into FILE, as they do below the hub, so both are measured in the same way.
//! Prints `median_us`, `mean_us` and `respawns`: the time from a child's exit to the start of the next one.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int};
use std::fmt::Display;
use std::io::{self, Write};
use std::process::exit;

unsafe extern "C" {
    fn fork() -> c_int;
    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    safe fn _exit(status: c_int) -> !;
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [times, file, testchild, life_ms] = args.as_slice() else { die("usage: respawn N FILE TESTCHILD LIFE_MS") };
    let times: usize = times.parse().unwrap_or_else(|_| die(format_args!("{times:?} is not a number")));
    let argv: Vec<CString> = [testchild.as_str(), "stamp", file.as_str(), life_ms.as_str()]
        .into_iter()
        .map(|word| CString::new(word).unwrap_or_else(|_| die("an argument holds a NUL")))
        .collect();
    // One more child than respawns: the first one follows nothing.
    for _ in 0..=times {
        run(&argv);
    }
    report(&gaps_us(file));
}

fn die(why: impl Display) -> ! {
    let _ = writeln!(io::stderr(), "respawn: {why}");
    exit(1)
}

/// Starts the command and waits for its end.
fn run(argv: &[CString]) {
    let mut pointers: Vec<*const c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: this program has one thread, and its child does nothing but exec.
    match unsafe { fork() } {
        -1 => die(format_args!("cannot fork: {}", io::Error::last_os_error())),
        0 => {
            // SAFETY: the strings and the array, which ends with a null pointer, outlive the call.
            unsafe { execv(pointers[0], pointers.as_ptr()) };
            _exit(127)
        }
        // SAFETY: a null pointer says that the status is not wanted.
        pid => _ = unsafe { waitpid(pid, std::ptr::null_mut(), 0) },
    }
}

/// From each `exit PID NS` in the file to the `start PID NS` after it, in µs.
fn gaps_us(file: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| die(format_args!("cannot read {file}: {error}")));
    let (mut gaps, mut exited_ns) = (Vec::new(), None);
    for line in text.lines() {
        let mut words = line.split(' ');
        let (key, at_ns) = (words.next(), words.nth(1).and_then(|ns| ns.parse::<u64>().ok()));
        match (key, at_ns, exited_ns) {
            (Some("exit"), Some(at_ns), _) => exited_ns = Some(at_ns),
            (Some("start"), Some(at_ns), Some(exit_ns)) => gaps.push(at_ns.saturating_sub(exit_ns) / 1000),
            _ => {}
        }
    }
    gaps.sort_unstable();
    gaps
}

fn report(gaps_us: &[u64]) {
    let count = gaps_us.len();
    let Some(median) = gaps_us.get(count / 2) else { die("no child has stamped the file: is it the test child?") };
    let mean = gaps_us.iter().sum::<u64>() / (count as u64);
    let _ = writeln!(io::stdout(), "median_us {median}\nmean_us {mean}\nrespawns {count}");
}
