//! Following the chain. A chain change is data with an inverse: blocks are applied, and reverted newest first.
//!
//! Far below the head, logs are fetched by ranges of heights; near it, block by block and by block hash. An answer
//! without logs is not believed as such: a node behind a load balancer may simply not have the block. In a range
//! the last block's header must come in the same answer; near the head each header's bloom filter is compared, and
//! where it announces logs of ours they are taken from the block's receipts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256, BloomInput};
use alloy::providers::Provider;
use alloy::rpc::client::BatchRequest;
use alloy::rpc::types::{Filter, Log};

use super::client::{BlockReceipt, Chain, Header, Tag};
use super::{BlockRef, ChainError, METHOD_NOT_FOUND};

/// Nearer to the head than this, blocks are read one by one, because they may yet be replaced.
const NEAR: u64 = 64;
/// Blocks remembered to find the common ancestor after a reorganisation.
const REMEMBERED: usize = 1024;
/// The most blocks asked for in one range, and the most headers in one request.
const WIDEST: u64 = 2000;
const HEADERS: usize = 100;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One step of the chain.
#[derive(Clone, Debug)]
pub enum Change {
    /// The block is now part of the chain.
    Applied {
        /// The block.
        block: BlockRef,
        /// The hash of the block before it. It is the block applied last only near the head: blocks without logs
        /// are left out of history.
        parent: B256,
        /// The logs of the followed addresses, in their order.
        logs: Vec<Log>,
    },
    /// The block applied last is no longer part of the chain: undo what it did.
    Reverted {
        /// The block.
        block: BlockRef,
    },
}

/// A cursor along the chain.
pub struct Follow {
    chain: Chain,
    addresses: Vec<Address>,
    start_block: u64,
    /// The newest applied blocks, ascending.
    recent: VecDeque<BlockRef>,
    /// Whether `recent` holds every block ever applied, so that all of them may be reverted.
    complete: bool,
    ready: VecDeque<Change>,
    range: u64,
    failures: u32,
}

impl Follow {
    /// Continues after `recent`, the newest applied blocks in ascending order as the caller stored them (a few
    /// hundred are plenty); empty means to begin at `start_block`. Whether they are still part of the chain is
    /// checked before anything else, so that a crash amid a reorganisation leaves nothing behind.
    pub fn new(chain: Chain, addresses: Vec<Address>, start_block: u64, recent: Vec<BlockRef>) -> Self {
        let complete = recent.first().is_none_or(|oldest| oldest.number <= start_block);
        let recent = VecDeque::from(recent);
        Self { chain, addresses, start_block, recent, complete, ready: VecDeque::new(), range: WIDEST, failures: 0 }
    }

    /// The next change, waiting for it. Safe to drop half-way, as in `select!`.
    ///
    /// After a retryable error the next call pauses by itself, longer each time, so a caller may simply call again.
    ///
    /// # Errors
    /// Retryable when the chain gives no usable answer; final when the chain has replaced more blocks than are
    /// remembered, which means that it is another chain or that the store is too old to be repaired.
    pub async fn next(&mut self) -> Result<Change, ChainError> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            if self.failures > 0 {
                tokio::time::sleep(self.pause()).await;
            }
            let step = self.step().await;
            self.failures = if step.is_err() { self.failures.saturating_add(1) } else { 0 };
            if !step? && self.ready.is_empty() {
                tokio::time::sleep(self.chain.poll()).await;
            }
        }
    }

    fn pause(&self) -> Duration {
        self.chain.poll().saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE)
    }

    /// Looks at the head once. Tells whether to look again without waiting.
    async fn step(&mut self) -> Result<bool, ChainError> {
        let head = self.chain.header(Tag::Latest).await?;
        let Some(tip) = self.recent.back().copied() else {
            return self.advance(self.start_block, None, head).await;
        };
        if head.number > tip.number {
            return self.advance(tip.number.saturating_add(1), Some(tip), head).await;
        }
        // The node is not ahead of us: it may be behind, or on another branch, but it must not contradict us.
        let Some(known) = self.recent.iter().rev().find(|block| block.number <= head.number).copied() else {
            return Ok(false);
        };
        match self.header_at(known.number, &head).await? {
            Some(header) if header.hash != known.hash => self.rewind(&head).await,
            _ => Ok(false),
        }
    }

    async fn advance(&mut self, from: u64, parent: Option<BlockRef>, head: Header) -> Result<bool, ChainError> {
        if head.number < from {
            return Ok(false);
        }
        if head.number - from >= NEAR {
            let to = from.saturating_add(self.range - 1).min(head.number - NEAR);
            return self.advance_by_range(from, to, parent, &head).await;
        }
        let Some(header) = self.header_at(from, &head).await? else {
            return Ok(false);
        };
        if parent.is_some_and(|parent| parent.hash != header.parent_hash) {
            return self.rewind(&head).await;
        }
        let logs = self.logs_of(&header).await?;
        self.apply(vec![(header, logs)]);
        Ok(true)
    }

    async fn advance_by_range(
        &mut self,
        from: u64,
        to: u64,
        parent: Option<BlockRef>,
        head: &Header,
    ) -> Result<bool, ChainError> {
        let answer = match self.fetch_range(from, to, parent).await {
            Ok(answer) => answer,
            // Nodes bound the width, the size and the duration of such a request, each in words of its own.
            Err(error) if to > from => {
                self.range = (to - from).div_ceil(2);
                tracing::debug!(%error, blocks = self.range, "reading history in smaller ranges");
                return if matches!(error, ChainError::Refused { .. }) { Ok(true) } else { Err(error) };
            }
            Err(error) => return Err(error),
        };
        let Some(last) = answer.last else {
            return Ok(false);
        };
        if let (Some(ours), Some(theirs)) = (parent, &answer.parent)
            && ours.hash != theirs.hash
        {
            return self.rewind(head).await;
        }
        let blocks = self.attach_headers(answer.logs, last, from).await?;
        self.apply(blocks);
        self.range = self.range.saturating_mul(2).min(WIDEST);
        Ok(true)
    }

    /// The logs of a range together with the headers at its ends, in one request so that one node answers it all.
    async fn fetch_range(&self, from: u64, to: u64, parent: Option<BlockRef>) -> Result<RangeAnswer, ChainError> {
        let client = self.chain.provider().client();
        let mut batch = BatchRequest::new(client);
        let last = batch.add_call("eth_getBlockByNumber", &(BlockNumberOrTag::Number(to), false))?;
        let before = match parent {
            Some(block) => {
                let at = BlockNumberOrTag::Number(block.number);
                Some(batch.add_call("eth_getBlockByNumber", &(at, false))?)
            }
            None => None,
        };
        let logs = if self.addresses.is_empty() {
            None
        } else {
            Some(batch.add_call("eth_getLogs", &(self.filter().from_block(from).to_block(to),))?)
        };
        batch.send().await?;
        Ok(RangeAnswer {
            last: last.await?,
            parent: match before {
                Some(header) => header.await?,
                None => None,
            },
            logs: match logs {
                Some(logs) => logs.await?,
                None => Vec::new(),
            },
        })
    }

    /// Groups the logs of a range by block and finds each block's header. The range's last block is always there.
    async fn attach_headers(
        &self,
        logs: Vec<Log>,
        last: Header,
        from: u64,
    ) -> Result<Vec<(Header, Vec<Log>)>, ChainError> {
        let mut by_block: BTreeMap<u64, Vec<Log>> = BTreeMap::new();
        for log in logs {
            let number = log.block_number.filter(|number| (from..=last.number).contains(number));
            let number = number.ok_or_else(|| inconsistent("a log lies outside the range that was asked for"))?;
            by_block.entry(number).or_default().push(log);
        }
        by_block.entry(last.number).or_default();
        let wanted: Vec<u64> = by_block.keys().copied().filter(|number| *number != last.number).collect();
        let mut headers = Vec::with_capacity(by_block.len());
        for part in wanted.chunks(HEADERS) {
            headers.extend(self.headers(part).await?);
        }
        headers.push(last);
        let mut blocks = Vec::with_capacity(headers.len());
        for (header, (number, logs)) in headers.into_iter().zip(by_block) {
            if header.number != number {
                return Err(inconsistent("a header of another height was returned"));
            }
            let logs = checked(logs, header.hash)?;
            blocks.push((header, logs));
        }
        Ok(blocks)
    }

    async fn headers(&self, numbers: &[u64]) -> Result<Vec<Header>, ChainError> {
        let client = self.chain.provider().client();
        let mut batch = BatchRequest::new(client);
        let mut pending = Vec::with_capacity(numbers.len());
        for number in numbers {
            let at = BlockNumberOrTag::Number(*number);
            pending.push(batch.add_call::<_, Option<Header>>("eth_getBlockByNumber", &(at, false))?);
        }
        batch.send().await?;
        let mut headers = Vec::with_capacity(numbers.len());
        for header in pending {
            headers.push(header.await?.ok_or_else(|| inconsistent("a block with logs has no header"))?);
        }
        Ok(headers)
    }

    /// The logs of one block, not believing that there are none where its bloom filter says otherwise.
    async fn logs_of(&self, header: &Header) -> Result<Vec<Log>, ChainError> {
        if self.addresses.is_empty() {
            return Ok(Vec::new());
        }
        let announced =
            self.addresses.iter().any(|address| header.logs_bloom.contains_input(BloomInput::Raw(address.as_slice())));
        if announced {
            match self.logs_by_receipts(header.hash).await {
                Err(ChainError::Refused { code: METHOD_NOT_FOUND, .. }) => {}
                result => return result,
            }
        }
        let logs = self.chain.provider().get_logs(&self.filter().at_block_hash(header.hash)).await?;
        if announced && logs.is_empty() {
            return Err(inconsistent("the header announces logs that the node does not return"));
        }
        checked(logs, header.hash)
    }

    async fn logs_by_receipts(&self, hash: B256) -> Result<Vec<Log>, ChainError> {
        let receipts: Option<Vec<BlockReceipt>> =
            self.chain.provider().client().request("eth_getBlockReceipts", (hash,)).await?;
        let receipts = receipts
            .filter(|receipts| !receipts.is_empty())
            .ok_or_else(|| inconsistent("the header announces logs, but the node has no receipts yet"))?;
        if receipts.iter().any(|receipt| receipt.block_hash != Some(hash)) {
            return Err(inconsistent("a receipt belongs to another block than was asked for"));
        }
        let logs = receipts.into_iter().flat_map(|receipt| receipt.logs);
        checked(logs.filter(|log| self.addresses.contains(&log.address())).collect(), hash)
    }

    /// Reverts down to the newest block that the node still has.
    async fn rewind(&mut self, head: &Header) -> Result<bool, ChainError> {
        let mut gone = 0;
        let mut found = false;
        for block in self.recent.iter().rev() {
            if block.number <= head.number {
                let Some(header) = self.header_at(block.number, head).await? else {
                    return Ok(false);
                };
                if header.hash == block.hash {
                    found = true;
                    break;
                }
            }
            gone += 1;
        }
        if !found && !self.complete {
            return Err(ChainError::Final(format!(
                "none of the {gone} blocks remembered is part of chain {} any more: it is another chain than the \
                 one this store was filled from, or it was reorganised too deeply; start again with an empty store",
                self.chain.chain_id()
            )));
        }
        tracing::info!(blocks = gone, "the chain was reorganised");
        metrics::counter!("chain_reverted_blocks_total").increment(gone);
        for _ in 0..gone {
            if let Some(block) = self.recent.pop_back() {
                self.ready.push_back(Change::Reverted { block });
            }
        }
        Ok(true)
    }

    /// Takes blocks over. There is no await in it, so a dropped [`Follow::next`] leaves all of them or none.
    fn apply(&mut self, blocks: Vec<(Header, Vec<Log>)>) {
        for (header, logs) in blocks {
            let block = header.block();
            self.recent.push_back(block);
            self.ready.push_back(Change::Applied { block, parent: header.parent_hash, logs });
        }
        while self.recent.len() > REMEMBERED {
            self.recent.pop_front();
            self.complete = false;
        }
        if let Some(block) = self.recent.back() {
            metrics::gauge!("chain_followed_block").set(block.number as f64);
        }
    }

    async fn header_at(&self, number: u64, head: &Header) -> Result<Option<Header>, ChainError> {
        if number == head.number {
            return Ok(Some(head.clone()));
        }
        self.chain.header_at(BlockNumberOrTag::Number(number)).await
    }

    fn filter(&self) -> Filter {
        Filter::new().address(self.addresses.clone())
    }
}

struct RangeAnswer {
    last: Option<Header>,
    parent: Option<Header>,
    logs: Vec<Log>,
}

fn inconsistent(what: &str) -> ChainError {
    ChainError::Retryable(format!("{what}; the node may be behind or amid a reorganisation"))
}

/// Logs of one block in their order, refused if one of them belongs to another block.
fn checked(mut logs: Vec<Log>, hash: B256) -> Result<Vec<Log>, ChainError> {
    if logs.iter().any(|log| log.block_hash != Some(hash) || log.removed) {
        return Err(inconsistent("a log belongs to another block than was asked for"));
    }
    logs.sort_by_key(|log| log.log_index);
    Ok(logs)
}
