//! A rotated log file, such as that of one module: `<short>.log`, older ones `.1`, `.2` and so on.

use super::Stream;
use super::line;
use crate::sys::fs::{self, Kind};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Text of at most this size is built before it is written: a block of ordinary lines is one write.
const WRITE_BYTES: usize = 256 * 1024;
/// What modules print is nobody else's business (files §14.2).
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const LOOSE_BITS: u32 = 0o077;
/// How often a file in use is compared with what lies at its path, so that an operator's rotation is noticed.
const CHECK_EVERY_MS: u64 = 1_000;
/// Reports of a file that fails and works by turns are this far apart.
const SETTLE_MS: u64 = 1_000;
/// A build buffer up to this size is not worth keeping.
const SMALL_BYTES: usize = 8 * 1024;
/// How many build buffers are kept for all modules together; more would only serve as many floods at once.
const SPARE_BUFFERS: usize = 2;

/// Build buffers of modules that print much, shared so that a module which once flooded holds no memory afterwards.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A log file. Nothing is opened before the first line.
#[derive(Debug)]
pub(super) struct LogFile {
    dir: PathBuf,
    path: PathBuf,
    max_bytes: u64,
    files: u32,
    /// Whether one that is there already is made private, too.
    existing: Existing,
    open: Option<Open>,
    checked_at_ms: u64,
    /// Lines that did not get into the file since it began to fail; `None` while it works.
    lost: Option<u64>,
    /// People have heard that it fails.
    told: bool,
    recovered_at_ms: u64,
}

/// What becomes of the mode of a file that somebody else has made, or an earlier release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    MadePrivate,
    /// The operator chose where it lies and who reads it.
    LeftAsItIs,
}

#[derive(Debug)]
struct Open {
    file: File,
    dev: u64,
    ino: u64,
    size: u64,
}

/// A change that people must hear of.
#[derive(Debug)]
pub(super) enum Report {
    /// From now on lines are lost.
    Failing(FileError),
    /// Lines are written again.
    Recovered { lost_lines: u64 },
}

/// Why a log file is not written.
#[derive(Debug)]
pub(super) enum FileError {
    Directory { path: PathBuf, source: io::Error },
    Open { path: PathBuf, source: io::Error },
    NotRegular { path: PathBuf },
    Write { path: PathBuf, source: io::Error },
    Rotate { path: PathBuf, source: io::Error },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, source } => write!(f, "cannot make the log directory {}: {source}", path.display()),
            Self::Open { path, source } => write!(f, "cannot open {}: {source}", path.display()),
            Self::NotRegular { path } => write!(f, "cannot write {}: it is not a regular file", path.display()),
            Self::Write { path, source } => write!(f, "cannot write {}: {source}", path.display()),
            Self::Rotate { path, source } => write!(f, "cannot write {}: rotating it failed: {source}", path.display()),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory { source, .. }
            | Self::Open { source, .. }
            | Self::Write { source, .. }
            | Self::Rotate { source, .. } => Some(source),
            Self::NotRegular { .. } => None,
        }
    }
}

impl LogFile {
    /// `<dir>/<short>.log`, rotated before it would exceed `max_bytes`, `files` of them with the current one.
    pub(super) fn of_module(dir: &Path, short: &str, max_bytes: u64, files: u32) -> Self {
        let file = Self::new(dir.join(format!("{short}.log")), max_bytes, files);
        Self { existing: Existing::MadePrivate, ..file }
    }

    /// The same at this path.
    pub(super) fn new(path: PathBuf, max_bytes: u64, files: u32) -> Self {
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        Self {
            dir,
            path,
            max_bytes,
            files,
            existing: Existing::LeftAsItIs,
            open: None,
            checked_at_ms: 0,
            lost: None,
            told: false,
            recovered_at_ms: 0,
        }
    }

    pub(super) fn set_limits(&mut self, max_bytes: u64, files: u32) {
        self.max_bytes = max_bytes;
        self.files = files;
    }

    /// Appends whole lines, each as `stamp tag line`. `now_ms` decides only whether it is time to look at the path.
    /// Blocks as long as the disk does. Lines that cannot be written are counted and are not tried again.
    pub(super) fn append(&mut self, block: &[u8], stream: Stream, now_ms: u64, stamp: &str) -> Option<Report> {
        self.append_with(&format!("{stamp} {} ", stream.tag()), block, now_ms)
    }

    /// The same with this in front of each line, which may be nothing.
    pub(super) fn append_with(&mut self, prefix: &str, block: &[u8], now_ms: u64) -> Option<Report> {
        let outcome = match self.ready(now_ms) {
            Ok(()) => self.append_lines(block, prefix.as_bytes()),
            Err(error) => Err(Failure { error, lost_lines: line::count_newlines(block) }),
        };
        self.judge(outcome, now_ms)
    }

    /// Decides whether to speak: at once when it begins to fail and when it works again, then not more often than
    /// every [`SETTLE_MS`], because a disk that is almost full takes one write and refuses the next.
    fn judge(&mut self, outcome: Result<(), Failure>, now_ms: u64) -> Option<Report> {
        let settled = now_ms.abs_diff(self.recovered_at_ms) >= SETTLE_MS;
        match outcome {
            Ok(()) => {
                let lost_lines = self.lost.filter(|_| self.told || settled)?;
                (self.lost, self.told, self.recovered_at_ms) = (None, false, now_ms);
                Some(Report::Recovered { lost_lines })
            }
            Err(failure) => {
                self.lost = Some(self.lost.unwrap_or(0) + failure.lost_lines);
                let speak = settled && !self.told;
                self.told |= speak;
                speak.then_some(Report::Failing(failure.error))
            }
        }
    }

    fn append_lines(&mut self, block: &[u8], prefix: &[u8]) -> Result<(), Failure> {
        let mut text = take_buffer(block.len());
        let mut rest = block;
        let mut result = Ok(());
        while let Some(at) = line::find_newline(rest) {
            let (bytes, after) = rest.split_at(at + 1);
            let length = prefix.len() + bytes.len();
            let full = self.size() + (text.len() + length) as u64 > self.max_bytes;
            if full || text.len() + length > WRITE_BYTES {
                result = self.write(&text).and_then(|()| if full { self.rotate() } else { Ok(()) });
                text.clear();
                if result.is_err() {
                    break;
                }
            }
            text.extend_from_slice(prefix);
            text.extend_from_slice(bytes);
            rest = after;
        }
        let result = match result {
            Ok(()) => self.write(&text),
            Err(Failure { error, lost_lines }) => {
                Err(Failure { error, lost_lines: lost_lines + line::count_newlines(rest) })
            }
        };
        give_back(text);
        result
    }

    fn size(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.size)
    }

    /// Makes sure that the file at the path is open.
    fn ready(&mut self, now_ms: u64) -> Result<(), FileError> {
        // The wall clock may be set back; then it is time as well.
        if self.open.is_some() && now_ms.abs_diff(self.checked_at_ms) >= CHECK_EVERY_MS {
            self.checked_at_ms = now_ms;
            self.compare_with_path();
        }
        if self.open.is_none() {
            self.open = Some(open(&self.dir, &self.path, self.existing)?);
            self.checked_at_ms = now_ms;
        }
        Ok(())
    }

    /// Lets go of a file that was moved or removed, and notices one that was truncated.
    fn compare_with_path(&mut self) {
        let there = fs::stat(&self.path);
        self.open = match (self.open.take(), there) {
            (Some(open), Ok(there)) if (there.dev, there.ino) == (open.dev, open.ino) => {
                Some(Open { size: there.size_bytes, ..open })
            }
            _ => None,
        };
    }

    /// Writes all of it or, when that fails, as many whole lines as went in: no torn line stays behind.
    fn write(&mut self, text: &[u8]) -> Result<(), Failure> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut written = 0;
        while written < text.len() {
            match fs::write(&open.file, &text[written..]) {
                Ok(0) => return Err(self.abandon(text, written, ErrorKind::WriteZero.into())),
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.abandon(text, written, error)),
            }
        }
        open.size += text.len() as u64;
        Ok(())
    }

    fn abandon(&mut self, text: &[u8], written: usize, source: io::Error) -> Failure {
        let border = text[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // Closed in any case: opening looks at the path again, and repairs a torn end that could not be cut off here.
        if let Some(open) = self.open.take() {
            let torn = (written - border) as u64;
            if torn > 0 {
                // The real length, because somebody else may have truncated the file.
                let _ = fs::stat_of(&open.file)
                    .and_then(|now| fs::set_size(&open.file, now.size_bytes.saturating_sub(torn)));
            }
        }
        let error = FileError::Write { path: self.path.clone(), source };
        Failure { error, lost_lines: line::count_newlines(&text[border..]) }
    }

    /// Moves every file one number on, the last one away, and opens a new one. Nothing to do for an empty file.
    fn rotate(&mut self) -> Result<(), Failure> {
        if self.size() == 0 {
            return Ok(());
        }
        let fail = |error| Failure { error, lost_lines: 0 };
        self.move_on().map_err(|source| fail(FileError::Rotate { path: self.path.clone(), source }))?;
        self.open = None;
        self.open = Some(open(&self.dir, &self.path, self.existing).map_err(fail)?);
        Ok(())
    }

    fn move_on(&self) -> io::Result<()> {
        if self.existing == Existing::MadePrivate {
            self.remove_surplus();
        }
        if self.files <= 1 {
            return tolerate_missing(fs::unlink(&self.path));
        }
        for number in (1..self.files - 1).rev() {
            tolerate_missing(fs::rename(&numbered(&self.path, number), &numbered(&self.path, number + 1)))?;
        }
        tolerate_missing(fs::rename(&self.path, &numbered(&self.path, 1)))
    }

    /// What there is of them from a time when more were kept. Where the operator chose the place, the numbers may be
    /// those of another program. One that stays keeps nobody from rotating.
    fn remove_surplus(&self) {
        let mut numbers = self.files.max(1)..;
        while numbers.next().is_some_and(|number| fs::unlink(&numbered(&self.path, number)).is_ok()) {}
    }
}

struct Failure {
    error: FileError,
    lost_lines: u64,
}

/// `vault.log.3` for `vault.log` and 3.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn tolerate_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Opens the file for appending, new ones 0600, in a directory made 0700 if need be, a module's with the one above it and
/// never the home: somebody may have removed that. A symbolic link, a directory or a FIFO in its place is refused. An end
/// without newline, as a power cut leaves it, is finished first.
fn open(dir: &Path, path: &Path, existing: Existing) -> Result<Open, FileError> {
    let fail = |source| FileError::Open { path: path.to_owned(), source };
    let not_regular = || FileError::NotRegular { path: path.to_owned() };
    match fs::stat(path) {
        Ok(there) if there.kind != Kind::Regular => return Err(not_regular()),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let home = dir.ancestors().nth(2).filter(|_| existing == Existing::MadePrivate);
            let found = home.map_or(Ok(()), |home| fs::stat_followed(home).map(drop));
            found
                .and_then(|()| fs::make_dirs(dir, DIR_MODE))
                .map_err(|source| FileError::Directory { path: dir.to_owned(), source })?
        }
        Err(error) => return Err(fail(error)),
    }
    let file = fs::open_append(path, FILE_MODE).map_err(fail)?;
    // Looked at again: another thing may have been put there in between.
    let facts = fs::stat_of(&file).map_err(fail)?;
    if facts.kind != Kind::Regular {
        return Err(not_regular());
    }
    if existing == Existing::MadePrivate && facts.mode & LOOSE_BITS != 0 {
        // Another user's file is not ours to close; its lines are kept all the same.
        let _not_ours = fs::set_mode(&file, FILE_MODE);
    }
    let mut open = Open { dev: facts.dev, ino: facts.ino, size: facts.size_bytes, file };
    let mut last = [b'\n'];
    if open.size > 0 {
        open.file.read_exact_at(&mut last, open.size - 1).map_err(fail)?;
    }
    if last != [b'\n'] {
        fs::write_all(&open.file, b"\n").map_err(fail)?;
        open.size += 1;
    }
    Ok(open)
}

/// A buffer to build text in; one from the shared store when much is to be built.
fn take_buffer(block_bytes: usize) -> Vec<u8> {
    if block_bytes <= SMALL_BYTES / 4 {
        return Vec::new();
    }
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    spare.unwrap_or_else(|| Vec::with_capacity(block_bytes.saturating_mul(2).min(WRITE_BYTES)))
}

fn give_back(mut text: Vec<u8>) {
    text.clear();
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    if text.capacity() > SMALL_BYTES && spare.len() < SPARE_BUFFERS {
        spare.push(text);
    }
}

#[cfg(test)]
mod tests;
