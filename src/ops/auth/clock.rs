//! What is deleted because its time is over, at every start and every day. A start of the hub with a clock that is far ahead must cost nothing
//! (operator-token C43): what an earlier start has not seen, or not nearly, is not believed to delete by.

use super::PLAUSIBLE_UNIX;
use crate::db::{Db, DbError};

/// Setting that holds the latest time at which a hub was started, or tidied up.
const SEEN_KEY: &str = "clock";
/// So far ahead of the start before is nobody's mistake that matters; nor is the stored time written more often.
const NEAR_S: i64 = 86_400;

/// The time to delete by: now, or that of the start before when now is far ahead of it, so that one start later things
/// are deleted. Before any start nothing is over.
pub(super) fn settled(db: &Db, now_unix: i64) -> Result<i64, DbError> {
    Ok(match seen(db)? {
        Some(seen) if now_unix.saturating_sub(seen) > NEAR_S => seen,
        Some(_) => now_unix,
        None => 0,
    })
}

/// The time to wipe keys by, which nothing brings back: so long before [`settled`] that a clock which is believed, because
/// it is not far ahead of the start before, wipes none that the right one still needs.
pub(super) fn settled_for_keys(db: &Db, now_unix: i64) -> Result<i64, DbError> {
    Ok(settled(db, now_unix)?.saturating_sub(NEAR_S))
}

fn seen(db: &Db) -> Result<Option<i64>, DbError> {
    Ok(db.settings().get(SEEN_KEY)?.and_then(|text| text.parse().ok()))
}

/// Notes that a hub is started now, or tidies up.
pub(super) fn note(db: &Db, now_unix: i64) -> Result<(), DbError> {
    let is_near = seen(db)?.is_some_and(|seen| (0..NEAR_S).contains(&now_unix.saturating_sub(seen)));
    if is_near || !PLAUSIBLE_UNIX.contains(&now_unix) {
        return Ok(());
    }
    db.settings().put(SEEN_KEY, &now_unix.to_string(), now_unix)
}
