//! The verbs that look after the money, on a worker that runs and on one that does not.

use crate::chain::CHALLENGE;
use crate::process::{Worker, document, verb};
use crate::scene::{SHORT, Scene};
use crate::setup::{PROVIDER, config, keeper_key, key, until, world};
use alloy::primitives::Bytes;
use protocol::amount::Amount;
use service::keystore::write_key_with;

/// Where a coin is worth so much, no test's earnings are worth their gas.
const DEAR: Amount = Amount(1_000_000_000_000_000_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_worth_its_gas_waits_until_it_is_asked_for() {
    let scene = Scene::set().await;
    let mut config = scene.config();
    config.claim.coin_price = DEAR;
    let folder = scene.folder.path();
    let mut worker = Worker::start(&config, folder);
    until("the worker connects", async || scene.keeper.is_connected().then_some(())).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    scene.paid().await;
    let earned = scene.keeper.settle(&scene.world, true).await;
    let shown = document(&verb(&config, folder, &["earnings", "--json"]).await);
    let keeper = &shown["keepers"][0];
    assert_eq!(keeper["keeper"], keeper_key().address().to_string().to_lowercase(), "{shown}");
    assert_eq!((&keeper["accepted"], &keeper["unclaimed"]), (&earned.to_string().into(), &"0".into()), "{shown}");
    scene.world.pass(CHALLENGE + 1).await;
    until("the batch is final", async || {
        let shown = document(&verb(&config, folder, &["earnings", "--json"]).await);
        (shown["keepers"][0]["unclaimed"] == earned.to_string()).then_some(())
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(scene.world.balance(PROVIDER).await, 0, "its gas would cost more");
    let paid = verb(&config, folder, &["withdraw", "--json"]).await;
    assert_eq!(paid.status.code(), Some(0), "{paid:?}");
    let payout = &document(&paid)["payouts"][0];
    assert_eq!((&payout["kind"], &payout["amount"]), (&"claim".into(), &earned.to_string().into()));
    assert_eq!(scene.world.balance(PROVIDER).await, earned.get());
    let jobs = document(&verb(&config, folder, &["jobs", "--json", "--state", "closed"]).await);
    assert_eq!((&jobs[0]["state"], &jobs[0]["paid"]), (&"closed".into(), &earned.to_string().into()));
    let none = document(&verb(&config, folder, &["jobs", "--json", "--state", "failed"]).await);
    assert_eq!(none, serde_json::json!([]));
    worker.kill();
    let again = document(&verb(&config, folder, &["withdraw", "--json"]).await);
    assert_eq!(again["payouts"], serde_json::json!([]), "it is paid once, also by another process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_does_not_run_is_paid_out_all_the_same() {
    let scene = Scene::set().await;
    let mut config = scene.config();
    config.claim.coin_price = DEAR;
    let running = scene.start(config.clone()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    scene.paid().await;
    let earned = scene.keeper.settle(&scene.world, true).await;
    running.stop().await;
    scene.world.pass(CHALLENGE + 1).await;
    let paid = verb(&config, scene.folder.path(), &["withdraw"]).await;
    let text = String::from_utf8_lossy(&paid.stdout).into_owned();
    assert!(paid.status.success() && text.contains(&earned.to_capa()), "{paid:?}");
    assert_eq!(scene.world.balance(PROVIDER).await, earned.get());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn register_says_what_is_missing_and_signs_the_consent() {
    let (world, _) = world().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&world, folder.path());
    config.keeper = Some("http://127.0.0.1:1/".parse().unwrap());
    let done = verb(&config, folder.path(), &["register", "--json"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let new = key(0x77);
    let keystore = folder.path().join("new.json");
    write_key_with(&keystore, &new.to_bytes(), "secret", 4).unwrap();
    config.key.keystore = keystore;
    let missing = verb(&config, folder.path(), &["register", "--json"]).await;
    assert_eq!(missing.status.code(), Some(5), "{missing:?}");
    let found = document(&missing);
    assert_eq!((&found["isProvider"], &found["isWorker"]), (&true.into(), &false.into()));
    assert_eq!(found["toDo"].as_array().unwrap().len(), 2, "the key, and its gas: {found}");
    let printed = verb(&config, folder.path(), &["register", "--consent"]).await;
    let consent: Bytes = String::from_utf8(printed.stdout).unwrap().trim().parse().unwrap();
    let add = world.registry.addWorker(new.address(), consent).calldata().clone();
    world.send(PROVIDER, *world.registry.address(), add).await;
    world.fund(new.address()).await;
    let done = verb(&config, folder.path(), &["register"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
}
