//! Tests that every engine passes: call [`all`] with a way to open one and the same new, empty database.

use crate::{Batch, Channel, Entry, Identity, Job, JobFilter, Matched, Paid, Prepared, Store, StoreError, StoredOffer};
use alloy::primitives::{Address, B256, U256};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::batch::{Commitment, Line};
use protocol::job::{Blob, Kind};
use protocol::order::{JobId, Offer, Order, SignedOffer, SignedOrder};
use protocol::receipt::{Receipt, Statement};
use protocol::resource::{ResourceId, Usage};
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{
    Acceptance, Accepted, Account, Allocation, ChannelId, SignedAcceptance, SignedVoucher, Voucher,
};
use protocol::wire::{BatchState, Code, JobState, Refusal};
use std::future::Future;

const PROVIDER: Address = Address::repeat_byte(7);

/// Runs every test; `open` opens the same database each time, as after a restart.
pub async fn all<S: Store, F: Future<Output = S>>(open: impl Fn() -> F) {
    identity(&open().await).await;
    offers(&open().await).await;
    jobs(&open).await;
    vouchers(&open).await;
    batches(&open().await).await;
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).expect("a small number is a key")
}

fn domain() -> Domain {
    Domain::new(51866, Address::repeat_byte(9))
}

fn channel_id(n: u8) -> ChannelId {
    ChannelId(B256::repeat_byte(n))
}

fn job(sequence: u64, payer: u8) -> Job {
    let order = Order {
        payer: Address::repeat_byte(payer),
        resource: ResourceId(2),
        max_price: Price(5),
        max_units: Quantity(1_000),
        max_total: Amount(1_000),
        spec: B256::repeat_byte(1),
        terms: B256::ZERO,
        expiry: Timestamp(99),
        salt: U256::from(sequence),
    };
    Job {
        sequence,
        id: order.id(),
        order: SignedOrder::sign(order, &domain(), &key(2)),
        channel: channel_id(payer),
        signer: key(2).address(),
        kind: Kind::Wasm,
        memory: Quantity(1 << 30),
        devices: 2,
        cap: Amount(900),
        state: JobState::Queued,
        matched: None,
        newest: None,
        outputs: vec![],
        paid: Paid::default(),
        failure: None,
        reason: Some("waits".into()),
        created_at: Timestamp(10),
        ended_at: None,
    }
}

fn running(sequence: u64, payer: u8) -> Job {
    let matched =
        Matched { offer: B256::repeat_byte(3), price: Price(4), provider: PROVIDER, worker: Address::repeat_byte(8) };
    Job { state: JobState::Running, matched: Some(matched), reason: None, ..job(sequence, payer) }
}

fn receipt(job: JobId, sequence: u64) -> Receipt {
    let statement = Statement {
        job,
        provider: PROVIDER,
        sequence,
        usage: Usage { cpu_ms: Quantity(100 * sequence), ..Usage::default() },
        amount: Amount(10 * sequence),
        result: B256::ZERO,
        at: Timestamp(20),
    };
    Receipt::sign(statement, &domain(), &key(3))
}

async fn identity(store: &impl Store) {
    let mine = Identity { chain_id: 1, settlement: Address::repeat_byte(1), keeper: Address::repeat_byte(2) };
    store.claim(&mine).await.unwrap();
    store.claim(&mine).await.unwrap();
    for foreign in [
        Identity { chain_id: 2, ..mine },
        Identity { settlement: Address::ZERO, ..mine },
        Identity { keeper: Address::ZERO, ..mine },
    ] {
        assert!(matches!(store.claim(&foreign).await, Err(StoreError::Foreign { .. })));
    }
}

async fn offers(store: &impl Store) {
    assert_eq!(store.last_sequence().await.unwrap(), 0);
    let offer = |sequence: u64, expiry: u64| {
        let offer = Offer {
            provider: PROVIDER,
            resource: ResourceId(2),
            price: Price(4),
            capacity: Quantity(1_000),
            terms: B256::ZERO,
            expiry: Timestamp(expiry),
            salt: U256::from(sequence),
        };
        let id = offer.hash();
        let signed = SignedOffer::sign(offer, &domain(), &key(3));
        StoredOffer { sequence, id, signed, remaining: Quantity(1_000) }
    };
    let (early, late) = (offer(1, 50), offer(2, 100));
    store.put_offer(&late).await.unwrap();
    store.put_offer(&early).await.unwrap();
    store.put_offer(&early).await.unwrap();
    assert_eq!(store.offers().await.unwrap(), [early, late.clone()], "oldest first, each once");
    store.drop_offers_before(Timestamp(51)).await.unwrap();
    let taken = running(3, 0xaa);
    store.put_job(&taken, Some((late.id, Quantity(1)))).await.unwrap();
    assert_eq!(store.offers().await.unwrap(), [StoredOffer { remaining: Quantity(1), ..late }]);
    assert_eq!(store.last_sequence().await.unwrap(), 3, "jobs and offers count together");
    store.put_job(&Job { state: JobState::Expired, ended_at: Some(Timestamp(1)), ..taken }, None).await.unwrap();
}

async fn jobs<S: Store, F: Future<Output = S>>(open: &impl Fn() -> F) {
    let store = open().await;
    let (first, second) = (job(4, 0xb1), job(5, 0xb2));
    store.put_job(&first, None).await.unwrap();
    store.put_job(&second, None).await.unwrap();
    assert_eq!(store.job(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(store.job(JobId(B256::ZERO)).await.unwrap(), None);

    let newest = receipt(first.id, 1);
    let full = Job {
        newest: Some(newest.clone()),
        outputs: vec![Blob { hash: B256::repeat_byte(5), length: Quantity(7) }],
        failure: Some(Refusal::new(Code::ProgramFailed, "a trap \"quoted\"")),
        ..running(4, 0xb1)
    };
    store.put_receipt(&full, &newest).await.unwrap();
    store.put_receipt(&full, &newest).await.unwrap();
    let store = open().await;
    assert_eq!(store.job(first.id).await.unwrap(), Some(full.clone()));
    assert_eq!(store.receipt(first.id, newest.statement.hash()).await.unwrap(), Some(newest));
    assert_eq!(store.receipt(second.id, B256::ZERO).await.unwrap(), None);

    assert_eq!(store.open_jobs().await.unwrap(), [full.clone(), second.clone()]);
    let ended = Job { state: JobState::Failed, ended_at: Some(Timestamp(30)), ..full };
    store.put_job(&ended, None).await.unwrap();
    assert_eq!(store.open_jobs().await.unwrap(), std::slice::from_ref(&second));
    let by_payer = JobFilter { payer: Some(Address::repeat_byte(0xb1)), signer: None };
    assert_eq!(store.jobs(by_payer, 10).await.unwrap(), [ended]);
    let by_signer = JobFilter { payer: None, signer: Some(key(2).address()) };
    assert_eq!(store.jobs(by_signer, 1).await.unwrap(), [second], "newest first, as many as asked for");
    let nobody = JobFilter { signer: Some(Address::ZERO), ..by_payer };
    assert_eq!(store.jobs(nobody, 10).await.unwrap(), []);
}

fn entry(job: &Job, account: &Account, batch: &Batch, owed: u64, sequence: u64) -> Entry {
    let newest = receipt(job.id, sequence);
    let voucher = Voucher {
        payer: job.order.order.payer,
        keeper: key(1).address(),
        batch: batch.number,
        total: account.total.plus(Amount(10)).unwrap(),
        latest: Allocation { provider: PROVIDER, earned: Amount(10 * sequence), receipt: newest.statement.hash() },
    };
    let acceptance =
        Acceptance { voucher: voucher.hash(), provider: PROVIDER, batch: batch.number, owed: Amount(owed) };
    let mut account = account.clone();
    account.apply(&voucher);
    let paid = Paid { sequence, amount: Amount(10), quantity: Quantity(100), debited: Amount(11) };
    Entry {
        accepted: Accepted {
            voucher: SignedVoucher::sign(voucher, &domain(), &key(2)),
            acceptance: SignedAcceptance::sign(acceptance, &domain(), &key(1)),
        },
        debit: Amount(10),
        channel: Channel { id: job.channel, payer: job.order.order.payer, signer: key(2).address(), account },
        job: Job { newest: Some(newest), paid, ..job.clone() },
        batch: Batch {
            debits: batch.debits.plus(Amount(10)).unwrap(),
            vouchers: batch.vouchers + 1,
            first_at: Some(Timestamp(40)),
            ..batch.clone()
        },
        line: Line {
            job: job.id,
            payer: job.order.order.payer,
            provider: PROVIDER,
            resource: ResourceId(2),
            quantity: Quantity(100 * sequence),
            price: Price(4),
            amount: Amount(10 * sequence),
            ended_at: Timestamp(20),
            result: B256::ZERO,
        },
    }
}

async fn vouchers<S: Store, F: Future<Output = S>>(open: &impl Fn() -> F) {
    let store = open().await;
    let (a, b) = (running(10, 0xc1), running(11, 0xc2));
    for job in [&a, &b] {
        store.put_job(job, None).await.unwrap();
    }
    let fresh = Account::new(Amount(5));
    let known = Channel { id: a.channel, payer: a.order.order.payer, signer: a.signer, account: fresh.clone() };
    store.put_channel(&known).await.unwrap();
    assert_eq!(store.channel(a.channel).await.unwrap(), Some(known));
    assert_eq!(store.channel(b.channel).await.unwrap(), None);

    let first = entry(&a, &fresh, &Batch::filling(1), 10, 1);
    let other = entry(&b, &Account::default(), &first.batch, 20, 1);
    let second = entry(&first.job, &first.channel.account, &other.batch, 30, 2);
    for entry in [&first, &other, &second] {
        store.accept(entry).await.unwrap();
    }
    let store = open().await;
    assert_eq!(store.channel(a.channel).await.unwrap(), Some(second.channel.clone()));
    assert_eq!(store.job(a.id).await.unwrap(), Some(second.job.clone()));
    assert_eq!(store.batch(1).await.unwrap(), Some(second.batch.clone()));
    assert_eq!(store.newest_accepted(a.channel).await.unwrap(), Some(second.accepted));
    assert_eq!(store.newest_accepted(channel_id(0)).await.unwrap(), None);
    assert_eq!(store.accepted_for(b.id).await.unwrap(), Some(other.accepted));
    assert_eq!(store.owed(1).await.unwrap(), [(PROVIDER, Amount(30))].into());
    assert_eq!(store.lines(1).await.unwrap(), [second.line, other.line], "one line a job, in the order of jobs");
    let newest = [(a.channel, second.accepted.voucher), (b.channel, other.accepted.voucher)];
    assert_eq!(store.debits(1).await.unwrap(), newest, "the newest voucher of each channel");

    let third = entry(&second.job, &second.channel.account, &Batch::filling(2), 10, 3);
    store.accept(&third).await.unwrap();
    assert_eq!(store.debits(1).await.unwrap(), newest, "a later batch does not change this one");
    assert_eq!(store.debits(2).await.unwrap(), [(a.channel, third.accepted.voucher)]);
    assert_eq!(store.newest_accepted(a.channel).await.unwrap(), Some(third.accepted));
}

async fn batches(store: &impl Store) {
    let commitment = Commitment {
        root: B256::repeat_byte(1),
        sum: Amount(99),
        fee: Amount(1),
        lines_root: B256::repeat_byte(2),
        lines_sum: Amount(50),
        line_count: 2,
        data_hash: B256::repeat_byte(3),
    };
    let closed = Batch {
        state: BatchState::Closed,
        prepared: Some(Prepared { debits: Amount(100), fee_bps: 100, commitment }),
        ..store.batch(2).await.unwrap().unwrap()
    };
    store.close_batch(&closed, &Batch::filling(3)).await.unwrap();
    let numbers =
        async |limit| -> Vec<u32> { store.batches(limit).await.unwrap().iter().map(|batch| batch.number).collect() };
    assert_eq!((numbers(2).await, numbers(9).await), (vec![3, 2], vec![3, 2, 1]));
    let committed = Batch {
        state: BatchState::Committed,
        transaction: Some(B256::repeat_byte(4)),
        gas: Some(123_456),
        committed_at: Some(Timestamp(77)),
        ..closed
    };
    store.put_batch(&committed).await.unwrap();
    assert_eq!(store.batch(2).await.unwrap(), Some(committed));
    assert_eq!(store.batch(9).await.unwrap(), None);
    let huge = Batch { debits: Amount(u64::MAX), ..Batch::filling(4) };
    assert!(matches!(store.put_batch(&huge).await, Err(StoreError::OutOfRange(_))));
    assert_eq!(store.batch(4).await.unwrap(), None, "nothing of a failed write stays");
}
