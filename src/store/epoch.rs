//! `hub/run/epoch`: the highest epoch that the database was ever seen with, so that an older copy of it is known
//! (operator-token B8).

use super::atomic::{self, PRIVATE, SMALL_FILE_MAX_BYTES};
use super::{Home, StoreError};

const NAME: &str = "hub/run/epoch";
/// No number of ours: it is raised by one with each thing taken back. What is higher could not be raised any more.
pub(crate) const EPOCH_MAX: u64 = 1 << 53;

/// The epoch that was noted; `None` when there is none. [`StoreError::NoEpoch`] when what stands there is no number, or
/// one beyond all: that is never ours, because it is written as a whole, and it hides one that was.
pub(crate) fn read(home: &Home) -> Result<Option<u64>, StoreError> {
    let Some(bytes) = atomic::read(home, NAME, SMALL_FILE_MAX_BYTES)? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).ok();
    let epoch = text.and_then(|text| text.trim().parse().ok()).filter(|epoch| *epoch <= EPOCH_MAX);
    epoch.map(Some).ok_or_else(|| StoreError::NoEpoch { path: home.path().join(NAME) })
}

/// Notes `epoch`, durably, unless a higher one is noted. It takes the place of what is no number.
pub(crate) fn note(home: &Home, epoch: u64) -> Result<(), StoreError> {
    match read(home) {
        Ok(Some(noted)) if noted >= epoch => return Ok(()),
        Ok(_) | Err(StoreError::NoEpoch { .. }) => {}
        Err(error) => return Err(error),
    }
    atomic::write(home, NAME, format!("{epoch}\n").as_bytes(), PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestHome;

    #[test]
    fn it_never_goes_down_and_garbage_is_told() {
        let home = TestHome::new();
        assert_eq!(read(&home).expect("readable"), None);
        for (epoch, noted) in [(0, 0), (5, 5), (3, 5), (6, 6)] {
            note(&home, epoch).expect("written");
            assert_eq!(read(&home).expect("readable"), Some(noted), "{epoch}");
        }
        for text in ["", "x", "-1", "1.5", "99999999999999999999", "18446744073709551615", "9007199254740993", "\0"] {
            home.put(NAME, text);
            let error = read(&home).expect_err("no number");
            assert!(matches!(error, StoreError::NoEpoch { .. }), "{text:?}: {error}");
            note(&home, 2).expect("written");
            assert_eq!(read(&home).expect("readable"), Some(2), "{text:?}");
        }
    }
}
