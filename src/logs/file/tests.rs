use super::*;
use crate::sys::random;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A directory of its own below the temporary one, removed afterwards.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("parachute-file-{}-{}", std::process::id(), random::hex(8));
        Self(std::env::temp_dir().join(name))
    }
    fn file(&self, max_bytes: u64, files: u32) -> LogFile {
        LogFile::of_module(&self.0, "a", max_bytes, files)
    }
    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.0.join(name)).unwrap()).into_owned()
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const AT: &str = "2026-01-01T00:00:00.000Z";

fn add(file: &mut LogFile, text: &str, now_ms: u64) -> Option<Report> {
    file.append(text.as_bytes(), Stream::Out, now_ms, AT)
}

fn works(report: Option<Report>) -> bool {
    report.is_none()
}

#[test]
fn lines_have_time_and_stream_and_are_private() {
    let place = Place::new();
    let mut file = place.file(1000, 5);
    assert!(works(file.append(b"a\nb\x1b\n", Stream::Out, 5_000, AT)));
    assert!(works(file.append(b"c\n", Stream::Err, 5_000, AT)));
    assert!(works(file.append(b"d\n", Stream::Supervisor, 5_000, AT)));
    assert_eq!(place.read("a.log"), format!("{AT} out a\n{AT} out b\x1b\n{AT} err c\n{AT} sup d\n"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.0), mode(&place.0.join("a.log"))), (0o700, 0o600));
}

#[test]
fn files_of_a_time_when_more_were_kept_go_with_the_next_rotation() {
    for (files, expected) in [(3, &["a.log", "a.log.1", "a.log.2", "a.log.7"][..]), (1, &["a.log", "a.log.7"])] {
        let place = Place::new();
        let mut file = place.file(1, 6);
        for text in ["a\n", "b\n", "c\n", "d\n", "e\n", "f\n"] {
            assert!(works(add(&mut file, text, 5_000)));
        }
        fs::write(place.0.join("a.log.7"), "nobody counted so far").unwrap();
        file.set_limits(1, files);
        assert!(works(add(&mut file, "g\n", 5_000)));
        assert_eq!(place.names(), expected, "{files} files");
    }
    // Other programs may rotate a file at a place that the operator chose.
    let place = Place::new();
    fs::create_dir(&place.0).unwrap();
    fs::write(place.0.join("own.log.2"), "theirs").unwrap();
    let mut file = LogFile::new(place.0.join("own.log"), 1, 2);
    for text in ["a\n", "b\n"] {
        assert!(works(file.append_with("", text.as_bytes(), 5_000)));
    }
    assert_eq!(place.names(), ["own.log", "own.log.1", "own.log.2"]);
}

#[test]
fn a_module_s_directory_is_made_again_and_a_home_is_not() {
    let place = Place::new();
    let home = place.0.join("home");
    fs::create_dir_all(&home).unwrap();
    let mut file = LogFile::of_module(&home.join("a/logs"), "a", 1000, 5);
    assert!(works(add(&mut file, "a\n", 5_000)));
    fs::remove_dir_all(home.join("a")).unwrap();
    assert!(works(add(&mut file, "b\n", 5_000 + CHECK_EVERY_MS)));
    assert!(home.join("a/logs/a.log").exists());
    fs::remove_dir_all(&home).unwrap();
    let report = add(&mut file, "c\n", 5_000 + 2 * CHECK_EVERY_MS);
    assert!(matches!(report, Some(Report::Failing(FileError::Directory { .. }))));
    assert!(!home.exists());
    // Where the operator has named the file, there is no home to speak of.
    let mut file = LogFile::new(home.join("deep/own.log"), 1000, 5);
    assert!(file.append_with("", b"a\n", 5_000).is_none());
}

#[test]
fn files_rotate_before_they_are_too_large() {
    // A line is 31 bytes.
    for (max_bytes, files, one_by_one, expected) in [
        (62, 3, true, &["e\n", "c\nd\n", "a\nb\n"][..]),
        (62, 3, false, &["e\n", "c\nd\n", "a\nb\n"]),
        (61, 3, false, &["e\n", "d\n", "c\n"]),
        (62, 2, false, &["e\n", "c\nd\n"]),
        (62, 1, false, &["e\n"]),
        (62, 0, false, &["e\n"]),
        (1, 2, false, &["e\n", "d\n"]),
        (155, 3, false, &["a\nb\nc\nd\ne\n"]),
    ] {
        let place = Place::new();
        let mut file = place.file(max_bytes, files);
        if one_by_one {
            for text in ["a\n", "b\n", "c\n", "d\n", "e\n"] {
                assert!(works(add(&mut file, text, 5_000)));
            }
        } else {
            assert!(works(add(&mut file, "a\nb\nc\nd\ne\n", 5_000)));
        }
        let names = place.names();
        let texts: Vec<String> = names.iter().map(|name| place.read(name).replace(&format!("{AT} out "), "")).collect();
        assert_eq!(texts, expected, "{max_bytes} {files} {names:?}");
    }
}

#[test]
fn a_file_rotates_at_its_present_limit_and_never_for_what_it_does_not_hold() {
    let place = Place::new();
    let mut file = place.file(1, 3);
    assert!(works(add(&mut file, "a\n", 5_000)));
    assert_eq!(place.names(), ["a.log"], "there was nothing to move on");
    file.set_limits(10_000_000, 3);
    // In more than one piece.
    assert!(works(add(&mut file, &"b\n".repeat(WRITE_BYTES), 5_000)));
    assert_eq!(place.names(), ["a.log"]);
    file.set_limits(62, 3);
    assert!(works(add(&mut file, "c\n", 5_000)));
    assert_eq!((place.names().len(), place.read("a.log")), (2, format!("{AT} out c\n")));
}

#[test]
fn twenty_megabytes_survive_many_rotations_in_order() {
    let place = Place::new();
    let mut file = place.file(300_000, 200);
    let mut seed: u64 = 1;
    let (mut n, mut bytes) = (0_u64, 0);
    while bytes < 20_000_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = if seed >> 61 == 0 { 1 } else { (seed >> 33) % 3_000 };
        let block: String = (n..n + lines).map(|n| format!("{n} {}\n", &"x".repeat(90)[(n % 50) as usize..])).collect();
        n += lines;
        bytes += block.len();
        assert!(works(add(&mut file, &block, 5_000)));
    }
    let mut expected = 0;
    for number in (0..place.names().len() as u32).rev() {
        let name = if number == 0 { "a.log".to_owned() } else { format!("a.log.{number}") };
        let text = place.read(&name);
        assert!(text.len() <= 300_000, "{name}");
        for line in text.lines() {
            let whole = format!("{AT} out {expected} {}", &"x".repeat(90)[(expected % 50) as usize..]);
            assert_eq!(line, whole, "{name}");
            expected += 1;
        }
    }
    assert_eq!(expected, n);
}

#[test]
fn a_file_that_an_operator_took_away_is_made_anew() {
    let place = Place::new();
    let mut file = place.file(1000, 5);
    add(&mut file, "a\n", 5_000);
    fs::rename(place.0.join("a.log"), place.0.join("old")).unwrap();
    add(&mut file, "b\n", 5_999);
    assert!(place.read("old").ends_with("out b\n"), "within a second nobody looks");
    add(&mut file, "c\n", 6_000);
    assert_eq!(place.read("a.log"), format!("{AT} out c\n"));
    fs::remove_dir_all(&place.0).unwrap();
    assert!(works(add(&mut file, "d\n", 7_000)));
    assert_eq!(place.read("a.log"), format!("{AT} out d\n"));
    // The clock was set back: looked at as well.
    fs::write(place.0.join("new"), "").unwrap();
    fs::rename(place.0.join("new"), place.0.join("a.log")).unwrap();
    add(&mut file, "e\n", 1_000);
    assert_eq!(place.read("a.log"), format!("{AT} out e\n"));
}

#[test]
fn a_truncated_file_counts_from_its_new_size() {
    let place = Place::new();
    let mut file = place.file(70, 5);
    add(&mut file, "a\nb\n", 5_000);
    fs::File::options().write(true).open(place.0.join("a.log")).unwrap().set_len(0).unwrap();
    add(&mut file, "c\n", 6_000);
    assert_eq!((place.read("a.log"), place.names().len()), (format!("{AT} out c\n"), 1));
}

#[test]
fn what_is_no_regular_file_is_refused_told_once_and_tried_again() {
    for kind in ["directory", "link", "dangling link"] {
        let place = Place::new();
        fs::create_dir(&place.0).unwrap();
        let path = place.0.join("a.log");
        match kind {
            "directory" => fs::create_dir(&path).unwrap(),
            "link" => symlink("/etc/passwd", &path).unwrap(),
            _ => symlink(place.0.join("elsewhere"), &path).unwrap(),
        }
        let mut file = place.file(1000, 5);
        let Some(Report::Failing(error)) = add(&mut file, "a\nb\n", 5_000) else { panic!("{kind}") };
        assert!(error.to_string().contains("a.log: it is not a regular file"), "{kind}: {error}");
        assert!(works(add(&mut file, "c\n", 5_001)), "{kind}: told once");
        if kind == "directory" {
            fs::remove_dir(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        let report = add(&mut file, "d\n", 5_002);
        assert!(matches!(report, Some(Report::Recovered { lost_lines: 3 })), "{kind}: {report:?}");
        assert_eq!(place.read("a.log"), format!("{AT} out d\n"), "{kind}");
    }
}

#[test]
fn failing_and_working_by_turns_is_not_told_each_time() {
    let place = Place::new();
    let mut file = place.file(1000, 5);
    let path = place.0.join("a.log");
    let mut reports = 0;
    for turn in 0..100 {
        fs::create_dir_all(&path).unwrap();
        file.open = None;
        reports += u32::from(!works(add(&mut file, "lost\n", 5_000 + turn)));
        fs::remove_dir(&path).unwrap();
        reports += u32::from(!works(add(&mut file, "kept\n", 5_000 + turn)));
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(reports, 2);
    let report = add(&mut file, "kept\n", 9_000);
    assert!(matches!(report, Some(Report::Recovered { lost_lines: 99 })), "{report:?}");
}

#[test]
fn a_rotation_that_fails_loses_new_lines_and_not_old_ones() {
    let place = Place::new();
    let mut file = place.file(40, 2);
    add(&mut file, "a\n", 5_000);
    fs::create_dir(place.0.join("a.log.1")).unwrap();
    let Some(Report::Failing(error)) = add(&mut file, "b\nc\n", 5_000) else { panic!("not told") };
    assert!(error.to_string().contains("rotating it failed"), "{error}");
    assert_eq!(place.read("a.log"), format!("{AT} out a\n"));
    fs::remove_dir(place.0.join("a.log.1")).unwrap();
    let report = add(&mut file, "d\n", 5_000);
    assert!(matches!(report, Some(Report::Recovered { lost_lines: 2 })), "{report:?}");
    assert_eq!((place.read("a.log"), place.read("a.log.1")), (format!("{AT} out d\n"), format!("{AT} out a\n")));
}

#[test]
fn a_torn_end_is_cut_off_or_finished() {
    let place = Place::new();
    fs::create_dir(&place.0).unwrap();
    fs::write(place.0.join("a.log"), "half a li").unwrap();
    let mut file = place.file(1000, 5);
    add(&mut file, "a\n", 5_000);
    assert_eq!(place.read("a.log"), format!("half a li\n{AT} out a\n"));
    // As after a write of which the disk took only the first line and a half.
    let text = format!("{AT} out b\n{AT} out c\n");
    let open = file.open.as_mut().unwrap();
    open.file.write_all(&text.as_bytes()[..40]).unwrap();
    let failure = file.abandon(text.as_bytes(), 40, ErrorKind::StorageFull.into());
    assert_eq!(failure.lost_lines, 1);
    assert_eq!(place.read("a.log"), format!("half a li\n{AT} out a\n{AT} out b\n"));
    // As after one of which it took not even a line.
    add(&mut file, "d\n", 5_000);
    let open = file.open.as_mut().unwrap();
    open.file.write_all(&text.as_bytes()[..20]).unwrap();
    let failure = file.abandon(text.as_bytes(), 20, ErrorKind::StorageFull.into());
    assert_eq!(failure.lost_lines, 2);
    assert_eq!(place.read("a.log"), format!("half a li\n{AT} out a\n{AT} out b\n{AT} out d\n"));
}

#[test]
fn no_buffer_of_a_flood_stays_with_its_module() {
    let place = Place::new();
    let mut file = place.file(1_000_000, 2);
    for _ in 0..20 {
        assert!(works(add(&mut file, &"\n".repeat(60_000), 5_000)));
    }
    let spare = SPARE.lock().unwrap();
    assert!(spare.len() <= SPARE_BUFFERS && spare.iter().all(|text| text.capacity() <= 2 * WRITE_BYTES));
}

#[test]
fn a_file_that_others_could_read_is_made_private_unless_the_operator_named_it() {
    let dir = Place::new();
    fs::create_dir_all(&dir.0).unwrap();
    let path = dir.0.join("a.log");
    for (mut file, expected) in [(LogFile::new(path.clone(), 1000, 2), 0o644), (dir.file(1000, 2), 0o600)] {
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(file.append_with("", b"new\n", 0).is_none());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected);
        assert_eq!(dir.read("a.log"), "old\nnew\n");
    }
}
