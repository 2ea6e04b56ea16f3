//! Making private what others may get at although it is ours.

use super::atomic::{Links, Target};
use super::{Home, StoreError};
use std::path::Path;

/// Takes from everybody else what they may do with `<home>/<relative>`; the mode before, when there was something to
/// take. A missing file is private; one that is not ours alone is an error.
pub(crate) fn tighten(home: &Home, relative: &Path) -> Result<Option<u32>, StoreError> {
    match Target::locate(home, relative, Links::Refuse)? {
        Some(target) => target.make_private(),
        None => Ok(None),
    }
}
