//! A directory for one test, removed when the test is done with it.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(crate) struct TestDir(PathBuf);

impl TestDir {
    pub(crate) fn new(subject: &str) -> Self {
        let name = format!("parachute-{subject}-{}-{}", std::process::id(), super::random::hex(6));
        let path = std::env::temp_dir().join(name);
        // As private as a home, whatever the umask.
        std::fs::DirBuilder::new().mode(0o700).create(&path).expect("a directory for the test");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
