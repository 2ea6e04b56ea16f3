//! Where a child failed on its way to its program, and why.

use super::spec::Resource;
use std::io;

/// Where between fork and exec the child failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Pipe,
    Fork,
    Group,
    Stdio,
    Limit(Resource),
    Credentials,
    Directory,
    ParentDeath,
    Exec,
    /// Any of these that took too long.
    OnTheWay,
}

impl Step {
    const IN_CHILD: [Self; 6] =
        [Self::Group, Self::Stdio, Self::Credentials, Self::Directory, Self::ParentDeath, Self::Exec];
    /// From here on the bytes of the limits, in the order of [`Resource::ALL`].
    pub(super) const FIRST_LIMIT: u8 = 16;

    /// The step that a child has reported by this byte.
    pub(super) fn of_byte(byte: u8) -> Self {
        let limit = byte.checked_sub(Self::FIRST_LIMIT).and_then(|index| Resource::ALL.get(usize::from(index)));
        let other = || Self::IN_CHILD.get(usize::from(byte)).copied();
        limit.map(|resource| Self::Limit(*resource)).or_else(other).unwrap_or(Self::Exec)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pipe => "making its pipes",
            Self::Fork => "fork",
            Self::Group => "making its process group",
            Self::Stdio => "connecting its output",
            Self::Limit(Resource::Nofile) => "setting run.limits.nofile",
            Self::Limit(Resource::Core) => "setting run.limits.core",
            Self::Limit(Resource::Fsize) => "setting run.limits.fsize",
            Self::Limit(Resource::AddressSpace) => "setting run.limits.as",
            Self::Limit(Resource::Nproc) => "setting run.limits.nproc",
            Self::Limit(Resource::Cpu) => "setting run.limits.cpu",
            Self::Limit(Resource::Memlock) => "setting run.limits.memlock",
            Self::Limit(Resource::Stack) => "setting run.limits.stack",
            Self::Credentials => "changing to its user",
            Self::Directory => "changing to its directory",
            Self::ParentDeath => "asking for the parent-death signal",
            Self::Exec => "exec",
            Self::OnTheWay => "reaching its program",
        }
    }
}

/// A child that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpawnFailure {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

impl SpawnFailure {
    /// Whether the machine was short of something, so that trying again later is right.
    pub(crate) fn is_transient(self) -> bool {
        matches!(self.errno, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ETXTBSY | libc::EINTR)
            || self.step == Step::OnTheWay
    }

    pub(crate) fn is_not_found(self) -> bool {
        self.errno == libc::ENOENT
    }

    /// It may not be done with our rights.
    pub(crate) fn is_not_permitted(self) -> bool {
        self.errno == libc::EPERM
    }

    /// Neither a binary for this machine nor a script that names its interpreter.
    pub(crate) fn is_not_a_program(self) -> bool {
        self.errno == libc::ENOEXEC
    }

    pub(crate) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }

    /// Nothing was tried: the hub is on its way down.
    pub(crate) fn cancelled() -> Self {
        Self { step: Step::Fork, errno: libc::ECANCELED }
    }

    /// It was killed on its way to its program, see [`super::Newborn`].
    pub(crate) fn took_too_long() -> Self {
        Self { step: Step::OnTheWay, errno: libc::ETIME }
    }

    pub(crate) fn is_cancelled(self) -> bool {
        self.errno == libc::ECANCELED
    }

    pub(super) fn at(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_in_the_child_has_the_index_that_it_reports() {
        let order = [Step::Group, Step::Stdio, Step::Credentials, Step::Directory, Step::ParentDeath, Step::Exec];
        for (byte, step) in (0..).zip(order) {
            assert_eq!(Step::of_byte(byte), step);
        }
        for resource in Resource::ALL {
            assert_eq!(Step::of_byte(Step::FIRST_LIMIT + resource as u8), Step::Limit(resource));
        }
        for unknown in [6, 15, 24, 255] {
            assert_eq!(Step::of_byte(unknown), Step::Exec);
        }
    }

    #[test]
    fn a_shortage_is_transient_and_a_missing_file_is_not() {
        for (errno, transient) in [
            (libc::EAGAIN, true),
            (libc::ENOMEM, true),
            (libc::EMFILE, true),
            (libc::ETXTBSY, true),
            (libc::ENOENT, false),
            (libc::EACCES, false),
            (libc::ENOEXEC, false),
        ] {
            assert_eq!(SpawnFailure { step: Step::Exec, errno }.is_transient(), transient, "errno {errno}");
        }
    }
}
