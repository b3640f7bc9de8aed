//! The indexer itself.

use crate::network::Network;
use async_graphql::SimpleObject;
use indexer_store::row::Counts;
use serde::Serialize;
use utoipa::ToSchema;

/// What is indexed, and how far.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Status {
    /// EIP-155 chain id.
    chain_id: u64,
    /// The Settlement contract.
    settlement: String,
    /// The ProviderRegistry contract.
    registry: String,
    /// The ResourceCatalog contract.
    catalog: String,
    /// Where indexing started.
    start_block: u64,
    /// Seconds after its commit at which a batch without open challenges is final.
    challenge_period: u64,
    /// Whether the index has reached the chain's head.
    ready: bool,
    /// Keepers whose lines are fetched.
    keepers: Vec<KnownKeeper>,
    /// Batches, by where they stand.
    batches: BatchCounts,
}

/// A keeper whose lines are fetched.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(in crate::api) struct KnownKeeper {
    /// Its address.
    address: String,
    /// Where it publishes.
    url: String,
}

/// Number of batches.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct BatchCounts {
    /// In their challenge window.
    pending: u64,
    /// Final.
    proven: u64,
    /// Voided.
    void: u64,
    /// Pending or final, and their lines are not known.
    lines_missing: u64,
}

impl Status {
    pub(in crate::api) fn new(network: &Network, counts: &Counts, ready: bool) -> Self {
        Self {
            chain_id: network.chain_id,
            settlement: network.settlement.to_string(),
            registry: network.registry.to_string(),
            catalog: network.catalog.to_string(),
            start_block: network.start_block,
            challenge_period: network.challenge_period,
            ready,
            keepers: network
                .keepers
                .iter()
                .map(|keeper| KnownKeeper { address: keeper.address.to_string(), url: keeper.url.to_string() })
                .collect(),
            batches: BatchCounts {
                pending: counts.pending,
                proven: counts.proven,
                void: counts.void,
                lines_missing: counts.lines_missing,
            },
        }
    }
}
