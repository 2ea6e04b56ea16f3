//! How a hub proves that it is the one of its home: with a secret of its boot, which stands in a file that only the
//! home's owner can read, it answers a challenge that was never used before (operator-token D13).

use super::keyring::{Secret, derive};
use super::{hex, same_hash};
use std::fmt;
use std::sync::Arc;

/// Longest challenge, in characters: 32 bytes in hex. More would only be more work for the hub.
const CHALLENGE_MAX_CHARS: usize = 64;

/// What somebody wants a proof for: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge(String);

impl Challenge {
    /// `random` must never have been used before, or an earlier proof would do.
    pub(crate) fn of(random: &[u8; 32]) -> Self {
        Self(hex::encode(random))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fits = (1..=CHALLENGE_MAX_CHARS).contains(&text.len()) && text.bytes().all(is_usual);
        fits.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The secret of one boot of a hub. All clones share one copy, which is wiped with the last of them and never shown.
#[derive(Clone)]
pub(crate) struct BootSecret(Arc<Secret>);

impl BootSecret {
    /// Takes the bytes over; the caller's array is wiped.
    pub(crate) fn take(bytes: &mut [u8; 32]) -> Self {
        Self(Arc::new(Secret::take(bytes)))
    }

    /// From the 64 digits of [`BootSecret::hex_digits`]; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(|mut bytes| Self::take(&mut bytes))
    }

    /// The secret itself, for the file that it is kept in. The caller wipes what it makes of it.
    pub(crate) fn hex_digits(&self) -> impl Iterator<Item = char> {
        hex::digits(self.0.expose())
    }

    /// The proof of the hub on `port`: HMAC-SHA256 over the challenge, a NUL and the port, in hex. With the port in it a
    /// program on another one cannot pass the question on to the hub and its answer back.
    pub(crate) fn proof(&self, challenge: &Challenge, port: u16) -> String {
        hex::encode(&self.mac(challenge, port))
    }

    /// Whether this is that proof; takes the same time wherever it differs.
    pub(crate) fn is_proof(&self, challenge: &Challenge, port: u16, proof: &str) -> bool {
        hex::decode(proof).is_some_and(|proof| same_hash(&self.mac(challenge, port), &proof))
    }

    fn mac(&self, challenge: &Challenge, port: u16) -> [u8; 32] {
        derive(&self.0, challenge.as_str().as_bytes(), &[port.to_string().as_bytes()])
    }
}

impl fmt::Debug for BootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootSecret(not shown)")
    }
}

impl PartialEq for BootSecret {
    fn eq(&self, other: &Self) -> bool {
        same_hash(self.0.expose(), other.0.expose())
    }
}

impl Eq for BootSecret {}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> BootSecret {
        BootSecret::take(&mut [byte; 32])
    }

    fn challenge(text: &str) -> Challenge {
        Challenge::parse(text).expect("a challenge")
    }

    #[test]
    fn the_proof_is_the_hmac_that_others_compute_too() {
        // printf 'abc\0001939' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707...
        let expected = "09378ad7c4d0c394c0fab853e85501583bea8f2e3be885b940acdbe7ff6d42e9";
        assert_eq!(secret(7).proof(&challenge("abc"), 1939), expected);
    }

    #[test]
    fn only_the_same_secret_challenge_and_port_give_the_proof() {
        let proof = secret(7).proof(&challenge("abc"), 1939);
        for (what, secret, text, port, proof, good) in [
            ("the same", secret(7), "abc", 1939, proof.as_str(), true),
            ("another boot", secret(8), "abc", 1939, &proof, false),
            ("another challenge", secret(7), "abd", 1939, &proof, false),
            ("another port", secret(7), "abc", 1940, &proof, false),
            ("a digit moved to the port", secret(7), "abc1", 939, &proof, false),
            ("upper case", secret(7), "abc", 1939, &proof.to_uppercase(), false),
            ("cut", secret(7), "abc", 1939, &proof[..62], false),
            ("longer", secret(7), "abc", 1939, &format!("{proof}00"), false),
            ("empty", secret(7), "abc", 1939, "", false),
        ] {
            assert_eq!(secret.is_proof(&challenge(text), port, proof), good, "{what}");
        }
    }

    #[test]
    fn a_challenge_is_short_and_plain() {
        let longest = "f".repeat(CHALLENGE_MAX_CHARS);
        for good in ["a", "A-z_09", &longest] {
            assert_eq!(Challenge::parse(good).as_ref().map(Challenge::as_str), Some(good));
        }
        for bad in ["", "a b", "a\0", "a=", "a.b", "ä", "a\n", &format!("{longest}f")] {
            assert_eq!(Challenge::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Challenge::of(&[0xab; 32]).as_str(), "ab".repeat(32));
    }

    #[test]
    fn a_secret_reads_back_from_its_digits_and_is_not_shown() {
        let text: String = secret(0xa5).hex_digits().collect();
        assert_eq!(BootSecret::parse(&text), Some(secret(0xa5)));
        assert_eq!(BootSecret::parse(&text[2..]), None);
        assert_eq!(format!("{:?}", secret(0xa5)), "BootSecret(not shown)");
    }
}
