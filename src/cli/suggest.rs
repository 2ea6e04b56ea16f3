//! Pure: did you mean?

/// Longer words are not compared: nobody mistypes a name of 64 characters into another one.
const LONGEST_WORD: usize = 64;

/// The candidate that `word` most likely stands for, if one is near: a third of its letters may differ.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LONGEST_WORD + 1).collect();
    if word.is_empty() || word.len() > LONGEST_WORD {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.chars().take(LONGEST_WORD + 1).collect();
            let allowed = (word.len().max(letters.len()) / 3).max(1);
            let distance = distance(&word, &letters);
            (letters.len() <= LONGEST_WORD && distance <= allowed && distance < letters.len())
                .then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    // Three rows of the usual table; `older` is needed for swaps only.
    let mut older = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(older[j - 1] + 1);
            }
            row.push(best);
        }
        older = last;
        last = row;
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_far_ones_are_not() {
        let words = ["start", "stop", "restart", "status", "vault", "follow", "no-start"];
        for (word, expected) in [
            ("statr", Some("start")),
            ("strat", Some("start")),
            ("stats", Some("status")),
            ("stauts", Some("status")),
            ("vualt", Some("vault")),
            ("folow", Some("follow")),
            ("nostart", Some("no-start")),
            ("", None),
            ("x", None),
            ("scribe", None),
            ("völt", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), words), None);
        assert_eq!(nearest("start", [&*"a".repeat(1_000_000)]), None);
    }
}
