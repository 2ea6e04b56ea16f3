//! Pure: bytes as read to blocks of whole, capped lines; and a line's bytes to text that is safe to show.
#![forbid(unsafe_code)]

use crate::sys::memchr::memchr;
use std::borrow::Cow;

/// The longest line, without its newline. Long enough for a stack trace in one JSON record, short enough that four of
/// them do not fill a ring (supervisor §19.5 B31).
pub(crate) const LINE_BYTES: usize = 16 * 1024;
/// Ends a line that was cut at [`LINE_BYTES`]; what was cut off follows as the next line of the same stream.
pub(crate) const CONTINUES: &str = " [...]";

/// Holds the unfinished line of one stream. Costs nothing but its own few words while no line is unfinished.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    /// At most [`LINE_BYTES`], never with a newline.
    held: Vec<u8>,
}

impl Framer {
    /// Hands on every line that `input` completes, as few blocks as possible: a block is one or more lines, each with
    /// its newline and at most [`LINE_BYTES`] (and [`CONTINUES`]) long. The same bytes give the same lines, however
    /// they are split over calls.
    pub(crate) fn feed(&mut self, mut input: &[u8], mut emit: impl FnMut(&[u8])) {
        while !input.is_empty() {
            input = if self.held.is_empty() { self.whole(input, &mut emit) } else { self.resume(input, &mut emit) };
        }
    }

    /// Hands on the unfinished line, if there is one, with a newline added: the stream has ended.
    pub(crate) fn end(&mut self, emit: impl FnOnce(&[u8])) {
        if !self.held.is_empty() {
            let mut line = std::mem::take(&mut self.held);
            line.push(b'\n');
            emit(&line);
        }
    }

    /// Nothing is held: lines are handed on where they lie. Returns what is left to look at.
    fn whole<'a>(&mut self, input: &'a [u8], emit: &mut impl FnMut(&[u8])) -> &'a [u8] {
        // Searching back from the farthest allowed line end finds a newline at once in ordinary output, and none only
        // when the line is unfinished or too long: four short searches for a block of 64 KiB.
        let mut end = 0;
        loop {
            let window = &input[end..input.len().min(end + LINE_BYTES + 1)];
            match window.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => end += at + 1,
                None => break,
            }
        }
        let (lines, rest) = input.split_at(end);
        if !lines.is_empty() {
            emit(lines);
        }
        if rest.len() <= LINE_BYTES {
            self.held.extend_from_slice(rest);
            return &[];
        }
        let keep = character_border(&rest[..LINE_BYTES]);
        emit(&cut(&rest[..keep]));
        &rest[keep..]
    }

    /// A line is held: finishes or cuts it. Returns what is left to look at.
    fn resume<'a>(&mut self, input: &'a [u8], emit: &mut impl FnMut(&[u8])) -> &'a [u8] {
        let room = LINE_BYTES - self.held.len();
        let window = &input[..input.len().min(room + 1)];
        if let Some(at) = find_newline(window) {
            let mut line = std::mem::take(&mut self.held);
            line.extend_from_slice(&input[..=at]);
            emit(&line);
            return &input[at + 1..];
        }
        if input.len() <= room {
            self.held.extend_from_slice(input);
            return &[];
        }
        self.held.extend_from_slice(&input[..room]);
        let keep = character_border(&self.held);
        emit(&cut(&self.held[..keep]));
        self.held.drain(..keep);
        &input[room..]
    }
}

fn cut(part: &[u8]) -> Vec<u8> {
    [part, CONTINUES.as_bytes(), b"\n"].concat()
}

/// Where to cut so that no UTF-8 character is torn: the length, less an unfinished character at the end. Bytes that
/// are no UTF-8 are not moved.
fn character_border(bytes: &[u8]) -> usize {
    let len = bytes.len();
    for back in 1..=len.min(3) {
        let byte = bytes[len - back];
        let width = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => 1,
        };
        // A line that begins with this character must make progress, so nothing is given back when it is all there is.
        return if width > back && len > back { len - back } else { len };
    }
    len
}

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW_SEVEN: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const HIGH_BITS: u64 = !LOW_SEVEN;

/// 0x80 in every byte of `word` that is `byte`, 0 in all others; exact, so that bits can be counted.
fn equal_bits(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    !(((zero_where_equal & LOW_SEVEN) + LOW_SEVEN) | zero_where_equal | LOW_SEVEN)
}

/// Not 0 when a byte of `word` is neither printable ASCII nor tab nor newline.
fn unplain_bits(word: u64) -> u64 {
    let below_blank = !((word | HIGH_BITS) - ONES * u64::from(b' ')) & HIGH_BITS;
    let allowed = equal_bits(word, b'\n') | equal_bits(word, b'\t');
    (word & HIGH_BITS) | (below_blank & !allowed) | equal_bits(word, 0x7F)
}

/// The first eight bytes; the callers' chunks have exactly eight.
fn word(chunk: &[u8]) -> u64 {
    chunk.try_into().map_or(0, u64::from_le_bytes)
}

/// The place of the first newline.
pub(crate) fn find_newline(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes)
}

/// How many newlines there are.
pub(crate) fn count_newlines(bytes: &[u8]) -> u64 {
    // Each of the eight byte lanes counts by itself; 255 steps are the most a lane can hold.
    const STEPS: usize = 255;
    let (words, rest) = bytes.split_at(bytes.len() / 8 * 8);
    let mut total = 0;
    for run in words.chunks(STEPS * 8) {
        let lanes = run.chunks_exact(8).fold(0, |lanes, chunk| lanes + (equal_bits(word(chunk), b'\n') >> 7));
        total += lanes.to_le_bytes().iter().map(|lane| u64::from(*lane)).sum::<u64>();
    }
    total + rest.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The start of the oldest line of `block` (whole lines) from which on at most `limit_bytes` are left; the last line
/// is always left.
pub(crate) fn newest_lines(block: &[u8], limit_bytes: usize) -> usize {
    if block.len() <= limit_bytes {
        return 0;
    }
    let border = block.len() - limit_bytes;
    // A line starts at `border` exactly when the byte before it is a newline, so the search begins there.
    match block.get(border - 1..block.len() - 1).and_then(find_newline) {
        Some(at) => border + at,
        None => block[..block.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
    }
}

/// A line without its newline as text for people and terminals: UTF-8 made valid, a carriage return at the end and
/// colour sequences (`ESC [ … m`) taken away, every other control character but tab shown as U+FFFD. So nothing that
/// a module prints can move the cursor, set a title or ring a bell in the terminal of who reads its log.
pub(crate) fn clean(line: &[u8]) -> Cow<'_, str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    if !text.chars().any(is_unsafe) {
        return text;
    }
    let mut safe = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = after_colour(rest) {
            rest = after;
            continue;
        }
        safe.push(if is_unsafe(character) { char::REPLACEMENT_CHARACTER } else { character });
        rest = &rest[character.len_utf8()..];
    }
    Cow::Owned(safe)
}

/// Whether [`clean`] would leave every line of this block as it is; much cheaper than cleaning line by line.
pub(crate) fn is_clean(block: &[u8]) -> bool {
    let words = block.chunks_exact(8);
    let rest_is_plain = words.remainder().iter().all(|byte| matches!(byte, 0x20..=0x7E | b'\t' | b'\n'));
    let plain = rest_is_plain && words.into_iter().all(|chunk| unplain_bits(word(chunk)) == 0);
    let clean_character = |character| character == '\n' || !is_unsafe(character);
    plain || std::str::from_utf8(block).is_ok_and(|text| text.chars().all(clean_character))
}

fn is_unsafe(character: char) -> bool {
    character.is_control() && character != '\t'
}

/// What follows the colour sequence that `text` begins with.
fn after_colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    parameters.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':').strip_prefix('m')
}

#[cfg(test)]
mod tests;
