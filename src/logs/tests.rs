use super::*;
use crate::sys::random;
use std::fs;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A tap with a home of its own and a console that can be read.
struct Bench {
    dir: PathBuf,
    ring: Arc<Ring>,
    console: Console,
    printed: Arc<Mutex<Vec<u8>>>,
}

struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bench {
    fn new() -> Self {
        let name = format!("parachute-tap-{}-{}", std::process::id(), random::hex(8));
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (console, _) = Console::start(Printed(Arc::clone(&printed))).unwrap();
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        Self { dir, ring: Arc::new(Ring::new(RING_BYTES, 0)), console, printed }
    }
    fn settings(&self) -> TapSettings {
        TapSettings { dir: self.dir.join("a/logs"), max_bytes: 1 << 20, files: 3, file: true, console: true }
    }
    fn tap(&self) -> Tap {
        Tap::new("a", self.settings(), Arc::clone(&self.ring), self.console.clone())
    }
    fn ring_texts(&self) -> Vec<String> {
        self.ring.after(0, usize::MAX).lines.into_iter().map(|line| line.text).collect()
    }
    fn file_texts(&self) -> Vec<String> {
        follow::tail(&self.file(), 1_000).unwrap().into_iter().map(|line| line.text).collect()
    }
    fn file(&self) -> PathBuf {
        self.dir.join("a/logs/a.log")
    }
    fn console_text(&self) -> String {
        assert!(self.console.finish(Instant::now() + Duration::from_secs(60)));
        String::from_utf8(self.printed.lock().unwrap().clone()).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn output_reaches_ring_file_and_console() {
    let bench = Bench::new();
    let mut tap = bench.tap();
    tap.set_generation(4);
    tap.feed(Stream::Out, b"one\ntw");
    tap.feed(Stream::Err, b"oh \xff\n");
    tap.feed(Stream::Out, b"o\nlast words");
    tap.notice("exited with code 1,\nrestarting");
    tap.flush();
    let expected = ["one", "oh \u{FFFD}", "two", "[supervisor] a: exited with code 1, restarting", "last words"];
    assert_eq!(bench.ring_texts(), expected);
    assert_eq!(bench.file_texts(), expected);
    assert_eq!(
        bench.console_text(),
        "[a] one\n[a] oh \u{FFFD}\n[a] two\n[supervisor] a: exited with code 1, restarting\n[a] last words\n"
    );
    let lines = bench.ring.after(0, usize::MAX).lines;
    let streams: Vec<_> = lines.iter().map(|line| line.stream).collect();
    assert_eq!(streams, [Stream::Out, Stream::Err, Stream::Out, Stream::Supervisor, Stream::Out]);
    assert!(lines.iter().all(|line| line.generation == 4) && lines.last().unwrap().seq == 5);
    // The file keeps what was printed, byte for byte.
    assert!(fs::read(bench.file()).unwrap().windows(5).any(|bytes| bytes == b"oh \xff\n"));
}

#[test]
fn a_new_child_neither_continues_a_line_nor_empties_the_ring() {
    let bench = Bench::new();
    let mut tap = bench.tap();
    tap.set_generation(1);
    tap.feed(Stream::Out, b"dying wo");
    tap.set_generation(2);
    tap.feed(Stream::Out, b"born\n");
    let lines = bench.ring.after(0, usize::MAX).lines;
    let facts: Vec<_> = lines.iter().map(|line| (line.seq, line.generation, line.text.as_str())).collect();
    assert_eq!(facts, [(1, 1, "dying wo"), (2, 2, "born")]);
}

#[test]
fn settings_switch_file_and_console_while_it_runs() {
    let bench = Bench::new();
    let mut tap = bench.tap();
    tap.configure(TapSettings { file: false, ..bench.settings() });
    tap.feed(Stream::Out, b"no file\n");
    assert!(!bench.dir.join("a").exists(), "nothing is made for a file that is not wanted");
    tap.configure(TapSettings { console: false, ..bench.settings() });
    tap.feed(Stream::Out, b"no console\n");
    tap.notice("always heard");
    assert_eq!(bench.file_texts(), ["no console", "[supervisor] a: always heard"]);
    assert_eq!(bench.console_text(), "[a] no file\n[supervisor] a: always heard\n");
    assert_eq!(bench.ring_texts(), ["no file", "no console", "[supervisor] a: always heard"]);
}

#[test]
fn a_file_that_cannot_be_written_is_said_once_and_again_when_it_works() {
    let bench = Bench::new();
    fs::create_dir_all(bench.file()).unwrap();
    let mut tap = bench.tap();
    tap.feed(Stream::Out, b"1\n");
    tap.feed(Stream::Out, b"2\n3\n");
    fs::remove_dir(bench.file()).unwrap();
    tap.feed(Stream::Out, b"4\n");
    let texts = bench.ring_texts();
    assert_eq!(texts.len(), 6, "{texts:?}");
    assert!(texts[1].starts_with("[supervisor] a: cannot write ") && texts[1].contains("a.log"), "{texts:?}");
    let again = "[supervisor] a: the log file works again; 3 lines are missing in it";
    assert_eq!((texts[4].as_str(), texts[5].as_str()), ("4", again));
    assert_eq!(bench.file_texts(), ["4", again]);
    assert_eq!(bench.console_text().lines().count(), 6);
}

#[test]
fn blocks_of_any_size_lose_and_tear_nothing() {
    let bench = Bench::new();
    let settings = TapSettings { max_bytes: 50_000, files: 500, console: false, ..bench.settings() };
    let mut tap = Tap::new("a", settings, Arc::clone(&bench.ring), bench.console.clone());
    let text: String = (0..40_000).map(|n| format!("{n} {}\n", "z".repeat(n % 90))).collect();
    let mut rest = text.as_bytes();
    let mut seed: u64 = 3;
    while !rest.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let size = ((seed >> 33) as usize % 70_000).min(rest.len());
        let (block, after) = rest.split_at(size);
        tap.feed(Stream::Out, block);
        rest = after;
    }
    let lines = follow::tail(&bench.file(), usize::MAX).unwrap();
    let read: String = lines.into_iter().map(|line| line.text + "\n").collect();
    assert!(read == text);
    let newest = bench.ring.after(0, usize::MAX).lines;
    assert_eq!(newest.last().unwrap().seq, 40_000);
    assert!(newest.iter().all(|line| line.text.starts_with(&format!("{} ", line.seq - 1))));
}

#[test]
fn a_tap_that_is_quiet_is_small() {
    let bench = Bench::new();
    let tap = bench.tap();
    assert!(size_of_val(&tap) + size_of::<Ring>() < 800, "{}", size_of_val(&tap));
    assert!(!bench.dir.join("a").exists());
}
