//! Pure: counted places, such as those of waiting requests, each given back when its holder is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One taken place.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number of places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    taken: Arc<AtomicUsize>,
}

impl Places {
    /// One of `limit` places, if it is free. One thread takes places; any may drop them.
    pub(crate) fn take(&self, limit: usize) -> Option<Place> {
        if self.taken() >= limit {
            return None;
        }
        // Strictly ordered: who takes a place and then looks at something sees it as it is, or is seen to be there by
        // whoever changes it and then looks here.
        self.taken.fetch_add(1, Ordering::SeqCst);
        Some(Place(Arc::clone(&self.taken)))
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// The same for each of many holders; those without a taken place are forgotten.
#[derive(Debug)]
pub(crate) struct PlacesOf<K> {
    of: HashMap<K, Places>,
    /// Look for forgotten ones when there are as many.
    sweep_at: usize,
}

/// So many entries are kept before anybody looks which are needed.
const SWEEP_MIN: usize = 64;

impl<K> Default for PlacesOf<K> {
    fn default() -> Self {
        Self { of: HashMap::new(), sweep_at: SWEEP_MIN }
    }
}

impl<K: Eq + Hash> PlacesOf<K> {
    pub(crate) fn take(&mut self, holder: K, limit: usize) -> Option<Place> {
        if self.of.len() >= self.sweep_at {
            self.of.retain(|_, places| places.taken() > 0);
            self.sweep_at = (self.of.len() * 2).max(SWEEP_MIN);
        }
        self.of.entry(holder).or_default().take(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_place_is_free_again() {
        let places = Places::default();
        let (first, second) = (places.take(2), places.take(2));
        assert!(first.is_some() && second.is_some() && places.take(2).is_none());
        drop(first);
        assert!(places.take(2).is_some());
        assert_eq!(places.taken(), 1);
    }

    #[test]
    fn holders_have_places_of_their_own_and_leave_nothing_behind() {
        let mut places = PlacesOf::default();
        let held: Vec<Option<Place>> = (0..2).map(|_| places.take(7, 2)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(7, 2).is_none() && places.take(8, 2).is_some());
        for holder in 100..10_000 {
            drop(places.take(holder, 1));
        }
        assert!(places.of.len() <= SWEEP_MIN, "{}", places.of.len());
        assert!(places.take(7, 2).is_none(), "a taken place is not forgotten");
    }
}
