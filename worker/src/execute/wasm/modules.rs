//! Compiled modules, kept for the next job that brings the same one.
//!
//! A compiled module is code and initial data; what a job writes lies in its own instance and ends with it. So nothing
//! passes from one job to the next here, save the time that compiling took. Tenants do not share it in any case: their
//! jobs run in processes of their own, each with its own executor.

use crate::execute::Compilations;
use crate::node::lock;
use alloy::primitives::B256;
use std::collections::VecDeque;
use std::sync::Mutex;
use wasmtime::Module;

/// How many modules are kept.
const MOST: usize = 16;
/// How many bytes of WebAssembly they may have together. Machine code is a few times as long.
const MOST_BYTES: usize = 16 << 20;

/// The modules that were used last, the newest at the end.
#[derive(Default)]
pub(super) struct Modules {
    kept: Mutex<VecDeque<Kept>>,
    count: Mutex<Compilations>,
}

struct Kept {
    hash: B256,
    length: usize,
    module: Module,
}

impl Modules {
    /// The module of that hash, if it was compiled not long ago.
    pub(super) fn find(&self, hash: B256) -> Option<Module> {
        let mut kept = lock(&self.kept);
        let index = kept.iter().position(|kept| kept.hash == hash)?;
        let found = kept.remove(index)?;
        let module = found.module.clone();
        kept.push_back(found);
        lock(&self.count).cached += 1;
        Some(module)
    }

    /// Keeps a module in the place of those that were not used for longest.
    pub(super) fn keep(&self, hash: B256, length: usize, module: Module) {
        lock(&self.count).fresh += 1;
        let mut kept = lock(&self.kept);
        kept.push_back(Kept { hash, length, module });
        while kept.len() > MOST || kept.iter().map(|kept| kept.length).sum::<usize>() > MOST_BYTES {
            kept.pop_front();
        }
    }

    /// How often modules were found, and kept anew.
    pub(super) fn count(&self) -> Compilations {
        *lock(&self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::Engine;

    fn hash(number: usize) -> B256 {
        B256::with_last_byte(u8::try_from(number).unwrap())
    }

    #[test]
    fn what_was_used_last_is_kept() {
        let module = Module::new(&Engine::default(), b"\0asm\x01\0\0\0").unwrap();
        let modules = Modules::default();
        for number in 0..MOST {
            modules.keep(hash(number), 8, module.clone());
        }
        assert!(modules.find(hash(0)).is_some(), "used again, so it stays");
        modules.keep(hash(MOST), 8, module.clone());
        assert!(modules.find(hash(1)).is_none());
        assert_eq!(modules.count(), Compilations { fresh: MOST as u64 + 1, cached: 1 });
        assert!(modules.find(hash(0)).is_some() && modules.find(hash(MOST)).is_some());
        modules.keep(hash(200), MOST_BYTES, module.clone());
        assert!(modules.find(hash(0)).is_none(), "the large one needs all the room");
        modules.keep(hash(201), MOST_BYTES + 1, module);
        assert!(modules.find(hash(201)).is_none(), "too large to be kept");
    }
}
