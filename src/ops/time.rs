//! Pure: wall clock stamps as text.

use crate::logs::stamp::iso8601;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The first of January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MS_PER_DAY: u64 = 86_400_000;

/// ISO 8601, UTC, milliseconds: `2026-01-02T03:04:05.006Z`. A time before 1970 is shown as its first moment.
pub(crate) fn iso(at: SystemTime) -> String {
    iso8601(unix_ms(at))
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// As HTTP writes it (RFC 9110 §5.6.7): `Fri, 02 Jan 2026 03:04:05 GMT`.
pub(crate) fn http_date(at: SystemTime) -> String {
    let at_ms = unix_ms(at);
    let text = iso8601(at_ms);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"");
    let weekday = usize::try_from(at_ms / MS_PER_DAY % 7).ok().and_then(|day| WEEKDAYS.get(day)).unwrap_or(&"");
    format!("{weekday}, {} {month} {} {} GMT", part(8, 10), part(0, 4), part(11, 19))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stamp_is_the_same_moment_in_both_spellings() {
        for (at_ms, as_iso, as_http) in [
            (0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_767_323_045_006, "2026-01-02T03:04:05.006Z", "Fri, 02 Jan 2026 03:04:05 GMT"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z", "Sun, 28 Feb 2100 23:59:59 GMT"),
        ] {
            let at = UNIX_EPOCH + Duration::from_millis(at_ms);
            assert_eq!((iso(at), http_date(at)), (as_iso.to_owned(), as_http.to_owned()));
        }
    }
}
