//! Pure: who may go next, when some wait for others.

use crate::manifest::Short;
use crate::manifest::circles::{Waiting, circles};
use std::collections::BTreeSet;

/// Modules that wait, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Order {
    waiting: Waiting,
}

impl Order {
    /// Each module with those it waits for. Names that are not in the list, and a module's own, are waited for by
    /// nobody. Modules that wait for each other in a circle are let go together, once those that they wait for besides
    /// are done.
    pub(crate) fn new(modules: impl IntoIterator<Item = (Short, Vec<Short>)>) -> Self {
        let mut waiting: Waiting =
            modules.into_iter().map(|(short, others)| (short, others.into_iter().collect())).collect();
        let known: BTreeSet<Short> = waiting.keys().cloned().collect();
        for others in waiting.values_mut() {
            others.retain(|other| known.contains(other));
        }
        break_circles(&mut waiting);
        Self { waiting }
    }

    /// For whom it waits, by name.
    pub(crate) fn waited_for(&self, short: &Short) -> Vec<Short> {
        self.waiting.get(short).into_iter().flatten().cloned().collect()
    }

    /// Takes those who wait for nobody.
    pub(crate) fn take_free(&mut self) -> Vec<Short> {
        let free: Vec<Short> =
            self.waiting.iter().filter(|(_, others)| others.is_empty()).map(|(short, _)| short.clone()).collect();
        for short in &free {
            self.waiting.remove(short);
        }
        free
    }

    /// Nobody waits for `done` any more; takes those who are free now.
    pub(crate) fn done(&mut self, done: &Short) -> Vec<Short> {
        for others in self.waiting.values_mut() {
            others.remove(done);
        }
        self.take_free()
    }

    /// Its turn does not come any more.
    pub(crate) fn forget(&mut self, short: &Short) {
        self.waiting.remove(short);
    }

    /// Forgets the order: takes everybody.
    pub(crate) fn take_all(&mut self) -> Vec<Short> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }
}

/// From now on nobody waits for one that waits for it in turn.
fn break_circles(waiting: &mut Waiting) {
    let among: Vec<BTreeSet<Short>> =
        circles(waiting).into_iter().map(|circle| circle.into_iter().cloned().collect()).collect();
    for circle in &among {
        for short in circle {
            if let Some(others) = waiting.get_mut(short) {
                others.retain(|other| !circle.contains(other));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(name: &str) -> Short {
        Short::parse(name).expect("a good name")
    }

    fn order(pairs: &[(&str, &[&str])]) -> Order {
        Order::new(pairs.iter().map(|(name, others)| (short(name), others.iter().map(|o| short(o)).collect())))
    }

    #[test]
    fn each_goes_after_those_it_waits_for() {
        for (pairs, expected) in [
            (&[("a", &[][..]), ("b", &[])][..], &[&["a", "b"][..]][..]),
            (&[("a", &["b"]), ("b", &["c"]), ("c", &[])], &[&["c"], &["b"], &["a"]]),
            (&[("a", &["nobody"]), ("b", &["b"]), ("c", &["c", "a"])], &[&["a", "b"], &["c"]]),
            (&[("a", &["b"]), ("b", &["a"]), ("c", &[])], &[&["a", "b", "c"]]),
            // Who depends on a circle is not in it.
            (&[("a", &["b"]), ("b", &["a"]), ("c", &["a", "d"]), ("d", &[])], &[&["a", "b", "d"], &["c"]]),
            (&[("a", &["b", "d"]), ("b", &["a"]), ("d", &[])], &[&["b", "d"], &["a"]]),
            // One circle waits for another.
            (&[("a", &["b"]), ("b", &["a", "x"]), ("x", &["y"]), ("y", &["x"])], &[&["a", "x", "y"], &["b"]]),
        ] {
            let mut order = order(pairs);
            let mut waves: Vec<Vec<Short>> = vec![order.take_free()];
            while !order.waiting.is_empty() {
                let done = waves.last().cloned().unwrap_or_default();
                waves.push(done.iter().flat_map(|short| order.done(short)).collect());
            }
            let waves: Vec<Vec<&str>> = waves.iter().map(|wave| wave.iter().map(AsRef::as_ref).collect()).collect();
            assert_eq!(waves, expected, "{pairs:?}");
        }
    }

    #[test]
    fn who_is_forgotten_has_no_turn_and_still_lets_others_go() {
        let mut order = order(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
        assert_eq!(order.take_free(), [short("a")]);
        order.forget(&short("b"));
        assert_eq!(order.done(&short("b")), [short("c")]);
        assert_eq!(order.done(&short("a")), [] as [Short; 0]);
    }
}
