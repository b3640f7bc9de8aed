//! Providers and their worker keys.

use crate::signature::Domain;
use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::SolValue;

/// What a worker key signs so that a provider may add it to the ProviderRegistry, whose own domain this is:
/// `WorkerConsent(address provider,address worker)`. Nobody can claim another's key.
pub fn worker_consent(registry: &Domain, provider: Address, worker: Address) -> B256 {
    let kind = keccak256("WorkerConsent(address provider,address worker)");
    registry.digest(keccak256((kind, provider, worker).abi_encode()))
}
