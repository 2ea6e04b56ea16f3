//! Pure: the blocks of a tar archive as POSIX.1-2001 has it (ustar, with pax records for long names and large files).
//!
//! Writing makes what every tar reads. Reading takes what writing makes, and refuses everything else: no links, no
//! devices, no other dialects, no numbers that are not octal.
#![forbid(unsafe_code)]

use std::fmt;

pub(crate) const BLOCK_BYTES: usize = 512;
/// Longest name of an entry; the kernel's limit of a path.
pub(crate) const NAME_MAX_BYTES: usize = 4096;
/// A name and a size fit many times.
pub(crate) const PAX_MAX_BYTES: u64 = 16 << 10;
/// Room for a name in the header itself.
const HEADER_NAME_BYTES: usize = 100;
/// Seven octal digits.
const HEADER_ID_MAX: u32 = 0o777_7777;
/// Eleven octal digits.
const HEADER_SIZE_MAX: u64 = 0o777_7777_7777;

const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..265;
const PREFIX: std::ops::Range<usize> = 345..500;

pub(crate) type Block = [u8; BLOCK_BYTES];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
}

/// Whose an entry is, in numbers: names may mean others elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What stands before the content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// With `/` between its parts and none at the end.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) owner: Owner,
    /// 0 for a directory.
    pub(crate) size_bytes: u64,
    /// Seconds since 1970.
    pub(crate) mtime_s: u64,
}

/// A block that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Entry(Header),
    /// The records of the next entry follow, so many bytes.
    Pax {
        size_bytes: u64,
    },
    /// All zeros: the end begins.
    Zeros,
}

/// How many bytes follow the content to fill its last block.
pub(crate) fn padding(size_bytes: u64) -> usize {
    let block = BLOCK_BYTES as u64;
    usize::try_from((block - size_bytes % block) % block).unwrap_or(0)
}

/// The blocks before the content.
pub(crate) fn encode(header: &Header) -> Vec<u8> {
    let mut name = header.name.clone();
    if header.kind == Kind::Directory {
        name.push('/');
    }
    let mut records = Vec::new();
    if name.len() > HEADER_NAME_BYTES {
        records.extend(record("path", &name));
    }
    if header.size_bytes > HEADER_SIZE_MAX {
        records.extend(record("size", &header.size_bytes.to_string()));
    }
    for (key, id) in [("uid", header.owner.uid), ("gid", header.owner.gid)] {
        if id > HEADER_ID_MAX {
            records.extend(record(key, &id.to_string()));
        }
    }
    let mut blocks = Vec::new();
    if !records.is_empty() {
        blocks.extend(block(b"pax", b'x', header, records.len() as u64));
        let padding = padding(records.len() as u64);
        blocks.append(&mut records);
        blocks.resize(blocks.len() + padding, 0);
    }
    let type_ = if header.kind == Kind::Directory { b'5' } else { b'0' };
    // For who knows no records; whole characters, or the name of the header would be no text.
    let end = (0..=HEADER_NAME_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    let short = name.as_bytes().get(..end).unwrap_or_default();
    blocks.extend(block(short, type_, header, header.size_bytes.min(HEADER_SIZE_MAX)));
    blocks
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length += 1;
    }
    format!("{length}{rest}").into_bytes()
}

fn block(name: &[u8], type_: u8, header: &Header, size_bytes: u64) -> Block {
    let (Header { mode, mtime_s, .. }, Owner { uid, gid }) = (header, header.owner);
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(room) = block.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    };
    put(0, name);
    put(MODE.start, format!("{:07o}", mode & 0o7777).as_bytes());
    put(UID.start, format!("{:07o}", uid.min(HEADER_ID_MAX)).as_bytes());
    put(GID.start, format!("{:07o}", gid.min(HEADER_ID_MAX)).as_bytes());
    put(SIZE.start, format!("{size_bytes:011o}").as_bytes());
    put(MTIME.start, format!("{:011o}", (*mtime_s).min(HEADER_SIZE_MAX)).as_bytes());
    put(TYPE, &[type_]);
    put(MAGIC.start, b"ustar\x0000");
    let sum = checksum(&block);
    if let Some(room) = block.get_mut(CHECKSUM) {
        room.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    block
}

/// The sum of all bytes, with blanks in its own place.
fn checksum(block: &Block) -> u32 {
    let sum = |at: usize, byte: u8| if CHECKSUM.contains(&at) { u32::from(b' ') } else { u32::from(byte) };
    block.iter().enumerate().map(|(at, byte)| sum(at, *byte)).sum()
}

/// Reads one header block, and lays over it what the `records` before it say. The name is not judged yet.
pub(crate) fn decode(block: &Block, records: Records) -> Result<Said, Malformed> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(Said::Zeros);
    }
    let field = |range: std::ops::Range<usize>| block.get(range).unwrap_or_default();
    if field(MAGIC) != b"ustar\x0000" {
        return Err(Malformed("it is no tar archive of the ustar format"));
    }
    if octal(field(CHECKSUM)) != Some(checksum(block).into()) {
        return Err(Malformed("the checksum of a header is wrong"));
    }
    if field(LINK).iter().chain(field(PREFIX)).any(|byte| *byte != 0) {
        return Err(Malformed("an entry is a link, or its name is split in two"));
    }
    let number = |range| octal(field(range)).ok_or(Malformed("a number in a header is not octal"));
    let (mode, size_bytes, mtime_s) = (number(MODE)?, number(SIZE)?, number(MTIME)?);
    let (uid, gid) = (number(UID)?, number(GID)?);
    let kind = match block.get(TYPE) {
        Some(b'x') if size_bytes <= PAX_MAX_BYTES => return Ok(Said::Pax { size_bytes }),
        Some(b'x') => return Err(Malformed("the records of an entry are too long")),
        Some(b'0') => Kind::File,
        Some(b'5') => Kind::Directory,
        _ => return Err(Malformed("an entry is neither a file nor a directory")),
    };
    // A name that did not fit may be cut anywhere.
    let name = records.path.map_or_else(|| text(field(0..HEADER_NAME_BYTES)), Ok)?;
    let size_bytes = records.size_bytes.unwrap_or(size_bytes);
    let narrow = |number: u64| u32::try_from(number).map_err(|_| Malformed("a number in a header is too high"));
    let uid = records.uid.map_or_else(|| narrow(uid), Ok)?;
    let gid = records.gid.map_or_else(|| narrow(gid), Ok)?;
    let (mode, owner) = (narrow(mode & 0o7777)?, Owner { uid, gid });
    Ok(Said::Entry(Header { name, kind, mode, owner, size_bytes, mtime_s }))
}

/// Up to the first NUL, behind which nothing may stand.
fn text(bytes: &[u8]) -> Result<String, Malformed> {
    let (text, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Malformed("a name has a NUL character in it"));
    }
    String::from_utf8(text.to_vec()).map_err(|_| Malformed("a name is not UTF-8"))
}

/// Octal digits, then NULs or blanks.
fn octal(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.split(|byte| matches!(byte, 0 | b' ')).next()?;
    let rest = bytes.get(digits.len()..)?;
    let clean = rest.iter().all(|byte| matches!(byte, 0 | b' '));
    let digits =
        std::str::from_utf8(digits).ok().filter(|text| clean && text.bytes().all(|b| (b'0'..=b'7').contains(&b)))?;
    u64::from_str_radix(digits, 8).ok()
}

/// What stands before an entry whose header has no room for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    path: Option<String>,
    size_bytes: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// Reads the records of a pax header.
pub(crate) fn records(bytes: &[u8]) -> Result<Records, Malformed> {
    const BAD: Malformed = Malformed("the records of an entry are not well formed");
    let mut rest = std::str::from_utf8(bytes).map_err(|_| BAD)?;
    let mut records = Records::default();
    while !rest.is_empty() {
        let (length, _) = rest.split_once(' ').ok_or(BAD)?;
        let bytes: usize =
            length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit())).ok_or(BAD)?;
        let record = rest.get(length.len() + 1..bytes).and_then(|record| record.strip_suffix('\n')).ok_or(BAD)?;
        rest = rest.get(bytes..).ok_or(BAD)?;
        let (key, value) = record.split_once('=').ok_or(BAD)?;
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        match key {
            "path" => records.path = Some(value.to_owned()),
            "size" if is_number => records.size_bytes = Some(value.parse().map_err(|_| BAD)?),
            "uid" if is_number => records.uid = Some(value.parse().map_err(|_| BAD)?),
            "gid" if is_number => records.gid = Some(value.parse().map_err(|_| BAD)?),
            _ => return Err(Malformed("an entry has a record that is none of ours")),
        }
    }
    Ok(records)
}

/// Judges the name of a whole entry and takes the `/` off that ends a directory's.
pub(crate) fn settle(mut header: Header) -> Result<Header, Malformed> {
    match header.kind {
        Kind::Directory if header.size_bytes != 0 => return Err(Malformed("a directory has a content")),
        Kind::Directory => match header.name.strip_suffix('/') {
            Some(name) => header.name = name.to_owned(),
            None => return Err(Malformed("the name of a directory does not end with a slash")),
        },
        Kind::File => {}
    }
    match is_plain(&header.name) {
        true => Ok(header),
        false => Err(Malformed("a name leads elsewhere, is too long or has control characters")),
    }
}

/// Whether a name leads down, step by step, and nowhere else.
pub(crate) fn is_plain(name: &str) -> bool {
    let step = |step: &str| !step.is_empty() && step.len() <= 255 && step != "." && step != "..";
    name.len() <= NAME_MAX_BYTES && name.split('/').all(step) && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, kind: Kind, size_bytes: u64) -> Header {
        let owner = Owner { uid: 1000, gid: 0 };
        Header { name: name.to_owned(), kind, mode: 0o600, owner, size_bytes, mtime_s: 1_800_000_000 }
    }

    /// All headers in some blocks, as a reader puts them together.
    fn read(bytes: &[u8]) -> Result<Header, Malformed> {
        let block = |at: usize| -> Block { bytes[at..at + BLOCK_BYTES].try_into().expect("a block") };
        match decode(&block(0), Records::default())? {
            Said::Entry(header) => settle(header),
            Said::Zeros => Err(Malformed("zeros")),
            Said::Pax { size_bytes } => {
                let size = usize::try_from(size_bytes).expect("small");
                let records = records(&bytes[BLOCK_BYTES..BLOCK_BYTES + size])?;
                match decode(&block(BLOCK_BYTES + size + padding(size_bytes)), records)? {
                    Said::Entry(header) => settle(header),
                    other => panic!("{other:?} behind the records"),
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (name, kind, size_bytes) in [
            ("a", Kind::File, 0),
            ("a/b c/ä", Kind::Directory, 0),
            (&"n".repeat(100), Kind::File, HEADER_SIZE_MAX),
            (&"n".repeat(101), Kind::File, 1),
            (&"n".repeat(99), Kind::Directory, 0),
            (&"n".repeat(100), Kind::Directory, 0),
            (&["d".repeat(200), "e".repeat(200)].join("/"), Kind::File, HEADER_SIZE_MAX + 1),
            ("big", Kind::File, u64::MAX),
        ] {
            let header = header(name, kind, size_bytes);
            assert_eq!(read(&encode(&header)), Ok(header), "{name} {size_bytes}");
        }
        for (length, kind) in (80..120).flat_map(|length| [(length, Kind::File), (length, Kind::Directory)]) {
            for character in ["ä", "ノ", "🪂"] {
                let header = header(&format!("{}{}", "x".repeat(length), character.repeat(9)), kind, 0);
                assert_eq!(read(&encode(&header)), Ok(header), "{length} {character}");
            }
        }
        for id in [0, HEADER_ID_MAX, HEADER_ID_MAX + 1, u32::MAX] {
            for owner in [Owner { uid: id, gid: 7 }, Owner { uid: 7, gid: id }] {
                let header = Header { owner, ..header("a", Kind::File, 1) };
                assert_eq!(read(&encode(&header)), Ok(header), "{owner:?}");
            }
        }
        // Others cut it where they like.
        let name = "x".repeat(99) + "ä";
        let mut bytes = encode(&header(&name, Kind::File, 0));
        let at = bytes.len() - BLOCK_BYTES;
        bytes[at + 99] = "ä".as_bytes()[0];
        let block: &mut Block = (&mut bytes[at..]).try_into().expect("a block");
        let sum = checksum(block);
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(read(&bytes).map(|header| header.name), Ok(name));
        for length in 1..300 {
            let record = record("path", &"x".repeat(length));
            let text = String::from_utf8(record).expect("text");
            assert_eq!(text.split_once(' ').map(|(number, _)| number.to_owned()), Some(text.len().to_string()));
        }
    }

    #[test]
    fn a_name_leads_down_and_nowhere_else() {
        let long = ["x".repeat(200).as_str(); 21].join("/");
        for (name, plain) in [
            ("a", true),
            ("a/b", true),
            (".env", true),
            ("...", true),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            (".", false),
            ("..", false),
            ("a/../b", false),
            ("a/./b", false),
            ("a\nb", false),
            ("a\0b", false),
            ("a\\b", true),
            ("a\u{1b}b", false),
            (&"x".repeat(255), true),
            (&"x".repeat(256), false),
            (&long, false),
        ] {
            assert_eq!(is_plain(name), plain, "{name:?}");
        }
    }

    #[test]
    fn other_blocks_are_refused() {
        let good: Block = encode(&header("a", Kind::File, 5))[..].try_into().expect("one block");
        let changed = |at: usize, bytes: &[u8]| {
            let mut block = good;
            block[at..at + bytes.len()].copy_from_slice(bytes);
            let sum = checksum(&block);
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            block
        };
        let decode = |block: &Block| decode(block, Records::default());
        assert!(decode(&changed(0, b"b")).is_ok());
        // Others end a number with a blank, and tell the kind in the mode as well.
        for (at, bytes) in [(SIZE.start, &b"00000000005 "[..]), (MODE.start, b"0107600 ")] {
            let Ok(Said::Entry(found)) = decode(&changed(at, bytes)) else { panic!("{at}") };
            assert_eq!((found.size_bytes, found.mode & 0o777, found.mode & !0o7777), (5, 0o600, 0), "{at}");
        }
        for (what, block) in [
            ("hard link", changed(TYPE, b"1")),
            ("symbolic link", changed(TYPE, b"2")),
            ("device", changed(TYPE, b"3")),
            ("fifo", changed(TYPE, b"6")),
            ("global records", changed(TYPE, b"g")),
            ("GNU long name", changed(TYPE, b"L")),
            ("sparse", changed(TYPE, b"S")),
            ("old file", changed(TYPE, b"\0")),
            ("GNU magic", changed(MAGIC.start, b"ustar  \0")),
            ("link name", changed(LINK.start, b"/etc/passwd")),
            ("prefix", changed(PREFIX.start, b"/etc")),
            ("base 256", changed(SIZE.start, b"\x80\0\0\0\0\0\0\0\0\0\0\x05")),
            ("negative", changed(SIZE.start, b"-0000000005\0")),
            ("blank", changed(SIZE.start, b"            ")),
            ("digit 8", changed(SIZE.start, b"00000000008\0")),
            ("plus", changed(SIZE.start, b"+0000000005\0")),
            ("two numbers", changed(SIZE.start, b"0000000\x005\0\0\0")),
            ("text behind the NUL", changed(1, b"\0x")),
            ("not UTF-8", changed(0, b"\xff")),
            ("long records", {
                let mut block = changed(TYPE, b"x");
                block[SIZE].copy_from_slice(b"00000777777\0");
                let sum = checksum(&block);
                block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                block
            }),
        ] {
            assert!(decode(&block).is_err(), "{what}: {:?}", decode(&block));
        }
        let full = encode(&header("a", Kind::Directory, 5));
        assert_eq!(read(&full), Err(Malformed("a directory has a content")));
        let mut wrong = good;
        wrong[0] = b'b';
        assert_eq!(decode(&wrong), Err(Malformed("the checksum of a header is wrong")));
        assert_eq!(decode(&[0; BLOCK_BYTES]), Ok(Said::Zeros));
    }

    #[test]
    fn records_are_what_we_write_or_refused() {
        for (records, ok) in [
            ("", true),
            ("10 path=a\n", true),
            ("10 size=7\n", true),
            ("8 path=a\n", false),
            ("9 path=a\n", true),
            ("11 path=a\n", false),
            ("10 path=a", false),
            ("0 path=a\n", false),
            ("99999999999999999999 path=a\n", false),
            ("+11 path=a\n", false),
            ("11 size=-7\n", false),
            ("11 size=+7\n", false),
            ("10 uid=+7\n", false),
            ("10 gid=+7\n", false),
            ("12 mtime=7\n", false),
            ("8 uid=7\n", true),
            ("8 gid=7\n", true),
            ("7 uid=7\n", false),
            ("10 gid=-7\n", false),
            ("18 uid=4294967296\n", false),
            ("14 linkpath=a\n", false),
            ("path=a\n", false),
            (" ", false),
        ] {
            assert_eq!(super::records(records.as_bytes()).is_ok(), ok, "{records:?}");
        }
        assert!(records(b"10 path=\xff\n").is_err());
    }
}
