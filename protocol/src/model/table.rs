//! Maps that are cheap to copy, because every step of a history is compared with the state before it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// An ordered map whose copies share their content until one of them changes.
#[derive(PartialEq, Eq)]
pub struct Table<K: Eq, V: Eq>(Arc<BTreeMap<K, V>>);

impl<K: Ord, V: Eq> Table<K, V> {
    /// The keys whose values differ from `before`, of which nothing was removed.
    pub fn changed<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a K> {
        let shared = Arc::ptr_eq(&self.0, &before.0);
        let rest = if shared { None } else { Some(self.0.iter()) };
        rest.into_iter().flatten().filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key)
    }
}

impl<K: Eq, V: Eq> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq, V: Eq> Default for Table<K, V> {
    fn default() -> Self {
        Self(Arc::new(BTreeMap::new()))
    }
}

impl<K: Eq, V: Eq> Deref for Table<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Clone + Eq, V: Clone + Eq> DerefMut for Table<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl<K: Ord, V: Eq> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(Arc::new(entries.into_iter().collect()))
    }
}

impl<K: Eq + fmt::Debug, V: Eq + fmt::Debug> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
