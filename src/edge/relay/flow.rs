//! Pure: content on its way from one side to the other.

use super::MAX_BUFFER_BYTES;
use crate::edge::buffer::{self, Incoming, Outgoing};
use crate::edge::framing::{BadFraming, Coding, Piece, Reader};

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
