//! Archives that nobody of ours has made, or that were changed since.

use super::hand::{Hand, OURS, made};
use super::*;
use crate::archive::tar::{BLOCK_BYTES, Kind};
use crate::sys::random;

#[test]
fn a_hostile_archive_makes_nothing() {
    let good = made(|hand| {
        hand.directory(ROOT);
        hand.file("parachute-home/a", b"abc");
    });
    let inside = |make: fn(&mut Hand)| {
        made(|hand| {
            hand.directory(ROOT);
            make(hand);
        })
    };
    let changed = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).expect("there");
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "ends too early"),
        ("garbage", vec![b'x'; 4096], "no tar archive"),
        ("zeros", vec![0; 4096], "no backup"),
        ("no root", made(|_| {}), ""),
        ("cut off in the end", good[..good.len() - BLOCK_BYTES].to_vec(), "ends too early"),
        ("cut off", good[..good.len() / 2].to_vec(), ""),
        ("something behind the end", [&good[..], b"x"].concat(), "ends too early"),
        ("a block behind the end", [&good[..], &[7; BLOCK_BYTES]].concat(), "behind its end"),
        ("much behind the end", [&good[..], &[0; 80 << 10]].concat(), "behind its end"),
        ("another content", changed(b"abc", b"abd"), "not what its hash says"),
        ("something between", changed(b"abc\0", b"abcx"), "between two entries"),
        ("a later format", changed(b"\"format\":1", b"\"format\":2"), "does not know"),
        ("outside", made(|hand| hand.file("a", b"")), "outside of the home"),
        ("absolute", inside(|hand| hand.file("/etc/passwd", b"")), "leads elsewhere"),
        ("up", inside(|hand| hand.file("parachute-home/../a", b"")), "leads elsewhere"),
        ("up by a directory", inside(|hand| hand.directory("parachute-home/..")), "leads elsewhere"),
        ("without its directory", inside(|hand| hand.file("parachute-home/b/c", b"")), "outside of the home"),
        (
            "a file as directory",
            inside(|hand| {
                hand.file("parachute-home/b", b"");
                hand.file("parachute-home/b/c", b"");
            }),
            "outside of the home",
        ),
        (
            "twice",
            inside(|hand| {
                hand.file("parachute-home/b", b"1");
                hand.file("parachute-home/b", b"2");
            }),
            "twice",
        ),
        ("the home as a file", made(|hand| hand.file(ROOT, b"")), "outside of the home"),
        ("a lying length", inside(|hand| hand.header("parachute-home/b", Kind::File, 1 << 40)), "longer than"),
        ("the largest length", inside(|hand| hand.header("parachute-home/b", Kind::File, u64::MAX)), "longer than"),
        (
            "no sums",
            {
                let mut hand = Hand::new();
                hand.directory(ROOT);
                hand.bytes.resize(hand.bytes.len() + 2 * BLOCK_BYTES, 0);
                hand.bytes
            },
            "has no SHA256SUMS",
        ),
        (
            "long words about itself",
            {
                let mut hand = Hand { bytes: Vec::new(), sums: String::new(), owner: OURS };
                hand.file(ABOUT, &[b' '; 100 << 10]);
                hand.end()
            },
            "too long",
        ),
    ];
    let dir = TestDir::new("archive-hostile");
    let archive = dir.join("a.tar");
    for (what, bytes, reason) in cases {
        fs::write(&archive, bytes).expect("written");
        match unpack(&archive, &dir.join("home")) {
            // A home without anything in it is odd, and harmless.
            Ok(restored) => assert_eq!((what, restored.contents.files), ("no root", 0)),
            Err(error) => assert!(error.to_string().contains(reason), "{what}: {error}"),
        }
        let _ = fs::remove_dir_all(dir.join("home"));
        assert_eq!(names(dir.path()), ["a.tar"], "{what}");
    }
    // Another program's trailing zeros are fine.
    fs::write(&archive, [&good[..], &[0; 8 * BLOCK_BYTES]].concat()).expect("written");
    unpack(&archive, &dir.join("home")).expect("restored");
    assert_eq!(fs::read(dir.join("home/a")).expect("read"), b"abc");

    // What another hub had for itself says nothing of this one.
    let of_run = inside(|hand| {
        hand.directory("parachute-home/hub");
        hand.directory(RUN);
        hand.file(&format!("{RUN}/epoch"), b"9007199254740992\n");
        hand.file("parachute-home/hub/runs", b"");
    });
    fs::write(&archive, of_run).expect("written");
    let restored = unpack(&archive, &dir.join("fresh")).expect("restored");
    assert!(!restored.is_older_copy && restored.warnings.is_empty(), "{restored:?}");
    assert_eq!(names(&dir.join("fresh/hub")), ["runs"]);
}

/// Bounded; what broke it is in the message.
#[test]
fn a_mutated_archive_is_the_same_or_refused() {
    let good = made(|hand| {
        hand.directory(ROOT);
        hand.directory("parachute-home/d");
        hand.file(&format!("parachute-home/d/{}", "n".repeat(120)), b"abc");
        hand.file("parachute-home/a", &[7; 700]);
    });
    let dir = TestDir::new("archive-fuzz");
    let archive = dir.join("a.tar");
    fs::write(&archive, &good).expect("written");
    let whole = verified(&archive).expect("good");
    for round in 0..600 {
        let mut random = [0; 8];
        random::fill(&mut random);
        let at = usize::from(u16::from_le_bytes([random[0], random[1]])) % good.len();
        let mut bytes = good.clone();
        match random[2] % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << (random[3] % 8),
            2 => drop(bytes.splice(at..(at + 512).min(good.len()), [])),
            _ => drop(bytes.splice(at..at, random)),
        }
        fs::write(&archive, &bytes).expect("written");
        if let Ok(contents) = verified(&archive) {
            // Only what no hash covers may differ: modes, times, and zeros behind the end.
            assert_eq!(contents, whole, "round {round}, {random:?} at {at}");
        }
    }
}

#[test]
fn what_an_archive_without_the_path_of_its_home_names_elsewhere_is_told() {
    let dir = TestDir::new("archive-old");
    let rows = format!(
        r#"{{"services":[{{"name":"gone","installDir":"/nowhere/modules/gone"}},{{"name":"far","installDir":"{}"}}]}}"#,
        dir.path().display(),
    );
    let archive = dir.join("a.tar");
    let bytes = made(|hand| {
        hand.directory(ROOT);
        hand.file("parachute-home/services.json", rows.as_bytes());
    });
    fs::write(&archive, bytes).expect("written");
    let restored = unpack(&archive, &dir.join("new")).expect("restored");
    assert_eq!((restored.moved_rows, restored.warnings.len()), (0, 1), "{restored:?}");
    assert!(restored.warnings[0].contains("/nowhere/modules/gone does not exist"), "{restored:?}");
    assert_eq!(fs::read_to_string(dir.join("new/services.json")).expect("there"), rows);

    let spoilt = made(|hand| {
        hand.directory(ROOT);
        hand.file("parachute-home/services.json", b"{");
    });
    fs::write(&archive, spoilt).expect("written");
    let restored = unpack(&archive, &dir.join("spoilt")).expect("the home is as it was");
    assert!(restored.warnings[0].contains("list of modules"), "{restored:?}");
}
