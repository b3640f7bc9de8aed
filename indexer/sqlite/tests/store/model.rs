//! What the protocol says, in the plainest way: everything is computed from all batches each time.

use crate::history::{self, Action, CHALLENGE_PERIOD, LATENESS, LineSeed, Step};
use alloy::primitives::{Address, B256, keccak256};
use indexer_store::fact::{BatchId, Block, Class, Fact, Located, PaidBy};
use indexer_store::trade::{Finality, Scale, Scope, Trade, Window};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::batch::{Commitment, Line, Lines};
use protocol::order::JobId;
use protocol::resource::ResourceId;
use std::collections::BTreeSet;

const SCALE: u64 = 1_000;

#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    pub(crate) finality: Finality,
    pub(crate) open: BTreeSet<Address>,
    pub(crate) is_attached: bool,
    committed_at: u64,
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    block: Block,
    batches: Vec<Batch>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let block = Block { number: 0, hash: B256::ZERO, timestamp: 1_000_000 };
        Self { block, batches: Vec::new() }
    }

    pub(crate) fn height(&self) -> u64 {
        self.block.number
    }

    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The next block and its facts. The first one fills the catalog.
    pub(crate) fn advance(&mut self, step: &Step) -> (Block, Vec<Located>) {
        let number = self.block.number + 1;
        let hash = keccak256([self.block.hash.as_slice(), &step.seconds.to_be_bytes()].concat());
        self.block = Block { number, hash, timestamp: self.block.timestamp + step.seconds };
        let mut facts = if number == 1 { catalog() } else { vec![] };
        facts.extend(step.actions.iter().filter_map(|action| self.act(action)));
        self.finalise();
        let facts = facts
            .into_iter()
            .zip(0..)
            .map(|(fact, log_index)| Located { log_index, transaction: hash, fact })
            .collect();
        (self.block, facts)
    }

    fn act(&mut self, action: &Action) -> Option<Fact> {
        match action {
            Action::Commit { keeper, lines } => self.commit(history::keeper(*keeper), lines),
            Action::Challenge { keeper, provider } => {
                let now = self.block.timestamp;
                let batch = self.pending(*keeper).filter(|batch| now < batch.committed_at + CHALLENGE_PERIOD)?;
                batch.open.insert(history::provider(*provider));
                Some(Fact::Challenged { batch: batch.id, provider: history::provider(*provider) })
            }
            Action::Answer { keeper, provider } => {
                let batch = self.pending(*keeper)?;
                let was_open = batch.open.remove(&history::provider(*provider));
                was_open.then_some(Fact::Answered { batch: batch.id, provider: history::provider(*provider) })
            }
            Action::Void { keeper } => {
                let batch = self.pending(*keeper).filter(|batch| !batch.open.is_empty())?;
                batch.finality = Finality::Void;
                Some(Fact::BatchVoided { batch: batch.id })
            }
            Action::Register { provider } => Some(Fact::ProviderRecorded {
                provider: history::provider(*provider),
                endpoint: format!("https://{}.example", self.block.number),
                terms: B256::repeat_byte(*provider),
            }),
            Action::Worker { provider, worker, added } => Some(Fact::WorkerChanged {
                provider: history::provider(*provider),
                worker: Address::repeat_byte(0x50 + worker),
                added: *added,
            }),
            Action::Pay { provider, amount } => {
                Some(Fact::Paid { provider: history::provider(*provider), amount: Amount(*amount), way: PaidBy::Claim })
            }
        }
    }

    fn pending(&mut self, keeper: u8) -> Option<&mut Batch> {
        let keeper = history::keeper(keeper);
        self.batches.iter_mut().find(|batch| batch.id.keeper == keeper && batch.finality == Finality::Pending)
    }

    fn commit(&mut self, keeper: Address, seeds: &[LineSeed]) -> Option<Fact> {
        // By the contract a batch that is over makes room for the next within the same block.
        self.finalise();
        let own = self.batches.iter().filter(|batch| batch.id.keeper == keeper);
        if own.clone().any(|batch| batch.finality != Finality::Proven) {
            return None;
        }
        let id = BatchId { keeper, number: own.count() as u32 + 1 };
        let lines: Vec<Line> = seeds.iter().map(|seed| self.line(seed)).collect();
        let tree = Lines::new(lines.clone()).unwrap();
        let commitment = Commitment {
            root: B256::repeat_byte(7),
            sum: tree.root().sum,
            fee: Amount(0),
            lines_root: tree.root().hash,
            lines_sum: tree.root().sum,
            line_count: lines.len() as u32,
            data_hash: tree.data_hash(),
        };
        self.batches.push(Batch {
            id,
            finality: Finality::Pending,
            open: BTreeSet::new(),
            // There is nothing to fetch of an empty batch.
            is_attached: lines.is_empty(),
            committed_at: self.block.timestamp,
            lines,
        });
        Some(Fact::BatchCommitted { batch: id, commitment })
    }

    fn line(&self, seed: &LineSeed) -> Line {
        let amount = (seed.quantity * seed.price).div_ceil(SCALE);
        Line {
            job: JobId(history::job(seed.party)),
            payer: history::payer(seed.party),
            provider: history::provider(seed.party),
            resource: ResourceId(seed.resource),
            quantity: Quantity(seed.quantity),
            price: Price(seed.price),
            amount: Amount(if seed.is_priced { amount } else { amount + 2 }),
            ended_at: Timestamp(self.block.timestamp + 10 - seed.age),
            result: B256::repeat_byte(u8::from(seed.is_finished)),
        }
    }

    fn finalise(&mut self) {
        for batch in &mut self.batches {
            let is_over = batch.committed_at + CHALLENGE_PERIOD <= self.block.timestamp && batch.open.is_empty();
            if batch.finality == Finality::Pending && is_over {
                batch.finality = Finality::Proven;
            }
        }
    }

    /// Lines that are committed to and not attached.
    pub(crate) fn missing(&self) -> Vec<(BatchId, Lines)> {
        let missing = self.batches.iter().filter(|batch| !batch.is_attached);
        missing.map(|batch| (batch.id, Lines::new(batch.lines.clone()).unwrap())).collect()
    }

    pub(crate) fn attached(&mut self, id: BatchId) {
        for batch in self.batches.iter_mut().filter(|batch| batch.id == id) {
            batch.is_attached = true;
        }
    }

    /// The trades that a scope is made of.
    pub(crate) fn trades(&self, scope: Scope) -> Vec<Trade> {
        let counts = |batch: &&Batch| match batch.finality {
            Finality::Pending => scope == Scope::All,
            Finality::Proven => true,
            Finality::Void => false,
        };
        self.batches.iter().filter(counts).flat_map(trades_of).collect()
    }

    /// All trades, of void batches too.
    pub(crate) fn every_trade(&self) -> Vec<Trade> {
        self.batches.iter().flat_map(trades_of).collect()
    }
}

fn trades_of(batch: &Batch) -> Vec<Trade> {
    if !batch.is_attached {
        return vec![];
    }
    let window = Window::of(batch.committed_at, LATENESS);
    let scales = [1, 2].map(|id| Scale { resource: ResourceId(id), units: SCALE });
    let lines = batch.lines.iter().zip(0..);
    lines.map(|(line, index)| Trade::from_line(*line, batch.id, index, window, &scales)).collect()
}

fn catalog() -> Vec<Fact> {
    let class = |id: u32| Class {
        id: ResourceId(id),
        name: format!("class.{id}"),
        unit: "GPU-ms".to_owned(),
        scale: Quantity(SCALE),
        scu_weight: Quantity(1),
    };
    vec![Fact::ResourceAdded(class(1)), Fact::ResourceAdded(class(2))]
}
