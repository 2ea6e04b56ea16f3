//! Pure: values under small numbers that are never mistaken for those of an earlier value.

/// Names one value for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    index: u32,
    /// How often the place had been given away before: an event of an earlier owner finds nothing.
    generation: u32,
}

impl Key {
    /// The key in 62 bits.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Upper bits that are none of the key's are left out.
    pub(crate) fn from_bits(bits: u64) -> Self {
        let low = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        Self { index: low(bits), generation: low(bits >> 32) & MAX_GENERATION }
    }
}

/// Two bits of a token are left for its owner.
const MAX_GENERATION: u32 = u32::MAX >> 2;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Puts the value that `make` returns for its key.
    pub(crate) fn try_insert_with<E>(&mut self, make: impl FnOnce(Key) -> Result<T, E>) -> Result<Key, E> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, value: None });
            u32::try_from(self.places.len() - 1)
                .expect("every value has a descriptor, and those are far fewer than 2^32")
        });
        let place = &mut self.places[index as usize];
        let key = Key { index, generation: place.generation };
        match make(key) {
            Ok(value) => place.value = Some(value),
            Err(error) => {
                self.free.push(index);
                return Err(error);
            }
        }
        Ok(key)
    }

    #[cfg(test)]
    pub(crate) fn insert(&mut self, value: T) -> Key {
        let Ok(key) = self.try_insert_with(|_| Ok::<T, std::convert::Infallible>(value));
        key
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)?;
        place.value.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)?;
        let value = place.value.take()?;
        place.generation = (place.generation + 1) & MAX_GENERATION;
        self.free.push(key.index);
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: u32::try_from(index).ok()?, generation: place.generation };
            Some((key, place.value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_does_not_find_the_new_owner() {
        let mut slab = Slab::default();
        let a = slab.insert("a");
        assert_eq!(slab.remove(a), Some("a"));
        let b = slab.insert("b");
        assert_eq!(slab.get_mut(a), None);
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.len(), 1);
        assert_eq!(slab.get_mut(b), Some(&mut "b"));
        assert_eq!(Key::from_bits(b.to_bits()), b);
        assert_eq!(slab.iter().map(|(key, value)| (key, *value)).collect::<Vec<_>>(), [(b, "b")]);
    }
}
