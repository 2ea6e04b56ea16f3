//! Small files that hold a secret: read without following or waiting for anything, written so that a crash leaves the
//! old one or the new one.

use super::{cvt, random};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Bits that let somebody but the owner at a file.
const LOOSE_BITS: u32 = 0o077;
/// What a secret's file is set to.
const SECRET_MODE: u32 = 0o600;

/// How much the file itself has to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Our own file: no symlink, owned by us, one name only, and private (made so when it is not).
    Ours,
    /// Named by whoever started us (a mounted container secret): links, owner and mode are theirs to choose.
    AsGiven,
}

/// What a secret's file held.
pub(crate) struct SecretBytes {
    /// Wiped when dropped.
    bytes: Vec<u8>,
    /// The mode that let others at it, before it was set to 0600.
    pub(crate) loose_mode: Option<u32>,
}

impl SecretBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        super::wipe::wipe(&mut self.bytes);
    }
}

/// Why a secret's file is not read.
#[derive(Debug)]
pub(crate) enum SecretFileError {
    Symlink,
    NotRegular,
    ForeignOwner { uid: u32, ours: u32 },
    HardLinked { names: u64 },
    TooLarge { limit_bytes: usize },
    Io(io::Error),
}

/// The user that files of ours belong to.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: geteuid cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}

/// Reads a file of at most `limit_bytes`. Never waits (a FIFO is refused, not read) and never follows a link when the
/// file must be ours.
pub(crate) fn read(path: &Path, limit_bytes: usize, trust: Trust) -> Result<SecretBytes, SecretFileError> {
    let nofollow = match trust {
        Trust::Ours => libc::O_NOFOLLOW,
        Trust::AsGiven => 0,
    };
    // std opens with O_CLOEXEC. O_NONBLOCK: opening a FIFO without a writer would block for ever.
    let file = OpenOptions::new().read(true).custom_flags(nofollow | libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let mut file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) if trust == Trust::Ours => SecretFileError::Symlink,
        // A socket cannot be opened at all.
        Some(libc::ENXIO) => SecretFileError::NotRegular,
        _ => SecretFileError::Io(error),
    })?;
    let facts = file.metadata().map_err(SecretFileError::Io)?;
    if !facts.file_type().is_file() {
        return Err(SecretFileError::NotRegular);
    }
    let loose_mode = match trust {
        Trust::AsGiven => None,
        Trust::Ours => tighten(&file, &facts)?,
    };
    let too_large = SecretFileError::TooLarge { limit_bytes };
    if facts.len() > limit_bytes as u64 {
        return Err(too_large);
    }
    // One more than allowed, so that a file that grows meanwhile is noticed; all of it at once, so that no copy of the
    // secret stays behind in a buffer that was grown.
    let mut secret = SecretBytes { bytes: Vec::with_capacity(limit_bytes + 1), loose_mode };
    (&mut file).take(limit_bytes as u64 + 1).read_to_end(&mut secret.bytes).map_err(SecretFileError::Io)?;
    if secret.bytes.len() > limit_bytes {
        return Err(too_large);
    }
    Ok(secret)
}

/// Checks that the open file is ours alone and makes it private; the mode before, when others could get at it.
fn tighten(file: &File, facts: &fs::Metadata) -> Result<Option<u32>, SecretFileError> {
    let ours = effective_uid();
    if facts.uid() != ours {
        return Err(SecretFileError::ForeignOwner { uid: facts.uid(), ours });
    }
    if facts.nlink() != 1 {
        return Err(SecretFileError::HardLinked { names: facts.nlink() });
    }
    let mode = facts.mode() & 0o7777;
    if mode & LOOSE_BITS == 0 {
        return Ok(None);
    }
    file.set_permissions(fs::Permissions::from_mode(SECRET_MODE)).map_err(SecretFileError::Io)?;
    Ok(Some(mode))
}

/// Puts `bytes` at `path` with mode 0600: a new file beside it, synced, renamed over it, the directory synced. A link
/// at `path` is replaced, never followed. After an error the old file is as it was.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let mut temporary_name = OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{}.tmp", random::hex(8)));
    let temporary = directory.join(temporary_name);

    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What went wrong is told; that its rest could not be removed either is not worth a second error.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(directory)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(SECRET_MODE).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(directory)?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&directory);
    // SAFETY: fsync takes a descriptor, which `directory` keeps open during the call, and touches no memory.
    match cvt(unsafe { libc::fsync(descriptor) }) {
        Ok(_) => Ok(()),
        // Some file systems cannot sync a directory; there is nothing better to do on them.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        Err(error) => Err(error),
    }
}
