//! Small files that hold a secret: read without following or waiting for anything, written so that a crash leaves the
//! old one or the new one.

use super::fs::effective_uid;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;
    use std::os::unix::fs::{chown, symlink};
    use std::os::unix::net::UnixListener;

    const LIMIT: usize = 4096;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
    }

    fn put(path: &Path, bytes: &[u8], mode: u32) {
        fs::write(path, bytes).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }

    fn fifo(path: &Path) {
        let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
        // SAFETY: mkfifo reads a NUL-terminated string that lives during the call.
        cvt(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).expect("made");
    }

    #[test]
    fn a_file_of_ours_is_read_and_made_private() {
        for (before, loose_mode) in [
            (0o600, None),
            (0o400, None),
            (0o700, None),
            (0o644, Some(0o644)),
            (0o620, Some(0o620)),
            (0o4666, Some(0o4666)),
        ] {
            let dir = TestDir::new("secret-modes");
            let path = dir.join("s");
            put(&path, b"abc", before);
            let secret = read(&path, LIMIT, Trust::Ours).unwrap_or_else(|error| panic!("{before:o}: {error:?}"));
            assert_eq!(secret.as_slice(), b"abc", "{before:o}");
            assert_eq!(secret.loose_mode, loose_mode, "{before:o}");
            assert_eq!(mode(&path), if loose_mode.is_some() { 0o600 } else { before }, "{before:o}");
        }
    }

    #[test]
    fn what_is_not_ours_alone_is_refused_without_waiting() {
        type Case = (&'static str, fn(&Path), fn(&SecretFileError) -> bool);
        let cases: &[Case] = &[
            ("missing", |_| {}, |e| matches!(e, SecretFileError::Io(e) if e.kind() == io::ErrorKind::NotFound)),
            ("symlink", |p| symlink("/etc/hostname", p).expect("linked"), |e| matches!(e, SecretFileError::Symlink)),
            ("dangling", |p| symlink("nowhere", p).expect("linked"), |e| matches!(e, SecretFileError::Symlink)),
            (
                "hard link",
                |p| {
                    put(p, b"x", 0o600);
                    fs::hard_link(p, p.with_extension("other")).expect("linked");
                },
                |e| matches!(e, SecretFileError::HardLinked { names: 2 }),
            ),
            ("fifo", fifo, |e| matches!(e, SecretFileError::NotRegular)),
            ("directory", |p| fs::create_dir(p).expect("made"), |e| matches!(e, SecretFileError::NotRegular)),
            ("socket", |p| drop(UnixListener::bind(p).expect("bound")), |e| matches!(e, SecretFileError::NotRegular)),
            (
                "one byte too many",
                |p| put(p, &[b'x'; LIMIT + 1], 0o600),
                |e| matches!(e, SecretFileError::TooLarge { limit_bytes: LIMIT }),
            ),
        ];
        for (name, make, refused) in cases {
            let dir = TestDir::new("secret-refused");
            let path = dir.join("s");
            make(&path);
            match read(&path, LIMIT, Trust::Ours) {
                Ok(_) => panic!("{name}: was read"),
                Err(error) => assert!(refused(&error), "{name}: {error:?}"),
            }
        }
    }

    #[test]
    fn a_foreign_owner_is_refused_and_the_file_left_as_it_is() {
        if effective_uid() != 0 {
            return; // Only root can give a file away.
        }
        let dir = TestDir::new("secret-foreign");
        let path = dir.join("s");
        put(&path, b"x", 0o644);
        chown(&path, Some(1), None).expect("given away");
        let refused = read(&path, LIMIT, Trust::Ours).err();
        assert!(matches!(refused, Some(SecretFileError::ForeignOwner { uid: 1, ours: 0 })), "{refused:?}");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(read(&path, LIMIT, Trust::AsGiven).expect("as given").as_slice(), b"x");
    }

    #[test]
    fn a_secret_that_was_given_may_be_a_link_but_not_a_fifo() {
        let dir = TestDir::new("secret-given");
        put(&dir.join("real"), &[b'x'; LIMIT], 0o644);
        symlink("real", dir.join("link")).expect("linked");
        fifo(&dir.join("fifo"));
        let given = read(&dir.join("link"), LIMIT, Trust::AsGiven).expect("read");
        assert_eq!((given.as_slice().len(), given.loose_mode, mode(&dir.join("real"))), (LIMIT, None, 0o644));
        assert!(matches!(read(&dir.join("fifo"), LIMIT, Trust::AsGiven), Err(SecretFileError::NotRegular)));
    }

    #[test]
    fn writing_replaces_whatever_has_the_name_and_leaves_nothing_else_behind() {
        let dir = TestDir::new("secret-write");
        let (path, victim) = (dir.join("s"), dir.join("victim"));
        put(&victim, b"mine", 0o644);
        symlink(&victim, &path).expect("linked");
        write(&path, b"first").expect("written");
        write(&path, b"second").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"second");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read(&victim).expect("there"), b"mine");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 2);
    }

    #[test]
    fn a_write_that_fails_leaves_no_temporary_file() {
        let dir = TestDir::new("secret-fails");
        let path = dir.join("s");
        fs::create_dir(&path).expect("made");
        assert!(write(&path, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }
}
