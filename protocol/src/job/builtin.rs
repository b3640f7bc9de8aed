//! Kernels that ship with the worker: what they compute, and how much work that is.
//!
//! Their work follows from these parameters alone, so a buyer can count again what a receipt bills.

use super::{Blob, OutputBuffer};
use crate::amount::Quantity;
use crate::resource::Unit;
use serde::{Deserialize, Serialize};

/// A builtin kernel and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kernel", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Builtin {
    /// keccak-256 of the input followed by a counter, searched for the smallest hash.
    Hashsearch {
        /// First value of the counter.
        start: Quantity,
        /// How many values are tried.
        count: Quantity,
    },
}

impl Builtin {
    /// The unit of its work.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Hashsearch { .. } => Unit::Hash,
        }
    }

    /// The class of the ResourceCatalog that it is bought as: work of two kernels does not cost the same.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Hashsearch { .. } => "hashsearch.keccak256",
        }
    }

    /// Its work, in [`unit`](Self::unit)s.
    pub const fn work(&self) -> u64 {
        match self {
            Self::Hashsearch { count, .. } => count.get(),
        }
    }

    pub(super) fn validate(&self, inputs: &[Blob], outputs: &[OutputBuffer]) -> Result<(), String> {
        match self {
            Self::Hashsearch { count, .. } => {
                if inputs.len() != 1 || outputs.len() != 1 || count.get() == 0 {
                    return Err("hashsearch needs one input, one output and a count above zero".into());
                }
            }
        }
        Ok(())
    }
}
