//! Mutated and random tokens against what must hold for any of them. Bounded; the seed is printed by whoever fails.

use super::*;
use crate::sys::testrandom::Random;

/// Pieces that readers of tokens have been known to trip over.
const SPICE: [&str; 16] =
    [".", "..", "=", "==", "+", "/", "%2e", "A", "_", "-", "\0", "\n", " ", "é", "eyJhbGciOiJub25lIn0", "\u{feff}"];

#[test]
fn no_mutated_token_is_taken_for_the_one_it_was() {
    let token = mint(&claims());
    assert!(check(&token).is_ok());
    let mut random = Random::new();
    let seed = random.seed;
    for round in 0..5_000 {
        let mut text = token.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len() + 1);
            let Some((front, back)) = text.split_at_checked(at) else { continue };
            let skip = random.below(4).min(back.len());
            let rest = back.get(skip..).unwrap_or(back);
            text = match random.below(3) {
                0 => format!("{front}{rest}"),
                1 => format!("{front}{}{back}", SPICE[random.below(SPICE.len())]),
                _ => format!("{front}{}{rest}", SPICE[random.below(SPICE.len())]),
            };
        }
        assert!(text == token || check(&text).is_err(), "{text:?}, round {round}, seed {seed}");
        // None of these may panic, whatever they say.
        let _said =
            (is_hub_bearer(text.as_bytes()), super::super::claims::unverified(&text), from_authorization(&text));
    }
}

/// C13: payloads of a holder of the key, mutated; one that passes says what minting would have written.
#[test]
fn c13_a_mutated_payload_under_a_good_signature_is_refused_or_canonical() {
    let payload = claims().to_json();
    let mut random = Random::new();
    let seed = random.seed;
    for round in 0..3_000 {
        let mut bytes = payload.clone();
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len());
            let end = (at + random.below(3)).min(bytes.len());
            let piece = random.bytes(3);
            bytes.splice(at..end, piece);
        }
        if let Ok(verified) = check(&signed(&bytes)) {
            assert_eq!(verified.claims.to_json(), bytes, "round {round}, seed {seed}");
        }
    }
}

#[test]
fn base64url_has_one_spelling_for_any_bytes_and_decodes_no_other() {
    let mut random = Random::new();
    let seed = random.seed;
    for round in 0..5_000 {
        let bytes = random.bytes(70);
        let text = b64::encode(&bytes);
        assert_eq!(b64::decode(text.as_bytes()).as_deref(), Some(&bytes[..]), "{bytes:?}, round {round}, seed {seed}");
        let noise = random.bytes(70);
        if let Some(decoded) = b64::decode(&noise) {
            assert_eq!(b64::encode(&decoded).as_bytes(), noise, "round {round}, seed {seed}");
        }
        if let Some(at) = (!text.is_empty()).then(|| random.below(text.len())) {
            let mut other = text.clone().into_bytes();
            other[at] = u8::try_from(random.below(256)).expect("a byte");
            let decoded = b64::decode(&other);
            assert!(
                decoded.as_ref().is_none_or(|decoded| b64::encode(decoded).as_bytes() == other),
                "{other:?}, round {round}, seed {seed}"
            );
        }
    }
}

/// C8: every bit of every byte.
#[test]
fn c8_no_flipped_bit_goes_unnoticed() {
    let token = mint(&claims());
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(check(&text).is_err(), "byte {at}, bit {bit}");
        }
    }
}
