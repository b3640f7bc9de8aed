//! Values that are good for a moment.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Values that are good for a moment.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    max_age: Duration,
    entries: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Copy> Cache<K, V> {
    pub(super) fn new(max_age: Duration) -> Self {
        Self { max_age, entries: Mutex::default() }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.get(key).filter(|(at, _)| at.elapsed() < self.max_age).map(|(_, value)| *value)
    }

    pub(super) fn put(&self, key: K, value: V) {
        let mut entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.retain(|_, (at, _)| at.elapsed() < self.max_age);
        entries.insert(key, (Instant::now(), value));
    }

    pub(super) fn forget(&self, key: &K) {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_forgets() {
        let cache = Cache::new(Duration::from_secs(60));
        cache.put(1, 'a');
        assert_eq!(cache.get(&1), Some('a'));
        cache.forget(&1);
        assert_eq!(cache.get(&1), None);
        let stale = Cache::new(Duration::ZERO);
        stale.put(1, 'a');
        assert_eq!(stale.get(&1), None);
    }
}
