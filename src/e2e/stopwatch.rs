//! The tools of the scripts that have to be quicker and finer than a shell: a free port, and three stopwatches.
//! They write their numbers as `key value` lines, like the rest of the test child.

use crate::{SIGTERM, USAGE, die, kill, say};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often `measure` asks whether the hub answers: well below the milliseconds that it measures.
const ASK_EVERY: Duration = Duration::from_micros(100);
/// After so long `measure` stops asking: the hub will not come.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// What one answer may take once the connection stands.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Prints `port N`, a port that nothing listens on at this moment.
pub(crate) fn free_port() {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()) {
        Ok(address) => say("port", address.port()),
        Err(error) => die(1, format_args!("no port of 127.0.0.1 is free: {error}")),
    }
}

/// Runs the command once to warm up and `times` more, and prints median and mean of start to end in µs, and how often
/// it failed. The command says nothing and is told nothing.
pub(crate) fn repeat(times: usize, command: &[OsString]) {
    let mut taken_us = Vec::with_capacity(times);
    let mut failures = 0_u64;
    for run in 0..=times {
        let began = Instant::now();
        let mut child = start(command, Stdio::null(), Stdio::null());
        let ended = child.wait().is_ok_and(|status| status.success());
        if run > 0 {
            taken_us.push(began.elapsed().as_micros());
            failures += u64::from(!ended);
        }
    }
    taken_us.sort_unstable();
    say("median_us", taken_us.get(times / 2).copied().unwrap_or_default());
    say("mean_us", taken_us.iter().sum::<u128>() / (times.max(1) as u128));
    say("failures", failures);
}

/// Starts a hub and prints `began NANOSECONDS` since the epoch, `pid P` and, once `GET /health` is answered on `port`,
/// `answered US`. When its own stdin ends it sends TERM to the hub and prints `ended US` and `status S`. What the hub
/// prints goes to the file `log`.
pub(crate) fn measure(port: u16, log: &str, command: &[OsString]) {
    let output = File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
    let (stdout, stderr) = output.unwrap_or_else(|error| die(1, format_args!("cannot write {log}: {error}")));
    say("began", SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos()));
    let began = Instant::now();
    let mut hub = start(command, stdout.into(), stderr.into());
    say("pid", hub.id());
    while !answers(port) {
        if hub.try_wait().is_ok_and(|status| status.is_some()) || began.elapsed() > ANSWER_DEADLINE {
            let _ = hub.kill();
            die(1, format_args!("the hub did not answer on 127.0.0.1:{port}; see {log}"));
        }
        thread::park_timeout(ASK_EVERY);
    }
    say("answered", began.elapsed().as_micros());
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    let asked = Instant::now();
    // The hub is not reaped before the wait below, so the number is its own.
    kill(i32::try_from(hub.id()).expect("the kernel's process ids fit"), SIGTERM);
    let status = hub.wait();
    say("ended", asked.elapsed().as_micros());
    say("status", status.ok().and_then(|status| status.code()).unwrap_or(-1));
}

fn start(command: &[OsString], stdout: Stdio, stderr: Stdio) -> Child {
    let Some((program, args)) = command.split_first() else { die(USAGE, "no command") };
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .unwrap_or_else(|error| die(127, format_args!("cannot start {}: {error}", program.to_string_lossy())))
}

/// Whether `GET /health` is answered with 200.
fn answers(port: u16) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        write!(stream, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}
