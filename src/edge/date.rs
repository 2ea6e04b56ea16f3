//! Pure: the moment of an answer, as HTTP writes it.

use crate::stamp;
use std::time::SystemTime;

/// Characters of a time such as `Fri, 02 Jan 2026 03:04:05 GMT`.
const LENGTH: usize = 29;

/// The value of `Date`, which an answer without one gets on its way (RFC 9110 §6.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    unix_s: u64,
    text: [u8; LENGTH],
}

impl Date {
    /// `None` when the clock shows nothing that HTTP could write.
    pub(crate) fn of(at: SystemTime) -> Option<Self> {
        let text = stamp::http_date(at).into_bytes().try_into().ok()?;
        Some(Self { unix_s: stamp::unix_ms(at) / 1000, text })
    }

    /// The same when it is still the same second: writing it anew would cost more than all else about it.
    pub(crate) fn renewed(date: Option<Self>, at: SystemTime) -> Option<Self> {
        date.filter(|date| date.unix_s == stamp::unix_ms(at) / 1000).or_else(|| Self::of(at))
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_date_is_written_once_a_second() {
        let at = |ms: u64| UNIX_EPOCH + Duration::from_millis(ms);
        let first = Date::renewed(None, at(1_767_323_045_006));
        let text = |date: Option<Date>| date.map(|date| String::from_utf8_lossy(date.text()).into_owned());
        assert_eq!(text(first).as_deref(), Some("Fri, 02 Jan 2026 03:04:05 GMT"));
        assert_eq!(Date::renewed(first, at(1_767_323_045_999)), first);
        assert_eq!(text(Date::renewed(first, at(1_767_323_046_000))).as_deref(), Some("Fri, 02 Jan 2026 03:04:06 GMT"));
        // A clock may be put back.
        assert_eq!(text(Date::renewed(first, at(0))).as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    }
}
