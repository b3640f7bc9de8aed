//! A worker that is told to end takes nothing more, finishes, is paid, and ends.

use crate::process::{Worker, document, verb};
use crate::scene::{LONG, SHORT, Scene};
use crate::setup::until;
use protocol::wire::Code;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_finished_and_paid() {
    let scene = Scene::set().await;
    let running = scene.start(scene.config()).await;
    scene.keeper.assign(&scene.order(20 * SHORT, 0, 1));
    until("a receipt", async || (!scene.keeper.book().receipts.is_empty()).then_some(())).await;
    scene.keeper.book().pays = false;
    running.drain();
    until("the keeper knows", async || (scene.keeper.book().slots == Some(0)).then_some(())).await;
    let last = scene.last_receipt().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(scene.keeper.is_connected(), "it waits for its payment");
    scene.keeper.assign(&scene.order(SHORT, 0, 2));
    assert_eq!(scene.failure().await.code, Code::Limited, "nothing new is taken");
    let offers = scene.keeper.book().offers.len();
    scene.keeper.pay(&last);
    running.ended().await;
    assert_eq!(scene.keeper.book().offers.len(), offers);
    let status = scene.status().await;
    assert_eq!(status["jobs"], serde_json::json!({ "closed": 1 }), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_in_time_is_stopped() {
    let scene = Scene::set().await;
    let mut config = scene.config();
    config.drain.timeout_s = 3;
    let running = scene.start(config).await;
    scene.keeper.assign(&scene.order(LONG, 0, 1));
    until("a receipt", async || (!scene.keeper.book().receipts.is_empty()).then_some(())).await;
    running.drain();
    running.ended().await;
    let status = scene.status().await;
    assert_eq!(status["jobs"], serde_json::json!({ "failed": 1 }), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_drains_and_the_second_stops() {
    let scene = Scene::set().await;
    let mut worker = Worker::start(&scene.config(), scene.folder.path());
    until("the worker connects", async || scene.keeper.is_connected().then_some(())).await;
    worker.signal("-TERM");
    assert_eq!(worker.ended().await.code(), Some(0), "so a service manager does not start it again");
    let mut worker = Worker::start(&scene.config(), scene.folder.path());
    until("the worker connects", async || (scene.keeper.book().hellos.len() == 2).then_some(())).await;
    scene.keeper.assign(&scene.order(LONG, 0, 1));
    until("a receipt", async || (!scene.keeper.book().receipts.is_empty()).then_some(())).await;
    worker.signal("-TERM");
    until("the keeper knows", async || (scene.keeper.book().slots == Some(0)).then_some(())).await;
    worker.signal("-TERM");
    assert_eq!(worker.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_drains_over_the_admin_port() {
    let scene = Scene::set().await;
    let config = scene.config();
    let none = verb(&config, scene.folder.path(), &["drain", "--json"]).await;
    assert_eq!(none.status.code(), Some(3), "{none:?}");
    let mut worker = Worker::start(&config, scene.folder.path());
    until("the worker connects", async || scene.keeper.is_connected().then_some(())).await;
    let door: serde_json::Value =
        serde_json::from_slice(&std::fs::read(config.data.join("admin.json")).unwrap()).unwrap();
    let url = format!("http://{}/drain", door["address"].as_str().unwrap());
    let http = reqwest::Client::new();
    for token in ["", "wrong"] {
        let refused = http.post(&url).bearer_auth(token).send().await.unwrap();
        assert_eq!(refused.status(), 403);
    }
    assert_eq!(http.post(&url).send().await.unwrap().status(), 403, "a page in a browser has no token");
    assert_eq!(scene.keeper.book().slots, Some(1));
    let drained = verb(&config, scene.folder.path(), &["drain", "--json"]).await;
    assert_eq!(drained.status.code(), Some(0), "{drained:?}");
    assert_eq!(document(&drained)["state"], "drained");
    assert_eq!(worker.ended().await.code(), Some(0));
}
