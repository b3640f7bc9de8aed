//! Settlement by itself: heartbeats, challenges, payouts.

use crate::crash::Bench;
use crate::world::World;
use alloy::sol_types::SolCall;
use keeper_store::Store;
use protocol::bindings::settlement;
use protocol::wire::{BatchState, Code, JobState};
use serde_json::json;
use std::time::Duration;

async fn rounds_until(bench: &Bench, number: u32, state: BatchState) {
    for _ in 0..300 {
        bench.settler.round().await.unwrap();
        if bench.store.batch(number).await.unwrap().is_some_and(|batch| batch.state == state) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("batch {number} did not become {state:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_keeper_commits_before_its_heartbeat_runs_out() {
    let world = World::with_heartbeat(12).await;
    let bench = Bench::open(&world).await;
    rounds_until(&bench, 1, BatchState::Final).await;
    rounds_until(&bench, 2, BatchState::Committed).await;
    let batch = world.contract().batch(world.keeper.address(), 1).call().await.unwrap();
    assert!(batch.committedAt > 0 && batch.sum == 0 && batch.earnings.is_zero());
    let keeper = world.contract().keeper(world.keeper.address()).call().await.unwrap();
    assert_eq!(keeper.status, 1, "still active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_answered_and_everyone_is_paid() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    let voucher = bench.pay(&world, job, 1, 500, true).await;
    let accepted = bench.store.accepted_for(job).await.unwrap().unwrap();
    rounds_until(&bench, 1, BatchState::Committed).await;

    let challenge = settlement::Settlement::challengeCall {
        keeper: world.keeper.address(),
        acceptance: accepted.acceptance.to_challenge().to_vec().into(),
    };
    world.anvil.send(world.owner.address(), Some(world.settlement()), challenge.abi_encode()).await;
    let open = async || world.contract().keeper(world.keeper.address()).call().await.unwrap().open.to::<u32>();
    assert_eq!(open().await, 1);
    bench.settler.round().await.unwrap();
    assert_eq!(open().await, 0, "answered in the next round");

    let (keeper_before, debits) = (world.balance(world.keeper.address()).await, voucher.voucher.total.get());
    rounds_until(&bench, 1, BatchState::Final).await;
    bench.settler.round().await.unwrap();
    let closed = bench.store.batch(1).await.unwrap().unwrap().prepared.unwrap().commitment;
    // The keeper claims its own leaf: all that was debited, less the provider's earnings and the protocol fee.
    let own = debits - 500 - closed.fee.get();
    assert_eq!(world.balance(world.keeper.address()).await, keeper_before + own);
    assert!(own >= 100 + 10, "its fee for the channel and two percent");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_is_paid_in_one_transaction_where_that_is_configured() {
    let mut world = World::new().await;
    world.tune = |config| config.settle.distribute = true;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    bench.pay(&world, job, 1, 500, true).await;
    rounds_until(&bench, 1, BatchState::Final).await;
    bench.settler.round().await.unwrap();
    assert_eq!(world.balance(world.provider.address()).await, 500);
    assert!(world.contract().distributed(world.keeper.address(), 1).call().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_a_reorganisation_drops_is_made_again() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    let voucher = bench.pay(&world, job, 1, 500, true).await;
    let snapshot = world.anvil.raw("evm_snapshot", json!([])).await;
    rounds_until(&bench, 1, BatchState::Committed).await;
    let committed = bench.store.batch(1).await.unwrap().unwrap();
    world.anvil.raw("evm_revert", json!([snapshot])).await;
    let root = async || world.contract().batch(world.keeper.address(), 1).call().await.unwrap().earnings;
    assert!(root().await.is_zero(), "the chain has forgotten it");
    for _ in 0..100 {
        // A round may fail while the chain is catching up; the next one starts from what it finds.
        let _ = bench.settler.round().await;
        let state = bench.store.batch(1).await.unwrap().unwrap().state;
        if !root().await.is_zero() && state != BatchState::Closed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(root().await, committed.prepared.unwrap().commitment.earnings());
    let spent = world.contract().channel(world.channel().0).call().await.unwrap().spent;
    assert_eq!(spent, voucher.voucher.total.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_was_wound_down_promises_nothing_more() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    world.anvil.advance(61).await;
    let lapse = settlement::Settlement::lapseCall { keeper: world.keeper.address() };
    world.anvil.send(world.owner.address(), Some(world.settlement()), lapse.abi_encode()).await;
    let error = bench.settler.round().await.unwrap_err().to_string();
    assert!(error.contains("recover"), "{error}");
    assert_eq!(bench.store.batch(1).await.unwrap().unwrap().state, BatchState::Void);
    let refusal = bench.desk.order(world.sign(world.an_order())).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_nobody_pays_does_not_hold_the_channel_for_ever() {
    let mut world = World::new().await;
    world.tune = |config| config.market.pay_within_ms = 300;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    let receipt = world.receipt(job, 1, 500, true);
    bench.desk.receipt(world.worker.address(), receipt, vec![crate::world::output()]).await.unwrap();
    bench.desk.sweep().await.unwrap();
    assert_eq!(bench.desk.job_view(job).await.unwrap().state, JobState::Delivered, "there is time yet");
    tokio::time::sleep(Duration::from_millis(350)).await;
    bench.desk.sweep().await.unwrap();
    let ended = bench.desk.job_view(job).await.unwrap();
    assert_eq!((ended.state, ended.paid.get()), (JobState::Failed, 0));
    assert_eq!(bench.desk.channel_view(world.channel()).await.unwrap().reserved.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_an_unpaid_job_nor_a_stopped_one_waits_for_ever() {
    let mut world = World::new().await;
    world.tune = |config| config.market.pay_within_ms = 300;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let (unpaid, stopped) = (bench.start_job(&world).await, bench.start_job(&world).await);
    let bill = async |sequence| {
        let receipt = world.receipt(unpaid, sequence, 100 * sequence, false);
        bench.desk.receipt(world.worker.address(), receipt, vec![]).await.unwrap();
    };
    bill(1).await;
    bench.desk.cancel(world.channel(), stopped).await.unwrap();
    bench.desk.sweep().await.unwrap();
    let state = async |job| bench.desk.job_view(job).await.unwrap().state;
    assert_eq!((state(unpaid).await, state(stopped).await), (JobState::Running, JobState::Running));
    tokio::time::sleep(Duration::from_millis(350)).await;
    // The worker goes on billing and says nothing of the stop.
    bill(2).await;
    bench.desk.sweep().await.unwrap();
    assert_eq!((state(unpaid).await, state(stopped).await), (JobState::Failed, JobState::Cancelled));
    assert_eq!(bench.desk.channel_view(world.channel()).await.unwrap().reserved.get(), 0);
    let (next, _) = (bench.start_job(&world).await, bench.start_job(&world).await);
    tokio::time::sleep(Duration::from_millis(350)).await;
    bench.desk.sweep().await.unwrap();
    assert_eq!(state(next).await, JobState::Running, "one that only runs waits for nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_whose_log_was_missed_ends_the_jobs_when_the_channel_is_read_again() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _inbox = bench.join_worker(&world, vec![]).await;
    let job = bench.start_job(&world).await;
    bench.desk.refresh_channel(world.channel()).await.unwrap();
    assert_eq!(bench.desk.job_view(job).await.unwrap().state, JobState::Running);
    let call = settlement::Settlement::closeCall { signer: world.session.address(), keeper: world.keeper.address() };
    world.anvil.send(world.payer.address(), Some(world.settlement()), call.abi_encode()).await;
    assert_eq!(bench.desk.open_channels().await, [world.channel()]);
    bench.desk.refresh_channel(world.channel()).await.unwrap();
    let ended = bench.desk.job_view(job).await.unwrap();
    assert!(ended.state == JobState::Failed && ended.reason.unwrap().contains("closing"));
}
