use super::*;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

/// An output that waits for permission before each write, and keeps what it got.
struct Gate {
    permits: Receiver<io::Result<usize>>,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A hung-up gate lets everything through.
        let length = self.permits.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        self.got.lock().unwrap().extend_from_slice(&bytes[..length]);
        Ok(length)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What went through a gate.
type Got = Arc<Mutex<Vec<u8>>>;

fn gate() -> (Gate, Sender<io::Result<usize>>, Got) {
    let (sender, permits) = channel();
    let got = Arc::new(Mutex::new(Vec::new()));
    (Gate { permits, got: Arc::clone(&got) }, sender, got)
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn text(got: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(got.lock().unwrap().clone()).unwrap()
}

/// Lines printed, and lines said to be dropped.
fn account(text: &str) -> (u64, u64) {
    let mut sums = (0, 0);
    for line in text.lines() {
        match line.strip_prefix("[supervisor] console: ").and_then(|rest| rest.strip_suffix(" lines dropped")) {
            Some(dropped) => sums.1 += dropped.parse::<u64>().unwrap(),
            None => sums.0 += 1,
        }
    }
    sums
}

#[test]
fn lines_are_prefixed_and_cleaned() {
    let (out, permits, got) = gate();
    let (console, thread) = Console::start(out).unwrap();
    drop(permits);
    console.block("[a] ", b"one\ntwo\n", 2);
    console.block("[b] ", b"\x1b[31mred\x1b[0m\r\nbell\x07\n", 2);
    console.line("[supervisor] ", "a: two\nlines");
    assert!(console.finish(far()));
    thread.join().unwrap();
    assert_eq!(text(&got), "[a] one\n[a] two\n[b] red\n[b] bell\u{FFFD}\n[supervisor] a: two lines\n");
}

#[test]
fn what_a_slow_reader_misses_is_told_exactly() {
    for (block_lines, blocks) in [(1, 5_000), (10, 2_000), (3_000, 40)] {
        let (out, permits, got) = gate();
        let (console, thread) = Console::with_limit(out, 20_000).unwrap();
        let mut n = 0_u64;
        for _ in 0..blocks {
            let block: String = (0..block_lines).map(|at| format!("line {}\n", n + at)).collect();
            console.block("[a] ", block.as_bytes(), block_lines);
            n += block_lines;
        }
        assert!(console.queue.lock().bytes <= 20_000 + PIECE_BYTES, "{block_lines}");
        drop(permits);
        console.finish(far());
        thread.join().unwrap();
        let text = text(&got);
        let (printed, dropped) = account(&text);
        assert!(dropped > 0, "{block_lines}");
        assert_eq!(printed + dropped, n, "{block_lines}");
        assert!(text.ends_with(&format!("[a] line {}\n", n - 1)), "the newest line is there");
        let numbers: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("[a] line ")?.parse().ok()).collect();
        assert!(numbers.is_sorted() && numbers.len() as u64 == printed, "{block_lines}");
    }
}

#[test]
fn failed_writes_are_counted_and_leave_no_torn_line() {
    let (out, permits, got) = gate();
    let (console, thread) = Console::start(out).unwrap();
    permits.send(Ok(9)).unwrap();
    permits.send(Err(ErrorKind::StorageFull.into())).unwrap();
    console.block("", b"first\nsecond\nthird\n", 3);
    drop(permits);
    // The writer may take both pieces only one after the other, so this one meets an open gate.
    console.block("", b"fourth\n", 1);
    console.finish(far());
    thread.join().unwrap();
    assert_eq!(text(&got), "first\nsec\n[supervisor] console: 2 lines dropped\nfourth\n");
}

#[test]
fn a_closed_output_is_noticed_and_costs_nothing_from_then_on() {
    let (reader, writer) = UnixStream::pair().unwrap();
    reader.shutdown(Shutdown::Both).unwrap();
    let (console, thread) = Console::start(writer).unwrap();
    console.block("", b"a\n", 1);
    thread.join().unwrap();
    console.block("", b"b\n", 1);
    let queue = console.queue.lock();
    assert!(queue.closed && queue.pieces.is_empty());
    drop(queue);
    assert!(!console.finish(far()));
}

#[test]
fn a_stuck_reader_does_not_hold_up_the_end() {
    let (out, permits, got) = gate();
    let (console, thread) = Console::start(out).unwrap();
    console.block("", b"a\n", 1);
    console.block("", b"b\n", 1);
    assert!(!console.finish(Instant::now()));
    drop(permits);
    thread.join().unwrap();
    assert!(["", "a\n"].contains(&text(&got).as_str()));
}

#[test]
fn an_output_in_non_blocking_mode_is_tried_again() {
    let (out, permits, got) = gate();
    let (console, thread) = Console::start(out).unwrap();
    permits.send(Err(ErrorKind::WouldBlock.into())).unwrap();
    permits.send(Err(ErrorKind::Interrupted.into())).unwrap();
    drop(permits);
    console.block("", b"a\n", 1);
    assert!(console.finish(far()));
    thread.join().unwrap();
    assert_eq!(text(&got), "a\n");
}
