//! Batches and providers.

use super::Finality;
use crate::network::Network;
use alloy::primitives::Address;
use async_graphql::{Enum, SimpleObject};
use indexer_store::row::{BatchRow, LinesState, ProviderRow};
use serde::Serialize;
use utoipa::ToSchema;

/// Whether the lines of a batch are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, Enum)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum LinesStatus {
    /// Not had yet.
    Missing,
    /// The keeper published others than it committed to.
    Mismatch,
    /// They are the committed ones.
    Verified,
}

/// A batch that a keeper committed.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Batch {
    /// The keeper.
    keeper: String,
    /// Counts from 1.
    number: u32,
    /// Where it stands.
    finality: Finality,
    /// When it was committed, in seconds since 1970.
    committed_at: u64,
    /// When it becomes final if no challenge is open then.
    final_at: u64,
    /// Challenges that the keeper has not answered.
    open_challenges: u32,
    /// Block of the commit.
    block: u64,
    /// Transaction of the commit.
    transaction: String,
    /// Root of the earnings tree.
    root: String,
    /// What it pays out, in nano CAPA.
    sum: String,
    /// The protocol fee, in nano CAPA.
    fee: String,
    /// Root of the lines tree.
    lines_root: String,
    /// What the lines add up to, in nano CAPA.
    lines_sum: String,
    /// Number of lines.
    line_count: u32,
    /// keccak256 of the lines file.
    data_hash: String,
    /// Whether the lines are known; until then none of them is a trade.
    lines: LinesStatus,
    /// Why they are not.
    lines_problem: Option<String>,
}

impl Batch {
    pub(in crate::api) fn new(row: BatchRow, network: &Network) -> Self {
        let commitment = &row.commitment;
        let (lines, lines_problem) = match row.lines {
            LinesState::Missing(problem) => (LinesStatus::Missing, problem),
            LinesState::Mismatch(problem) => (LinesStatus::Mismatch, Some(problem)),
            LinesState::Verified => (LinesStatus::Verified, None),
        };
        let is_known = network.keepers.iter().any(|keeper| keeper.address == row.id.keeper);
        let unknown = (lines != LinesStatus::Verified && !is_known)
            .then(|| "this indexer is not told where that keeper publishes its lines".to_owned());
        Self {
            keeper: row.id.keeper.to_string(),
            number: row.id.number,
            finality: row.finality.into(),
            committed_at: row.committed_at,
            final_at: row.committed_at.saturating_add(network.challenge_period),
            open_challenges: row.open_challenges,
            block: row.block,
            transaction: row.transaction.to_string(),
            root: commitment.root.to_string(),
            sum: commitment.sum.to_string(),
            fee: commitment.fee.to_string(),
            lines_root: commitment.lines_root.to_string(),
            lines_sum: commitment.lines_sum.to_string(),
            line_count: commitment.line_count,
            data_hash: commitment.data_hash.to_string(),
            lines,
            lines_problem: lines_problem.or(unknown),
        }
    }
}

/// A sum over proven lines, and over pending and proven ones.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(in crate::api) struct Both {
    /// Of proven lines.
    proven: String,
    /// Of pending and proven lines.
    all: String,
}

/// A provider.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Provider {
    /// Its address, to which it is paid.
    address: String,
    /// Where it can be asked; absent if it earned without being registered.
    endpoint: Option<String>,
    /// Hash of its terms.
    terms: Option<String>,
    /// Keys that sign for it.
    workers: Vec<String>,
    /// Nano CAPA earned, by its keepers' lines.
    earned: Both,
    /// Jobs finished.
    jobs: Both,
    /// Usage lines.
    lines: Both,
    /// What reached it by calls that name it, in nano CAPA. A batch paid out as a whole is not among them.
    paid: Paid,
}

/// What reached a provider, in nano CAPA.
#[derive(Debug, Clone, Serialize, ToSchema, SimpleObject)]
pub(in crate::api) struct Paid {
    /// From final batches, by `claim`.
    claimed: String,
    /// From channels of keepers that were wound down, by `recover`.
    recovered: String,
    /// From direct channels, by `redeem`.
    redeemed: String,
}

impl From<ProviderRow> for Provider {
    fn from(row: ProviderRow) -> Self {
        let both = |proven: String, all: String| Both { proven, all };
        Self {
            address: row.address.to_string(),
            endpoint: row.endpoint,
            terms: row.terms.map(|terms| terms.to_string()),
            workers: row.workers.iter().map(Address::to_string).collect(),
            earned: both(row.proven.amount.to_string(), row.all.amount.to_string()),
            jobs: both(row.proven.finished.to_string(), row.all.finished.to_string()),
            lines: both(row.proven.lines.to_string(), row.all.lines.to_string()),
            paid: Paid {
                claimed: row.payments.claimed.to_string(),
                recovered: row.payments.recovered.to_string(),
                redeemed: row.payments.redeemed.to_string(),
            },
        }
    }
}
