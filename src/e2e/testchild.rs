//! The child that tests, scripts and the demo supervise: one small behaviour per subcommand; never installed.
//!
//! Every one announces itself on stdout with lines of the form `key value`, so that whoever supervises it waits for
//! a line and never for a time. `http` and `sleep`, like all that say nothing else, end on TERM by default action.
//! Knows nothing of ours.
//!
//! | Subcommand | Does |
//! |---|---|
//! | `http` | binds 127.0.0.1:$PORT, says `ready PID`, answers every request: see `web.rs` |
//! | `bind-late MS` | says `waiting PID`, is `http` after so long |
//! | `never-bind`, `sleep [FILE]` | says `ready PID`, waits for ever; `sleep` stamps its start into FILE first |
//! | `tick [MS]` | says `ready PID`, then `tick 1`, `tick 2`, … every so often [1000] |
//! | `exit CODE [AFTER-MS]` | says `exiting CODE` and does, so long after |
//! | `crash-times N FILE` | says `crash K` and exits 1 in the first N runs, counted in FILE; then it is `http` |
//! | `segv` | says `exiting segv` and dies of SIGSEGV |
//! | `stamp FILE [MS]` | stamps start and exit into FILE, so long apart, and exits 1 |
//! | `ignore-term` | is `http`, but ignores TERM |
//! | `leave-group [ignore-term]` | joins its parent's group, then it is `http`, and may ignore TERM |
//! | `headless` | ignores TERM; its first thread ends, then another one says `ready PID` and is `http` |
//! | `slow-term MS` | says `ready PID`; on TERM says `term PID` and exits 0 so long after |
//! | `fork-and-ignore-term` | a grandchild says `grandchild PID`, holds $PORT and ignores TERM; the leader waits for it |
//! | `chain LENGTH` | each forks the next; the last says `last PID`, holds $PORT and ignores TERM |
//! | `daemonize [stay]` | a daemon in its own session says `daemon PID` and is `http`; the leader exits 0, or stays |
//! | `hold-pipe` | a grandchild in its own session says `grandchild PID` and keeps stdout open; the leader exits 0 |
//! | `rewrite FILE MS` | says `ready PID`; reads FILE and puts back what it read, by a rename, every so often |
//! | `flood BYTES [LENGTH]` | numbered lines of LENGTH [100] bytes in writes of 64 KiB, then `flooded LINES in US us` |
//! | `flood-lines BYTES [LENGTH]` | the same, one write a line |
//! | `flood-nonewline BYTES` | so many bytes without a line end, then `flooded 1 in US us` on a line; waits for ever |
//! | `print-env` | `env K=V` for each variable, sorted, then `ready PID`; waits for ever |
//! | `args …` | argv, directory, ids, masks and descriptors, each a line, then `ready PID`; waits for ever |
//! | `stdin` | `stdin eof`, `stdin data` or `stdin open`; waits for ever |
//! | `free-port`, `stopwatch N COMMAND…`, `measure PORT LOG COMMAND…` | tools of the scripts: see `stopwatch.rs` |
//! | `timing PORT mac\|key KEY-FILE TOKEN-FILE N SECONDS` | another one: see `timing.rs` |
#![no_main] // std's own `main` would ignore SIGPIPE, and `args` is to show what the supervisor handed down
#![allow(unsafe_code)]

mod pattern;
mod stopwatch;
mod timing;
mod web;
mod welch;

use std::ffi::{CStr, OsString, c_char, c_int, c_long};
use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::process::{exit, id};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use timing::Guess;
use web::serve;

/// The same numbers on every platform that we build for.
const SIGSEGV: c_int = 11;
const SIGTERM: c_int = 15;
/// `SIG_IGN`.
const IGNORE: usize = 1;
/// `SIG_BLOCK` of Linux.
const SIG_BLOCK: c_int = 0;
/// Ends one thread, where `exit` ends all: `SYS_exit` of Linux.
const SYS_EXIT: c_long = match () {
    () if cfg!(target_arch = "x86_64") => 60,
    () if cfg!(any(target_arch = "x86", target_arch = "arm")) => 1,
    () => 93,
};
/// Bad arguments; `EX_USAGE` of sysexits.h.
const USAGE: i32 = 64;
/// What one write of `flood` carries: a pipe's whole capacity.
const FLOOD_WRITE_BYTES: usize = 64 * 1024;
/// Twelve digits, a space and the line end.
const SHORTEST_LINE_BYTES: usize = 14;
const LINE_BYTES: usize = 100;
/// How long `stdin` waits before it calls a silent stdin open.
const STDIN_PATIENCE: Duration = Duration::from_secs(1);

/// At least as large as the `sigset_t` of any platform.
#[repr(C, align(16))]
struct SignalSet([u8; 128]);

unsafe extern "C" {
    safe fn setsid() -> c_int;
    safe fn getpgrp() -> c_int;
    safe fn getppid() -> c_int;
    safe fn getpgid(pid: c_int) -> c_int;
    safe fn setpgid(pid: c_int, group: c_int) -> c_int;
    safe fn raise(signal: c_int) -> c_int;
    safe fn kill(pid: c_int, signal: c_int) -> c_int;
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
}

// SAFETY: the one `main` of this program.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // Without std's own `main` not every C library tells std about them.
    let argument = |index| {
        // SAFETY: the C library hands over so many terminated strings, which stay where they are.
        let bytes = unsafe { CStr::from_ptr(*argv.add(index)) }.to_bytes();
        OsString::from_vec(bytes.to_vec())
    };
    let args: Vec<OsString> = (1..usize::try_from(argc).unwrap_or(0)).map(argument).collect();
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["http"] => serve(announced()),
        ["bind-late", ms] => {
            say("waiting", id());
            wait(millis(ms));
            serve(announced());
        }
        ["never-bind"] | ["sleep"] => ready_for_ever(),
        ["sleep", file] => {
            stamp(file, "start");
            ready_for_ever();
        }
        ["tick"] => tick(Duration::from_secs(1)),
        ["tick", ms] => tick(millis(ms)),
        ["exit", code] => leave(number(code), Duration::ZERO),
        ["exit", code, ms] => leave(number(code), millis(ms)),
        ["crash-times", times, file] => crash_times(number(times), file),
        ["segv"] => {
            say("exiting", "segv");
            raise(SIGSEGV);
        }
        ["stamp", file] => live_and_stamp(file, Duration::ZERO),
        ["stamp", file, ms] => live_and_stamp(file, millis(ms)),
        ["ignore-term"] => {
            ignore_term();
            serve(announced());
        }
        ["leave-group"] => {
            leave_group();
            serve(announced());
        }
        ["leave-group", "ignore-term"] => {
            leave_group();
            ignore_term();
            serve(announced());
        }
        ["headless"] => headless(),
        ["slow-term", ms] => slow_term(millis(ms)),
        ["fork-and-ignore-term"] => fork_and_ignore_term(),
        ["chain", length] => chain(number(length)),
        ["daemonize"] => daemonize(),
        ["daemonize", "stay"] => {
            daemonize();
            for_ever();
        }
        ["hold-pipe"] => hold_pipe(),
        ["rewrite", file, ms] => rewrite(file, millis(ms)),
        ["flood", bytes] => flood(number(bytes), LINE_BYTES, FLOOD_WRITE_BYTES),
        ["flood", bytes, length] => flood(number(bytes), number(length), FLOOD_WRITE_BYTES),
        ["flood-lines", bytes] => flood(number(bytes), LINE_BYTES, LINE_BYTES),
        ["flood-lines", bytes, length] => flood(number(bytes), number(length), number(length)),
        ["flood-nonewline", bytes] => flood_without_line_end(number(bytes)),
        ["print-env"] => print_env(),
        ["args", ..] => print_surroundings(&words),
        ["stdin"] => print_stdin(),
        ["free-port"] => stopwatch::free_port(),
        ["stopwatch", times, _, ..] => stopwatch::repeat(number(times), &args[2..]),
        ["measure", port, log, _, ..] => stopwatch::measure(number(port), log, &args[3..]),
        ["timing", port, guess @ ("mac" | "key"), key, token, samples, seconds] => {
            let guess = if guess == "mac" { Guess::Mac } else { Guess::Key };
            let limit = Duration::from_secs(number(seconds));
            timing::run(number(port), guess, [key, token], number(samples), limit);
        }
        _ => die(USAGE, format_args!("unknown subcommand or arguments: {words:?}")),
    }
    0
}

/// Prints `key value`, at once.
fn say(key: &str, value: impl Display) {
    let mut out = io::stdout().lock();
    // A reader that has gone ends us by SIGPIPE; nothing else is worth a word here.
    let _ = writeln!(out, "{key} {value}").and_then(|()| out.flush());
}

/// Ends with a sentence on stderr.
fn die(code: i32, why: impl Display) -> ! {
    let _ = writeln!(io::stderr(), "testchild: {why}");
    exit(code)
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| die(USAGE, format_args!("{text:?} is not a number that fits")))
}

fn millis(text: &str) -> Duration {
    Duration::from_millis(number(text))
}

fn wait(duration: Duration) {
    let end = Instant::now() + duration;
    while let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
        thread::park_timeout(rest);
    }
}

fn for_ever() -> ! {
    loop {
        thread::park();
    }
}

fn ready_for_ever() -> ! {
    say("ready", id());
    for_ever()
}

fn tick(every: Duration) -> ! {
    say("ready", id());
    for count in 1_u64.. {
        say("tick", count);
        wait(every);
    }
    for_ever()
}

/// What comes in between is lost, as with every program that knows no lock.
fn rewrite(file: &str, every: Duration) -> ! {
    say("ready", id());
    let temp = format!("{file}.{}.tmp", id());
    loop {
        let rewritten = fs::read(file).and_then(|bytes| fs::write(&temp, bytes)).and_then(|()| fs::rename(&temp, file));
        if let Err(error) = rewritten {
            die(1, format_args!("{file}: {error}"));
        }
        wait(every);
    }
}

fn leave(code: i32, after: Duration) -> ! {
    say("exiting", code);
    wait(after);
    exit(code)
}

/// FILE grows by one byte a run: an append is atomic, so runs that overlap are counted as well.
fn crash_times(times: u64, file: &str) {
    append(file, b".");
    let run = fs::metadata(file).map_or(0, |meta| meta.len());
    if run <= times {
        say("crash", run);
        exit(1);
    }
    serve(announced());
}

fn live_and_stamp(file: &str, life: Duration) -> ! {
    stamp(file, "start");
    wait(life);
    stamp(file, "exit");
    exit(1)
}

/// Appends `key PID NANOSECONDS` since the epoch to `file`.
fn stamp(file: &str, key: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
    append(file, format!("{key} {} {now}\n", id()).as_bytes());
}

fn append(file: &str, bytes: &[u8]) {
    let written =
        OpenOptions::new().append(true).create(true).open(file).and_then(|mut opened| opened.write_all(bytes));
    if let Err(error) = written {
        die(1, format_args!("cannot append to {file}: {error}"));
    }
}

fn ignore_term() {
    // SAFETY: SIG_IGN is no function of ours, so nothing of ours runs in a signal handler.
    unsafe { signal(SIGTERM, IGNORE) };
}

fn leave_group() {
    if setpgid(0, getpgid(getppid())) != 0 {
        die(1, format_args!("cannot leave the group: {}", io::Error::last_os_error()));
    }
}

fn headless() {
    ignore_term();
    let listener = bind();
    thread::spawn(|| {
        let first = format!("/proc/self/task/{}/stat", id());
        while fs::read_to_string(&first).is_ok_and(|stat| !stat.contains(") Z ")) {
            thread::yield_now();
        }
        say("ready", id());
        serve(listener);
    });
    // SAFETY: it takes no pointer, and nothing that others use lies on the stack of this thread.
    unsafe { syscall(SYS_EXIT, 0 as c_long) };
}

fn slow_term(after: Duration) -> ! {
    let mut set = SignalSet([0; 128]);
    let mut got = 0;
    // SAFETY: the set is live and large enough for the platform's type.
    unsafe { sigemptyset(&raw mut set) };
    // SAFETY: as above, and it is initialised now.
    unsafe { sigaddset(&raw mut set, SIGTERM) };
    // SAFETY: as above; a null pointer says that the old mask is not wanted.
    unsafe { sigprocmask(SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    say("ready", id());
    // SAFETY: as above, and `got` outlives the call.
    unsafe { sigwait(&raw const set, &raw mut got) };
    say("term", id());
    wait(after);
    exit(0)
}

/// Forks and returns the child's number once `child` has dropped the stream that it is handed: it has announced itself.
fn fork_announced(child: impl FnOnce(UnixStream)) -> c_int {
    let (mut ours, theirs) =
        UnixStream::pair().unwrap_or_else(|error| die(1, format_args!("cannot make a pair: {error}")));
    // SAFETY: no subcommand that forks has started a thread before.
    match unsafe { fork() } {
        -1 => die(1, format_args!("cannot fork: {}", io::Error::last_os_error())),
        0 => {
            drop(ours);
            child(theirs);
            exit(0)
        }
        pid => {
            drop(theirs);
            // The end of the stream is the message.
            let _ = ours.read(&mut [0]);
            pid
        }
    }
}

fn reap(pid: c_int) {
    // SAFETY: a null pointer says that the status is not wanted.
    unsafe { waitpid(pid, std::ptr::null_mut(), 0) };
}

fn fork_and_ignore_term() {
    let grandchild = fork_announced(|announced| {
        ignore_term();
        let listener = bind();
        say("grandchild", id());
        drop(announced);
        serve(listener);
    });
    reap(grandchild);
}

/// All but the last end on TERM, each at its own moment, and leave their child to whoever collects orphans.
fn chain(length: u64) {
    if length <= 1 {
        ignore_term();
        let listener = bind();
        say("last", id());
        serve(listener);
    }
    reap(fork_announced(|announced| {
        drop(announced);
        chain(length - 1);
    }));
}

fn daemonize() {
    let between = fork_announced(|announced| {
        setsid();
        fork_announced(|done| {
            let listener = bind();
            say("daemon", id());
            drop((done, announced));
            serve(listener);
        });
    });
    reap(between);
}

fn hold_pipe() {
    fork_announced(|announced| {
        setsid();
        say("grandchild", id());
        drop(announced);
        for_ever();
    });
}

#[expect(clippy::disallowed_methods, reason = "its port comes in the environment, like every module's")]
fn bind() -> TcpListener {
    let port: u16 = number(&std::env::var("PORT").unwrap_or_else(|_| die(USAGE, "PORT is not set")));
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .unwrap_or_else(|error| die(1, format_args!("cannot listen on 127.0.0.1:{port}: {error}")))
}

fn announced() -> TcpListener {
    let listener = bind();
    say("ready", id());
    listener
}

/// Numbered lines, as fast as they are taken; a write carries `write_bytes`, wherever in a line that ends.
fn flood(total_bytes: usize, line_bytes: usize, write_bytes: usize) {
    if line_bytes < SHORTEST_LINE_BYTES {
        die(USAGE, format_args!("a line has at least {SHORTEST_LINE_BYTES} bytes"));
    }
    let mut line = b"000000000000 ".to_vec();
    line.resize(line_bytes - 1, b'x');
    line.push(b'\n');
    let mut out = raw_stdout();
    let lines = total_bytes / line_bytes;
    let mut pending = Vec::with_capacity(write_bytes + line_bytes);
    let began = Instant::now();
    for _ in 0..lines {
        pending.extend_from_slice(&line);
        count_up(&mut line);
        if pending.len() >= write_bytes {
            write_or_die(&mut out, &pending[..write_bytes]);
            pending.drain(..write_bytes);
        }
    }
    write_or_die(&mut out, &pending);
    let taken = began.elapsed().as_micros();
    say("flooded", format_args!("{lines} in {taken} us"));
}

/// The twelve digits at the front of `line`, one more.
fn count_up(line: &mut [u8]) {
    for digit in line[..12].iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

fn flood_without_line_end(mut bytes: usize) -> ! {
    let chunk = [b'x'; FLOOD_WRITE_BYTES];
    let mut out = raw_stdout();
    let begin = Instant::now();
    while bytes > 0 {
        let now = bytes.min(chunk.len());
        write_or_die(&mut out, &chunk[..now]);
        bytes -= now;
    }
    write_or_die(&mut out, format!("\nflooded 1 in {} us\n", begin.elapsed().as_micros()).as_bytes());
    for_ever()
}

/// Stdout without the buffer that looks for line ends.
fn raw_stdout() -> fs::File {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(fd) => fd.into(),
        Err(error) => die(1, format_args!("cannot duplicate stdout: {error}")),
    }
}

fn write_or_die(out: &mut impl Write, bytes: &[u8]) {
    if let Err(error) = out.write_all(bytes) {
        die(1, format_args!("cannot write to stdout: {error}"));
    }
}

fn print_env() -> ! {
    #[expect(clippy::disallowed_methods, reason = "showing the environment is what it is for")]
    let mut all: Vec<_> = std::env::vars_os().collect();
    all.sort();
    let mut text = Vec::new();
    for (name, value) in all {
        text.extend_from_slice(b"env ");
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        // A value of several lines stays one line.
        text.extend(value.as_bytes().iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        text.push(b'\n');
    }
    write_or_die(&mut io::stdout().lock(), &text);
    ready_for_ever()
}

fn print_surroundings(argv: &[&str]) -> ! {
    for (index, arg) in argv.iter().enumerate() {
        say("argv", format_args!("{index} {arg}"));
    }
    say("cwd", std::env::current_dir().unwrap_or_default().display());
    say("pid", id());
    say("ppid", getppid());
    say("pgid", getpgrp());
    // `man 5 proc_pid_status`: masks in hexadecimal, bit 0 is signal 1; four ids, the first two real and effective.
    for line in fs::read_to_string("/proc/self/status").unwrap_or_default().lines() {
        if let Some((name @ ("SigBlk" | "SigIgn" | "SigCgt" | "Umask" | "Uid" | "Gid" | "Groups"), value)) =
            line.split_once(':')
        {
            say(&name.to_ascii_lowercase(), value.trim().replace('\t', " "));
        }
    }
    let mut open: Vec<u32> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        // The directory that is being read is open only for that.
        .filter(|entry| !fs::read_link(entry.path()).is_ok_and(|target| target.ends_with("fd")))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    open.sort_unstable();
    say("fds", open.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    ready_for_ever()
}

fn print_stdin() -> ! {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let state = match io::stdin().read(&mut [0]) {
            Ok(0) => "eof",
            Ok(_) => "data",
            Err(_) => "error",
        };
        // The receiver may have lost its patience.
        let _ = sender.send(state);
    });
    say("stdin", receiver.recv_timeout(STDIN_PATIENCE).unwrap_or("open"));
    for_ever()
}
