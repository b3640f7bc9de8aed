//! Machine code that was made before, so that the same source need not be compiled again.
//!
//! It lives in the memory of one job process, which serves one tenant, and is never written down or shared. Shared, how
//! long a job takes to start would tell one tenant what others run; and code that a tenant brought a compiler to get
//! wrong would run for all of them.

use super::image::Image;
use crate::execute::Compilations;
use alloy::primitives::B256;
use std::collections::HashMap;
use std::sync::Arc;

/// Most code that is kept.
const MAX_BYTES: usize = 64 << 20;

/// Machine code, ready to be loaded.
pub(in crate::execute) struct Code {
    /// Names the source and all that its code depends on.
    pub(super) key: B256,
    pub(in crate::execute) bytes: Vec<u8>,
    pub(super) image: Image,
}

/// The code used last.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<B256, Entry>,
    bytes: usize,
    turn: u64,
    count: Compilations,
}

struct Entry {
    code: Arc<Code>,
    used: u64,
}

impl Cache {
    pub(super) fn get(&mut self, key: &B256) -> Option<Arc<Code>> {
        self.turn += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.turn;
        self.count.cached += 1;
        Some(entry.code.clone())
    }

    /// How often code was found, and kept anew.
    pub(super) const fn count(&self) -> Compilations {
        self.count
    }

    /// Keeps code, in place of what was used longest ago.
    pub(super) fn put(&mut self, code: Arc<Code>) {
        self.turn += 1;
        self.count.fresh += 1;
        self.bytes += code.bytes.len();
        if let Some(same) = self.entries.insert(code.key, Entry { code, used: self.turn }) {
            self.bytes -= same.code.bytes.len();
        }
        while self.bytes > MAX_BYTES {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key) else {
                return;
            };
            if let Some(dropped) = self.entries.remove(&oldest) {
                self.bytes -= dropped.code.bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::keccak256;

    fn code(name: &str, length: usize) -> Arc<Code> {
        Arc::new(Code { key: keccak256(name), bytes: vec![0; length], image: Image { variables: 0 } })
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut cache = Cache::default();
        for name in ["a", "b", "c"] {
            cache.put(code(name, MAX_BYTES / 3));
        }
        assert!(cache.get(&keccak256("a")).is_some());
        cache.put(code("d", MAX_BYTES / 3));
        let kept = |cache: &mut Cache| ["a", "b", "c", "d"].map(|name| cache.get(&keccak256(name)).is_some());
        assert_eq!(kept(&mut cache), [true, false, true, true]);
        cache.put(code("d", MAX_BYTES / 3));
        assert_eq!(kept(&mut cache), [true, false, true, true], "the same code counts once");
        cache.put(code("e", MAX_BYTES + 1));
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0), "code that is too large is not kept");
    }
}
