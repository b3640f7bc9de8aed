//! Logs and metrics, named after what happened.

use indexer_store::fact::{BatchId, Block};
use service::chain::ChainError;
use std::fmt::Display;

/// A block was applied.
pub(crate) fn block_applied(block: Block, facts: usize) {
    metrics::counter!("capa_indexer_blocks_applied_total").increment(1);
    metrics::counter!("capa_indexer_facts_total").increment(facts as u64);
    #[allow(clippy::cast_precision_loss)]
    metrics::gauge!("capa_indexer_block").set(block.number as f64);
    tracing::debug!(block = block.number, facts, "block applied");
}

/// A block was taken back.
pub(crate) fn block_reverted(block: Block) {
    metrics::counter!("capa_indexer_blocks_reverted_total").increment(1);
    tracing::info!(block = block.number, hash = %block.hash, "the chain reorganised: block taken back");
}

/// The chain did not answer.
pub(crate) fn chain_failed(error: &ChainError) {
    metrics::counter!("capa_indexer_chain_errors_total").increment(1);
    tracing::warn!(%error, "the chain did not answer; trying again");
}

/// The store did not answer.
pub(crate) fn store_failed(error: &dyn Display) {
    metrics::counter!("capa_indexer_store_errors_total").increment(1);
    tracing::warn!(%error, "the store did not answer; trying again");
}

/// A log of our contracts could not be read, so this program is older than the contracts.
pub(crate) fn log_unreadable(error: &dyn Display) {
    metrics::counter!("capa_indexer_unreadable_logs_total").increment(1);
    tracing::warn!(%error, "a log was left out");
}

/// A batch's lines are what it committed to.
pub(crate) fn lines_verified(id: BatchId, lines: usize) {
    metrics::counter!("capa_indexer_lines_verified_total").increment(lines as u64);
    tracing::info!(keeper = %id.keeper, batch = id.number, lines, "lines verified");
}

/// A batch's lines cannot be had, or are not what it committed to.
pub(crate) fn lines_failed(id: BatchId, problem: &str, mismatch: bool) {
    let kind = if mismatch { "mismatch" } else { "unavailable" };
    metrics::counter!("capa_indexer_lines_failed_total", "kind" => kind).increment(1);
    tracing::warn!(keeper = %id.keeper, batch = id.number, problem, kind, "lines do not count");
}

/// A request failed inside.
pub(crate) fn request_failed(error: &dyn Display) {
    metrics::counter!("capa_indexer_request_errors_total").increment(1);
    tracing::error!(%error, "a request failed");
}
