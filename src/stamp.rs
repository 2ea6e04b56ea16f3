//! Pure: times as text and back, in UTC, years 1970 to 9999.
#![forbid(unsafe_code)]

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The first of January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MS_PER_DAY: u64 = 86_400_000;
/// The last millisecond of the year 9999; later ones are shown as this one, so the text keeps its length.
const LAST_MS: u64 = 253_402_300_799_999;
/// Characters of a time such as `2026-01-01T00:00:00.000Z`.
pub(crate) const ISO8601_LEN: usize = 24;

/// The time as `2026-01-01T00:00:00.000Z`: RFC 3339, UTC, always [`ISO8601_LEN`] characters.
pub(crate) fn iso8601(ms_since_epoch: u64) -> String {
    let ms = ms_since_epoch.min(LAST_MS);
    let (year, month, day) = civil(ms / MS_PER_DAY);
    let in_day = ms % MS_PER_DAY;
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The milliseconds of a text made by [`iso8601`]; `None` for any other text.
pub(crate) fn parse_iso8601(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() != ISO8601_LEN || !text.is_ascii() {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, milli) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    let ms = days(year, month, day) * MS_PER_DAY + hour * 3_600_000 + minute * 60_000 + second * 1_000 + milli;
    // Writing it again catches wrong separators and days such as 30 February in one comparison.
    (iso8601(ms) == text).then_some(ms)
}

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
    let month = month_name(&text);
    let weekday = usize::try_from(at_ms / MS_PER_DAY % 7).ok().and_then(|day| WEEKDAYS.get(day)).unwrap_or(&"");
    format!("{weekday}, {} {month} {} {} GMT", part(8, 10), part(0, 4), part(11, 19))
}

/// As web servers log it: `02/Jan/2026:03:04:05 +0000`.
pub(crate) fn log_date(at: SystemTime) -> String {
    let text = iso(at);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("{}/{}/{}:{} +0000", part(8, 10), month_name(&text), part(0, 4), part(11, 19))
}

/// The name of the month in a text made by [`iso8601`].
fn month_name(text: &str) -> &'static str {
    let month = text.get(5..7).and_then(|digits| digits.parse::<usize>().ok());
    month.and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"")
}

/// Short enough for a file's name: `20260520T031500Z`.
pub(crate) fn compact(at: SystemTime) -> String {
    let text = iso(at);
    let digits = text.get(..19).unwrap_or_default().replace(['-', ':'], "");
    format!("{digits}Z")
}

/// Year, month and day of a day number. Counts in 400-year cycles that begin on 1 March, so the leap day comes last.
fn civil(days_since_epoch: u64) -> (u64, u64, u64) {
    let shifted = days_since_epoch + 719_468;
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day)
}

/// The inverse of [`civil`], for years from 1970.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, year_of_cycle) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    cycle * 146_097 + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_written_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso8601(ms), text);
            assert_eq!(parse_iso8601(text), Some(ms), "{text}");
        }
        assert_eq!(iso8601(u64::MAX), iso8601(LAST_MS));
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "2026-01-01T00:00:00Z",
            "2026-02-30T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-01-01 00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:00:00.000+",
            "1969-12-31T23:59:59.999Z",
            "+026-01-01T00:00:00.000Z",
            "2026-01-01T00:00:00.0é0Z",
        ] {
            assert_eq!(parse_iso8601(text), None, "{text:?}");
        }
    }

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

    #[test]
    fn a_log_has_the_day_first() {
        let at = UNIX_EPOCH + Duration::from_millis(1_767_323_045_006);
        assert_eq!(log_date(at), "02/Jan/2026:03:04:05 +0000");
    }

    #[test]
    fn a_compact_stamp_is_the_same_moment() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_767_225_599, "20251231T235959Z"),
            (1_773_500_966, "20260314T150926Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(compact(UNIX_EPOCH + Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }
}
