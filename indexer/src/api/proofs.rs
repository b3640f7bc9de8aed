//! Proofs of single lines, made from the verified file.

use super::{Api, Problem};
use crate::observe;
use alloy::primitives::B256;
use indexer_store::fact::{BatchId, Block};
use indexer_store::row::{BatchRow, LinesState};
use indexer_store::store::Store;
use protocol::batch::Lines;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Trees kept: whoever asks for one proof of a batch often asks for more.
const KEPT: usize = 8;

/// The trees used last, newest first.
#[derive(Default)]
pub(super) struct Proofs(Mutex<VecDeque<(B256, Arc<Lines>)>>);

impl Proofs {
    fn find(&self, data_hash: B256) -> Option<Arc<Lines>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(hash, _)| *hash == data_hash).map(|(_, lines)| Arc::clone(lines))
    }

    fn keep(&self, data_hash: B256, lines: &Arc<Lines>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((data_hash, Arc::clone(lines)));
        kept.truncate(KEPT);
    }
}

/// A batch and its verified lines.
pub(super) struct Proven {
    pub(super) block: Block,
    pub(super) batch: BatchRow,
    pub(super) lines: Arc<Lines>,
}

/// The verified lines of a batch, or why there are none.
pub(super) async fn lines(api: &Api, id: BatchId) -> Result<Proven, Problem> {
    let found = api.store.batch(id).await?;
    let Some(batch) = found.data else {
        return Err(Problem::NotFound(format!("keeper {} has not committed a batch {}", id.keeper, id.number)));
    };
    if batch.lines != LinesState::Verified {
        let text = format!("the lines of batch {} are not known yet: see its `lines`", id.number);
        return Err(Problem::NotYet(text));
    }
    let data_hash = batch.commitment.data_hash;
    if let Some(lines) = api.proofs.find(data_hash) {
        return Ok(Proven { block: found.block, batch, lines });
    }
    let bytes = api.store.file(data_hash).await?.unwrap_or_default();
    let commitment = batch.commitment;
    let verified = tokio::task::spawn_blocking(move || Lines::verify(&bytes, &commitment)).await;
    let lines = match verified {
        Ok(Ok(lines)) => Arc::new(lines),
        Ok(Err(error)) => {
            observe::request_failed(&error);
            return Err(Problem::Internal);
        }
        Err(error) => {
            observe::request_failed(&error);
            return Err(Problem::Internal);
        }
    };
    api.proofs.keep(data_hash, &lines);
    Ok(Proven { block: found.block, batch, lines })
}
