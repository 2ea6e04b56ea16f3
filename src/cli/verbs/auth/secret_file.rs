//! A file that a new secret is written into: made for it, for its owner alone.

use crate::cli::exit::Failure;
use crate::sys::fs::{self, Dir};
use crate::wire::Code;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const MODE: u32 = 0o600;

/// An empty file that is gone again unless it is filled.
pub(super) struct SecretFile {
    path: PathBuf,
    file: File,
    is_filled: bool,
}

impl SecretFile {
    /// Makes the file before there is a secret, so that none is made in vain. What stands there, a link included, is
    /// left alone.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let made = std::path::absolute(path).and_then(|path| {
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            };
            let file = Dir::open(directory)?.create_new(name, MODE)?;
            Ok(Self { path, file, is_filled: false })
        });
        made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let message = format!("{} is there already, and a secret goes into a new file only", path.display());
                Failure::new(Code::Conflict, message, "remove it or name another file")
            }
            _ => failed(path, &error),
        })
    }

    /// Writes the secret with a newline, durably.
    pub(super) fn fill(mut self, secret: &str) -> Result<(), Failure> {
        let line = format!("{secret}\n");
        let written = fs::write_all(&self.file, line.as_bytes()).and_then(|()| fs::sync(&self.file));
        written.map_err(|error| failed(&self.path, &error))?;
        self.is_filled = true;
        Ok(())
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if !self.is_filled {
            // An empty file is in the way of nobody's secret.
            let _left = fs::unlink(&self.path);
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
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
        drop(SecretFile::create(&dir.join("unused")).expect("made"));
        assert!(!dir.join("unused").exists(), "it goes when there is no secret for it");
    }
}
