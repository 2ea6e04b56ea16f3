//! Mutated and random messages against what must hold for any of them. Bounded; the seed is printed by whoever fails.

use super::corpus::{responses, seen};
use super::*;
use super::{request_bodies, request_fields, request_lines};

/// Pieces that readers have been known to disagree about.
const SPICE: [&[u8]; 22] = [
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b":",
    b",",
    b";",
    b"0",
    b"5",
    b"/",
    b"%2e",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n",
];

/// One of the seeds, changed in one to three places, sometimes with another one behind it.
pub(super) fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(4)).min(bytes.len());
        match random.below(4) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, random.pick(&SPICE).iter().copied())),
            2 => drop(bytes.splice(at..end, random.pick(&SPICE).iter().copied())),
            _ => bytes.extend_from_slice(&seeds[random.below(seeds.len())]),
        }
    }
    bytes
}

#[test]
fn mutated_requests_mean_the_same_however_they_arrive() {
    let seeds: Vec<_> = request_lines::seeds().chain(request_fields::seeds()).chain(request_bodies::seeds()).collect();
    let mut random = Random::new();
    let seed = random.seed;
    for round in 0..3_000 {
        let bytes = mutated(&seeds, &mut random);
        let shown = String::from_utf8_lossy(&bytes);
        // Looking at it reads everything that was sent on once more, strictly.
        let whole = seen(&bytes, usize::MAX);
        let step = 1 + random.below(40);
        assert_eq!(seen(&bytes, step), whole, "{shown:?} in steps of {step}, round {round}, seed {seed}");
        let refusals = whole.refusals.iter().filter(|status| ![400, 417, 421].contains(status)).count();
        assert!(refusals == 0 || whole.over, "{shown:?}, round {round}, seed {seed}");
    }
}

/// Everything behind something that cannot be understood is nothing, whatever it looks like.
#[test]
fn nothing_behind_a_refused_message_is_a_request() {
    let seeds: Vec<_> = request_bodies::seeds().collect();
    let mut random = Random::new();
    let seed = random.seed;
    for round in 0..1_500 {
        let bytes = mutated(&seeds, &mut random);
        let alone = seen(&bytes, usize::MAX);
        if !alone.over {
            continue;
        }
        let probe = b"GET /probe HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let followed = seen(&[&bytes[..], probe].concat(), 1 + random.below(60));
        assert_eq!(followed, alone, "{:?}, round {round}, seed {seed}", String::from_utf8_lossy(&bytes));
    }
}

/// What the client got of a mutated answer, and whether the upstream's socket is used again.
fn answered(answer: &[u8], ends: bool, step: usize) -> (Vec<(u16, String, bool)>, Vec<Release>, bool) {
    let mut play = Play::new();
    play.client(GET, usize::MAX);
    play.upstream(answer, step);
    if ends && play.open {
        play.upstream_ends();
    }
    (responses(&play.to_client), play.released.clone(), play.is_over())
}

#[test]
fn mutated_answers_mean_the_same_however_they_arrive() {
    let seeds: Vec<_> = super::responses::seeds().collect();
    let mut random = Random::new();
    let seed = random.seed;
    for round in 0..3_000 {
        let bytes = mutated(&seeds, &mut random);
        let shown = String::from_utf8_lossy(&bytes);
        let (ends, step) = (random.below(2) == 0, 1 + random.below(40));
        let whole = answered(&bytes, ends, usize::MAX);
        let parts = answered(&bytes, ends, step);
        assert_eq!((&parts.0, parts.2), (&whole.0, whole.2), "{shown:?} in {step}s, round {round}, seed {seed}");
        // What comes behind an answer is seen in time only if it comes with it; the pool sees it otherwise.
        let reused_more = whole.1 == [Release::Reuse] && parts.1 != whole.1;
        assert!(!reused_more, "{shown:?} in {step}s, round {round}, seed {seed}");
        assert!(whole.0.iter().all(|(status, ..)| (200..=599).contains(status)), "{shown:?}, seed {seed}");
    }
}

#[test]
fn noise_is_never_a_request_nor_an_answer() {
    let mut random = Random::new();
    let seed = random.seed;
    for round in 0..2_000 {
        let mut bytes = Vec::new();
        for _ in 0..random.below(200) {
            bytes.push(u8::try_from(random.below(256)).expect("a byte"));
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        let seen = seen(&bytes, 1 + random.below(50));
        assert!(seen.requests.is_empty() && seen.over, "{bytes:?}, round {round}, seed {seed}");
        let (answers, released, _) = answered(&bytes, false, 1 + random.below(50));
        assert_eq!((answers[0].0, released.as_slice()), (502, &[Release::Close][..]), "{bytes:?}, seed {seed}");
    }
}
