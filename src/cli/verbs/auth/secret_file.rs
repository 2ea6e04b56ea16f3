//! A file that a new secret is written into: made for it, for its owner alone.

use crate::cli::exit::Failure;
use crate::sys::fs::{self, Dir, Rename};
use crate::sys::random;
use crate::wire::Code;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const MODE: u32 = 0o600;

/// A file that gets its name once the secret is in it: nobody finds half of one, whenever we are killed.
pub(super) struct SecretFile {
    path: PathBuf,
    dir: Dir,
    name: OsString,
    temp: OsString,
    file: File,
}

impl SecretFile {
    /// Makes the file before there is a secret, so that none is made in vain. What stands there, a link included, is
    /// left alone.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let made = std::path::absolute(path).and_then(|path| {
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            };
            let dir = Dir::open(directory)?;
            match dir.stat(name) {
                Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(_) => {}
            }
            let name = name.to_owned();
            let mut temp = OsString::from(".");
            temp.push(&name);
            temp.push(format!(".{}.tmp", random::hex(8)));
            let file = dir.create_new(&temp, MODE)?;
            Ok(Self { path, dir, name, temp, file })
        });
        made.map_err(|error| failed(path, &error))
    }

    /// Writes the secret with a newline, durably.
    pub(super) fn fill(self, secret: &str) -> Result<(), Failure> {
        let line = format!("{secret}\n");
        let written = fs::write_all(&self.file, line.as_bytes()).and_then(|()| fs::sync(&self.file));
        written.and_then(|()| self.publish()).map_err(|error| failed(&self.path, &error))
    }

    fn publish(&self) -> io::Result<()> {
        match self.dir.rename(&self.temp, &self.name, Rename::NoReplace) {
            // The kernel or the file system knows no flags for it: there is only the look before.
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
                self.dir.rename(&self.temp, &self.name, Rename::Replace)
            }
            other => other,
        }?;
        self.dir.sync().inspect_err(|_| {
            // A failure means that there is no file, so that the same command can be given again.
            let _left = self.dir.unlink(&self.name);
        })
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        // With its name it is gone from here; what is left of one that failed is in nobody's way.
        let _left = self.dir.unlink(&self.temp);
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        let message = format!("{} is there already, and a secret goes into a new file only", path.display());
        return Failure::new(Code::Conflict, message, "remove it or name another file");
    }
    Failure::new(Code::Failed, format!("cannot write {}: {error}", path.display()), "name a file that can be made")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_secret_goes_into_a_new_file_of_its_owner_alone() {
        let dir = TestDir::new("secret-file");
        let path = dir.join("t");
        SecretFile::create(&path).expect("made").fill("abc").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "abc\n");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
        for name in ["t", "link"] {
            let _made_once = symlink("target", dir.join("link"));
            let refused = SecretFile::create(&dir.join(name)).err().expect("is there");
            assert_eq!(refused.exit.number(), 7, "{name}: {}", refused.message);
        }
        assert!(!dir.join("target").exists() && std::fs::read_to_string(&path).expect("there") == "abc\n");
        assert!(SecretFile::create(&dir.join("no/t")).is_err());
        let late = SecretFile::create(&dir.join("late")).expect("made");
        std::fs::write(dir.join("late"), "mine").expect("somebody was faster");
        assert_eq!(late.fill("abc").expect_err("is there").exit.number(), 7);
        assert_eq!(std::fs::read_to_string(dir.join("late")).expect("there"), "mine");
        drop(SecretFile::create(&dir.join("unused")).expect("made"));
        let names = || std::fs::read_dir(dir.path()).expect("listed").map(|entry| entry.expect("one").file_name());
        let mut left: Vec<_> = names().collect();
        left.sort();
        assert_eq!(left, ["late", "link", "t"], "nothing is left of what got no secret");
    }
}
