//! An indexer of a real chain and a keeper of its own, over HTTP.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

mod world;

use axum::http::{StatusCode, header};
use indexer::{Indexer, StartError};
use protocol::address_book::AddressBook;
use serde_json::{Value, json};
use service::chain::ChainError;
use service::config::read_json;
use std::time::Duration;
use world::{CHALLENGE, KEEPER, PROVIDER, World, line};

const ALL: &str = "/v1/resources/1/candles?interval=1m&finality=all";
const PROVEN: &str = "/v1/resources/1/candles?interval=1m&finality=proven";

fn count(candles: &Value) -> usize {
    candles["candles"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn other_contracts_than_the_address_book_says_are_not_indexed() {
    let world = World::start().await;
    let config = world.config();
    let mut book: AddressBook = read_json(&config.address_book).unwrap();
    book.contracts.catalog.code_hash = book.contracts.registry.code_hash;
    std::fs::write(&config.address_book, serde_json::to_vec(&book).unwrap()).unwrap();
    let error = Indexer::bind(config).await.err().unwrap();
    assert!(matches!(error, StartError::Chain(ChainError::WrongCode { name: "catalog", .. })), "{error}");
}

#[tokio::test]
async fn a_trade_is_pending_until_its_batch_is_final_and_can_then_be_proven_on_chain() {
    let mut world = World::start().await;
    let indexer = world.index().await;
    let now = world.now().await;
    let minute = now - now % 60;
    let lines = vec![line(1, 3_600_000, 100, minute), line(2, 7_200_000, 70, minute + 1)];
    let closed = world.commit(lines.clone()).await;
    let batch = format!("/v1/batches/{KEEPER}/1");
    indexer.until(&batch, |batch| batch["lines"] == "missing" && batch["linesProblem"].is_string()).await;
    assert_eq!(count(&indexer.data(ALL).await), 0, "lines that nobody has seen do not count");

    world.publish(1, closed.lines.to_bytes());
    indexer.until(&batch, |batch| batch["lines"] == "verified").await;
    let candles = indexer.data(ALL).await;
    let candle = &candles["candles"][0];
    assert_eq!(count(&candles), 1);
    assert_eq!((&candle["open"], &candle["close"]), (&json!("100"), &json!("70")));
    assert_eq!((&candle["high"], &candle["low"]), (&json!("100"), &json!("70")));
    assert_eq!((&candle["volume"], &candle["vwap"]), (&json!("10800000"), &json!("80")));
    assert_eq!((&candle["quote"], &candle["amount"]), (&json!("864000000"), &json!("240")));
    assert_eq!((&candle["start"], &candle["settled"]), (&json!(minute), &json!(false)));
    assert_eq!(count(&indexer.data(PROVEN).await), 0, "what can be challenged is not proven");
    let trades = indexer.data("/v1/trades").await;
    assert_eq!((&trades[0]["finality"], &trades[0]["price"]), (&json!("pending"), &json!("70")), "newest first");
    let proof = indexer.data(&format!("/v1/trades/{KEEPER}/1/1/proof")).await;
    assert!(!world.verify_line(&proof).await, "the contract does not vouch for a pending batch");

    world.pass(CHALLENGE).await;
    indexer.until(&batch, |batch| batch["finality"] == "proven").await;
    assert_eq!(indexer.data(PROVEN).await["candles"][0]["vwap"], "80");
    let proof = indexer.data(&format!("/v1/trades/{KEEPER}/1/1/proof")).await;
    assert!(world.verify_line(&proof).await);
    world.claim(&closed, 1).await;
    let provider = format!("/v1/providers/{PROVIDER}");
    let row = indexer.until(&provider, |row| row["paid"]["claimed"] == "240").await;
    assert_eq!((&row["earned"]["proven"], &row["jobs"]["proven"]), (&json!("240"), &json!("2")));
    assert_eq!(row["endpoint"], "https://provider.example");

    // A restart goes on where it stopped.
    indexer.stop().await;
    let indexer = world.index().await;
    assert_eq!(indexer.data(PROVEN).await["candles"][0]["vwap"], "80");
    indexer.until("/v1/status", |status| status["ready"] == true).await;
    assert_eq!(indexer.request("/readyz").send().await.unwrap().status(), StatusCode::OK);
    indexer.stop().await;
}

#[tokio::test]
async fn a_keeper_that_publishes_other_lines_than_it_committed_to_is_shown_and_not_counted() {
    let mut world = World::start().await;
    let indexer = world.index().await;
    let now = world.now().await;
    let closed = world.commit(vec![line(1, 3_600_000, 100, now)]).await;
    let mut forged = closed.lines.to_bytes();
    forged[80] ^= 1;
    world.publish(1, forged);
    let batch = format!("/v1/batches/{KEEPER}/1");
    let row = indexer.until(&batch, |batch| batch["lines"] == "mismatch").await;
    assert!(row["linesProblem"].as_str().unwrap().contains("differs"), "{row}");
    world.pass(CHALLENGE).await;
    indexer.until(&batch, |batch| batch["finality"] == "proven").await;
    assert_eq!(count(&indexer.data(ALL).await), 0);
    assert_eq!(indexer.data("/v1/trades").await, json!([]));
    let (status, problem) = indexer.get(&format!("/v1/trades/{KEEPER}/1/0/proof")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("not_yet")));

    let mut long = closed.lines.to_bytes();
    long.extend_from_slice(&[0; 140]);
    world.publish(1, long);
    let is_too_long = |batch: &Value| batch["linesProblem"].as_str().unwrap_or_default().contains("more than");
    indexer.until(&batch, is_too_long).await;

    world.publish(1, closed.lines.to_bytes());
    indexer.until(&batch, |batch| batch["lines"] == "verified").await;
    assert_eq!(count(&indexer.data(PROVEN).await), 1, "the committed lines count, however late they come");
    indexer.stop().await;
}

#[tokio::test]
async fn a_reorganisation_takes_trades_back_and_a_new_commit_brings_them_again() {
    let mut world = World::start().await;
    let indexer = world.index().await;
    let now = world.now().await;
    let closed = world.commit(vec![line(1, 3_600_000, 100, now)]).await;
    world.publish(1, closed.lines.to_bytes());
    let batch = format!("/v1/batches/{KEEPER}/1");
    indexer.until(&batch, |batch| batch["lines"] == "verified").await;
    world.withdraw(1);

    world.reorganise(1).await;
    indexer.until("/v1/trades", |trades| *trades == json!([])).await;
    assert_eq!(indexer.get(&batch).await.0, StatusCode::NOT_FOUND);
    assert_eq!(count(&indexer.data(ALL).await), 0);

    world.commit_closed(&closed).await;
    indexer.until(&batch, |batch| batch["lines"] == "verified").await;
    assert_eq!(count(&indexer.data(ALL).await), 1, "verified lines are kept though the keeper is silent");
    indexer.stop().await;
}

#[tokio::test]
async fn pages_of_rest_and_graphql_agree() {
    let mut world = World::start().await;
    let indexer = world.index().await;
    let now = world.now().await;
    let lines = (0..7).map(|n| line(n, 3_600_000, 100 + u64::from(n), now + u64::from(n % 3))).collect();
    let closed = world.commit(lines).await;
    world.publish(1, closed.lines.to_bytes());
    indexer.until("/v1/trades", |trades| trades.as_array().is_some_and(|trades| trades.len() == 7)).await;

    let mut paged = Vec::new();
    let mut path = format!("/v1/trades?limit=3&provider={PROVIDER}&resource=1");
    loop {
        let (_, body) = indexer.get(&path).await;
        paged.extend(body["data"].as_array().unwrap().clone());
        let Some(next) = body["next"].as_str() else { break };
        path = next.to_owned();
    }
    assert_eq!(Value::from(paged.clone()), indexer.data("/v1/trades").await);

    let query = "{ trades(first: 3) { asOf { block } pageInfo { hasNextPage endCursor } \
                  edges { node { index price job } } } }";
    let first = &indexer.graphql(query).await["data"]["trades"];
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    for (edge, trade) in first["edges"].as_array().unwrap().iter().zip(&paged) {
        for field in ["index", "price", "job"] {
            assert_eq!(edge["node"][field], trade[field]);
        }
    }
    let after = first["pageInfo"]["endCursor"].as_str().unwrap();
    let query = format!("{{ trades(first: 9, after: \"{after}\") {{ edges {{ node {{ index }} }} }} }}");
    let rest = &indexer.graphql(&query).await["data"]["trades"]["edges"];
    let indices = |list: &[Value]| list.iter().map(|trade| trade["index"].clone()).collect::<Vec<_>>();
    let nodes: Vec<Value> = rest.as_array().unwrap().iter().map(|edge| edge["node"].clone()).collect();
    assert_eq!(indices(&nodes), indices(&paged[3..]));

    indexer.stop().await;
}

#[tokio::test]
async fn what_is_too_costly_or_not_understood_is_refused_with_a_reason() {
    let world = World::start().await;
    let indexer = world.index().await;
    indexer.until("/v1/status", |status| status["ready"] == true).await;
    let list = "trades(first: 1000) { edges { node { job payer provider resource quantity price amount } } }";
    let costly = format!("{{ a: {list} b: {list} c: {list} }}");
    assert!(indexer.graphql(&costly).await["errors"][0]["message"].as_str().unwrap().contains("complex"));
    for (path, expected) in [
        ("/v1/trades?provder=0x00", StatusCode::BAD_REQUEST),
        ("/v1/trades?limit=1001", StatusCode::BAD_REQUEST),
        ("/v1/trades?limit=0", StatusCode::BAD_REQUEST),
        ("/v1/trades?cursor=00ff", StatusCode::BAD_REQUEST),
        ("/v1/trades?cursor=zz", StatusCode::BAD_REQUEST),
        ("/v1/resources/1/candles?interval=2m", StatusCode::BAD_REQUEST),
        ("/v1/resources/1/candles?start=9&end=8", StatusCode::BAD_REQUEST),
        ("/v1/batches/0x00/1", StatusCode::BAD_REQUEST),
        ("/v1/nothing", StatusCode::NOT_FOUND),
    ] {
        let answer = indexer.request(path).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
    }
    indexer.stop().await;
}

#[tokio::test]
async fn an_answer_that_did_not_change_is_not_sent_again_and_settled_history_may_be_kept() {
    let mut world = World::start().await;
    let indexer = world.index().await;
    let now = world.now().await;
    let closed = world.commit(vec![line(1, 3_600_000, 100, now)]).await;
    world.publish(1, closed.lines.to_bytes());
    indexer.until("/v1/trades", |trades| trades[0]["finality"] == "pending").await;
    let bounded = format!("{PROVEN}&start=0&end={}", now + 1);
    let tag = |answer: &reqwest::Response| answer.headers()[header::ETAG].to_str().unwrap().to_owned();
    let answer = indexer.request(&bounded).send().await.unwrap();
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-cache", "a pending batch may still add to it");
    let empty = tag(&answer);

    world.pass(1).await;
    let again = indexer.request(&bounded).header(header::IF_NONE_MATCH, &empty).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "a block without news changes nothing");
    assert!(again.bytes().await.unwrap().is_empty());

    world.pass(CHALLENGE).await;
    indexer.until(PROVEN, |candles| count(candles) == 1).await;
    let answer = indexer.request(&bounded).header(header::IF_NONE_MATCH, &empty).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_ne!(tag(&answer), empty);

    // Two full rounds of all periods later no honest line can be as old.
    world.pass(2 * 3 * CHALLENGE + 120).await;
    indexer.until(PROVEN, |candles| candles["candles"][0]["settled"] == true).await;
    let answer = indexer.request(&bounded).send().await.unwrap();
    assert!(answer.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    indexer.stop().await;
}

#[tokio::test]
async fn the_stream_tells_what_happens_and_goes_on_where_a_client_stopped() {
    let mut world = World::start().await;
    let indexer = world.index().await;
    indexer.until("/v1/resources", |resources| resources[0]["name"] == "gpu.test").await;
    let stream = indexer.request("/v1/stream").send().await.unwrap();
    let now = world.now().await;
    let closed = world.commit(vec![line(1, 3_600_000, 100, now), line(2, 3_600_000, 101, now)]).await;
    world.publish(1, closed.lines.to_bytes());
    let events = read(stream, 4).await;
    let names: Vec<_> = events.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["batch", "batch", "trade", "trade"]);
    assert_eq!((&events[0].2["what"], &events[1].2["what"]), (&json!("committed"), &json!("verified")));
    assert_eq!((&events[2].2["price"], &events[3].2["price"]), (&json!("100"), &json!("101")));

    world.pass(CHALLENGE).await;
    let resumed = indexer.request("/v1/stream").header("Last-Event-ID", &events[2].1).send().await.unwrap();
    let missed = read(resumed, 2).await;
    assert_eq!(missed[0], events[3], "the trade that was not read comes first");
    assert_eq!(missed[1].2["what"], "proven");
    let refused = indexer.request("/v1/stream").header("Last-Event-ID", "x").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    indexer.stop().await;
}

#[tokio::test]
async fn the_page_and_the_descriptions_of_the_apis_are_served_to_anyone() {
    let world = World::start().await;
    let indexer = world.index().await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/docs/", "text/html"),
        ("/openapi.json", "application/json"),
        ("/schema.graphql", "text/plain; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
    ] {
        let answer = indexer.request(path).header(header::ORIGIN, "https://example.org").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], content_type, "{path}");
        assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{path}");
    }
    let described: Value = indexer.request("/openapi.json").send().await.unwrap().json().await.unwrap();
    let committed: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    assert_eq!(described, committed);
    let page = indexer.request("/").send().await.unwrap();
    let tag = page.headers()[header::ETAG].clone();
    let again = indexer.request("/").header(header::IF_NONE_MATCH, tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    indexer.stop().await;
}

/// The next events of a stream: name, id, data.
async fn read(mut stream: reqwest::Response, count: usize) -> Vec<(String, String, Value)> {
    let mut text = String::new();
    let reading = async {
        loop {
            let events: Vec<_> = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n")).collect();
            let events: Vec<_> = events.iter().filter(|event| event.contains("data:")).collect();
            if events.len() >= count {
                return events.iter().take(count).map(|event| parse(event)).collect::<Vec<_>>();
            }
            let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
            text += std::str::from_utf8(&chunk).unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("events within 20 s")
}

fn parse(event: &str) -> (String, String, Value) {
    let field = |name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {event}")).trim().to_owned()
    };
    (field("event:"), field("id:"), serde_json::from_str(&field("data:")).unwrap())
}
