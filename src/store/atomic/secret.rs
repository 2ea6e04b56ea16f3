//! A small file that holds a secret: it has to prove more than others, and what is read of it is wiped afterwards.

use super::{PRIVATE, Target};
use crate::store::StoreError;
use crate::sys::fs::{self, Stat};
use crate::sys::wipe::wipe;
use std::fs::File;

/// Bits that let somebody but the owner at a file.
const LOOSE_BITS: u32 = 0o077;

/// How much the file itself has to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Trust {
    /// Our own file: owned by us, one name only, and private (made so when it is not).
    Ours,
    /// Named by whoever started us (a mounted container secret): owner, names and mode are theirs to choose.
    AsGiven,
}

/// What the file held.
pub(in crate::store) struct Secret {
    /// Wiped when dropped.
    bytes: Vec<u8>,
    /// The mode that let others at it, before it was set to 0600.
    pub(in crate::store) loose_mode: Option<u32>,
}

impl Secret {
    pub(in crate::store) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

impl Target {
    /// Reads the file; `None` when it is missing. `limit_bytes` are set aside whatever its size, so that no copy of the
    /// secret stays behind in a buffer that was grown.
    pub(in crate::store) fn read_secret(&self, limit_bytes: usize, trust: Trust) -> Result<Option<Secret>, StoreError> {
        let Some((file, stat)) = self.open(&self.name)? else { return Ok(None) };
        let loose_mode = match trust {
            Trust::AsGiven => None,
            Trust::Ours => self.tighten(&file, &stat)?,
        };
        let mut secret = Secret { bytes: Vec::with_capacity(limit_bytes + 1), loose_mode };
        let limit_bytes = limit_bytes as u64;
        match fs::read_into(&file, limit_bytes, &mut secret.bytes).map_err(|source| self.read_error(source))? {
            true => Ok(Some(secret)),
            false => Err(StoreError::TooLarge { path: self.path.clone(), limit_bytes }),
        }
    }

    /// The same without reading; `None` also when it is missing.
    pub(in crate::store) fn make_private(&self) -> Result<Option<u32>, StoreError> {
        match self.open(&self.name)? {
            Some((file, stat)) => self.tighten(&file, &stat),
            None => Ok(None),
        }
    }

    /// Checks that the open file is ours alone and makes it private; the mode before, when others could get at it.
    fn tighten(&self, file: &File, stat: &Stat) -> Result<Option<u32>, StoreError> {
        let path = || self.path.clone();
        if stat.uid != fs::effective_uid() {
            return Err(StoreError::ForeignOwner { path: path(), owner_uid: stat.uid });
        }
        // With no name left it was replaced since it was opened; what it held is what a look a moment earlier had found.
        if stat.links > 1 {
            return Err(StoreError::HardLinked { path: path(), names: stat.links });
        }
        if stat.mode & LOOSE_BITS == 0 {
            return Ok(None);
        }
        fs::set_mode(file, PRIVATE).map_err(|source| self.write_error(source))?;
        Ok(Some(stat.mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic::Links;
    use crate::store::testing::{TestHome, fifo};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    const LIMIT: usize = 4096;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
    }

    fn put(path: &Path, bytes: &[u8], mode: u32) {
        std::fs::write(path, bytes).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    }

    fn ours(home: &TestHome) -> Result<Option<Secret>, StoreError> {
        let target = Target::locate(home, Path::new("s"), Links::Refuse)?.expect("the home is there");
        target.read_secret(LIMIT, Trust::Ours)
    }

    fn given(path: &Path) -> Result<Option<Secret>, StoreError> {
        match Target::given(path)? {
            Some(target) => target.read_secret(LIMIT, Trust::AsGiven),
            None => Ok(None),
        }
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
            let home = TestHome::new();
            let path = home.path().join("s");
            put(&path, b"abc", before);
            let secret = ours(&home).unwrap_or_else(|error| panic!("{before:o}: {error}")).expect("it is there");
            assert_eq!((secret.as_slice(), secret.loose_mode), (&b"abc"[..], loose_mode), "{before:o}");
            assert_eq!(secret.bytes.capacity(), LIMIT + 1, "no copy was made");
            assert_eq!(mode(&path), if loose_mode.is_some() { 0o600 } else { before }, "{before:o}");
        }
    }

    #[test]
    fn what_is_not_ours_alone_is_refused_without_waiting() {
        type Case = (&'static str, fn(&Path), fn(&StoreError) -> bool);
        let cases: &[Case] = &[
            ("symlink", |p| symlink("/etc/hostname", p).expect("linked"), |e| matches!(e, StoreError::Symlink { .. })),
            ("dangling", |p| symlink("nowhere", p).expect("linked"), |e| matches!(e, StoreError::Symlink { .. })),
            (
                "hard link",
                |p| {
                    put(p, b"x", 0o600);
                    std::fs::hard_link(p, p.with_extension("other")).expect("linked");
                },
                |e| matches!(e, StoreError::HardLinked { names: 2, .. }),
            ),
            ("fifo", fifo, |e| matches!(e, StoreError::NotRegular { .. })),
            ("directory", |p| std::fs::create_dir(p).expect("made"), |e| matches!(e, StoreError::NotRegular { .. })),
            ("socket", |p| drop(UnixListener::bind(p).expect("bound")), |e| matches!(e, StoreError::NotRegular { .. })),
            (
                "one byte too many",
                |p| put(p, &[b'x'; LIMIT + 1], 0o600),
                |e| matches!(e, StoreError::TooLarge { limit_bytes, .. } if *limit_bytes == LIMIT as u64),
            ),
        ];
        for (name, make, refused) in cases {
            let home = TestHome::new();
            make(&home.path().join("s"));
            match ours(&home) {
                Ok(_) => panic!("{name}: was read"),
                Err(error) => assert!(refused(&error), "{name}: {error:?}"),
            }
        }
        assert!(ours(&TestHome::new()).expect("nothing").is_none());
    }

    #[test]
    fn a_foreign_owner_is_refused_and_the_file_left_as_it_is() {
        let home = TestHome::new();
        let path = home.path().join("s");
        put(&path, b"x", 0o644);
        // Only root can give a file away.
        if chown(&path, Some(1), None).is_err() {
            return;
        }
        let refused = ours(&home).err();
        assert!(matches!(refused, Some(StoreError::ForeignOwner { owner_uid: 1, .. })), "{refused:?}");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(given(&path).expect("as given").expect("there").as_slice(), b"x");
    }

    #[test]
    fn a_secret_that_was_given_may_be_reached_by_links_but_not_be_a_fifo() {
        let home = TestHome::new();
        let path = |name: &str| home.path().join(name);
        std::fs::create_dir(path("..data")).expect("made");
        put(&path("..data/real"), &[b'x'; LIMIT], 0o644);
        // As containers mount them: a directory that is swapped as a whole.
        symlink("..data", path("mounted")).expect("linked");
        symlink("mounted/real", path("link")).expect("linked");
        fifo(&path("fifo"));
        for through in ["link", "mounted/real"] {
            let given = given(&path(through)).expect("read").expect("there");
            assert_eq!((given.as_slice().len(), given.loose_mode), (LIMIT, None), "{through}");
        }
        assert_eq!(mode(&path("..data/real")), 0o644);
        assert!(matches!(given(&path("fifo")), Err(StoreError::NotRegular { .. })));
        for missing in ["nowhere", "nowhere/at/all"] {
            assert!(given(&path(missing)).expect("nothing").is_none(), "{missing}");
        }
    }
}
