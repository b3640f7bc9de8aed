//! What a reorganisation takes back is sent again.

use crate::chain::CHALLENGE;
use crate::scene::{SHORT, Scene};
use crate::setup::{PROVIDER, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_taken_back_is_made_again() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    scene.paid().await;
    let earned = scene.keeper.settle(&scene.world, true).await.get();
    scene.world.pass(CHALLENGE + 1).await;
    until("the claim", async || (scene.world.balance(PROVIDER).await == earned).then_some(())).await;
    scene.world.rpc("anvil_reorg", json!([1, []])).await;
    assert_eq!(scene.world.balance(PROVIDER).await, 0, "the chain went back");
    until("the claim again", async || (scene.world.balance(PROVIDER).await == earned).then_some(())).await;
    running.stop().await;
}
