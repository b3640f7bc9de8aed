//! A keeper that does not keep its word is made to, or paid without.

use crate::chain::{CHALLENGE, HEARTBEAT};
use crate::scene::{LONG, SHORT, Scene};
use crate::setup::{PROVIDER, Running, keeper_key, until};
use protocol::wire::Code;
use worker::ledger::Ledger;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_batches_of_one_channel_are_recovered() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    // One job in the open batch, one in the next; neither is ever committed.
    for (salt, batch) in [(1, 1), (2, 2)] {
        scene.keeper.book().batch = batch;
        scene.keeper.assign(&scene.order(SHORT, 0, salt));
        until("the job is paid", async || {
            let status = scene.status().await;
            (status["jobs"]["closed"] == salt).then_some(())
        })
        .await;
    }
    let due = scene.billed();
    scene.world.pass(HEARTBEAT + 1).await;
    until("the recovery", async || (scene.world.balance(PROVIDER).await == due).then_some(())).await;
    // What is recovered is written down once the chain's safe head shows it.
    scene.world.mine(3).await;
    until("the ledger knows of it", async || {
        let ledger = Ledger::open_for_reading(&scene.config().data).await.unwrap();
        let earnings = ledger.earnings(PROVIDER).await.unwrap();
        let keeper = &earnings.keepers[0];
        let states: Vec<_> = keeper.batches.iter().map(|batch| batch.state).collect();
        let is_settled = ledger.owing_keepers().await.unwrap().is_empty();
        (states == ["recovered", "recovered"] && is_settled).then(|| assert_eq!(keeper.recovered.get(), due))
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_is_shown_on_chain_only_is_found_there() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    scene.paid().await;
    let earned = scene.keeper.settle(&scene.world, false).await;
    scene.world.pass(2).await;
    let keeper = keeper_key().address();
    until("the challenge", async || {
        let challenge = scene.world.settlement.challenged(keeper, 1, PROVIDER).call().await.unwrap();
        (challenge.deadline > 0).then_some(())
    })
    .await;
    let (amount, proof) = scene.keeper.book().hidden[&1].proof(PROVIDER).unwrap();
    let answer = scene.world.settlement.answer(keeper, PROVIDER, amount.get(), proof.index, proof.to_bytes().into());
    scene.world.send(keeper, *scene.world.settlement.address(), answer.calldata().clone()).await;
    scene.world.pass(CHALLENGE + 1).await;
    until("the claim", async || (scene.world.balance(PROVIDER).await == earned.get()).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_keeper_is_still_asked_for_its_proofs() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    scene.paid().await;
    running.stop().await;
    let earned = scene.keeper.settle(&scene.world, true).await;
    let mut config = scene.config();
    config.keeper = Some("http://127.0.0.1:1/".parse().unwrap());
    let running = Running::start(config).await;
    scene.world.pass(CHALLENGE + 1).await;
    until("the claim", async || (scene.world.balance(PROVIDER).await == earned.get()).then_some(())).await;
    let challenge = scene.world.settlement.challenged(keeper_key().address(), 1, PROVIDER).call().await.unwrap();
    assert_eq!((challenge.owed, challenge.deadline), (0, 0), "it did not have to be challenged");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_retires_gets_no_more_work() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(LONG, 0, 1));
    until("a receipt", async || (!scene.keeper.book().receipts.is_empty()).then_some(())).await;
    let keeper = keeper_key().address();
    let retire = scene.world.settlement.retire(keeper).calldata().clone();
    scene.world.send(keeper, *scene.world.settlement.address(), retire).await;
    let refusal = scene.failure().await;
    assert_eq!((refusal.code, refusal.detail.as_str()), (Code::Unsupported, "the keeper is not active"));
    running.stop().await;
}
