use super::*;
use crate::logs::file::LogFile;
use crate::sys::random;
use std::io::Write;
use std::time::Duration;

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("parachute-follow-{}-{}", std::process::id(), random::hex(8));
        let place = Self(std::env::temp_dir().join(name));
        fs::create_dir(&place.0).unwrap();
        place
    }
    fn path(&self) -> PathBuf {
        self.0.join("a.log")
    }
    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
    fn append(&self, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn texts(lines: &[FileLine]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn lines_are_taken_apart_when_a_hub_wrote_them() {
    let known =
        |at_ms, stream, text: &str| FileLine { at_ms: Some(at_ms), stream: Some(stream), text: text.to_owned() };
    let foreign = |text: &str| FileLine { at_ms: None, stream: None, text: text.to_owned() };
    for (line, expected) in [
        ("2026-01-01T00:00:00.000Z out hello", known(1_767_225_600_000, Stream::Out, "hello")),
        ("2026-01-01T00:00:00.000Z err ", known(1_767_225_600_000, Stream::Err, "")),
        ("2026-01-01T00:00:00.000Z sup \x1b[1mx\r", known(1_767_225_600_000, Stream::Supervisor, "x")),
        ("2026-01-01T00:00:00.000Z new x", foreign("2026-01-01T00:00:00.000Z new x")),
        ("2026-01-01T00:00:00.000Z out", foreign("2026-01-01T00:00:00.000Z out")),
        ("ü2026-01-01T00:00:00.000Z", foreign("ü2026-01-01T00:00:00.000Z")),
        ("", foreign("")),
    ] {
        assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn the_last_lines_come_from_as_many_files_as_needed() {
    let place = Place::new();
    place.write("a.log.2", "1\n2\n");
    place.write("a.log.1", "3\n4\n");
    place.write("a.log", "5\n6\nunfini");
    for (wanted, expected) in [
        (0, &[][..]),
        (1, &["6"]),
        (2, &["5", "6"]),
        (3, &["4", "5", "6"]),
        (6, &["1", "2", "3", "4", "5", "6"]),
        (100, &["1", "2", "3", "4", "5", "6"]),
    ] {
        let (lines, mut follower) = Follower::open(&place.path(), wanted).unwrap();
        assert_eq!(texts(&lines), expected, "{wanted}");
        assert!(follower.poll().unwrap().lines.is_empty(), "{wanted}");
    }
    let (_, mut follower) = Follower::open(&place.path(), 1).unwrap();
    place.append("shed\nnew\n");
    assert_eq!(texts(&follower.poll().unwrap().lines), ["unfinished", "new"]);
    // One that comes in more than one part.
    for (part, expected) in [("a", &[][..]), ("b", &[]), ("c\nd\n", &["abc", "d"])] {
        place.append(part);
        assert_eq!(texts(&follower.poll().unwrap().lines), expected, "{part:?}");
    }
}

/// Where nobody writes on, an unfinished line is all there will be of it.
#[test]
fn an_unfinished_line_of_a_rotated_file_is_a_line() {
    let place = Place::new();
    place.write("a.log.2", "1\n2");
    place.write("a.log.1", "3\n4");
    let (lines, mut follower) = Follower::open(&place.path(), 10).unwrap();
    assert_eq!(texts(&lines), ["1", "2", "3", "4"]);
    assert!(follower.poll().unwrap().lines.is_empty(), "there is none in use");
    place.append("5\nunfini");
    let news = follower.poll().unwrap();
    assert_eq!((texts(&news.lines).as_slice(), news.gap), (&["5"][..], false));
    assert_eq!(texts(&tail(&place.path(), 10).unwrap()), ["1", "2", "3", "4", "5"]);
    for number in [2, 1] {
        fs::rename(numbered(&place.path(), number), numbered(&place.path(), number + 1)).unwrap();
    }
    fs::rename(place.path(), numbered(&place.path(), 1)).unwrap();
    place.append("6\n");
    assert_eq!(texts(&follower.poll().unwrap().lines), ["unfini", "6"]);
}

#[test]
fn one_number_may_be_free_and_two_are_the_end() {
    for (numbers, expected) in [
        (&[1, 2, 3][..], &["3", "2", "1"][..]),
        (&[2, 3], &["3", "2"]),
        (&[1, 3, 5], &["5", "3", "1"]),
        (&[3], &[]),
        (&[1, 4], &["1"]),
    ] {
        let place = Place::new();
        place.write("a.log", "");
        for number in numbers {
            place.write(&format!("a.log.{number}"), &format!("{number}\n"));
        }
        assert_eq!(texts(&tail(&place.path(), 10).unwrap()), expected, "{numbers:?}");
    }
}

#[test]
fn lines_longer_than_a_chunk_are_found_from_the_end() {
    let place = Place::new();
    let long = "y".repeat(CHUNK_BYTES + 10);
    place.write("a.log", &format!("first\n{long}\nlast\n"));
    for (wanted, expected) in [(1, &["last"][..]), (2, &[&long, "last"]), (3, &["first", &long, "last"])] {
        assert!(texts(&tail(&place.path(), wanted).unwrap()) == expected, "{wanted}");
    }
}

#[test]
fn what_is_too_far_back_is_not_looked_for_which_can_be_told() {
    let place = Place::new();
    place.write("a.log", "1\n2\n3\n");
    for (wanted, rotated_bytes, expected, is_cut) in [
        (9, 0, &["1", "2", "3"][..], false),
        (9, TAIL_BYTES, &["old", "1", "2", "3"], true),
        (4, TAIL_BYTES, &["old", "1", "2", "3"], false),
    ] {
        // Sparse.
        let rotated = File::create(place.0.join("a.log.1")).unwrap();
        rotated.set_len(rotated_bytes as u64).unwrap();
        if rotated_bytes > 0 {
            rotated.write_all_at(b"\nold\n", rotated_bytes as u64).unwrap();
        }
        let (lines, follower) = Follower::open(&place.path(), wanted).unwrap();
        assert_eq!((texts(&lines).as_slice(), follower.is_cut()), (expected, is_cut), "{wanted}, {rotated_bytes}");
    }
}

#[test]
fn what_is_not_there_or_no_file_is_an_error() {
    let place = Place::new();
    assert!(matches!(tail(&place.path(), 5), Err(FollowError::Missing { .. })));
    place.write("a.log.1", "old\n");
    assert_eq!(texts(&tail(&place.path(), 5).unwrap()), ["old"]);
    fs::create_dir(place.path()).unwrap();
    assert!(matches!(tail(&place.path(), 5), Err(FollowError::Read { .. })));
}

#[test]
fn every_line_is_seen_once_over_rotations() {
    let place = Place::new();
    let mut file = LogFile::of_module(&place.0, "a", 2_000, 50);
    let mut follower: Option<Follower> = None;
    let (mut written, mut seen) = (0, 0);
    for round in 0..200 {
        // Sometimes several rotations lie between two looks.
        let lines = [1, 7, 300, 40][round % 4];
        let block: String = (written..written + lines).map(|n| format!("{n}\n")).collect();
        written += lines;
        assert!(file.append(block.as_bytes(), Stream::Out, 5_000, "2026-01-01T00:00:00.000Z").is_none());
        let mut check = |lines: Vec<FileLine>| {
            for line in lines {
                assert_eq!(line.text, seen.to_string(), "round {round}");
                seen += 1;
            }
        };
        match &mut follower {
            None => {
                let (lines, opened) = Follower::open(&place.path(), 1_000).unwrap();
                check(lines);
                follower = Some(opened);
            }
            Some(follower) => {
                let news = follower.poll().unwrap();
                assert!(!news.gap && !news.more, "round {round}");
                check(news.lines);
            }
        }
        assert_eq!(seen, written, "round {round}");
    }
}

#[test]
fn files_rotated_away_unread_are_told_as_a_gap() {
    let place = Place::new();
    let mut file = LogFile::of_module(&place.0, "a", 62, 2);
    let mut add = |text: &str| file.append(text.as_bytes(), Stream::Out, 5_000, "2026-01-01T00:00:00.000Z");
    assert!(add("1\n").is_none());
    let (_, mut follower) = Follower::open(&place.path(), 10).unwrap();
    assert!(add("2\n3\n4\n5\n6\n7\n").is_none());
    let news = follower.poll().unwrap();
    assert!(news.gap);
    assert_eq!(texts(&news.lines).first(), Some(&"2"), "the open file is read to its end first");
    assert_eq!(texts(&news.lines).last(), Some(&"7"));
}

/// What is older than the file that is gone was read before.
#[test]
fn after_a_gap_only_newer_files_are_read() {
    let place = Place::new();
    place.write("a.log.1", "old\n");
    place.write("a.log", "1\n");
    let written = fs::metadata(place.path()).unwrap().modified().unwrap();
    let (_, mut follower) = Follower::open(&place.path(), 10).unwrap();
    fs::rename(numbered(&place.path(), 1), numbered(&place.path(), 3)).unwrap();
    fs::remove_file(place.path()).unwrap();
    for (name, text, later_s) in [("a.log.2", "2\n", 1), ("a.log.1", "3\n", 2), ("a.log", "4\n", 3)] {
        place.write(name, text);
        let file = fs::OpenOptions::new().append(true).open(place.0.join(name)).unwrap();
        file.set_modified(written + Duration::from_secs(later_s)).unwrap();
    }
    let old = fs::OpenOptions::new().append(true).open(numbered(&place.path(), 3)).unwrap();
    old.set_modified(written - Duration::from_secs(1)).unwrap();
    let news = follower.poll().unwrap();
    assert_eq!((texts(&news.lines).as_slice(), news.gap), (&["2", "3", "4"][..], true));
}

#[test]
fn truncation_and_replacement_are_noticed() {
    let place = Place::new();
    place.write("a.log", "1\n2\n3\n");
    let (_, mut follower) = Follower::open(&place.path(), 10).unwrap();
    fs::OpenOptions::new().write(true).truncate(true).open(place.path()).unwrap();
    place.append("4\n");
    assert_eq!(texts(&follower.poll().unwrap().lines), ["4"]);
    place.append("half of a long line");
    assert!(follower.poll().unwrap().lines.is_empty());
    fs::OpenOptions::new().write(true).truncate(true).open(place.path()).unwrap();
    place.append("new\n");
    assert_eq!(texts(&follower.poll().unwrap().lines), ["new"], "what was cut off has no end");
    fs::remove_file(place.path()).unwrap();
    assert!(follower.poll().unwrap().lines.is_empty());
    place.append("5\n");
    assert_eq!(texts(&follower.poll().unwrap().lines), ["5"]);
}

#[test]
fn a_flood_is_read_in_parts() {
    let place = Place::new();
    place.write("a.log", "");
    let (_, mut follower) = Follower::open(&place.path(), 10).unwrap();
    place.append(&"0123456789abcde\n".repeat(200_000));
    let (mut lines, mut looks) = (0, 0);
    loop {
        let news = follower.poll().unwrap();
        lines += news.lines.len();
        looks += 1;
        if !news.more {
            break;
        }
    }
    assert_eq!((lines, looks), (200_000, 4));
    // A line without an end comes in parts as well.
    place.append(&"x".repeat(300_000));
    let news = follower.poll().unwrap();
    assert!(!news.lines.is_empty() && follower.partial.len() <= LINE_BYTES);
}
