//! Pure: times of the API as numbers, and spans as people read them.

use crate::stamp::parse_iso8601;

/// Milliseconds since 1970 of a time of the API; `None` for what is none.
pub(super) fn unix_ms(text: &str) -> Option<i64> {
    i64::try_from(parse_iso8601(text)?).ok()
}

/// `45s`, `12m`, `2h 13m`, `4d 6h`.
pub(super) fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long until `at_ms`: `28 s`, `500 ms`, `4 min`, or `now`.
pub(super) fn until(at_ms: i64, now_ms: i64) -> String {
    match at_ms - now_ms {
        left @ 1..1000 => format!("in {left} ms"),
        left @ 1000..120_000 => format!("in {} s", (left + 999) / 1000),
        left @ 120_000.. => format!("in {} min", (left + 59_999) / 60_000),
        _ => "now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (8000, "2h 13m"), (86_400, "1d 0h"), (367_200, "4d 6h")]
        {
            assert_eq!(uptime(seconds), expected);
        }
        for (left, expected) in
            [(-5, "now"), (0, "now"), (500, "in 500 ms"), (27_001, "in 28 s"), (120_000, "in 2 min")]
        {
            assert_eq!(until(left, 0), expected);
        }
    }
}
