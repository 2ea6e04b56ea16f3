//! Lower-case hex, as `sha256sum` prints it.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    text.extend(digits(bytes));
    text
}

/// The same digit by digit, for what must leave no copy behind.
pub(super) fn digits(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf].map(|digit| char::from(DIGITS[usize::from(digit)])))
}

/// The 32 bytes that exactly these 64 digits spell.
pub(super) fn decode(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value_of(*high)? << 4 | value_of(*low)?;
    }
    Some(bytes)
}

fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8 + 7).expect("below 256"));
        let text = encode(&bytes);
        assert!(text.starts_with("070f171f") && text.ends_with("f7ff"), "{text}");
        assert_eq!(decode(&text), Some(bytes));
        for bad in [&text[1..], &text[2..], &format!("{text}00"), &text.replace('f', "F"), &text.replace('f', "g"), ""]
        {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
