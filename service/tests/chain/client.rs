use std::time::Duration;

use alloy::primitives::{Address, keccak256};
use alloy::providers::Provider;
use axum::http::StatusCode;
use serde_json::json;
use service::chain::{Chain, ChainError, Tag};

use crate::anvil::{Anvil, CHAIN_ID, LOGGER, LOGGER_CODE, bytes, config};
use crate::proxy::{Proxy, Verdict};

/// An address where nothing listens.
async fn dead() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_wrong_chain_is_refused_even_beside_a_right_one() {
    let node = Anvil::start(&[]).await;
    let other = Proxy::start(&node.url).await;
    other.rule(|method, _| match method {
        "eth_chainId" => Verdict::Answer(json!("0x1")),
        _ => Verdict::Pass,
    });
    for urls in [vec![other.url.as_str()], vec![&node.url, &other.url]] {
        let error = Chain::connect(&config(&urls)).await.unwrap_err();
        assert!(matches!(error, ChainError::Final(_)), "{error}");
        assert!(!error.is_retryable());
        let text = error.to_string();
        assert!(text.contains("serves chain 1,") && text.contains(&CHAIN_ID.to_string()), "{text}");
    }
}

#[tokio::test]
async fn requests_go_to_the_next_endpoint_when_one_fails() {
    let node = Anvil::start(&[]).await;
    let flaky = Proxy::start(&node.url).await;
    let dead = dead().await;
    let chain = Chain::connect(&config(&[&dead, &flaky.url, &node.url])).await.unwrap();
    node.mine(3).await;
    for fault in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TOO_MANY_REQUESTS, StatusCode::NOT_FOUND] {
        flaky.rule(move |_, _| Verdict::Fail(fault));
        assert_eq!(chain.head(Tag::Latest).await.unwrap().number, 3);
    }
    flaky.rule(|_, _| Verdict::Refuse(-32005, "daily request count exceeded"));
    assert_eq!(chain.head(Tag::Latest).await.unwrap().number, 3);
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_left_after_the_timeout() {
    let node = Anvil::start(&[]).await;
    let hung = Proxy::start(&node.url).await;
    let mut settings = config(&[&hung.url, &node.url]);
    settings.timeout_ms = 200;
    let chain = Chain::connect(&settings).await.unwrap();
    hung.rule(|_, _| Verdict::Hang);
    let head = tokio::time::timeout(Duration::from_secs(2), chain.head(Tag::Latest)).await.unwrap();
    assert_eq!(head.unwrap().number, 0);
}

#[tokio::test]
async fn an_endpoint_that_comes_back_on_another_chain_is_not_used() {
    let node = Anvil::start(&[]).await;
    let (moved, good) = (Proxy::start(&node.url).await, Proxy::start(&node.url).await);
    let chain = Chain::connect(&config(&[&moved.url, &good.url])).await.unwrap();
    moved.rule(|_, _| Verdict::Fail(StatusCode::BAD_GATEWAY));
    chain.head(Tag::Latest).await.unwrap();
    moved.rule(|method, _| match method {
        "eth_chainId" => Verdict::Answer(json!("0x1")),
        _ => Verdict::Pass,
    });
    let before = moved.count("eth_getBlockByNumber");
    good.rule(|_, _| Verdict::Fail(StatusCode::BAD_GATEWAY));
    let error = chain.head(Tag::Latest).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("serves chain 1"), "{error}");
    assert_eq!(moved.count("eth_getBlockByNumber"), before);
}

#[tokio::test]
async fn no_endpoint_is_retryable_and_an_empty_list_is_not() {
    let dead = dead().await;
    assert!(Chain::connect(&config(&[&dead])).await.unwrap_err().is_retryable());
    assert!(!Chain::connect(&config(&[])).await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn access_tokens_are_never_shown() {
    let address = format!("{}/v3/s3cr3t-t0ken?key=s3cr3t-t0ken", dead().await);
    let settings = config(&[&address]);
    let error = Chain::connect(&settings).await.unwrap_err();
    for shown in [format!("{settings:?}"), error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("s3cr3t-t0ken"), "{shown}");
        assert!(shown.contains("127.0.0.1"), "{shown}");
    }
}

#[tokio::test]
async fn a_deployment_is_relied_on_only_with_the_recorded_code() {
    let node = Anvil::start(&[]).await;
    let chain = node.chain().await;
    let right = ("settlement", LOGGER, keccak256(bytes(LOGGER_CODE)));
    chain.verify_deployment(CHAIN_ID, [right, ("token", LOGGER, right.2)]).await.unwrap();

    let nobody = Address::repeat_byte(9);
    for (name, address, recorded, found) in
        [("registry", LOGGER, keccak256([1]), right.2.to_string()), ("catalog", nobody, right.2, "no code".to_owned())]
    {
        let error = chain.verify_deployment(CHAIN_ID, [right, (name, address, recorded)]).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ChainError::WrongCode { name: wrong, .. } if wrong == name), "{text}");
        assert!(!error.is_retryable() && text.contains(&found) && text.contains(&recorded.to_string()), "{text}");
    }

    let error = chain.verify_deployment(1, [right]).await.unwrap_err();
    assert!(matches!(error, ChainError::WrongChain { recorded: 1, configured: CHAIN_ID }), "{error}");
    node.rpc("anvil_setCode", json!([LOGGER, "0x00"])).await;
    assert!(chain.verify_deployment(CHAIN_ID, [right]).await.is_err(), "the code is read anew");
}

#[tokio::test]
async fn heads_and_code_are_read() {
    let node = Anvil::start(&["--slots-in-an-epoch", "2"]).await;
    let chain = node.chain().await;
    node.mine(10).await;
    assert_eq!(chain.head(Tag::Latest).await.unwrap().number, 10);
    assert_eq!(chain.head(Tag::Safe).await.unwrap().number, 8);
    assert_eq!(chain.head(Tag::Finalized).await.unwrap().number, 6);
    assert_eq!(chain.code_hash(LOGGER).await.unwrap(), keccak256(bytes(LOGGER_CODE)));
    assert_eq!(chain.code_hash(Address::repeat_byte(9)).await.unwrap(), keccak256([]));
    assert_eq!(chain.provider().get_chain_id().await.unwrap(), chain.chain_id());
}
