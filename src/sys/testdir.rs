//! A directory for one test, removed when the test is done with it.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(crate) struct TestDir(PathBuf);

impl TestDir {
    pub(crate) fn new(subject: &str) -> Self {
        Self::below(&std::env::temp_dir(), subject)
    }

    /// One in memory where the machine has such a place: what waits for the disk there waits for nothing.
    pub(crate) fn in_memory(subject: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory, subject) } else { Self::new(subject) }
    }

    fn below(parent: &Path, subject: &str) -> Self {
        let name = format!("parachute-{subject}-{}-{}", std::process::id(), super::random::hex(6));
        let path = parent.join(name);
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
