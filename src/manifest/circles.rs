//! Pure: modules that depend on each other in a circle, or on themselves, so that none of them can go first.

use super::Short;
use std::collections::{BTreeMap, BTreeSet};

/// Who waits for whom; whoever is no key of it is waited for by nobody.
pub(crate) type Waiting = BTreeMap<Short, BTreeSet<Short>>;

/// From one module to the next.
type Edges<'a> = BTreeMap<&'a Short, Vec<&'a Short>>;

/// Each set of modules of which every one waits for every other, be it through third ones; and each that waits for
/// itself alone.
pub(crate) fn circles(waiting: &Waiting) -> Vec<BTreeSet<&Short>> {
    let (mut needs, mut dependents) = (Edges::new(), Edges::new());
    for (short, others) in waiting {
        for other in others.iter().filter(|other| waiting.contains_key(other)) {
            needs.entry(short).or_default().push(other);
            dependents.entry(other).or_default().push(short);
        }
    }
    let mut left = stuck(waiting, &needs, &dependents);
    let mut circles = Vec::new();
    while let Some(short) = left.pop_first() {
        let circle: BTreeSet<&Short> = &reach(short, &needs) & &reach(short, &dependents);
        left.retain(|other| !circle.contains(other));
        if !circle.is_empty() {
            circles.push(circle);
        }
    }
    circles
}

/// What is said of one.
pub(crate) fn told(circle: &BTreeSet<&Short>) -> String {
    let names: Vec<&str> = circle.iter().map(|short| short.as_str()).collect();
    if let [name] = names[..] {
        return format!("{name}: depends on itself, which it does not wait for");
    }
    format!("{}: depend on each other; none of them waits for another", names.join(", "))
}

/// Whoever would wait for ever: what is left after letting go, again and again, those who wait for nobody.
fn stuck<'a>(waiting: &'a Waiting, needs: &Edges<'a>, dependents: &Edges<'a>) -> BTreeSet<&'a Short> {
    let mut open: BTreeMap<&Short, usize> =
        waiting.keys().map(|short| (short, needs.get(short).map_or(0, Vec::len))).collect();
    let mut free: Vec<&Short> = open.iter().filter(|(_, count)| **count == 0).map(|(short, _)| *short).collect();
    while let Some(done) = free.pop() {
        open.remove(done);
        for dependent in dependents.get(done).into_iter().flatten() {
            if let Some(count) = open.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    free.push(dependent);
                }
            }
        }
    }
    open.into_keys().collect()
}

/// Everybody who can be come to from `short`, in one step or more.
fn reach<'a>(short: &'a Short, edges: &Edges<'a>) -> BTreeSet<&'a Short> {
    let mut found = BTreeSet::new();
    let mut pending = vec![short];
    while let Some(next) = pending.pop() {
        for other in edges.get(next).into_iter().flatten() {
            if found.insert(*other) {
                pending.push(other);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_those_who_wait_for_each_other_and_nobody_else() {
        for (pairs, expected) in [
            (&[][..], &[][..]),
            (&[("a", &["b"][..]), ("b", &["c"]), ("c", &[])][..], &[]),
            (&[("a", &["a"]), ("b", &["nobody"]), ("c", &["a"])], &[&["a"][..]]),
            (&[("a", &["b"]), ("b", &["a"]), ("above", &["a"])], &[&["a", "b"][..]]),
            (&[("a", &["b", "below"]), ("b", &["a", "a"]), ("below", &[])], &[&["a", "b"]]),
            (&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])], &[&["a", "b", "c"]]),
            // One circle waits for another, and somebody stands between them.
            (
                &[("a", &["b"]), ("b", &["a", "m"]), ("m", &["x"]), ("x", &["y"]), ("y", &["x"])],
                &[&["a", "b"], &["x", "y"]],
            ),
            // Two that share a module are one.
            (&[("a", &["b", "c"]), ("b", &["a"]), ("c", &["a"])], &[&["a", "b", "c"]]),
        ] {
            let short = |name: &&str| Short::parse(name).expect("a good name");
            let waiting: Waiting =
                pairs.iter().map(|(name, others)| (short(name), others.iter().map(short).collect())).collect();
            let found: Vec<Vec<&str>> =
                circles(&waiting).into_iter().map(|circle| circle.into_iter().map(AsRef::as_ref).collect()).collect();
            assert_eq!(found, expected, "{pairs:?}");
        }
    }
}
