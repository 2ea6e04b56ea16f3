//! What modules print: bytes to lines, the ring, the rotated file, the console, and readers that follow. Besides, the
//! file of the access log, whose lines come ready made.
//!
//! Knows modules only by their name. Everything is handled in blocks as they were read, never line by line where
//! that can be avoided:
//!
//! ```text
//! read(2) -> Tap -> line::Framer -> Ring      newest 64 KiB, numbered, bytes as printed
//!                                -> LogFile   `2026-01-01T00:00:00.000Z out text`, rotated, bytes as printed
//!                                -> Console   `[short] text`, cleaned, dropped when nobody reads
//! ```
//!
//! - A line is at most 16 KiB. A longer one is cut between two characters; the cut piece ends with ` [...]` and what
//!   follows is the next line of the same stream. Nothing is lost by cutting.
//! - Ring and file keep bytes as they were printed. What is read out of the ring, followed from a file or put on the
//!   console is valid UTF-8 without control characters (see [`line::clean`]).
//! - What the hub itself says about a module is a line of the stream [`Stream::Supervisor`]; its text begins with
//!   `[supervisor] short: ` in all three places.

mod access;
mod console;
mod file;
pub(crate) mod follow;
mod line;
mod queue;
mod ring;
mod waiting;

pub(crate) use access::AccessLog;
pub(crate) use console::Console;
pub(crate) use ring::{Batch, Line};
pub(crate) use waiting::Ring;

use crate::stamp;
use file::LogFile;
use line::Framer;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The limit of a module's ring (supervisor §10.1).
pub(crate) const RING_BYTES: usize = 64 * 1024;

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The module's standard output.
    Out,
    /// The module's standard error.
    Err,
    /// The hub, about the module.
    Supervisor,
}

impl Stream {
    /// Three letters, as in the log file.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Supervisor => "sup",
        }
    }

    /// As the API and `--json` have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
            Self::Supervisor => "supervisor",
        }
    }

    /// The inverse of [`Stream::tag`].
    pub(crate) fn from_tag(tag: &str) -> Option<Self> {
        [Self::Out, Self::Err, Self::Supervisor].into_iter().find(|stream| stream.tag() == tag)
    }
}

/// Where and how a module's output is kept beside the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TapSettings {
    /// The directory of the log file, `<home>/<short>/logs`; made when the first line comes.
    pub(crate) dir: PathBuf,
    /// The size at which the file is rotated.
    pub(crate) max_bytes: u64,
    /// How many files are kept, the current one included.
    pub(crate) files: u32,
    /// Whether the file is written at all.
    pub(crate) file: bool,
    /// Whether the module's lines go to the console.
    pub(crate) console: bool,
}

/// The way of one module's output into ring, file and console. Owned by the module's thread. Never waits for a reader
/// or the console; writes the file itself, so it takes as long as the disk does. No error is fatal: a file that cannot
/// be written is said once, and once more when it works again.
pub(crate) struct Tap {
    out: Framer,
    err: Framer,
    sinks: Sinks,
}

struct Sinks {
    short: String,
    console_prefix: String,
    settings: TapSettings,
    generation: u32,
    ring: Arc<Ring>,
    console: Console,
    file: LogFile,
}

impl Tap {
    /// A tap for the module `short`. Touches no file before the first line.
    pub(crate) fn new(short: &str, settings: TapSettings, ring: Arc<Ring>, console: Console) -> Self {
        let file = LogFile::of_module(&settings.dir, short, settings.max_bytes, settings.files);
        let console_prefix = format!("[{short}] ");
        let short = short.to_owned();
        let sinks = Sinks { short, console_prefix, settings, generation: 0, ring, console, file };
        Self { out: Framer::default(), err: Framer::default(), sinks }
    }

    /// Takes bytes as they were read from the module. Lines they complete are passed on, an unfinished one is held
    /// (at most 16 KiB for each stream).
    pub(crate) fn feed(&mut self, stream: Stream, bytes: &[u8]) {
        let now = Now::read();
        let sinks = &mut self.sinks;
        let pass = |block: &[u8]| sinks.block(stream, block, &now);
        match stream {
            Stream::Out => self.out.feed(bytes, pass),
            Stream::Err => self.err.feed(bytes, pass),
            Stream::Supervisor => Framer::default().feed(bytes, pass),
        }
    }

    /// The stream has ended: passes on its unfinished line.
    pub(crate) fn end(&mut self, stream: Stream) {
        let now = Now::read();
        let sinks = &mut self.sinks;
        let pass = |block: &[u8]| sinks.block(stream, block, &now);
        match stream {
            Stream::Out => self.out.end(pass),
            Stream::Err => self.err.end(pass),
            Stream::Supervisor => {}
        }
    }

    /// Says something about the module, as `[supervisor] short: text`, whether or not its own lines go to the console.
    pub(crate) fn notice(&mut self, text: &str) {
        self.sinks.notice(text, &Now::read());
    }

    /// From here on lines belong to this child. Ends both streams, so that no line begins in one and ends in another.
    pub(crate) fn set_generation(&mut self, generation: u32) {
        self.flush();
        self.sinks.generation = generation;
    }

    /// Changes the settings; the ring and its numbers stay.
    pub(crate) fn configure(&mut self, settings: TapSettings) {
        let sinks = &mut self.sinks;
        if settings == sinks.settings {
            return;
        }
        if settings.dir == sinks.settings.dir && settings.file {
            sinks.file.set_limits(settings.max_bytes, settings.files);
        } else {
            sinks.file = LogFile::of_module(&settings.dir, &sinks.short, settings.max_bytes, settings.files);
        }
        sinks.settings = settings;
    }

    /// Passes on the unfinished lines of both streams. Everything else was passed on, and handed to the kernel, by the
    /// call that brought it.
    pub(crate) fn flush(&mut self) {
        self.end(Stream::Out);
        self.end(Stream::Err);
    }
}

impl Sinks {
    /// Passes on whole lines. The ring is first: it is what tells of a crash even when the disk hangs.
    fn block(&mut self, stream: Stream, block: &[u8], now: &Now) {
        let lines = self.ring.push(block, now.ms, stream, self.generation);
        if stream == Stream::Supervisor {
            self.console.block("", block, lines);
        } else if self.settings.console {
            self.console.block(&self.console_prefix, block, lines);
        }
        if self.settings.file {
            match self.file.append(block, stream, now.ms, &now.text) {
                None => {}
                Some(file::Report::Failing(error)) => {
                    // The file is what does not work, so only the other two hear of it.
                    let text = format!("{error}; until this is mended its lines are kept in memory only");
                    let line = self.supervisor_line(&text);
                    let lines = self.ring.push(line.as_bytes(), now.ms, Stream::Supervisor, self.generation);
                    self.console.block("", line.as_bytes(), lines);
                }
                Some(file::Report::Recovered { lost_lines }) => {
                    self.notice(&format!("the log file works again; {lost_lines} lines are missing in it"), now);
                }
            }
        }
    }

    fn notice(&mut self, text: &str, now: &Now) {
        let line = self.supervisor_line(text);
        Framer::default().feed(line.as_bytes(), |block| self.block(Stream::Supervisor, block, now));
    }

    /// One line: newlines inside the text become blanks.
    fn supervisor_line(&self, text: &str) -> String {
        format!("[supervisor] {}: {}\n", self.short, text.trim_end().replace('\n', " "))
    }
}

/// The wall clock, read once for everything that arrived together.
struct Now {
    ms: u64,
    text: String,
}

impl Now {
    fn read() -> Self {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Self { ms, text: stamp::iso8601(ms) }
    }
}

#[cfg(test)]
mod tests;
