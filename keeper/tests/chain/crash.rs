//! Kills between steps. Nothing here runs a loop: each test makes the steps itself, and "kills" by dropping
//! everything in memory and reading the books back.

use crate::world::{MODULE, OUTPUT, PRICE, World, output};
use alloy::primitives::keccak256;
use alloy::providers::Provider;
use bytes::Bytes;
use keeper::Engine;
use keeper::blobs::Blobs;
use keeper::desk::{Answer, Desk, Terms};
use keeper::onchain::Onchain;
use keeper::publish::Publisher;
use keeper::settle::Settler;
use keeper_store::{Batch, Store};
use protocol::amount::{Amount, Quantity, Timestamp};
use protocol::job::Kind;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::voucher::{Account, Payment, SignedVoucher};
use protocol::wire::{BatchState, Capabilities, Code, Isolation, JobState, Refusal, ToWorker};
use service::chain::{Chain, Sender};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A keeper without its loops.
pub(crate) struct Bench {
    pub(crate) desk: Arc<Desk>,
    pub(crate) settler: Settler,
    pub(crate) store: Engine,
}

impl Bench {
    pub(crate) async fn open(world: &World) -> Self {
        let config = world.config();
        std::fs::create_dir_all(&config.data).unwrap();
        let store = Engine::connect(&config.data.join("keeper.db")).await.unwrap();
        let blobs = Blobs::in_folder(&config.data.join("blobs"), config.max_blobs_total).await.unwrap();
        let chain = Chain::connect(&config.chain).await.unwrap();
        let onchain = Onchain::new(chain.clone(), &world.book);
        let (heartbeat, challenge) = onchain.heartbeat_and_challenge().await.unwrap();
        let view = onchain.keeper(world.keeper.address(), challenge).await.unwrap();
        let resources = onchain.resources().await.unwrap();
        let secret = world.keeper.to_bytes();
        let sender = Sender::new(chain, &secret, store.clone(), config.sender.clone()).await.unwrap();
        let terms =
            Terms { domain: world.domain.clone(), token: world.book.token(), key: world.keeper.clone(), config };
        let publisher = Publisher::new(world.keeper.address(), store.clone());
        let desk = Desk::open(terms, store.clone(), blobs, onchain, view, resources).await.unwrap();
        let desk = Arc::new(desk);
        let settler = Settler::new(Arc::clone(&desk), sender, publisher, heartbeat, challenge);
        Self { desk, settler, store }
    }

    pub(crate) async fn upload(&self) {
        let envelope = World::envelope().to_bytes();
        for bytes in [MODULE.to_vec(), envelope, OUTPUT.to_vec()] {
            self.desk.blobs().put(keccak256(&bytes), Bytes::from(bytes)).await.unwrap();
        }
    }

    pub(crate) async fn join_worker(&self, world: &World, held: Vec<JobId>) -> mpsc::Receiver<ToWorker> {
        let capabilities = Capabilities {
            kinds: vec![Kind::Wasm],
            resources: vec![crate::world::CPU],
            slots: 2,
            memory: Quantity(1 << 30),
            toolchains: vec![],
            device: None,
            devices: 0,
            isolation: Isolation::default(),
        };
        let (worker, provider) = (world.worker.address(), world.provider.address());
        self.desk.join_worker(worker, provider, capabilities, held).await.unwrap().1
    }

    /// An order that runs at once.
    pub(crate) async fn start_job(&self, world: &World) -> JobId {
        let taken = self.desk.order(world.sign(world.an_order())).await.unwrap();
        assert_eq!(taken.state, JobState::Running, "{:?}", taken.reason);
        taken.job
    }

    pub(crate) async fn account(&self, world: &World) -> Account {
        self.store.channel(world.channel()).await.unwrap().map_or_else(Account::default, |channel| channel.account)
    }

    /// The voucher that pays a receipt whose job was paid up to `paid`.
    pub(crate) async fn voucher(&self, world: &World, job: JobId, paid: u64) -> SignedVoucher {
        let view = self.desk.job_view(job).await.unwrap();
        let newest = self.store.job(job).await.unwrap().unwrap().newest.unwrap();
        let info = self.desk.info().await;
        let payment = Payment {
            payer: world.payer.address(),
            keeper: world.keeper.address(),
            batch: info.batch,
            provider: world.provider.address(),
            increase: view.amount.minus(Amount(paid)).unwrap(),
            receipt: newest.statement.hash(),
        };
        let voucher = self.account(world).await.next(&payment, &info.fees).unwrap();
        SignedVoucher::sign(voucher, &world.domain, &world.session)
    }

    /// Bills and pays a part of a job.
    pub(crate) async fn pay(&self, world: &World, job: JobId, sequence: u64, cpu_ms: u64, last: bool) -> SignedVoucher {
        let paid = self.desk.job_view(job).await.unwrap().paid.get();
        let receipt = world.receipt(job, sequence, cpu_ms, last);
        let outputs = if last { vec![output()] } else { vec![] };
        self.desk.receipt(world.worker.address(), receipt, outputs).await.unwrap();
        let voucher = self.voucher(world, job, paid).await;
        assert_eq!(self.desk.voucher(world.channel(), job, voucher).await, Ok(Answer::Told));
        voucher
    }

    /// Waits until the batch being filled is old enough, and closes it.
    pub(crate) async fn close(&self) -> u32 {
        for _ in 0..100 {
            let view = self.settler.look().await.unwrap();
            if let Some(number) = self.settler.close(&view).await.unwrap() {
                return number;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the batch was not closed")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_acceptance_is_sent_loses_nothing() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    bench.pay(&world, job, 1, 100, false).await;
    bench.desk.receipt(world.worker.address(), world.receipt(job, 2, 150, false), vec![]).await.unwrap();
    let voucher = bench.voucher(&world, job, 100).await;
    assert_eq!(bench.desk.voucher(world.channel(), job, voucher).await, Ok(Answer::Told));
    let (before, account) = (bench.desk.job_view(job).await.unwrap(), bench.account(&world).await);
    drop(bench);

    let bench = Bench::open(&world).await;
    assert_eq!(bench.desk.job_view(job).await.unwrap(), before);
    assert_eq!(bench.account(&world).await, account);
    // The client never heard of the acceptance and sends its voucher again; both sides get the same promise.
    let Ok(Answer::Again(accepted)) = bench.desk.voucher(world.channel(), job, voucher).await else {
        panic!("the voucher was not known any more")
    };
    assert_eq!(accepted.acceptance.acceptance.owed, Amount(150));
    let mut inbox = bench.join_worker(&world, vec![job]).await;
    assert!(matches!(inbox.recv().await, Some(ToWorker::Welcome { .. })));
    assert_eq!(inbox.recv().await, Some(ToWorker::Accepted { job, accepted }));
    // It goes on where it stood: what is owed adds up over the kill.
    bench.pay(&world, job, 3, 400, true).await;
    let ended = bench.desk.job_view(job).await.unwrap();
    assert_eq!((ended.state, ended.paid, ended.price), (JobState::Done, Amount(400), Some(PRICE)));
    assert_eq!(bench.store.owed(1).await.unwrap(), [(world.provider.address(), Amount(400))].into());
    let lines = bench.store.lines(1).await.unwrap();
    assert_eq!((lines.len(), lines[0].amount, lines[0].quantity), (1, Amount(400), Quantity(400)));
    let view = bench.desk.channel_view(world.channel()).await.unwrap();
    assert_eq!(view.reserved, Amount(0), "a finished job reserves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_of_settlement_settles_once() {
    let world = World::new().await;
    let keeper = world.keeper.address();
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    let voucher = bench.pay(&world, job, 1, 500, true).await;
    let nonce = async || world.anvil.provider.get_transaction_count(keeper).await.unwrap();
    let start = nonce().await;

    assert_eq!(bench.close().await, 1);
    drop(bench);
    let bench = Bench::open(&world).await;
    assert_eq!(bench.desk.info().await.batch, 2, "the closed batch takes nothing any more");
    bench.settler.collect(1).await.unwrap();
    assert_eq!(nonce().await, start + 1);
    drop(bench);

    let bench = Bench::open(&world).await;
    bench.settler.collect(1).await.unwrap();
    assert_eq!(nonce().await, start + 1, "what is collected is not collected again");
    let closed = bench.settler.closed().await.unwrap().unwrap();
    let prepared = bench.settler.prepare(closed).await.unwrap();
    drop(bench);

    let bench = Bench::open(&world).await;
    bench.settler.commit(prepared.clone()).await.unwrap();
    assert_eq!(nonce().await, start + 2);
    let committed = bench.store.batch(1).await.unwrap().unwrap();
    assert_eq!(committed.state, BatchState::Committed);
    // As if it was killed after the transaction was mined and before that was written down.
    bench.store.put_batch(&Batch { state: BatchState::Closed, transaction: None, ..prepared }).await.unwrap();
    drop(bench);

    let bench = Bench::open(&world).await;
    let view = bench.settler.look().await.unwrap();
    bench.settler.settle_closed(&view).await.unwrap();
    assert_eq!(nonce().await, start + 2, "one commit");
    assert_eq!(bench.store.batch(1).await.unwrap().unwrap(), committed);
    let spent = world.contract().channel(world.channel().0).call().await.unwrap().spent;
    assert_eq!(spent, voucher.voucher.total.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_of_a_closed_batch_is_refused_and_signed_again() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    bench.pay(&world, job, 1, 100, false).await;
    bench.desk.receipt(world.worker.address(), world.receipt(job, 2, 300, false), vec![]).await.unwrap();
    let late = bench.voucher(&world, job, 100).await;
    bench.close().await;
    let refusal = bench.desk.voucher(world.channel(), job, late).await.unwrap_err();
    assert_eq!(refusal.code, Code::BatchClosed);
    let again = bench.voucher(&world, job, 100).await;
    assert_eq!(again.voucher.batch, 2);
    assert_eq!(bench.desk.voucher(world.channel(), job, again).await, Ok(Answer::Told));
    let owed = |amount| [(world.provider.address(), Amount(amount))].into();
    assert_eq!(bench.store.owed(1).await.unwrap(), owed(100));
    assert_eq!(bench.store.owed(2).await.unwrap(), owed(200), "what is owed restarts in each batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_dropped_half_way_leaves_books_and_store_alike() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    let _inbox = bench.join_worker(&world, vec![]).await;
    bench.desk.offer(world.offer()).await.unwrap();
    for step in 0..60u64 {
        let order = bench.desk.order(world.sign(world.an_order()));
        // Whoever asked goes away after this long.
        let _ = tokio::time::timeout(Duration::from_micros(step * 150), order).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let open = bench.store.open_jobs().await.unwrap();
    let running = open.iter().filter(|job| job.state == JobState::Running).count();
    assert_eq!(running, 2, "both slots are taken");
    let reserved = async |bench: &Bench| bench.desk.channel_view(world.channel()).await.unwrap().reserved;
    assert_eq!(reserved(&bench).await, Amount(10_000 * open.len() as u64), "what is stored is reserved");
    // Every order is either in the book or with the worker: cancelled, it is gone.
    for job in &open {
        bench.desk.cancel(world.channel(), job.id).await.unwrap();
        // The end of another job may have started it meanwhile.
        if bench.desk.job_view(job.id).await.unwrap().state == JobState::Running {
            let refusal = Refusal::new(Code::Cancelled, "stopped");
            bench.desk.failed(world.worker.address(), job.id, refusal).await.unwrap();
        }
    }
    assert_eq!(reserved(&bench).await, Amount(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_sent_many_times_is_one_job_even_if_it_ends_meanwhile() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    for _ in 0..10 {
        let order = world.sign(world.an_order());
        let id = order.order.id();
        let copies: Vec<_> = (0..8u64)
            .map(|copy| {
                let (desk, order) = (Arc::clone(&bench.desk), order.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_micros(copy * 300)).await;
                    desk.order(order).await
                })
            })
            .collect();
        while bench.desk.cancel(world.channel(), id).await.is_err() {
            if bench.desk.broken().is_cancelled() {
                break;
            }
            tokio::task::yield_now().await;
        }
        for copy in copies {
            assert_eq!(copy.await.unwrap().unwrap().job, id);
        }
    }
    assert!(!bench.desk.broken().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_no_column_holds_does_not_stop_the_keeper() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    let mut statement = world.receipt(job, 1, 100, false).statement;
    statement.at = Timestamp(u64::MAX);
    let receipt = Receipt::sign(statement, &world.domain, &world.worker);
    let refusal = bench.desk.receipt(world.worker.address(), receipt, vec![]).await.unwrap_err();
    assert_eq!(refusal.code, Code::BadReceipt);
    bench.pay(&world, job, 1, 100, false).await;
    assert!(!bench.desk.broken().is_cancelled());
}
