use super::*;
use alloy::primitives::{B256, U256};
use keeper_store::Paid;
use proptest::prelude::*;
use protocol::amount::{Price, Quantity};
use protocol::job::Kind;
use protocol::order::{Order, SignedOrder};
use protocol::resource::{ResourceId, Unit, Usage};
use protocol::voucher::{Account, ChannelId};

const NOW: Timestamp = Timestamp(1_000);
const FEES: Fees = Fees { protocol_bps: 100, keeper_bps: 50, per_channel: Amount(10) };

struct World {
    domain: Domain,
    keeper: SigningKey,
    session: SigningKey,
    worker: SigningKey,
    resource: Resource,
    channel: Channel,
    deposit: Deposit,
    job: Job,
    filling: Filling,
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

fn world() -> World {
    let domain = Domain::new(51866, Address::repeat_byte(9));
    let (keeper, session, worker, payer) = (key(1), key(2), key(3), Address::repeat_byte(4));
    let order = Order {
        payer,
        resource: ResourceId(2),
        max_price: Price(3_600_000),
        max_units: Quantity(1_000),
        max_total: Amount(5_000),
        spec: B256::ZERO,
        terms: B256::ZERO,
        expiry: NOW,
        salt: U256::ZERO,
    };
    let id = ChannelId::of(payer, session.address(), keeper.address());
    let job = Job {
        sequence: 1,
        id: order.id(),
        order: SignedOrder::sign(order, &domain, &session),
        channel: id,
        signer: session.address(),
        kind: Kind::Wasm,
        memory: Quantity(1),
        devices: 0,
        cap: Amount(900),
        state: JobState::Running,
        matched: Some(Matched {
            offer: B256::ZERO,
            price: Price(3_600_000),
            provider: Address::repeat_byte(7),
            worker: worker.address(),
        }),
        newest: None,
        outputs: vec![],
        paid: Paid::default(),
        failure: None,
        reason: None,
        created_at: NOW,
        ended_at: None,
    };
    World {
        resource: Resource { id: ResourceId(2), name: "cpu".into(), unit: Unit::CpuMs, scale: Quantity(3_600_000) },
        channel: Channel { id, payer, signer: session.address(), account: Account::new(Amount(0)) },
        deposit: Deposit { amount: Amount(3_000), closing: false },
        filling: Filling::empty(Batch::filling(3), FEES),
        domain,
        keeper,
        session,
        worker,
        job,
    }
}

impl World {
    fn receipt(&self, sequence: u64, cpu_ms: u64, result: B256) -> Receipt {
        let statement = Statement {
            job: self.job.id,
            provider: Address::repeat_byte(7),
            sequence,
            usage: Usage { cpu_ms: Quantity(cpu_ms), ..Usage::default() },
            amount: Amount(cpu_ms),
            result,
            at: NOW,
        };
        Receipt::sign(statement, &self.domain, &self.worker)
    }

    fn take(&self, receipt: Receipt, outputs: Vec<Blob>) -> Result<Taken, Refusal> {
        take_receipt(&self.job, receipt, outputs, &self.resource, &self.domain)
    }

    /// Takes a receipt that is right.
    fn deliver(&mut self, sequence: u64, cpu_ms: u64, last: bool) {
        let result = if last { result_hash(&[]) } else { B256::ZERO };
        let Ok(Taken::New(job)) = self.take(self.receipt(sequence, cpu_ms, result), vec![]) else {
            panic!("the receipt was not taken")
        };
        self.job = *job;
    }

    fn paying(&self) -> Paying<'_> {
        Paying {
            domain: &self.domain,
            key: &self.keeper,
            channel: &self.channel,
            deposit: self.deposit,
            job: &self.job,
            receipt: &self.job.newest.as_ref().unwrap().statement,
            resource: &self.resource,
            filling: &self.filling,
            now: NOW,
        }
    }

    fn payment(&self) -> Payment {
        let said = &self.job.newest.as_ref().unwrap().statement;
        Payment {
            payer: self.channel.payer,
            keeper: self.keeper.address(),
            batch: self.filling.batch.number,
            provider: Address::repeat_byte(7),
            increase: said.amount.minus(self.job.paid.amount).unwrap(),
            receipt: said.hash(),
        }
    }

    fn voucher(&self) -> SignedVoucher {
        let voucher = self.channel.account.next(&self.payment(), &self.filling.fees).unwrap();
        SignedVoucher::sign(voucher, &self.domain, &self.session)
    }

    fn pay(&mut self) -> Entry {
        let entry = accept(&self.paying(), self.voucher()).unwrap();
        self.filling.apply(&entry);
        self.channel = entry.channel.clone();
        self.job = entry.job.clone();
        entry
    }

    fn close_batch(&mut self) {
        let next = self.filling.batch.number + 1;
        self.filling = Filling::empty(Batch::filling(next), FEES);
    }
}

#[test]
fn an_accepted_voucher_changes_exactly_this() {
    let mut world = world();
    world.deliver(1, 100, false);
    let entry = world.pay();
    let promise = entry.accepted.acceptance;
    assert_eq!((promise.acceptance.batch, promise.acceptance.owed), (3, Amount(100)));
    assert_eq!(promise.acceptance.voucher, entry.accepted.voucher.voucher.hash());
    promise.signature.verify(world.domain.digest(promise.acceptance.hash()), world.keeper.address()).unwrap();
    // 100 + 1 (keeper) + 10 (channel) = 111; 111 / 0.99 = 112.1, rounded up.
    assert_eq!((entry.debit, entry.batch.debits, entry.channel.account.total), (Amount(113), Amount(113), Amount(113)));
    assert_eq!((entry.batch.vouchers, entry.batch.first_at), (1, Some(NOW)));
    assert_eq!((entry.line.quantity, entry.line.amount), (Quantity(100), Amount(100)));
    assert_eq!(entry.job.state, JobState::Running);
    assert_eq!(
        entry.job.paid,
        Paid { sequence: 1, amount: Amount(100), quantity: Quantity(100), debited: Amount(113) }
    );
}

#[test]
fn a_line_restarts_in_each_batch_and_carries_the_result_in_the_last() {
    let mut world = world();
    world.deliver(1, 100, false);
    world.pay();
    world.deliver(2, 150, false);
    assert_eq!(world.pay().line.amount, Amount(150), "both receipts of the batch");
    world.close_batch();
    world.deliver(3, 400, true);
    let entry = world.pay();
    assert_eq!(
        (entry.line.quantity, entry.line.amount, entry.line.result),
        (Quantity(250), Amount(250), result_hash(&[]))
    );
    assert_eq!(entry.accepted.acceptance.acceptance.owed, Amount(250));
    assert_eq!((entry.job.state, entry.job.ended_at), (JobState::Done, Some(NOW)));
}

#[test]
fn each_voucher_rule_refuses_by_its_code() {
    let mut world = world();
    world.deliver(1, 100, false);
    let right = world.voucher();
    let refused = |world: &World, voucher| accept(&world.paying(), voucher).unwrap_err().code;

    let stranger = SignedVoucher::sign(right.voucher, &world.domain, &world.worker);
    assert_eq!(refused(&world, stranger), Code::BadSignature);

    world.deposit.closing = true;
    assert_eq!(refused(&world, right), Code::ChannelClosing);
    world.deposit.closing = false;

    world.deposit.amount = Amount(112);
    assert_eq!(refused(&world, right), Code::InsufficientFunds);
    world.deposit.amount = Amount(113);

    let mut cheap = right.voucher;
    cheap.total = cheap.total.minus(Amount(1)).unwrap();
    assert_eq!(refused(&world, SignedVoucher::sign(cheap, &world.domain, &world.session)), Code::BadVoucher);

    world.close_batch();
    assert_eq!(refused(&world, right), Code::BatchClosed);
    let again = world.voucher();
    assert!(accept(&world.paying(), again).is_ok(), "signed again for the next batch");

    world.pay();
    assert_eq!(refused(&world, again), Code::BadVoucher, "the receipt is paid");
    world.job.matched = None;
    assert_eq!(refused(&world, again), Code::BadVoucher);
}

#[test]
fn each_receipt_rule_refuses() {
    let mut world = world();
    let bad = |world: &World, receipt, outputs| world.take(receipt, outputs).unwrap_err();
    let over = world.receipt(1, 901, B256::ZERO);
    assert!(bad(&world, over, vec![]).detail.contains("after fees"), "more than the cap");
    let wrong_result = world.receipt(1, 100, B256::repeat_byte(1));
    assert!(bad(&world, wrong_result, vec![]).detail.contains("outputs"));
    assert!(bad(&world, world.receipt(2, 100, B256::ZERO), vec![]).detail.contains("sequence"));

    world.deliver(1, 100, false);
    let first = world.job.newest.clone().unwrap();
    assert_eq!(world.take(first, vec![]), Ok(Taken::Again));
    let other = world.receipt(1, 200, B256::ZERO);
    assert_eq!(bad(&world, other, vec![]).code, Code::BadReceipt, "another receipt of the same number");
    world.deliver(2, 200, true);
    assert_eq!(world.job.state, JobState::Delivered);
    assert!(bad(&world, world.receipt(3, 300, B256::ZERO), vec![]).detail.contains("delivered"));
}

#[test]
fn a_failed_program_is_paid_for_what_it_used_and_a_failed_node_is_not() {
    let mut world = world();
    world.deliver(1, 100, false);
    let trap = Refusal::new(Code::ProgramFailed, "trap");
    let mut given_up = give_up(&world.job, trap.clone(), NOW);
    assert_eq!(given_up.state, JobState::Delivered);
    std::mem::swap(&mut world.job, &mut given_up);
    let entry = world.pay();
    assert_eq!((entry.job.state, entry.job.failure), (JobState::Failed, Some(trap)));

    let node = give_up(&given_up, Refusal::new(Code::NodeFailed, "power"), NOW);
    assert_eq!((node.state, node.paid.amount), (JobState::Failed, Amount(0)));
    let paid = Job { newest: None, ..given_up };
    assert_eq!(give_up(&paid, Refusal::new(Code::ProgramFailed, "trap"), NOW).state, JobState::Failed);
}

#[test]
fn a_cancelled_job_ends_when_its_worker_has_billed() {
    let mut world = world();
    world.deliver(1, 100, false);
    world.job = cancel(&world.job, NOW).unwrap();
    assert_eq!(world.job.state, JobState::Running, "its worker is still to bill");
    world.deliver(2, 120, false);
    world.job = give_up(&world.job, Refusal::new(Code::Cancelled, "stopped"), NOW);
    assert_eq!(world.job.state, JobState::Delivered);
    assert_eq!(world.pay().job.state, JobState::Cancelled);
    assert_eq!(cancel(&world.job, NOW).unwrap_err().code, Code::Conflict);

    let queued = Job { state: JobState::Queued, ..super::tests::world().job };
    assert_eq!(cancel(&queued, NOW).unwrap().state, JobState::Cancelled);
}

#[test]
fn a_result_beats_a_cancellation_that_came_too_late() {
    let mut world = world();
    world.job = cancel(&world.job, NOW).unwrap();
    world.deliver(1, 100, true);
    assert_eq!(world.pay().job.state, JobState::Done);
}

proptest! {
    /// Whatever is billed and wherever batches are closed: each batch closes, with a leaf of exactly what is owed.
    #[test]
    fn every_batch_of_accepted_vouchers_closes(steps in prop::collection::vec((0u64..60, any::<bool>()), 1..15)) {
        let mut world = world();
        world.deposit.amount = Amount(1 << 40);
        let mut used = 0;
        let mut closed = Vec::new();
        for (n, (more, close)) in steps.into_iter().enumerate() {
            used += more;
            world.deliver(n as u64 + 1, used, false);
            world.pay();
            if close {
                closed.push(world.filling.clone());
                world.close_batch();
            }
        }
        closed.push(world.filling.clone());
        let mut owed = 0;
        for filling in closed {
            let lines: Vec<Line> = filling.lines.values().copied().collect();
            let batch = protocol::batch::close(world.keeper.address(), filling.batch.debits, 100, filling.owed.clone(), lines).unwrap();
            let promised = filling.owed.get(&Address::repeat_byte(7)).copied().unwrap_or_default();
            prop_assert_eq!(batch.commitment.lines_sum, promised);
            if promised > Amount::ZERO {
                prop_assert_eq!(batch.proof(Address::repeat_byte(7)).unwrap().0, promised);
            }
            owed += promised.get();
        }
        prop_assert_eq!(owed, used);
        prop_assert_eq!(world.job.paid.amount, Amount(used));
    }
}
