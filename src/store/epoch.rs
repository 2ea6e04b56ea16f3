//! `hub/run/epoch`: the highest epoch that the database was ever seen with, so that an older copy of it is known
//! (operator-token B8).

use super::atomic::{self, PRIVATE, SMALL_FILE_MAX_BYTES};
use super::{Home, StoreError};

const NAME: &str = "hub/run/epoch";

/// The epoch that was noted; `None` when there is none, or what stands there is no number.
pub(crate) fn read(home: &Home) -> Result<Option<u64>, StoreError> {
    let bytes = atomic::read(home, NAME, SMALL_FILE_MAX_BYTES)?;
    let text = bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

/// Notes `epoch`, durably, unless a higher one is noted.
pub(crate) fn note(home: &Home, epoch: u64) -> Result<(), StoreError> {
    if read(home)?.is_some_and(|noted| noted >= epoch) {
        return Ok(());
    }
    atomic::write(home, NAME, format!("{epoch}\n").as_bytes(), PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestHome;

    #[test]
    fn it_never_goes_down_and_garbage_is_none() {
        let home = TestHome::new();
        assert_eq!(read(&home).expect("readable"), None);
        for (epoch, noted) in [(0, 0), (5, 5), (3, 5), (6, 6)] {
            note(&home, epoch).expect("written");
            assert_eq!(read(&home).expect("readable"), Some(noted), "{epoch}");
        }
        for text in ["", "x", "-1", "1.5", "99999999999999999999", "\0"] {
            home.put(NAME, text);
            assert_eq!(read(&home).expect("readable"), None, "{text:?}");
        }
    }
}
