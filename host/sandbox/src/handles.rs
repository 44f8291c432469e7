//! The values behind a plugin's handles.
//!
//! wasmtime keeps its own table of what a plugin may use and translates the plugin's numbers to these, so a plugin cannot
//! name a value that it was not given. This is not wasmtime's `ResourceTable`, which boxes every value, and in debug
//! builds never gives a place free again.

use wasmtime::component::Resource;

/// Values of one type, each at a place of its own.
pub(crate) struct Handles<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
    capacity: usize,
}

impl<T: 'static> Handles<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Handles {
            places: Vec::new(),
            free: Vec::new(),
            capacity,
        }
    }

    /// Values alive.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The values alive.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// Keeps a value; gives it back when there is no place left.
    pub(crate) fn insert(&mut self, value: T) -> Result<Resource<T>, T> {
        if self.len() >= self.capacity {
            return Err(value);
        }
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = Some(value);
                place
            }
            None => {
                self.places.push(Some(value));
                (self.places.len() - 1) as u32
            }
        };
        Ok(Resource::new_own(place))
    }

    pub(crate) fn get(&self, handle: &Resource<T>) -> Option<&T> {
        self.places.get(handle.rep() as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, handle: &Resource<T>) -> Option<&mut T> {
        self.places.get_mut(handle.rep() as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, handle: &Resource<T>) -> Option<T> {
        let value = self.places.get_mut(handle.rep() as usize)?.take();
        if value.is_some() {
            self.free.push(handle.rep());
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_the_capacity_counts_the_living() {
        let mut handles = Handles::new(2);
        let a = handles.insert("a").unwrap();
        let b = handles.insert("b").unwrap();
        assert_eq!(handles.insert("c").unwrap_err(), "c");
        assert_eq!(handles.remove(&a), Some("a"));
        assert_eq!(handles.remove(&a), None);
        assert_eq!(handles.len(), 1);
        let c = handles.insert("c").unwrap();
        assert_eq!(c.rep(), a.rep());
        assert_eq!((handles.get(&b), handles.get(&c)), (Some(&"b"), Some(&"c")));
    }
}
