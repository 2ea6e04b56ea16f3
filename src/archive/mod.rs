//! A whole home as one tar archive: written from a home that may be in use, checked, and unpacked into a new one.
//!
//! `parachute-backup.json` comes first and says what it is, the home's files follow below `parachute-home/`, and
//! `SHA256SUMS` comes last: `tar xf FILE && sha256sum -c SHA256SUMS` checks it without this program. Left out are
//! what only means something while a hub runs (`hub/run`, locks), its logs and those of modules, and what is neither file nor directory. What
//! cannot be read is missing, and told apart from that.
//! Must not know argv.

mod error;
mod read;
mod stage;
pub(crate) mod tar;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use error::ArchiveError;
pub(crate) use read::unpack;
pub(crate) use write::write;

use std::path::PathBuf;

/// What the archive says of itself, its first entry.
const ABOUT: &str = "parachute-backup.json";
/// The hashes of all entries before it, its last entry.
const SUMS: &str = "SHA256SUMS";
/// The home.
const ROOT: &str = "parachute-home";
/// The layout above.
const FORMAT: u64 = 1;
/// Files are read and written in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;
/// The database below the home, which is copied by SQLite and not as a file.
const DATABASE: &str = "hub.db";
/// Where a running hub keeps what means something only to itself; below the home, in the archive's names.
const RUN: &str = "parachute-home/hub/run";

/// At the root of a volume; what is in it is the file system's and not the home's.
const LOST_AND_FOUND: &str = "lost+found";

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The release that wrote it.
    pub(crate) version: String,
    /// ISO 8601.
    pub(crate) created_at: String,
    /// Where the home was; unknown where the archive does not say it.
    pub(crate) home: Option<PathBuf>,
    /// Without the two files about the archive itself.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// A line of `SHA256SUMS`; one that begins with a backslash has two for each in the name.
fn sum_line(hash: &str, name: &str) -> String {
    match name.contains('\\') {
        true => format!("\\{hash}  {}\n", name.replace('\\', "\\\\")),
        false => format!("{hash}  {name}\n"),
    }
}
