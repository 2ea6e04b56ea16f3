//! A home of its own for every test, gone afterwards.

use super::{Create, Home};
use crate::manifest::Short;
use crate::sys::testdir::TestDir;
use std::ops::Deref;
use std::path::{Path, PathBuf};

pub(super) struct TestHome {
    home: Home,
    _removed_at_the_end: TestDir,
}

impl TestHome {
    pub(super) fn new() -> Self {
        Self::at(TestDir::new("store"))
    }

    /// For tests that write very often, see [`TestDir::in_memory`].
    pub(super) fn in_memory() -> Self {
        Self::at(TestDir::in_memory("store"))
    }

    fn at(dir: TestDir) -> Self {
        let home = Home::open(dir.path(), Create::Yes).expect("a new home");
        Self { home, _removed_at_the_end: dir }
    }

    /// Puts a file there as a foreign program would.
    pub(super) fn put(&self, relative: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(relative);
        std::fs::create_dir_all(path.parent().expect("below the home")).expect("directories");
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    pub(super) fn text(&self, relative: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.path().join(relative)).expect("a text file")
    }

    /// The names in the home, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("the home");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

impl Deref for TestHome {
    type Target = Home;
    fn deref(&self) -> &Home {
        &self.home
    }
}

/// Puts a FIFO there.
pub(super) fn fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(made.success());
}

pub(super) fn short(name: &str) -> Short {
    Short::parse(name).expect("a short name")
}

/// What stands under `testdata/`.
pub(super) fn testdata(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(relative)
}
