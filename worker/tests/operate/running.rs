//! A worker from its first file to its end, beside a real chain.

use crate::chain::World;
use crate::place::{PROVIDER, Place, check, is_confined, worker_key};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::benchmark::SignedBenchmark;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn metrics(place: &Place) -> String {
    reqwest::get(format!("http://{}/metrics", place.admin)).await.unwrap().text().await.unwrap()
}

async fn wait_until_ready(place: &Place) {
    for _ in 0..600 {
        let answer = reqwest::get(format!("http://{}/readyz", place.admin)).await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the worker did not become ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_a_healthy_worker() {
    let world = World::start(&[]).await;
    let place = Place::new();
    let book = deployment::write(&world.book, place.file("").as_path()).unwrap();
    place.configure(world.chain_config().endpoints[0].as_str(), &book.display().to_string(), "");

    // Before anything is registered, doctor says so.
    let stranger = place.run(&["doctor", "--config", &place.config(), "--json"]);
    assert_eq!(stranger.code, 5);
    let advice = check(&stranger.json(), "registry.provider")["advice"].to_string();
    assert!(advice.contains("capa provider register"), "{advice}");

    world.register(PROVIDER, &worker_key()).await;
    let healthy = place.run(&["doctor", "--config", &place.config(), "--json"]);
    let report = healthy.json();
    assert_eq!(healthy.code, if is_confined(&report) { 0 } else { 6 });
    for id in ["chain.reachable", "chain.deployment", "registry.provider", "registry.worker", "registry.resources"] {
        assert_eq!(check(&report, id)["state"], "ok", "{id}: {report:#}");
    }
    assert_eq!(check(&report, "registry.gas")["state"], "ok");

    let mut command = place.command(&["run", "--config", &place.config()]);
    let mut worker = Running(command.stdout(Stdio::null()).spawn().unwrap());
    wait_until_ready(&place).await;
    let status = place.run(&["status", "--config", &place.config(), "--json"]).json();
    assert_eq!(status["ready"], true);
    assert_eq!(status["local"]["devices"][0]["state"], "free");
    assert_eq!(status["local"]["kinds"][0], "wasm");
    assert_eq!(status["market"]["offersInBook"], Value::Null);
    let text = place.run(&["status", "--config", &place.config()]).text;
    assert!(text.contains("direct clients only"), "{text}");
    expect_metrics(&place).await;

    kill(Pid::from_raw(i32::try_from(worker.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    let started = Instant::now();
    while worker.0.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "the worker does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(worker.0.wait().unwrap().success());
    let status = place.run(&["status", "--config", &place.config(), "--json"]).json();
    assert!(status["ready"]["unknown"].as_str().unwrap().contains("does not run"), "{status:#}");
}

async fn expect_metrics(place: &Place) {
    let wanted = [
        "build_info{service=\"worker\"",
        "capa_worker_isolation_level",
        "capa_worker_device_state{device=\"CPU slot 0\",state=\"free\"} 1",
        "capa_worker_receipts_unsettled 0",
    ];
    let mut text = String::new();
    for _ in 0..100 {
        text = metrics(place).await;
        if wanted.iter().all(|name| text.contains(name)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not all of {wanted:?} in\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_benchmark_is_signed_by_the_worker() {
    let world = World::start(&[]).await;
    let place = Place::new();
    let book = deployment::write(&world.book, place.file("").as_path()).unwrap();
    place.configure(world.chain_config().endpoints[0].as_str(), &book.display().to_string(), "");
    let out = place.file("benchmark.json");
    let (config, file) = (place.config(), out.display().to_string());
    let ran = place.run(&["bench", "--config", &config, "--json", "--out", &file]);
    assert_eq!(ran.code, 0);
    let benchmark: SignedBenchmark = serde_json::from_value(ran.json()).unwrap();
    benchmark.verify(&world.book.domain()).unwrap();
    assert_eq!((benchmark.provider, benchmark.worker), (PROVIDER, worker_key().address()));
    assert!(benchmark.document["figures"]["wasmFuelOneCore"]["value"].as_u64().unwrap() > 0);
    assert!(!benchmark.document["machine"]["cpu"].as_str().unwrap().is_empty());
    let written: SignedBenchmark = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(written, benchmark);
    // What was written once is not replaced.
    assert_eq!(place.run(&["bench", "--config", &config, "--rows", "--row", "sign_receipt", "--out", &file]).code, 1);
}
