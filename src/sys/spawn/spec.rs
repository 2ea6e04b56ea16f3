//! What a child is to be, as the kernel takes it.

use crate::sys::process::Signal;
use std::ffi::CString;
use std::fmt;

/// A resource that can be limited per child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Nofile,
    Core,
    Fsize,
    AddressSpace,
    Nproc,
    Cpu,
    Memlock,
    Stack,
}

impl Resource {
    pub(super) const ALL: [Self; 8] =
        [Self::Nofile, Self::Core, Self::Fsize, Self::AddressSpace, Self::Nproc, Self::Cpu, Self::Memlock, Self::Stack];

    // The constant's type differs between C libraries, and so must the field that holds it.
    pub(super) fn number(self) -> libc::c_int {
        (match self {
            Self::Nofile => libc::RLIMIT_NOFILE,
            Self::Core => libc::RLIMIT_CORE,
            Self::Fsize => libc::RLIMIT_FSIZE,
            Self::AddressSpace => libc::RLIMIT_AS,
            Self::Nproc => libc::RLIMIT_NPROC,
            Self::Cpu => libc::RLIMIT_CPU,
            Self::Memlock => libc::RLIMIT_MEMLOCK,
            Self::Stack => libc::RLIMIT_STACK,
        }) as libc::c_int
    }
}

/// A limit of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) resource: Resource,
    pub(crate) soft: u64,
    /// `None` leaves the hub's.
    pub(crate) hard: Option<u64>,
}

/// Who the child becomes; needs root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// All that a child needs, in the form that the kernel takes.
#[derive(Debug)]
pub(crate) struct SpawnSpec {
    /// The file to execute; no search takes place.
    pub(crate) program: CString,
    pub(crate) argv: Strings,
    /// `KEY=value`, the whole environment.
    pub(crate) environment: Strings,
    pub(crate) directory: Option<CString>,
    pub(crate) umask: u32,
    pub(crate) limits: Vec<Limit>,
    pub(crate) credentials: Option<Credentials>,
    /// Sent to the child when the thread that forked it dies.
    pub(crate) parent_death_signal: Signal,
}

/// The longest string that exec hands on, with its NUL: 32 pages of 4 KiB (execve(2)). The pages of some machines are
/// larger, and there exec alone says it.
const STRING_MAX_BYTES: usize = if cfg!(target_os = "linux") { 32 * 4096 } else { usize::MAX };

/// Why a string cannot be handed to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It would end early.
    Nul,
    TooLong {
        bytes: usize,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nul => f.write_str("holds a NUL byte"),
            Self::TooLong { bytes } => {
                write!(f, "has {bytes} bytes; the kernel hands at most {} on in one piece", STRING_MAX_BYTES - 1)
            }
        }
    }
}

/// A list of strings for the kernel: one behind the other in one block, each with a NUL at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings {
    block: Vec<u8>,
}

impl Strings {
    /// Appends the string that the parts make together; nothing, when a child could not be handed it.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> Result<(), Unfit> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(Unfit::Nul);
        }
        let bytes = parts.iter().map(|part| part.len()).sum();
        if bytes >= STRING_MAX_BYTES {
            return Err(Unfit::TooLong { bytes });
        }
        parts.iter().for_each(|part| self.block.extend_from_slice(part));
        self.block.push(0);
        Ok(())
    }

    /// As exec takes them; ends with a null pointer. They point into this list.
    pub(super) fn pointers(&self) -> Vec<*const libc::c_char> {
        let strings = self.block.split_inclusive(|byte| *byte == 0);
        strings.map(|string| string.as_ptr().cast()).chain([std::ptr::null()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_whole_and_end_where_they_say() {
        let mut strings = Strings::default();
        for fit in [&[&b"A"[..], b"=", b"1"][..], &[], &[b"\xff"]] {
            assert_eq!(strings.push(fit), Ok(()));
        }
        for holds_nul in [&[&b"B="[..], b"1\x002"][..], &[b"\0"]] {
            assert_eq!(strings.push(holds_nul), Err(Unfit::Nul));
        }
        let pointers = strings.pointers();
        assert_eq!((pointers.len(), pointers[3].is_null()), (4, true));
        let offset = |index: usize| pointers[index].addr() - pointers[0].addr();
        assert_eq!((&strings.block[..], offset(1), offset(2)), (&b"A=1\0\0\xff\0"[..], 4, 5));
    }
}
