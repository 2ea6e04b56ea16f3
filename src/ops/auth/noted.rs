//! What was seen of the database before, kept beside it: an older copy is known by that (operator-token B8).

use crate::db::{BEYOND_ANY_COPY, EPOCH_MAX};
use crate::store::{Home, StoreError, epoch};

/// What the database goes up to is what the file beside it may say.
const _: () = assert!(EPOCH_MAX == epoch::EPOCH_MAX);

/// What the file beside the database says of its epoch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Noted {
    Nothing,
    Epoch(u64),
    /// It is there and no number.
    Lost,
}

impl Noted {
    pub(super) fn read(home: &Home) -> Result<Self, StoreError> {
        match epoch::read(home) {
            Err(StoreError::NoEpoch { .. }) => Ok(Self::Lost),
            noted => Ok(noted?.map_or(Self::Nothing, Self::Epoch)),
        }
    }

    /// The least epoch of a database that is no older copy, of one that has this `epoch`.
    pub(super) fn least(self, epoch: u64) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Epoch(noted) => noted,
            // Then every database that has been in use may be an older copy.
            Self::Lost => epoch.saturating_add(BEYOND_ANY_COPY).min(EPOCH_MAX),
        }
    }
}
