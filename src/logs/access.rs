//! The file of the access log: a bounded queue and a thread, so that a slow disk never holds up a request.

use super::console::Console;
use super::file::{LogFile, Report};
use super::queue::{Piece, Queue};
use crate::stamp;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Bytes that may wait for the disk: thousands of lines, some tenths of a second of the busiest hub.
const QUEUE_BYTES: usize = 1024 * 1024;
/// The size at which the file is rotated, and how many are kept with the current one: some 200,000 lines.
const MAX_BYTES: u64 = 10 * 1024 * 1024;
const FILES: u32 = 5;
/// What was dropped is said this far apart at least: a disk that cannot keep up drops again and again.
const SAY_EVERY_MS: u64 = 1_000;
/// The same as for the console, whose thread does the same.
const STACK_BYTES: usize = 64 * 1024;

/// A handle on the access log; cheap to clone. No call but [`AccessLog::finish`] waits for the disk.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    queue: Arc<Queue>,
}

impl AccessLog {
    /// Starts the writer thread; it ends after [`AccessLog::finish`]. The file is 0600, rotated, and opened with the
    /// first line. That it fails is said on the console once, and once more when it works again.
    pub(crate) fn start(path: PathBuf, console: Console) -> io::Result<Self> {
        let queue = Queue::new(QUEUE_BYTES);
        let taken = Arc::clone(&queue);
        let writer = Writer { file: LogFile::new(path, MAX_BYTES, FILES), console, unsaid: 0, said_at_ms: 0 };
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || writer.run(&taken))?;
        Ok(Self { queue })
    }

    /// Takes whole lines, so many of them, as they are. With too many waiting for the disk the oldest are dropped and
    /// counted.
    pub(crate) fn write(&self, text: Vec<u8>, lines: u64) {
        self.queue.put(Piece { text, lines, skipped: 0 });
    }

    /// Takes nothing more and waits until all that was taken is written, at most until `deadline`.
    pub(crate) fn finish(&self, deadline: Instant) {
        // A disk that hangs has nobody to be told of.
        self.queue.finish(deadline);
    }
}

struct Writer {
    file: LogFile,
    console: Console,
    /// Dropped lines that nobody has heard of.
    unsaid: u64,
    said_at_ms: u64,
}

impl Writer {
    fn run(mut self, queue: &Queue) {
        while let Some((piece, missing)) = queue.next() {
            let now_ms = stamp::unix_ms(SystemTime::now());
            self.unsaid += missing;
            // The clock may be set back; then it is time as well.
            if now_ms.abs_diff(self.said_at_ms) >= SAY_EVERY_MS {
                self.said_at_ms = now_ms;
                self.say_dropped();
            }
            match self.file.append_with("", &piece.text, now_ms) {
                None => {}
                Some(Report::Failing(error)) => {
                    self.say(&format!("{error}; until this is mended requests are served and not logged"));
                }
                Some(Report::Recovered { lost_lines }) => {
                    self.say(&format!("the file works again; {lost_lines} lines are missing in it"));
                }
            }
        }
        self.say_dropped();
        queue.end();
    }

    fn say_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.unsaid);
        if dropped > 0 {
            self.say(&format!("{dropped} lines dropped, because the disk did not keep up"));
        }
    }

    fn say(&self, text: &str) {
        self.console.line("[edge] access log: ", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// What the console says while `act` uses one.
    fn said(dir: &TestDir, act: impl FnOnce(Console)) -> String {
        let path = dir.join("console");
        let (console, thread) = Console::start(File::create(&path).expect("a file")).expect("a console");
        act(console.clone());
        console.finish(far());
        thread.join().expect("it ends");
        fs::read_to_string(path).expect("what it said")
    }

    #[test]
    fn lines_go_to_a_private_file_as_they_are() {
        let dir = TestDir::new("access");
        let path = dir.join("logs/access.log");
        let said = said(&dir, |console| {
            let log = AccessLog::start(path.clone(), console).expect("a thread");
            log.write(b"one\ntwo\n".to_vec(), 2);
            log.clone().write(b"three\n".to_vec(), 1);
            log.finish(far());
            log.write(b"late\n".to_vec(), 1);
        });
        assert_eq!(fs::read_to_string(&path).expect("the file"), "one\ntwo\nthree\n");
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
        assert_eq!(said, "");
    }

    #[test]
    fn what_waits_too_long_is_dropped_oldest_first_and_counted() {
        let dir = TestDir::new("access");
        let path = dir.join("access.log");
        let said = said(&dir, |console| {
            let queue = Queue::new(20);
            for number in 0..10 {
                queue.put(Piece { text: format!("{number}a\n{number}b\n").into_bytes(), lines: 2, skipped: 0 });
            }
            let writer = Writer { file: LogFile::new(path.clone(), 1000, 2), console, unsaid: 0, said_at_ms: 0 };
            std::thread::scope(|scope| {
                scope.spawn(|| writer.run(&queue));
                queue.finish(far());
            });
        });
        assert_eq!(fs::read_to_string(&path).expect("the file"), "7a\n7b\n8a\n8b\n9a\n9b\n");
        assert_eq!(said, "[edge] access log: 14 lines dropped, because the disk did not keep up\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_once_with_its_name() {
        let dir = TestDir::new("access");
        let said = said(&dir, |console| {
            let log = AccessLog::start(dir.path().to_owned(), console).expect("a thread");
            for _ in 0..3 {
                log.write(b"lost\n".to_vec(), 1);
            }
            log.finish(far());
        });
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("[edge] access log: ") && said.contains(&*dir.path().to_string_lossy()), "{said}");
        assert!(said.contains("not a regular file") && said.ends_with("served and not logged\n"), "{said}");
    }
}
