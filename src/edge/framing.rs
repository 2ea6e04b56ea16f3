//! Pure: where a body ends (RFC 9112 §6, §7). Readers are strict: one meaning, or none.

#[cfg(test)]
mod tests;

use super::head::{Fields, Version};
use std::fmt;

/// Digits of a chunk's size in hex: 15 of them are far more than any chunk, and cannot overflow.
const MAX_SIZE_DIGITS: u32 = 15;
/// Extensions mean nothing to us or to any peer we know; they are dropped.
const MAX_EXTENSION_BYTES: u32 = 256;
/// Trailers are dropped, too (see the folder's rule).
const MAX_TRAILER_BYTES: u32 = 8 * 1024;
/// The largest length that every common reader takes for the same number: many count in signed 64 bits.
const MAX_LENGTH: u64 = (1 << 63) - 1;

/// How a message's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Empty,
    Length(u64),
    Chunked,
    /// Only of an answer: it ends with the connection.
    UntilClose,
}

/// Why a body's framing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadFraming {
    LengthAndEncoding,
    SeveralLengths,
    Length,
    Encoding,
    ChunkSize,
    ChunkEnd,
    Extension,
    Trailer,
}

impl fmt::Display for BadFraming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LengthAndEncoding => f.write_str("there are both a content length and a transfer encoding"),
            Self::SeveralLengths => f.write_str("there is more than one content length"),
            Self::Length => f.write_str("the content length is not a plain decimal number below 2^63"),
            Self::Encoding => f.write_str("the transfer encoding is not exactly \"chunked\""),
            Self::ChunkSize => write!(f, "a chunk's size is not a hex number of at most {MAX_SIZE_DIGITS} digits"),
            Self::ChunkEnd => f.write_str("a chunk does not end with CR LF"),
            Self::Extension => write!(f, "a chunk's extension is malformed or longer than {MAX_EXTENSION_BYTES} bytes"),
            Self::Trailer => write!(f, "the trailer is malformed or longer than {MAX_TRAILER_BYTES} bytes"),
        }
    }
}

/// The body that follows a request's head.
pub(crate) fn request_body(fields: &Fields<'_>, version: Version) -> Result<Body, BadFraming> {
    Ok(declared(fields, version)?.unwrap_or(Body::Empty))
}

/// The body that follows an answer's head. `to_head`: the request was a HEAD, so none does whatever the fields say.
pub(crate) fn response_body(
    fields: &Fields<'_>,
    version: Version,
    status: u16,
    to_head: bool,
) -> Result<Body, BadFraming> {
    let declared = declared(fields, version)?;
    if to_head || matches!(status, 100..=199 | 204 | 304) {
        return Ok(Body::Empty);
    }
    Ok(declared.unwrap_or(Body::UntilClose))
}

fn declared(fields: &Fields<'_>, version: Version) -> Result<Option<Body>, BadFraming> {
    let mut encodings = fields.all("transfer-encoding");
    let mut lengths = fields.all("content-length");
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(BadFraming::LengthAndEncoding),
        (Some(encoding), None) => {
            let plain = encoding.eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
            if plain && version == Version::Http11 { Ok(Some(Body::Chunked)) } else { Err(BadFraming::Encoding) }
        }
        (None, Some(_)) if lengths.next().is_some() => Err(BadFraming::SeveralLengths),
        (None, Some(digits)) => match length(digits)? {
            0 => Ok(Some(Body::Empty)),
            length => Ok(Some(Body::Length(length))),
        },
    }
}

/// The length that is declared; `None` when there is none, or not one.
pub(crate) fn declared_length(fields: &Fields<'_>) -> Option<u64> {
    length(fields.first("content-length")?).ok()
}

fn length(digits: &[u8]) -> Result<u64, BadFraming> {
    if digits.is_empty() || digits.len() > 19 {
        return Err(BadFraming::Length);
    }
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(BadFraming::Length);
        }
        // 19 digits stay below 10^19, which fits.
        value = value * 10 + u64::from(digit - b'0');
    }
    if value > MAX_LENGTH { Err(BadFraming::Length) } else { Ok(value) }
}

/// What stands at the beginning of some input: `skip` bytes of framing, then `take` bytes of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) skip: usize,
    pub(crate) take: usize,
}

/// Follows a body through its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Length { remaining: u64 },
    Chunked(Chunk),
    UntilClose,
    Done,
}

/// The place within a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    Size {
        value: u64,
        digits: u32,
    },
    Extension {
        value: u64,
        bytes: u32,
    },
    SizeLineFeed {
        value: u64,
    },
    Data {
        remaining: u64,
    },
    DataReturn,
    DataLineFeed,
    /// At the start of a trailer line, or of the empty line that ends the body.
    Trailer {
        bytes: u32,
    },
    TrailerName {
        bytes: u32,
    },
    /// Behind the colon.
    TrailerLine {
        bytes: u32,
    },
    TrailerLineFeed {
        bytes: u32,
    },
    LastLineFeed,
}

impl Reader {
    pub(crate) fn new(body: Body) -> Self {
        match body {
            Body::Empty => Self::Done,
            Body::Length(remaining) => Self::Length { remaining },
            Body::Chunked => Self::Chunked(Chunk::Size { value: 0, digits: 0 }),
            Body::UntilClose => Self::UntilClose,
        }
    }

    /// Nothing of what comes next belongs to the body.
    pub(crate) fn is_done(self) -> bool {
        self == Self::Done
    }

    /// The next piece of `input`, which is then behind us. Both of its parts are empty only when `input` is, or when
    /// the body is done; call again with the rest until then.
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Piece, BadFraming> {
        match self {
            Self::Done => Ok(Piece { skip: 0, take: 0 }),
            Self::UntilClose => Ok(Piece { skip: 0, take: input.len() }),
            Self::Length { remaining } => {
                let take = take(remaining, input.len());
                if *remaining == 0 {
                    *self = Self::Done;
                }
                Ok(Piece { skip: 0, take })
            }
            Self::Chunked(_) => self.next_chunk(input),
        }
    }

    fn next_chunk(&mut self, input: &[u8]) -> Result<Piece, BadFraming> {
        for (skip, byte) in input.iter().copied().enumerate() {
            let Self::Chunked(place) = self else { return Ok(Piece { skip, take: 0 }) };
            if let Chunk::Data { remaining } = place {
                let take = take(remaining, input.len() - skip);
                if *remaining == 0 {
                    *place = Chunk::DataReturn;
                }
                return Ok(Piece { skip, take });
            }
            match place.after(byte)? {
                Some(next) => *place = next,
                None => *self = Self::Done,
            }
        }
        Ok(Piece { skip: input.len(), take: 0 })
    }
}

/// How much of `available` belongs to what remains, which shrinks by it.
fn take(remaining: &mut u64, available: usize) -> usize {
    let take = usize::try_from(*remaining).map_or(available, |remaining| remaining.min(available));
    // A usize always fits into the u64 that it was compared with.
    *remaining -= take as u64;
    take
}

impl Chunk {
    /// The place behind one byte of framing; `None` behind the last one.
    fn after(self, byte: u8) -> Result<Option<Self>, BadFraming> {
        let next = match (self, byte) {
            (Self::Size { digits: 0, .. }, b'\r' | b';') => return Err(BadFraming::ChunkSize),
            (Self::Size { value, .. }, b'\r') => Self::SizeLineFeed { value },
            (Self::Size { value, .. }, b';') => Self::Extension { value, bytes: 0 },
            (Self::Size { value, digits }, byte) => {
                let digit = char::from(byte).to_digit(16).ok_or(BadFraming::ChunkSize)?;
                if digits == MAX_SIZE_DIGITS {
                    return Err(BadFraming::ChunkSize);
                }
                Self::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
            }
            (Self::Extension { value, .. }, b'\r') => Self::SizeLineFeed { value },
            (Self::Extension { value, bytes }, byte) if bytes < MAX_EXTENSION_BYTES && is_text(byte) => {
                Self::Extension { value, bytes: bytes + 1 }
            }
            (Self::Extension { .. }, _) => return Err(BadFraming::Extension),
            (Self::SizeLineFeed { value: 0 }, b'\n') => Self::Trailer { bytes: 0 },
            (Self::SizeLineFeed { value }, b'\n') => Self::Data { remaining: value },
            (Self::SizeLineFeed { .. }, _) => return Err(BadFraming::ChunkSize),
            (Self::DataReturn, b'\r') => Self::DataLineFeed,
            (Self::DataLineFeed, b'\n') => Self::Size { value: 0, digits: 0 },
            (Self::DataReturn | Self::DataLineFeed | Self::Data { .. }, _) => return Err(BadFraming::ChunkEnd),
            (Self::Trailer { .. }, b'\r') => Self::LastLineFeed,
            (Self::TrailerLine { bytes }, b'\r') => Self::TrailerLineFeed { bytes },
            // A line without a name and a colon is no field: it may be the next request, for another reader.
            (Self::Trailer { bytes } | Self::TrailerName { bytes }, byte)
                if bytes < MAX_TRAILER_BYTES && is_token(byte) =>
            {
                Self::TrailerName { bytes: bytes + 1 }
            }
            (Self::TrailerName { bytes }, b':') => Self::TrailerLine { bytes: bytes + 1 },
            (Self::TrailerLine { bytes }, byte) if bytes < MAX_TRAILER_BYTES && is_text(byte) => {
                Self::TrailerLine { bytes: bytes + 1 }
            }
            (Self::TrailerLineFeed { bytes }, b'\n') => Self::Trailer { bytes },
            (Self::LastLineFeed, b'\n') => return Ok(None),
            (
                Self::Trailer { .. }
                | Self::TrailerName { .. }
                | Self::TrailerLine { .. }
                | Self::TrailerLineFeed { .. }
                | Self::LastLineFeed,
                _,
            ) => return Err(BadFraming::Trailer),
        };
        Ok(Some(next))
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// What a field's name is made of (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// How a body is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is: its length was announced, or it ends with the connection.
    Plain,
    Chunked,
}

impl Coding {
    /// Appends a part of the body. An empty part is nothing: an empty chunk would end the body.
    pub(crate) fn write(self, part: &[u8], out: &mut Vec<u8>) {
        match self {
            _ if part.is_empty() => {}
            Self::Plain => out.extend_from_slice(part),
            Self::Chunked => {
                let mut digits = [0_u8; 16];
                let size = hex(part.len(), &mut digits);
                out.reserve(size.len() + part.len() + 4);
                out.extend_from_slice(size);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(part);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends what says that the body is complete.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
        }
    }
}

fn hex(mut value: usize, digits: &mut [u8; 16]) -> &[u8] {
    let mut start = digits.len();
    for (at, slot) in digits.iter_mut().enumerate().rev() {
        *slot = b"0123456789abcdef".get(value & 15).copied().unwrap_or(b'0');
        value >>= 4;
        start = at;
        if value == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}
