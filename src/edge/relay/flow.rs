//! Pure: content on its way from one side to the other.

use super::{MAX_BUFFER_BYTES, Relay};
use crate::edge::buffer::{self, Incoming, Outgoing};
use crate::edge::framing::{BadFraming, Coding, Piece, Reader};
use crate::edge::places::Places;

/// What is read at once, while nothing waits, after the first [`STREAM_BYTES`] of a body or a tunnel: a quarter less of the
/// processor for each byte than with [`MAX_BUFFER_BYTES`], and as little as `splice(2)` takes, measured with a bare relay.
pub(crate) const LARGE_READ_BYTES: usize = 256 * 1024;
const STREAM_BYTES: u64 = 1024 * 1024;
/// So many relays may do that at a time; the others go on in smaller steps.
pub(crate) const MAX_STREAMS: usize = 32;

/// Below it, copying is cheaper than giving a buffer away.
const SWAP_BYTES: usize = 4 * 1024;

/// Moves as many bytes as there is room for, and says how many.
pub(super) fn splice(from: &mut Incoming, to: &mut Outgoing) -> usize {
    let waiting = from.len();
    if waiting == 0 || (waiting >= SWAP_BYTES && buffer::swap(from, to)) {
        return waiting;
    }
    let count = waiting.min(MAX_BUFFER_BYTES.saturating_sub(to.len()));
    to.tail().extend_from_slice(from.bytes().get(..count).unwrap_or_default());
    from.consume(count);
    count
}

impl Relay {
    /// How much to read of what goes on once so much is waiting.
    pub(super) fn room(&self, waiting: usize) -> usize {
        match (&self.stream, waiting) {
            (Some(_), 0) => LARGE_READ_BYTES,
            _ => MAX_BUFFER_BYTES.saturating_sub(waiting),
        }
    }

    /// Takes one of these places once much has passed.
    pub(crate) fn look_for_stream(&mut self, places: &Places) {
        if self.stream.is_none() && self.tally.request_bytes.max(self.tally.answer_bytes) >= STREAM_BYTES {
            self.stream = places.take(MAX_STREAMS);
        }
    }
}

/// Why no more of a body is moved.
pub(super) enum Stopped {
    Framing(BadFraming),
    TooLarge,
}

/// Moves as much of a body as is there and has room, while less than `most` bytes are waiting where it goes. `moved`
/// counts its content, of which there may be a `limit`.
pub(super) fn pump(
    reader: &mut Reader,
    coding: Coding,
    from: &mut Incoming,
    (to, most): (&mut Outgoing, usize),
    moved: &mut u64,
    limit: u64,
) -> Result<(), Stopped> {
    while !from.is_empty() && !reader.is_done() && to.len() < most {
        let Piece { skip, take } = reader.next(from.bytes()).map_err(Stopped::Framing)?;
        if count(take) > limit - *moved {
            return Err(Stopped::TooLarge);
        }
        *moved += count(take);
        let whole = skip == 0 && take == from.len();
        if !(whole && take >= SWAP_BYTES && coding == Coding::Plain && buffer::swap(from, to)) {
            from.consume(skip);
            let part = from.bytes().get(..take).unwrap_or_default();
            coding.write(part, to.tail());
            from.consume(take);
        }
        if reader.is_done() {
            coding.finish(to.tail());
        }
    }
    Ok(())
}

/// As tallies have it.
pub(super) fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
