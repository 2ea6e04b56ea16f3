//! The C library's search for a byte, which looks at many of them at a time; std has none that is public.

/// The place of the first `byte`.
pub(crate) fn memchr(byte: u8, bytes: &[u8]) -> Option<usize> {
    // SAFETY: the pointer and length are those of a live slice.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), byte.into(), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - bytes.as_ptr().addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_and_nothing_behind_the_end() {
        let text = b"..x...x.....................................................................x";
        for (start, end) in (0..text.len()).flat_map(|start| (start..=text.len()).map(move |end| (start, end))) {
            let part = &text[start..end];
            assert_eq!(memchr(b'x', part), part.iter().position(|byte| *byte == b'x'), "{start}..{end}");
        }
        assert_eq!((memchr(0, b"a\0"), memchr(0xff, b"a\xff"), memchr(0, b"")), (Some(1), Some(1), None));
    }
}
