//! The people of the local chain. Their keys are known to everyone: never fund them on another chain.

use alloy::primitives::{Address, keccak256};
use protocol::signature::SigningKey;

/// One key per part that signs.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// Deploys, owns the contracts, mints nothing.
    pub owner: SigningKey,
    /// Buys compute.
    pub client: SigningKey,
    /// Signs for the client's channel only.
    pub session: SigningKey,
    /// Signs for a direct channel.
    pub direct_session: SigningKey,
    /// Runs the market; its address is its identity.
    pub keeper: SigningKey,
    /// Holds the keeper's bond.
    pub keeper_owner: SigningKey,
    /// Earns; its key is on no machine of the network.
    pub provider: SigningKey,
    /// Signs receipts for the provider.
    pub worker: SigningKey,
    /// Receives the protocol fee.
    pub treasury: SigningKey,
}

impl Accounts {
    /// The accounts of the local chain, the same in every run.
    pub fn local() -> Self {
        Self {
            owner: key("owner"),
            client: key("client"),
            session: key("session"),
            direct_session: key("direct session"),
            keeper: key("keeper"),
            keeper_owner: key("keeper owner"),
            provider: key("provider"),
            worker: key("worker"),
            treasury: key("treasury"),
        }
    }

    /// Everyone who sends transactions and so needs ether.
    pub fn senders(&self) -> [Address; 6] {
        [&self.owner, &self.client, &self.keeper, &self.keeper_owner, &self.provider, &self.worker]
            .map(SigningKey::address)
    }
}

/// The key of a role: keccak256 of its name.
pub fn key(role: &str) -> SigningKey {
    let secret = keccak256(format!("capa local chain: {role}"));
    SigningKey::from_bytes(&secret.0).expect("a hash is a valid key but for one case in 2^128")
}
