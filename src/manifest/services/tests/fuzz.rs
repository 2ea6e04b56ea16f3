//! Mutated lists against what must hold for any of them. Bounded; the seed is printed by whoever fails.

use super::*;
use crate::sys::testrandom::Random;

const ROUNDS: usize = 3_000;
/// Pieces that readers of such lists have been known to trip over.
const SPICE: &[&[u8]] = &[
    b"null",
    b"{}",
    b"[]",
    b"\"\"",
    b",",
    b":",
    b"-1",
    b"65536",
    b"1e400",
    b"\"name\":\"wiki\",",
    b"\"port\":1,",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\0",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"/../",
];

/// Nothing panics, every row is there with its reason, and an edit of one row leaves the others as they are.
#[test]
fn a_mutated_list_is_refused_or_keeps_every_row_through_an_edit() {
    let samples: Vec<_> = samples().into_iter().filter(|(name, _)| !name.starts_with("bad-root")).collect();
    let mut random = Random::new();
    let seed = random.seed;
    let mut read = 0;
    for round in 0..ROUNDS {
        let (name, bytes) = &samples[random.below(samples.len())];
        let bytes = random.mutated(bytes, SPICE);
        let what = format!("{name}, round {round}, seed {seed}: {}", bytes.escape_ascii());
        let Ok(document) = Document::parse(&bytes) else { continue };
        read += 1;
        assert_eq!(document.entries().len(), document.rows().len(), "{what}");
        let again = Document::parse(&document.to_bytes()).unwrap_or_else(|problem| panic!("{problem}: {what}"));
        assert!(again.same_content(&document), "{what}");

        let mut edited = document.clone();
        // Its port may be somebody's by now; then nothing changes.
        let port = 20_000 + u16::try_from(random.below(1000)).expect("small");
        let added = edited.upsert(row("fuzzed", port)).is_ok() && document.named("fuzzed").is_none();
        let kept = edited.rows().get(..document.rows().len());
        assert!(!added || kept == Some(document.rows()), "{what}");
        if added {
            let edits = edits(&document, &edited);
            let redone = redone(&document, &edits).map(|(document, names)| (document.to_bytes(), names));
            assert_eq!(redone, Some((edited.to_bytes(), vec!["fuzzed".to_owned()])), "{what}");
            assert!(merge(&document, &edited, &document).same_content(&edited), "{what}");
            assert!(edited.remove("fuzzed").is_some(), "{what}");
            assert!(edited.same_content(&document), "{what}");
        }
    }
    assert!(read > ROUNDS / 20, "most mutants are no list at all: {read} of {ROUNDS}, seed {seed}");
}
