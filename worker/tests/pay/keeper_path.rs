use crate::chain::{BOND, CHALLENGE, HEARTBEAT};
use crate::job;
use crate::scene::{LONG, SHORT, Scene, owed};
use crate::setup::{PAYER, PROVIDER, keeper_key, session_key, until};
use alloy::primitives::{B256, keccak256};
use protocol::job::result_hash;
use protocol::voucher::{Acceptance, Accepted, ChannelId, SignedAcceptance, SignedVoucher};
use protocol::wire::{Code, Info, Refusal, ToWorker};
use std::time::Duration;
use worker::ledger::{Credit, Ledger};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_run_paid_settled_and_claimed() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    let offer = until("an offer", async || scene.keeper.book().offers.first().cloned()).await;
    assert_eq!(offer.offer.provider, PROVIDER);
    // Many times the billing interval on any machine.
    let rounds = 20 * SHORT;
    let order = scene.order(rounds, 0, 1);
    scene.keeper.assign(&order);
    let last = until("the last receipt", async || {
        scene.keeper.book().receipts.iter().find(|receipt| receipt.statement.is_final()).cloned()
    })
    .await;
    let output = rounds.to_le_bytes();
    assert_eq!(last.statement.result, result_hash(&[job::blob(&output)]));
    assert_eq!(scene.keeper.book().blobs[&keccak256(output)].as_ref(), output);
    let receipts = scene.keeper.book().receipts.clone();
    assert!(receipts.len() > 1, "billed while it ran, not only at its end");
    let sequences: Vec<u64> = receipts.iter().map(|receipt| receipt.statement.sequence).collect();
    assert_eq!(sequences, (1..=receipts.len() as u64).collect::<Vec<_>>());
    assert_eq!(last.statement.amount.get(), 2 * last.statement.usage.cpu_ms.get());

    scene.paid().await;
    let earned = scene.keeper.settle(&scene.world, true).await;
    assert_eq!(earned, last.statement.amount);
    assert_eq!(scene.world.balance(PROVIDER).await, 0);
    scene.world.pass(CHALLENGE + 1).await;
    until("the claim", async || (scene.world.balance(PROVIDER).await == earned.get()).then_some(())).await;
    let status = until("the ledger knows of it", async || {
        let status = scene.status().await;
        (owed(&status) == 0).then_some(status)
    })
    .await;
    assert_eq!(status["money"]["keepers"][0]["claimed"], earned.to_string());
    assert_eq!(status["jobs"], serde_json::json!({ "closed": 1 }), "{status}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_hides_its_proofs_is_challenged_and_wound_down() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    until("the last receipt", async || {
        scene.keeper.book().receipts.iter().any(|receipt| receipt.statement.is_final()).then_some(())
    })
    .await;
    scene.paid().await;
    let earned = scene.keeper.settle(&scene.world, false).await;
    scene.world.pass(2).await;
    let challenge = until("the challenge", async || {
        let call = scene.world.settlement.challenged(keeper_key().address(), 1, PROVIDER);
        Some(call.call().await.unwrap()).filter(|challenge| challenge.deadline > 0)
    })
    .await;
    assert_eq!(challenge.owed, earned.get());
    scene.world.pass(CHALLENGE + 1).await;
    // A tenth of the forfeited bond rewards the challenger; what is owed comes straight from the channel.
    let due = BOND / 10 + earned.get();
    until("the recovery", async || (scene.world.balance(PROVIDER).await == due).then_some(())).await;
    scene.world.mine(1).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 2));
    assert_eq!(scene.failure().await.code, Code::Unsupported, "no more work for a keeper that is wound down");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_never_commits_is_wound_down() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    let last = until("the last receipt", async || {
        scene.keeper.book().receipts.iter().find(|receipt| receipt.statement.is_final()).cloned()
    })
    .await;
    scene.paid().await;
    scene.world.pass(HEARTBEAT + 1).await;
    let due = last.statement.amount.get();
    until("the recovery", async || (scene.world.balance(PROVIDER).await == due).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_nobody_pays_is_stopped() {
    let scene = Scene::set().await;
    scene.keeper.book().pays = false;
    let mut config = scene.config();
    config.limits.unaccepted = protocol::amount::Amount(400);
    let running = scene.start(config).await;
    scene.keeper.assign(&scene.order(LONG, 0, 1));
    let refusal = scene.failure().await;
    assert_eq!(refusal.code, Code::Limited, "{refusal}");
    let billed = scene.keeper.book().receipts.last().unwrap().statement.amount.get();
    assert!(billed > 0, "what was used until then is billed");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_job_bills_what_it_used() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    let order = scene.order(LONG, 0, 1);
    scene.keeper.assign(&order);
    until("a receipt", async || (!scene.keeper.book().receipts.is_empty()).then_some(())).await;
    let refusal = Refusal::new(Code::Cancelled, "the client stopped it");
    scene.keeper.send(ToWorker::Stop { job: order.order.id(), refusal: refusal.clone() });
    assert_eq!(scene.failure().await, refusal);
    assert!(scene.keeper.book().receipts.iter().all(|receipt| receipt.statement.result == B256::ZERO));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_named() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(1_000, 7, 1));
    assert_eq!(scene.failure().await.code, Code::ProgramFailed);
    scene.keeper.book().failed.clear();
    let missing = job::order(PAYER, &session_key(), &scene.domain, b"no such envelope", 2);
    scene.keeper.assign(&missing);
    assert_eq!(scene.failure().await.code, Code::MissingBlob);
    scene.keeper.book().failed.clear();
    let mut forged = scene.order(1_000, 0, 3);
    forged.order.max_total = protocol::amount::Amount(2_999_999);
    scene.keeper.assign(&forged);
    assert_eq!(scene.failure().await.code, Code::BadSignature);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_channel_gets_no_more_work() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(LONG, 0, 1));
    until("a receipt", async || (!scene.keeper.book().receipts.is_empty()).then_some(())).await;
    let close = scene.world.settlement.close(session_key().address(), keeper_key().address()).calldata().clone();
    scene.world.send(PAYER, *scene.world.settlement.address(), close).await;
    assert_eq!(scene.failure().await.code, Code::ChannelClosing);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_the_job_but_no_receipt() {
    let scene = Scene::set().await;
    scene.keeper.book().pays = false;
    let running = scene.start(scene.config()).await;
    let (short, long) = (scene.order(SHORT, 0, 1), scene.order(LONG, 0, 2));
    scene.keeper.assign(&short);
    let last = until("the last receipt", async || {
        scene.keeper.book().receipts.iter().find(|receipt| receipt.statement.is_final()).cloned()
    })
    .await;
    until("the slot is free", async || {
        scene.keeper.assign(&long);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let id = long.order.id();
        scene.keeper.book().receipts.iter().any(|receipt| receipt.statement.job == id).then_some(())
    })
    .await;
    running.crash();
    until("the socket is gone", async || (!scene.keeper.is_connected()).then_some(())).await;
    scene.keeper.book().receipts.clear();
    let running = scene.start(scene.config()).await;
    let held = scene.keeper.book().hellos.last().unwrap().clone();
    assert!(held.contains(&short.order.id()) && held.contains(&long.order.id()));
    assert_eq!(scene.failure().await.code, Code::NodeFailed);
    until("the last receipt again", async || scene.keeper.book().receipts.contains(&last).then_some(())).await;
    scene.keeper.pay(&last);
    scene.paid().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acceptance_that_comes_after_the_commit_counts_by_its_proof() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.book().withholds = true;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    let last = until("the last receipt", async || {
        scene.keeper.book().receipts.iter().find(|receipt| receipt.statement.is_final()).cloned()
    })
    .await;
    scene.keeper.settle(&scene.world, true).await;
    let status = scene.status().await;
    assert_eq!(owed(&status), 0, "nothing was accepted so far");
    let accepted = scene.keeper.book().newest.unwrap();
    scene.keeper.send(ToWorker::Accepted { job: last.statement.job, accepted });
    scene.paid().await;
    scene.world.pass(CHALLENGE + 1).await;
    let due = last.statement.amount.get();
    until("the claim", async || (scene.world.balance(PROVIDER).await == due).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_lost_its_ledger_still_claims() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    scene.paid().await;
    running.stop().await;
    let due = scene.keeper.settle(&scene.world, true).await.get();
    scene.world.pass(CHALLENGE + 1).await;
    std::fs::remove_dir_all(scene.config().data).unwrap();
    let running = scene.start(scene.config()).await;
    until("the claim", async || (scene.world.balance(PROVIDER).await == due).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_cannot_be_recovered_does_not_hold_up_the_next() {
    let scene = Scene::set().await;
    scene.keeper.book().batch = 2;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    scene.paid().await;
    running.stop().await;
    // An acceptance of an earlier batch by somebody else than the keeper: the contract refuses it.
    let newest = scene.keeper.book().newest.unwrap();
    let mut voucher = newest.voucher.voucher;
    voucher.batch = 1;
    let voucher = SignedVoucher::sign(voucher, &scene.domain, &session_key());
    let (provider, owed) = (PROVIDER, voucher.voucher.latest.earned);
    let acceptance = Acceptance { voucher: voucher.voucher.hash(), provider, batch: 1, owed };
    let acceptance = SignedAcceptance::sign(acceptance, &scene.domain, &crate::setup::key(9));
    let accepted = Accepted { voucher, acceptance };
    let channel = ChannelId::of(PAYER, session_key().address(), keeper_key().address());
    let job = protocol::order::JobId(B256::ZERO);
    let ledger = Ledger::open(&scene.config().data).await.unwrap();
    ledger.credit(&Credit { job, channel, paid: owed, last: false, accepted: &accepted }).await.unwrap();
    ledger.close().await;
    scene.world.pass(HEARTBEAT + 1).await;
    let lapse = scene.world.settlement.lapse(keeper_key().address()).calldata().clone();
    scene.world.send(PAYER, *scene.world.settlement.address(), lapse).await;
    let running = scene.start(scene.config()).await;
    until("the recovery", async || (scene.world.balance(PROVIDER).await == owed.get()).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wind_down_that_is_reorganised_away_forgets_nothing() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    scene.paid().await;
    running.stop().await;
    let ledger = Ledger::open(&scene.config().data).await.unwrap();
    let keeper = keeper_key().address();
    ledger.set_stage(keeper, 1, worker::ledger::BatchStage::Void).await.unwrap();
    ledger.close().await;
    let running = scene.start(scene.config()).await;
    let earned = scene.keeper.settle(&scene.world, true).await;
    scene.world.pass(CHALLENGE + 1).await;
    until("the claim", async || (scene.world.balance(PROVIDER).await == earned.get()).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_cannot_become_another_one() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    let logins = scene.keeper.book().hellos.len();
    let info = Info { keeper: alloy::primitives::Address::repeat_byte(3), ..scene.keeper.info() };
    scene.keeper.send(ToWorker::Info { info });
    until("a new login", async || (scene.keeper.book().hellos.len() > logins).then_some(())).await;
    running.stop().await;
}
