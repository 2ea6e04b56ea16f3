use super::*;

fn lines_of(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut framer = Framer::default();
    let mut out = Vec::new();
    for chunk in chunks {
        framer.feed(chunk, |block| out.extend_from_slice(block));
    }
    framer.end(|block| out.extend_from_slice(block));
    assert!(out.is_empty() || out.ends_with(b"\n"));
    out.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn cut_line(part: &[u8]) -> Vec<u8> {
    [part, b" [...]\n"].concat()
}

#[test]
fn a_split_at_any_byte_changes_nothing() {
    let text = "a\n\nüñ→😀 b\r\n\x1b[1mc\0\n\u{85}unfinished".as_bytes();
    let whole = lines_of(&[text]);
    assert_eq!(whole.concat(), [text, b"\n"].concat());
    for at in 0..=text.len() {
        for to in at..=text.len() {
            assert_eq!(lines_of(&[&text[..at], &text[at..to], &text[to..]]), whole, "split at {at} and {to}");
        }
    }
}

#[test]
fn lines_are_cut_at_the_limit_and_nowhere_else() {
    for (length, pieces) in [
        (LINE_BYTES - 1, vec![LINE_BYTES - 1]),
        (LINE_BYTES, vec![LINE_BYTES]),
        (LINE_BYTES + 1, vec![LINE_BYTES, 1]),
        (2 * LINE_BYTES, vec![LINE_BYTES, LINE_BYTES]),
        (2 * LINE_BYTES + 1, vec![LINE_BYTES, LINE_BYTES, 1]),
    ] {
        for ended in [true, false] {
            let mut text = vec![b'x'; length];
            if ended {
                text.push(b'\n');
            }
            let last = pieces.len() - 1;
            let expected: Vec<Vec<u8>> = (pieces.iter().enumerate())
                .map(
                    |(n, size)| {
                        if n < last { cut_line(&vec![b'x'; *size]) } else { [&vec![b'x'; *size][..], b"\n"].concat() }
                    },
                )
                .collect();
            for at in [0, 1, LINE_BYTES - 1, LINE_BYTES, LINE_BYTES + 1, length].map(|at| at.min(text.len())) {
                assert!(
                    lines_of(&[&text[..at], &text[at..]]) == expected,
                    "{length} bytes, ended {ended}, split at {at}"
                );
            }
        }
    }
}

#[test]
fn a_character_is_not_cut_in_two() {
    for (character, back) in [("é", 1), ("→", 1), ("→", 2), ("😀", 1), ("😀", 2), ("😀", 3)] {
        let text = format!("{}{character}rest\n", "x".repeat(LINE_BYTES - back));
        let lines = lines_of(&[text.as_bytes()]);
        assert!(lines[0] == cut_line("x".repeat(LINE_BYTES - back).as_bytes()), "{character} {back}");
        assert_eq!(lines[1], format!("{character}rest\n").as_bytes());
        for at in LINE_BYTES - 3..LINE_BYTES + 4 {
            assert!(lines_of(&[&text.as_bytes()[..at], &text.as_bytes()[at..]]) == lines, "{character} {back} at {at}");
        }
    }
    // One that is whole stays where it is.
    for character in ["é", "→", "😀"] {
        let whole = format!("{}{character}", "x".repeat(LINE_BYTES - character.len()));
        let lines = lines_of(&[format!("{whole}rest\n").as_bytes()]);
        assert!(lines[0] == cut_line(whole.as_bytes()) && lines[1] == b"rest\n", "{character}");
    }
    // Bytes that are no UTF-8 are cut where they are.
    let lines = lines_of(&[&[0x80; LINE_BYTES + 5][..], b"\n"]);
    assert_eq!(lines[0].len(), LINE_BYTES + CONTINUES.len() + 1);
}

#[test]
fn a_flood_without_a_newline_is_held_in_constant_memory() {
    let mut framer = Framer::default();
    let chunk = [b'x'; 60_000];
    let mut bytes = 0;
    for _ in 0..100 {
        framer.feed(&chunk, |block| bytes += block.len() - CONTINUES.len() - 1);
        assert!(framer.held.capacity() <= 2 * LINE_BYTES);
    }
    assert_eq!(bytes + framer.held.len(), 100 * chunk.len());
}

#[test]
fn newlines_are_found_and_counted_exactly() {
    // 0x0B and 0x8A differ from a newline by one bit or a borrow, which a careless word compare gets wrong.
    for filler in [b'x', 0x0B, 0x8A, 0x00, 0xFF] {
        for length in 0..40 {
            let mut bytes = vec![filler; length];
            assert_eq!((find_newline(&bytes), count_newlines(&bytes)), (None, 0));
            for at in 0..length {
                bytes[at] = b'\n';
                assert_eq!(find_newline(&bytes), Some(at), "{filler} {length}");
                bytes[length - 1] = b'\n';
                assert_eq!(count_newlines(&bytes), 1 + u64::from(at + 1 < length));
                bytes.fill(filler);
            }
        }
    }
    assert_eq!(count_newlines(&[b'\n'; 10_007]), 10_007);
}

#[test]
fn the_newest_lines_begin_at_a_line() {
    for (block, limit, start) in [
        ("ab\ncd\nef\n", 9, 0),
        ("ab\ncd\nef\n", 8, 3),
        ("ab\ncd\nef\n", 6, 3),
        ("ab\ncd\nef\n", 5, 6),
        ("ab\ncd\nef\n", 3, 6),
        ("ab\ncd\nef\n", 1, 6),
        ("long line\n", 4, 0),
    ] {
        assert_eq!(newest_lines(block.as_bytes(), limit), start, "{block:?} {limit}");
    }
}

/// The fast look at eight bytes at once says no more than the slow one.
#[test]
fn no_byte_passes_for_clean_that_is_not() {
    for byte in 0..=u8::MAX {
        for at in 0..20 {
            let mut line = vec![b'x'; 20];
            line[at] = byte;
            let is_safe = byte == b'\n' || clean(&[byte, b'x']).as_bytes() == [byte, b'x'];
            assert_eq!(is_clean(&line), is_safe, "{byte:#x} at {at}");
        }
    }
}

#[test]
fn what_is_shown_cannot_command_a_terminal() {
    for (line, text) in [
        (&b"plain \t text"[..], "plain \t text"),
        (b"windows\r", "windows"),
        (b"progress 1%\rprogress 2%\r", "progress 1%\u{FFFD}progress 2%"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b[38:5:1mred", "red"),
        (b"\x1b[2Jcleared", "\u{FFFD}[2Jcleared"),
        (b"\x1b]0;title\x07", "\u{FFFD}]0;title\u{FFFD}"),
        (b"nul\0del\x7f", "nul\u{FFFD}del\u{FFFD}"),
        ("c1 \u{9b}31m".as_bytes(), "c1 \u{FFFD}31m"),
        (b"bad \xff\xc3", "bad \u{FFFD}\u{FFFD}"),
        ("fine üñ→😀".as_bytes(), "fine üñ→😀"),
        (b"\x1b[", "\u{FFFD}["),
    ] {
        assert_eq!(clean(line), text);
        for padding in 0..9 {
            let padded = [&b"x".repeat(padding)[..], line].concat();
            let unchanged = clean(&padded).as_bytes() == padded;
            assert_eq!(is_clean(&[&padded[..], b"\n"].concat()), unchanged, "{padded:?}");
        }
    }
}
