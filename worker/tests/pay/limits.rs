//! Limits of trust hold over all jobs together, however many run at a time.

use crate::scene::{LONG, Scene};
use crate::setup::{PAYER, keeper_key, key, until};
use protocol::amount::Amount;
use protocol::wire::Code;

/// Work of some seconds, so that a slow machine does not matter. Two jobs that each used it up would bill more than twice as much.
const LIMIT: Amount = Amount(50_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_of_a_channel_share_what_may_be_unaccepted() {
    let scene = Scene::set().await;
    scene.keeper.book().pays = false;
    let mut config = scene.config();
    (config.slots, config.limits.unaccepted) = (2, LIMIT);
    let running = scene.start(config).await;
    scene.keeper.assign(&scene.order(LONG, 0, 1));
    scene.keeper.assign(&scene.order(LONG, 0, 2));
    let failures = scene.failures(2).await;
    assert!(failures.iter().all(|refusal| refusal.code == Code::Limited), "{failures:?}");
    let billed = scene.billed();
    assert!(billed > LIMIT.get(), "{billed} were billed");
    assert!(billed < 2 * LIMIT.get(), "{billed} were billed, as if each job had the limit of {LIMIT} for itself");
    scene.keeper.book().failed.clear();
    scene.keeper.assign(&scene.order(LONG, 0, 3));
    assert_eq!(scene.failure().await.code, Code::Limited, "nothing more starts until they are paid");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_channels_share_what_may_be_unaccepted_of_their_keeper() {
    let scene = Scene::set().await;
    let sessions = [key(0x61), key(0x62)];
    for session in &sessions {
        scene.world.open_channel(PAYER, session.address(), keeper_key().address(), 50_000_000).await;
    }
    scene.keeper.book().pays = false;
    let mut config = scene.config();
    (config.slots, config.limits.unaccepted_keeper) = (2, LIMIT);
    let running = scene.start(config).await;
    for (session, salt) in sessions.iter().zip(1..) {
        scene.keeper.assign_from(&scene.order_from(session, salt), session);
    }
    let refusal = scene.failure().await;
    assert!(refusal.code == Code::Limited && refusal.detail.contains("all this keeper's work"), "{refusal}");
    let billed = scene.billed();
    assert!(billed < 2 * LIMIT.get(), "{billed} were billed, as if each channel had the limit of {LIMIT} for itself");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_share_what_may_be_accepted_and_not_final() {
    let scene = Scene::set().await;
    let mut config = scene.config();
    (config.slots, config.limits.channel) = (2, LIMIT);
    let running = scene.start(config).await;
    scene.keeper.assign(&scene.order(LONG, 0, 1));
    scene.keeper.assign(&scene.order(LONG, 0, 2));
    let failures = scene.failures(2).await;
    assert!(failures.iter().all(|refusal| refusal.code == Code::Limited), "{failures:?}");
    let accepted = scene.billed();
    assert!(accepted < 2 * LIMIT.get(), "{accepted} were accepted, as if each job had the limit of {LIMIT} for itself");
    scene.keeper.book().failed.clear();
    scene.keeper.assign(&scene.order(LONG, 0, 3));
    let refusal = scene.failure().await;
    assert!(refusal.code == Code::Limited && refusal.detail.contains("not final"), "{refusal}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_counts_once_it_is_safe() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    let session = key(0x63);
    scene.world.open_unsafe_channel(PAYER, session.address(), keeper_key().address(), 50_000_000).await;
    scene.keeper.assign_from(&scene.order_from(&session, 1), &session);
    assert_eq!(scene.failure().await.code, Code::InsufficientFunds);
    scene.world.mine(3).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    scene.keeper.assign_from(&scene.order_from(&session, 2), &session);
    until("a receipt", async || (!scene.keeper.book().receipts.is_empty()).then_some(())).await;
    running.stop().await;
}
