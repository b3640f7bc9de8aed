//! The two ways in which modules are compiled.

use super::STACK_BYTES;
use super::rewrite::{costs, rewrite};
use wasmtime::{Config, Engine, Module};

/// Compilers that give a program the same outputs for the same fuel.
#[derive(Clone)]
pub(super) struct Engines {
    /// For modules that [`rewrite`] has changed.
    pub(super) rewritten: Engine,
    /// For all others: it makes NaNs canonical itself.
    pub(super) canonical: Engine,
}

impl Engines {
    pub(super) fn new() -> wasmtime::Result<Self> {
        Ok(Self {
            rewritten: Engine::new(config().operator_cost(costs()))?,
            canonical: Engine::new(config().cranelift_nan_canonicalization(true))?,
        })
    }

    pub(super) fn compile(&self, code: &[u8]) -> wasmtime::Result<Module> {
        // What the author is told is about the module as it came.
        Module::validate(&self.canonical, code)?;
        // With what is added a module may be too large, though it was not without.
        let rewritten = rewrite(code).and_then(|code| Module::from_binary(&self.rewritten, &code).ok());
        rewritten.map_or_else(|| Module::from_binary(&self.canonical, code), Ok)
    }

    pub(super) fn is_rewritten(&self, module: &Module) -> bool {
        Engine::same(module.engine(), &self.rewritten)
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .max_wasm_stack(STACK_BYTES);
    config
}
