//! Random bytes from the kernel, and from nowhere else.

use super::fs::{self, Kind};
use std::io::{self, Read};
use std::path::Path;

/// For kernels, and filters of kernel calls, that do not know `getrandom(2)`.
const DEVICE: &str = "/dev/urandom";

/// Fills `buffer` from `getrandom(2)`, or else from the kernel's device (operator-token B2). Without entropy nothing that
/// needs it may go on: ends the process.
pub(crate) fn fill(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        // SAFETY: the pointer and length are those of a live, writable slice.
        let read = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(read) {
            Ok(read) => filled += read,
            Err(_) => match std::io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                _ => match from_device(rest) {
                    Ok(()) => return,
                    Err(_) => std::process::abort(),
                },
            },
        }
    }
}

fn from_device(buffer: &mut [u8]) -> io::Result<()> {
    let mut device = fs::open_read(Path::new(DEVICE))?;
    if fs::stat_of(&device)?.kind != Kind::Other {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    device.read_exact(buffer)
}

/// `bytes` random bytes in lower-case hex.
pub(crate) fn hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    fill(&mut buffer);
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_does_where_the_kernel_has_no_call_for_it() {
        let mut found = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let mut buffer = [0; 32];
            from_device(&mut buffer).expect("it is there");
            found.insert(buffer);
        }
        assert_eq!(found.len(), 8);
        from_device(&mut []).expect("nothing is asked of it");
    }
}
