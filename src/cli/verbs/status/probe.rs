//! Whether modules answer on their health paths, for when the hub does not say how they are (cli §4).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What one module gets.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// What all of them get: `status` does not hang, however many do.
const ALL_TIMEOUT: Duration = Duration::from_secs(3);
const AT_A_TIME: usize = 16;
/// `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// How long each module, by port and health path, took to say that it is well; `None` when it did not.
pub(super) fn latencies(modules: &[(u16, &str)]) -> Vec<Option<Duration>> {
    let until = Instant::now() + ALL_TIMEOUT;
    let mut found = Vec::new();
    for some in modules.chunks(AT_A_TIME) {
        thread::scope(|scope| {
            let ask = |&(port, path)| {
                let probe = move || latency(port, path, until);
                thread::Builder::new().name("status/probe".to_owned()).spawn_scoped(scope, probe)
            };
            let asked: Vec<_> = some.iter().map(ask).collect();
            // One that there was no thread for was not asked.
            found.extend(asked.into_iter().map(|probe| probe.ok()?.join().ok().flatten()));
        });
    }
    found
}

fn latency(port: u16, path: &str, until: Instant) -> Option<Duration> {
    let began = Instant::now();
    let until = until.min(began + TIMEOUT);
    let left = || Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
    if path.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return None;
    }
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), left()?).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.set_write_timeout(left()).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0; STATUS_BYTES];
    let mut read = 0;
    while read < STATUS_BYTES {
        stream.set_read_timeout(Some(left()?)).ok()?;
        match stream.read(answer.get_mut(read..)?).ok()? {
            0 => return None,
            more => read += more,
        }
    }
    is_well(&answer).then(|| began.elapsed())
}

/// 2xx, or 401 of a path that is guarded; redirects are not followed.
fn is_well(status_line: &[u8; STATUS_BYTES]) -> bool {
    status_line.starts_with(b"HTTP/1.")
        && matches!(status_line, [.., b' ', b'2', b'0'..=b'9', b'0'..=b'9'] | [.., b' ', b'4', b'0', b'1'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn only_a_module_that_says_so_is_well() {
        let listeners: Vec<_> =
            (0..4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().expect("bound").port()).collect();
        let answers =
            ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 401 no\r\n\r\n", "HTTP/1.1 503 no\r\n\r\n", "SSH-2.0-x\r\n\r\n"];
        for (listener, answer) in listeners.into_iter().zip(answers) {
            thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut request = [0; 512];
                let read = stream.read(&mut request).expect("a request");
                assert!(request[..read].starts_with(b"GET /up HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).expect("written");
            });
        }
        let asked: Vec<(u16, &str)> = ports.iter().map(|port| (*port, "/up")).chain([(ports[0], "/a b")]).collect();
        let well: Vec<bool> = latencies(&asked).iter().map(Option::is_some).collect();
        assert_eq!(well, [true, true, false, false, false]);
    }
}
