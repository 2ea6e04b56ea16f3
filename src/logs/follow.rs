//! Reads rotated log files from their end and follows them, for when there is no hub to ask. Never waits: who calls
//! decides when to look again.

use super::Stream;
use super::file::numbered;
use super::line::{clean, find_newline};
use crate::stamp::{ISO8601_LEN, parse_iso8601};
use crate::sys;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most that is looked back over all files together: six times what a module keeps by default.
pub(crate) const TAIL_BYTES: usize = 64 * 1024 * 1024;
/// Most that one `poll` reads, so that who follows a flood still sees signals and closed pipes.
const POLL_BYTES: usize = 1024 * 1024;
/// A line longer than this is handed on in parts. The hub's own lines are shorter; a foreign file's need not be.
const LINE_BYTES: usize = 64 * 1024;
/// Highest number tried of rotated files.
const MOST_FILES: u32 = 1_000;

/// One line of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileLine {
    /// Milliseconds since 1970; `None`, like the stream, when the line was not written by a hub.
    pub(crate) at_ms: Option<u64>,
    pub(crate) stream: Option<Stream>,
    /// Without time, tag and newline; safe to show.
    pub(crate) text: String,
}

/// What came since the last look.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) lines: Vec<FileLine>,
    /// The file that was read is gone from its place: lines may be missing before these.
    pub(crate) gap: bool,
    /// There is more: look again at once.
    pub(crate) more: bool,
}

/// Why a log file cannot be read.
#[derive(Debug)]
pub(crate) enum FollowError {
    /// Neither the file nor a rotated one is there.
    Missing {
        path: PathBuf,
    },
    Read {
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "there is no log file {}", path.display()),
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for FollowError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Missing { .. } => None,
            Self::Read { source, .. } => Some(source),
        }
    }
}

/// The last `lines` lines of the log file at `path` and the files rotated away from it, oldest first.
pub(crate) fn tail(path: &Path, lines: usize) -> Result<Vec<FileLine>, FollowError> {
    Follower::open(path, lines).map(|(tail, _)| tail)
}

/// Reads what is added to a log file, over rotation and truncation.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    /// Files to read, oldest first; the last one is the one at the path, as far as is known.
    files: VecDeque<Source>,
    /// The beginning of a line whose end was not there yet.
    partial: Vec<u8>,
    is_cut: bool,
}

#[derive(Debug)]
struct Source {
    file: File,
    dev: u64,
    ino: u64,
    at: u64,
}

impl Source {
    /// Reads on; 0 at what is the end by now.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }

    fn id(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// When it was last written.
    fn modified(&self) -> io::Result<(i64, i64)> {
        self.file.metadata().map(|facts| (facts.mtime(), facts.mtime_nsec()))
    }
}

impl Follower {
    /// The last `lines` lines, and a follower that goes on after them.
    pub(crate) fn open(path: &Path, lines: usize) -> Result<(Vec<FileLine>, Self), FollowError> {
        let mut newest_first = Vec::new();
        let current = open_source(path)?;
        let has_current = current.is_some();
        newest_first.extend(current);
        open_rotated(path, &mut newest_first, |_| false)?;
        if newest_first.is_empty() {
            return Err(FollowError::Missing { path: path.to_owned() });
        }
        let fail = |source| FollowError::Read { path: path.to_owned(), source };
        let mut wanted = lines;
        let mut budget = TAIL_BYTES;
        let mut parts = Vec::new();
        let (mut end_of_current, mut is_cut) = (0, false);
        for (index, source) in newest_first.iter().enumerate() {
            let size = source.file.metadata().map_err(fail)?.len();
            // An unfinished last line of the file in use belongs to the follower.
            let part = read_back(&source.file, size, wanted, &mut budget, has_current && index == 0).map_err(fail)?;
            if index == 0 && has_current {
                end_of_current = part.end;
            }
            wanted -= part.lines.len();
            parts.push(part.lines);
            if wanted == 0 || budget == 0 {
                is_cut = wanted > 0 && (part.start > 0 || index + 1 < newest_first.len());
                break;
            }
        }
        let tail = parts.into_iter().rev().flatten().collect();
        let mut files = VecDeque::new();
        if has_current {
            files.extend(newest_first.into_iter().next().map(|source| Source { at: end_of_current, ..source }));
        }
        Ok((tail, Self { path: path.to_owned(), files, partial: Vec::new(), is_cut }))
    }

    /// Whether there are older lines that were wanted and not looked for, see [`TAIL_BYTES`].
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What was added since the last call. Does not wait.
    pub(crate) fn poll(&mut self) -> Result<News, FollowError> {
        let mut news = News::default();
        let mut budget = POLL_BYTES;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            if budget == 0 {
                news.more = true;
                return Ok(news);
            }
            let length = budget.min(chunk.len());
            let read = self.files.front_mut().map_or(Ok(0), |source| source.read(&mut chunk[..length]));
            let read = read.map_err(|source| self.error(source))?;
            if read > 0 {
                budget -= read;
                self.split(&chunk[..read], &mut news.lines);
            } else if self.files.len() > 1 {
                self.finish_line(&mut news.lines);
                self.files.pop_front();
            } else if !self.look_for_newer(&mut news)? {
                return Ok(news);
            }
        }
    }

    fn split(&mut self, mut bytes: &[u8], lines: &mut Vec<FileLine>) {
        while let Some(at) = find_newline(bytes) {
            if self.partial.is_empty() {
                lines.push(parse(&bytes[..at]));
            } else {
                self.partial.extend_from_slice(&bytes[..at]);
                self.finish_line(lines);
            }
            bytes = &bytes[at + 1..];
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LINE_BYTES {
            self.finish_line(lines);
        }
    }

    fn finish_line(&mut self, lines: &mut Vec<FileLine>) {
        if !self.partial.is_empty() {
            lines.push(parse(&std::mem::take(&mut self.partial)));
        }
    }

    /// At the end of the last file: looks at the path again. Returns whether there may be more to read.
    fn look_for_newer(&mut self, news: &mut News) -> Result<bool, FollowError> {
        let there = match fs::metadata(&self.path) {
            Ok(there) => there,
            // Between the two steps of a rotation there is none for a moment.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(self.error(error)),
        };
        let ours = self.files.back().map(Source::id);
        if ours == Some((there.dev(), there.ino())) {
            let truncated = self.files.back_mut().filter(|source| there.len() < source.at);
            return Ok(match truncated {
                Some(source) => {
                    source.at = 0;
                    self.partial.clear();
                    there.len() > 0
                }
                None => false,
            });
        }
        let mut newest_first = Vec::new();
        newest_first.extend(open_source(&self.path)?);
        if let Some(last) = self.files.back() {
            let mut rotated = Vec::new();
            if !open_rotated(&self.path, &mut rotated, |source| source.id() == last.id())? {
                // Ours is gone: rotated away, or removed by hand. Files last written before it were read already.
                news.gap = true;
                let ended = last.modified().map_err(|source| self.error(source))?;
                rotated.retain(|source| source.modified().is_ok_and(|modified| modified > ended));
            }
            newest_first.extend(rotated);
        }
        // A rotation while they were opened brings up one file twice, or ours.
        let mut seen: Vec<_> = ours.into_iter().collect();
        newest_first.retain(|source| {
            let new = !seen.contains(&source.id());
            seen.push(source.id());
            new
        });
        let any = !newest_first.is_empty();
        self.files.extend(newest_first.into_iter().rev());
        Ok(any)
    }

    fn error(&self, source: io::Error) -> FollowError {
        FollowError::Read { path: self.path.clone(), source }
    }
}

/// Opens a file from its start; `None` when it is not there.
fn open_source(path: &Path) -> Result<Option<Source>, FollowError> {
    let fail = |source| FollowError::Read { path: path.to_owned(), source };
    // Opening a FIFO would wait for its writer.
    match fs::metadata(path) {
        Ok(there) if there.is_file() => {}
        Ok(_) => return Err(fail(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"))),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    }
    match sys::fs::open_read(path) {
        Ok(file) => {
            let facts = file.metadata().map_err(fail)?;
            Ok(Some(Source { file, dev: facts.dev(), ino: facts.ino(), at: 0 }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

/// Adds the rotated files, newest first, up to and without the one that `is_last` knows; returns whether it was there.
fn open_rotated(
    path: &Path,
    newest_first: &mut Vec<Source>,
    is_last: impl Fn(&Source) -> bool,
) -> Result<bool, FollowError> {
    let mut missing = 0;
    for number in 1..=MOST_FILES {
        match open_source(&numbered(path, number))? {
            Some(source) if is_last(&source) => return Ok(true),
            Some(source) => {
                missing = 0;
                // A rotation while they are opened moves a file to the next number: it is opened twice.
                if !newest_first.iter().any(|known| known.id() == source.id()) {
                    newest_first.push(source);
                }
            }
            // In the midst of a rotation one number is free; two are the end.
            None if missing == 1 => break,
            None => missing += 1,
        }
    }
    Ok(false)
}

struct Part {
    lines: Vec<FileLine>,
    /// From where to where the file was read.
    start: u64,
    end: u64,
}

/// The last `wanted` lines of the first `size` bytes, reading backwards at most `budget` bytes. An unfinished last
/// line counts as a line, or is left out when `leave_unfinished`.
fn read_back(file: &File, size: u64, wanted: usize, budget: &mut usize, leave_unfinished: bool) -> io::Result<Part> {
    let mut chunks = VecDeque::new();
    let mut newlines = 0;
    let mut start = size;
    // One newline more than lines: the one that ends the line before.
    while start > 0 && newlines <= wanted && *budget > 0 {
        let length = (CHUNK_BYTES as u64).min(start).min(*budget as u64);
        let mut chunk = vec![0; length as usize];
        file.read_exact_at(&mut chunk, start - length)?;
        newlines += super::line::count_newlines(&chunk) as usize;
        start -= length;
        *budget -= length as usize;
        chunks.push_front(chunk);
    }
    let bytes = chunks.into_iter().collect::<Vec<_>>().concat();
    let finished = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let used = if leave_unfinished { finished } else { bytes.len() };
    let mut rest = &bytes[..used];
    if start > 0 {
        // The first line is not whole.
        rest = find_newline(rest).map_or(&[], |at| &rest[at + 1..]);
    }
    let mut slices: Vec<&[u8]> = Vec::new();
    while !rest.is_empty() {
        let end = find_newline(rest).unwrap_or(rest.len());
        slices.push(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or(&[]);
    }
    let lines = slices[slices.len().saturating_sub(wanted)..].iter().map(|line| parse(line)).collect();
    Ok(Part { lines, start, end: start + used as u64 })
}

/// Takes `time tag text` apart; any other line is all text.
fn parse(line: &[u8]) -> FileLine {
    let text = clean(line);
    match known_format(&text) {
        Some((at_ms, stream, rest)) => FileLine { at_ms: Some(at_ms), stream: Some(stream), text: rest.to_owned() },
        None => FileLine { at_ms: None, stream: None, text: text.into_owned() },
    }
}

fn known_format(line: &str) -> Option<(u64, Stream, &str)> {
    let at_ms = parse_iso8601(line.get(..ISO8601_LEN)?)?;
    let (tag, text) = line.get(ISO8601_LEN..)?.strip_prefix(' ')?.split_at_checked(3)?;
    Some((at_ms, Stream::from_tag(tag)?, text.strip_prefix(' ')?))
}

#[cfg(test)]
mod tests;
