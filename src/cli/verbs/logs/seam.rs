//! Pure: where the lines that the hub has in memory begin among those of the log file.
#![forbid(unsafe_code)]

use crate::logs::follow::FileLine;
use crate::stamp::parse_iso8601;
use crate::wire::LogLine;

/// What of the file comes before the hub's lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Before {
    /// So many lines of the file, from its beginning.
    pub(super) lines: usize,
    /// The hub's lines are not in the file: some may be in neither.
    pub(super) gap: bool,
}

/// Both end at about the same line: the file was read later, and a line is in memory a moment before it is written. So
/// the place is looked for outwards from where it would be if they ended together. The text decides and not the time,
/// which memory keeps once for tiny lines that came one after the other.
pub(super) fn before(file: &[FileLine], hub: &[LogLine]) -> Before {
    let Some(first) = hub.first() else { return Before { lines: file.len(), gap: false } };
    let together = file.len().saturating_sub(hub.len());
    let farthest = together.max(file.len() - together);
    let around = (0..=farthest).flat_map(|away| [together.checked_sub(away), together.checked_add(away)]);
    let begins_at = |at: &usize| {
        let rest = file.get(*at..).unwrap_or_default();
        !rest.is_empty() && rest.iter().zip(hub).all(|(file, hub)| is_same(file, hub))
    };
    if let Some(lines) = around.flatten().find(begins_at) {
        return Before { lines, gap: false };
    }
    let began = parse_iso8601(&first.at);
    let is_older = |line: &FileLine| line.at_ms.is_some_and(|at| began.is_some_and(|began| at < began));
    // It was emptied, or begun anew, while the hub had lines in memory.
    let begins_after = |at: usize| file.iter().zip(hub.iter().skip(at)).all(|(file, hub)| is_same(file, hub));
    if !file.first().is_some_and(is_older) && (1..hub.len()).any(begins_after) {
        return Before { lines: 0, gap: false };
    }
    Before { lines: file.iter().rposition(is_older).map_or(0, |at| at + 1), gap: !file.is_empty() }
}

fn is_same(file: &FileLine, hub: &LogLine) -> bool {
    file.text == hub.text && file.stream.is_some_and(|stream| stream.name() == hub.stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Stream;
    use crate::stamp;

    #[test]
    fn the_seam_is_where_both_say_the_same() {
        for (what, file, hub, lines, gap) in [
            ("nothing in memory", "abc", "", 3, false),
            ("nothing in the file", "", "abc", 0, false),
            ("they end together", "abcdef", "def", 3, false),
            ("the file is read later", "abcdefgh", "def", 3, false),
            ("the last lines are not written yet", "abcd", "cdef", 2, false),
            ("memory has all of the file", "cd", "cdef", 0, false),
            ("the file begins within memory", "de", "abcdef", 0, false),
            ("and it is read later", "efgh", "abcdef", 0, false),
            ("all the same", "aaaaaa", "aaa", 3, false),
            ("much the same", "abababab", "abab", 4, false),
            ("the file knows none of them", "abc", "xyz", 0, true),
        ] {
            let file: Vec<_> = file.chars().map(|text| of_file(9, text)).collect();
            let hub: Vec<_> = hub.chars().map(|text| of_hub(5, text)).collect();
            assert_eq!(before(&file, &hub), Before { lines, gap }, "{what}");
        }
        let older = [of_file(1, 'b'), of_file(2, 'c')];
        assert_eq!(before(&older, &[of_hub(5, 'a'), of_hub(6, 'b')]), Before { lines: 2, gap: true }, "by chance");
        // The file failed for a while: what is older is still from before.
        let file = [of_file(1, 'a'), of_file(4, 'b'), of_file(7, 'c')];
        assert_eq!(before(&file, &[of_hub(5, 'x'), of_hub(6, 'y')]), Before { lines: 2, gap: true });
    }

    fn of_file(at_ms: u64, text: char) -> FileLine {
        FileLine { at_ms: Some(at_ms), stream: Some(Stream::Out), text: text.to_string() }
    }

    fn of_hub(at_ms: u64, text: char) -> LogLine {
        LogLine { seq: 1, at: stamp::iso8601(at_ms), stream: "stdout".to_owned(), text: text.to_string() }
    }
}
