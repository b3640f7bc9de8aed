//! What the API refuses, and how it says so.

use crate::sockets::Running;
use crate::world::{DEPOSIT, MODULE, World, key};
use alloy::primitives::{B256, keccak256};
use alloy::sol_types::SolCall;
use protocol::amount::{Amount, Timestamp};
use protocol::bindings::settlement;
use protocol::order::{Order, SignedOffer, SignedOrder};
use protocol::wire::JobView;
use serde::Serialize;
use serde_json::Value;

async fn refused<T: Serialize>(keeper: &Running, path: &str, body: &T) -> (u16, String, String) {
    let answer = reqwest::Client::new().post(format!("{}{path}", keeper.url)).json(body).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(problem["status"], status);
    (status, text("code"), text("detail"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_a_code_and_says_what_to_do() {
    let world = World::new().await;
    let keeper = Running::start(&world).await;
    let order = async |change: fn(&mut Order)| {
        let mut order = world.an_order();
        change(&mut order);
        let (status, code, _) = refused(&keeper, "/v1/orders", &world.sign(order)).await;
        (status, code)
    };
    let code = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(order(|_| {}).await, code(422, "missing_blob"));
    keeper.upload(World::envelope().to_bytes()).await;
    assert_eq!(order(|_| {}).await, code(422, "missing_blob"), "the module is missing now");
    keeper.upload(MODULE.to_vec()).await;
    assert_eq!(order(|o| o.expiry = Timestamp(1)).await, code(422, "expired"));
    assert_eq!(order(|o| o.resource.0 = 9).await, code(422, "unknown_resource"));
    assert_eq!(order(|o| o.max_total = Amount(3)).await, code(422, "total_too_small"));
    assert_eq!(order(|o| o.max_total = Amount(DEPOSIT.get() + 1)).await, code(402, "insufficient_funds"));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_closing_channels_are_refused() {
    let world = World::new().await;
    let keeper = Running::start(&world).await;
    keeper.upload(World::envelope().to_bytes()).await;
    keeper.upload(MODULE.to_vec()).await;
    let stranger = SignedOrder::sign(world.an_order(), &world.domain, &key("stranger"));
    let (status, code, detail) = refused(&keeper, "/v1/orders", &stranger).await;
    assert_eq!((status, code.as_str()), (402, "unknown_channel"));
    assert!(detail.contains("open one first"), "{detail}");
    let foreign = SignedOffer::sign(world.offer().offer, &world.domain, &key("stranger"));
    assert_eq!(refused(&keeper, "/v1/offers", &foreign).await.1, "not_a_worker");
    assert_eq!(refused(&keeper, "/v1/orders", &"no order").await.1, "malformed_request");

    let mut order = world.an_order();
    order.max_total = Amount(DEPOSIT.get() - 1);
    let rests = world.sign(order);
    let url = format!("{}/v1/orders", keeper.url);
    let post = async || reqwest::Client::new().post(&url).json(&rests).send().await.unwrap().text().await.unwrap();
    let first = post().await;
    assert!(first.contains("\"queued\"") && first.contains("No provider offers"), "{first}");
    assert_eq!(post().await, first, "the same order again is the same job");
    let (status, code, _) = refused(&keeper, "/v1/orders", &world.sign(world.an_order())).await;
    assert_eq!((status, code.as_str()), (402, "insufficient_funds"));

    let close = settlement::Settlement::closeCall { signer: world.session.address(), keeper: world.keeper.address() };
    world.anvil.send(world.payer.address(), Some(world.settlement()), close.abi_encode()).await;
    let id = rests.order.id();
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if keeper.get::<JobView>(&format!("/v1/jobs/{id}")).await.state.is_terminal() {
            break;
        }
    }
    let ended: JobView = keeper.get(&format!("/v1/jobs/{id}")).await;
    assert!(ended.reason.unwrap().contains("closing"), "the close was seen on chain and ended the job");
    let (status, code, _) = refused(&keeper, "/v1/orders", &world.sign(world.an_order())).await;
    assert_eq!((status, code.as_str()), (409, "channel_closing"));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_documents_and_health() {
    let world = World::new().await;
    let keeper = Running::start(&world).await;
    let client = reqwest::Client::new();
    let blob = |hash: B256| format!("{}/v1/blobs/{hash}", keeper.url);
    let put = async |hash: B256, body: Vec<u8>| client.put(blob(hash)).body(body).send().await.unwrap();
    assert_eq!(put(keccak256("right"), b"wrong".to_vec()).await.status(), 400);
    let large = vec![1; (1 << 20) + 1];
    let answer = put(keccak256(&large), large).await;
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "too_large");
    assert_eq!(reqwest::get(blob(keccak256("right"))).await.unwrap().status(), 404);
    keeper.upload(b"right".to_vec()).await;
    let found = reqwest::get(blob(keccak256("right"))).await.unwrap();
    assert_eq!(found.headers()["x-content-type-options"], "nosniff");
    assert_eq!(found.bytes().await.unwrap(), "right");

    let document: Value = keeper.get("/openapi.json").await;
    for path in ["/v1/info", "/v1/orders", "/v1/blobs/{hash}", "/v1/batches/{number}/proofs/{provider}", "/v1/worker"] {
        assert!(document["paths"][path].is_object(), "{path} is not described");
    }
    assert_eq!(reqwest::get(format!("{}/nowhere", keeper.url)).await.unwrap().status(), 404);
    for (method, path) in [("GET", "/v1/client"), ("GET", "/v1/worker"), ("DELETE", "/v1/info"), ("GET", "/v1/orders")]
    {
        let request = client.request(method.parse().unwrap(), format!("{}{path}", keeper.url));
        let problem: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(problem["code"], "malformed_request", "{method} {path}");
    }
    for _ in 0..50 {
        if reqwest::get(format!("{}/readyz", keeper.admin)).await.unwrap().status() == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(reqwest::get(format!("{}/readyz", keeper.admin)).await.unwrap().status(), 200);
    let second = keeper::Keeper::bind(world.config()).await.err();
    assert!(matches!(second, Some(keeper::KeeperError::InUse { .. })), "two keepers of one ledger: {second:?}");
    keeper.stop().await;
}
