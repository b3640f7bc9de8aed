use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use axum::http::StatusCode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use service::chain::{
    Chain, Intent, MemoryTransactions, SendError, Sender, SenderConfig, StoreError, StoredTransaction, TransactionStore,
};
use tokio::task::JoinHandle;

use crate::anvil::{Anvil, KEY, LOGGER, REVERTER_CODE, config, quantity};
use crate::proxy::{Proxy, Verdict};

const GWEI: u128 = 1_000_000_000;
/// Long enough for several looks of 20 ms, short enough for a test.
const PATIENCE_MS: u64 = 300;

fn quick() -> SenderConfig {
    SenderConfig { bump_after_ms: 400, patience_ms: PATIENCE_MS, ..SenderConfig::default() }
}

fn intent(key: &str) -> Intent {
    Intent { key: key.to_owned(), to: LOGGER, data: Bytes::from(key.as_bytes().to_vec()) }
}

async fn sender(url: &str, store: &MemoryTransactions) -> Sender<MemoryTransactions> {
    let chain = Chain::connect(&config(&[url])).await.unwrap();
    Sender::new(chain, &KEY, store.clone(), quick()).await.unwrap()
}

type Sending = JoinHandle<Result<service::chain::Outcome, SendError>>;

fn spawn(sender: &Sender<MemoryTransactions>, key: &str) -> Sending {
    let (sender, intent) = (sender.clone(), intent(key));
    tokio::spawn(async move { sender.send(intent).await })
}

/// How a sending task ended; a test that would wait for ever fails instead.
async fn end(sending: Sending) -> Result<service::chain::Outcome, SendError> {
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("sending ends").unwrap()
}

async fn until(what: &str, mut true_now: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if true_now().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 10 s in vain: {what}");
}

async fn stored(store: &MemoryTransactions, key: &str) -> StoredTransaction {
    store.find(key).await.unwrap().expect("the intent is stored")
}

async fn attempts(store: &MemoryTransactions, key: &str) -> usize {
    store.find(key).await.unwrap().map_or(0, |transaction| transaction.attempts.len())
}

#[tokio::test]
async fn an_intent_is_carried_out_once_and_its_key_returns_the_outcome() {
    let node = Anvil::start(&[]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let outcome = sender.send(intent("a")).await.unwrap();
    assert!(outcome.success && outcome.gas_used > 21_000);
    let receipt = node.rpc("eth_getTransactionReceipt", json!([outcome.hash])).await;
    assert_eq!(quantity(&receipt["blockNumber"]), outcome.block);
    let price = quantity(&receipt["effectiveGasPrice"]);
    assert_eq!(outcome.fee_paid, u128::from(outcome.gas_used) * u128::from(price));
    assert_eq!(sender.send(intent("a")).await.unwrap(), outcome);
    let reopened = super::send::sender(&node.url, &store).await;
    assert_eq!(reopened.send(intent("a")).await.unwrap(), outcome);
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn a_key_stands_for_one_call() {
    let node = Anvil::start(&[]).await;
    let sender = sender(&node.url, &MemoryTransactions::new()).await;
    sender.send(intent("a")).await.unwrap();
    let other = Intent { data: Bytes::from_static(b"other"), ..intent("a") };
    let error = sender.send(other).await.unwrap_err();
    assert!(matches!(&error, SendError::KeyReused { key } if key == "a") && !error.is_retryable(), "{error}");
    assert_eq!(node.logs().await, 1);
}

#[tokio::test]
async fn intents_sent_at_once_queue_on_one_nonce_line() {
    let node = Anvil::start(&["--block-time", "1"]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let sending: Vec<Sending> = ["a", "b", "c"].map(|key| spawn(&sender, key)).into_iter().collect();
    for one in sending {
        end(one).await.unwrap();
    }
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (3, 3));
    let mut nonces: Vec<u64> = store.since(0).await.unwrap().iter().map(|stored| stored.nonce).collect();
    nonces.sort_unstable();
    assert_eq!(nonces, [0, 1, 2]);
}

#[tokio::test]
async fn a_revert_is_found_before_it_costs_and_its_data_is_returned() {
    let node = Anvil::start(&[]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let reverter = Address::repeat_byte(0xbb);
    node.rpc("anvil_setCode", json!([reverter, REVERTER_CODE])).await;
    let error = sender.send(Intent { to: reverter, ..intent("a") }).await.unwrap_err();
    let SendError::Reverted { data } = &error else { panic!("{error}") };
    assert_eq!(data.as_ref(), [0xde, 0xad, 0xbe, 0xef]);
    assert!(!error.is_retryable());
    assert!(store.find("a").await.unwrap().is_none(), "the key stays free");
    assert_eq!(node.nonce(sender.address()).await, 0);
    sender.send(intent("a")).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_reverts_in_its_block_is_settled_as_failed() {
    let node = Anvil::start(&["--no-mining"]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let sending = spawn(&sender, "a");
    until("the transaction is stored", async || attempts(&store, "a").await > 0).await;
    node.rpc("anvil_setCode", json!([LOGGER, REVERTER_CODE])).await;
    until("it is pooled", async || pooled(&node).await > 0).await;
    node.mine(1).await;
    let error = end(sending).await.unwrap_err();
    let SendError::Failed { outcome } = &error else { panic!("{error}") };
    assert!(!outcome.success && !error.is_retryable());
    let again = sender.send(intent("a")).await.unwrap_err();
    assert!(matches!(again, SendError::Failed { .. }), "a settled failure is not sent again: {again}");
    assert_eq!(node.nonce(sender.address()).await, 1);
}

async fn pooled(node: &Anvil) -> u64 {
    quantity(&node.rpc("txpool_status", json!([])).await["pending"])
}

#[tokio::test]
async fn a_crash_between_store_and_broadcast_loses_nothing_and_doubles_nothing() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    let store = MemoryTransactions::new();
    let first = sender(&proxy.url, &store).await;
    proxy.rule(|method, _| match method {
        "eth_sendRawTransaction" => Verdict::Hang,
        _ => Verdict::Pass,
    });
    let sending = spawn(&first, "a");
    until("the broadcast begins", async || proxy.count("eth_sendRawTransaction") > 0).await;
    sending.abort();
    let before = stored(&store, "a").await;
    assert_eq!((before.attempts.len(), before.outcome), (1, None));
    assert_eq!(node.nonce(first.address()).await, 0);

    // The new process sends it again by itself, before anybody asks.
    let second = sender(&node.url, &store).await;
    until("it is mined", async || node.logs().await == 1).await;
    let outcome = second.send(intent("a")).await.unwrap();
    assert_eq!(outcome.hash, before.attempts[0].hash);
    second.send(intent("b")).await.unwrap();
    assert_eq!((node.nonce(second.address()).await, node.logs().await), (2, 2));
}

#[tokio::test]
async fn an_answer_lost_after_broadcast_does_not_send_twice() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    let store = MemoryTransactions::new();
    let sender = sender(&proxy.url, &store).await;
    proxy.rule(|method, _| match method {
        "eth_sendRawTransaction" => Verdict::Lose,
        _ => Verdict::Pass,
    });
    let outcome = sender.send(intent("a")).await.unwrap();
    assert_eq!(outcome.hash, stored(&store, "a").await.attempts[0].hash);
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn an_unreachable_chain_is_borne_then_reported_and_the_intent_resumed() {
    let node = Anvil::start(&["--no-mining"]).await;
    let proxy = Proxy::start(&node.url).await;
    let store = MemoryTransactions::new();
    let sender = sender(&proxy.url, &store).await;
    let sending = spawn(&sender, "a");
    until("it is pooled", async || pooled(&node).await > 0).await;
    proxy.rule(|_, _| Verdict::Fail(StatusCode::BAD_GATEWAY));
    let error = end(sending).await.unwrap_err();
    assert!(matches!(error, SendError::Chain(_)) && error.is_retryable(), "{error}");
    assert_eq!(stored(&store, "a").await.outcome, None, "an unknown outcome is not guessed");
    proxy.heal();
    node.mine(1).await;
    sender.send(intent("a")).await.unwrap();
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_at_both_prices() {
    let node = Anvil::start(&["--no-mining"]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let sending = spawn(&sender, "a");
    until("it is replaced twice", async || attempts(&store, "a").await >= 3).await;
    node.mine(1).await;
    let outcome = end(sending).await.unwrap();
    let stored = stored(&store, "a").await;
    for pair in stored.attempts.windows(2) {
        assert!(pair[1].max_fee * 8 >= pair[0].max_fee * 9, "{pair:?}");
        assert!(pair[1].priority * 8 >= pair[0].priority * 9, "{pair:?}");
    }
    assert!(stored.attempts.iter().any(|attempt| attempt.hash == outcome.hash));
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn an_earlier_attempt_mined_after_it_was_replaced_settles_the_intent() {
    let node = Anvil::start(&["--no-mining"]).await;
    let proxy = Proxy::start(&node.url).await;
    let store = MemoryTransactions::new();
    let sender = sender(&proxy.url, &store).await;
    let mut sends = 0;
    proxy.rule(move |method, _| {
        sends += usize::from(method == "eth_sendRawTransaction");
        if method == "eth_sendRawTransaction" && sends > 1 {
            return Verdict::Refuse(-32000, "replacement transaction underpriced");
        }
        Verdict::Pass
    });
    let sending = spawn(&sender, "a");
    until("it is replaced", async || attempts(&store, "a").await >= 2).await;
    node.mine(1).await;
    let outcome = end(sending).await.unwrap();
    assert_eq!(outcome.hash, stored(&store, "a").await.attempts[0].hash);
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn a_forgotten_transaction_is_sent_again() {
    let node = Anvil::start(&["--no-mining"]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let sending = spawn(&sender, "a");
    until("it is pooled", async || pooled(&node).await > 0).await;
    node.rpc("anvil_dropAllTransactions", json!([])).await;
    until("it is pooled again", async || pooled(&node).await > 0).await;
    node.mine(1).await;
    end(sending).await.unwrap();
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn a_rise_of_the_base_fee_is_followed_and_one_beyond_the_cap_is_waited_out() {
    let node = Anvil::start(&["--no-mining"]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let sending = spawn(&sender, "a");
    until("it is pooled", async || pooled(&node).await > 0).await;
    let cap = u128::from(quick().max_fee_gwei) * GWEI;
    let set_base_fee = async |fee: u128| {
        node.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{fee:#x}")])).await;
        node.mine(1).await;
    };
    set_base_fee(cap * 2).await;
    assert_eq!(pooled(&node).await, 0, "the node has forgotten it");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let waiting = stored(&store, "a").await;
    assert!(waiting.attempts.iter().all(|attempt| attempt.max_fee <= cap), "{waiting:?}");
    assert_eq!(waiting.outcome, None);
    set_base_fee(50 * GWEI).await;
    until("it is mined", async || {
        node.mine(1).await;
        node.logs().await == 1
    })
    .await;
    end(sending).await.unwrap();
    assert!(stored(&store, "a").await.attempts.iter().all(|attempt| attempt.max_fee <= cap));
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn a_nonce_taken_by_a_stranger_costs_one_nonce_and_never_the_intent() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    let store = MemoryTransactions::new();
    let sender = sender(&proxy.url, &store).await;
    proxy.rule(|method, _| match method {
        "eth_sendRawTransaction" => Verdict::Answer(json!(B256::ZERO)),
        _ => Verdict::Pass,
    });
    let sending = spawn(&sender, "a");
    until("the broadcast is swallowed", async || proxy.count("eth_sendRawTransaction") > 0).await;
    let theft = json!([{ "from": sender.address(), "to": Address::repeat_byte(1), "value": "0x1" }]);
    node.rpc("eth_sendTransaction", theft).await;
    proxy.heal();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stored(&store, "a").await.nonce, 0, "it may yet turn out to be ours");
    node.mine(10).await;
    end(sending).await.unwrap();
    assert_eq!(stored(&store, "a").await.nonce, 1);
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (2, 1));
}

#[tokio::test]
async fn a_nonce_taken_by_a_stranger_settles_an_intent_that_would_revert_by_then() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    let store = MemoryTransactions::new();
    let sender = sender(&proxy.url, &store).await;
    proxy.rule(|method, _| match method {
        "eth_sendRawTransaction" => Verdict::Answer(json!(B256::ZERO)),
        _ => Verdict::Pass,
    });
    let sending = spawn(&sender, "a");
    until("the broadcast is swallowed", async || proxy.count("eth_sendRawTransaction") > 0).await;
    node.rpc("anvil_setCode", json!([LOGGER, REVERTER_CODE])).await;
    let theft = json!([{ "from": sender.address(), "to": Address::repeat_byte(1), "value": "0x1" }]);
    node.rpc("eth_sendTransaction", theft).await;
    proxy.heal();
    until("the theft is mined", async || node.nonce(sender.address()).await == 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.mine(10).await;
    let error = end(sending).await.unwrap_err();
    assert!(matches!(&error, SendError::Failed { outcome } if outcome.gas_used == 0), "{error}");
    // The line goes on.
    node.rpc("anvil_setCode", json!([LOGGER, crate::anvil::LOGGER_CODE])).await;
    sender.send(intent("b")).await.unwrap();
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (2, 1));
}

#[tokio::test]
async fn receipts_that_come_late_are_waited_for() {
    let node = Anvil::start(&["--block-time", "1"]).await;
    let proxy = Proxy::start(&node.url).await;
    let store = MemoryTransactions::new();
    let sender = sender(&proxy.url, &store).await;
    // The nonce is used long before the receipt shows; the transaction itself is known.
    proxy.rule(|method, _| match method {
        "eth_getTransactionReceipt" => Verdict::Answer(Value::Null),
        _ => Verdict::Pass,
    });
    let sending = spawn(&sender, "a");
    until("six blocks pass", async || node.number().await >= 6).await;
    proxy.heal();
    let outcome = end(sending).await.unwrap();
    let stored = stored(&store, "a").await;
    assert_eq!(stored.nonce, 0);
    assert!(stored.attempts.iter().any(|attempt| attempt.hash == outcome.hash));
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn a_settled_transaction_undone_by_a_reorganisation_is_sent_again() {
    let node = Anvil::start(&[]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    sender.send(intent("a")).await.unwrap();
    node.rpc("anvil_rollback", json!([1])).await;
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (0, 0));
    sender.send(intent("b")).await.unwrap();
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (2, 2));
    assert_eq!(stored(&store, "a").await.nonce, 0);
}

#[tokio::test]
async fn a_look_at_the_chain_sends_again_what_it_took_back() {
    let node = Anvil::start(&[]).await;
    let sender = sender(&node.url, &MemoryTransactions::new()).await;
    sender.send(intent("a")).await.unwrap();
    sender.reconcile().await.unwrap();
    assert_eq!(node.nonce(sender.address()).await, 1, "nothing was taken back, nothing is sent");
    node.rpc("anvil_rollback", json!([1])).await;
    assert_eq!(node.nonce(sender.address()).await, 0);
    sender.reconcile().await.unwrap();
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
    sender.send(intent("a")).await.unwrap();
    assert_eq!(node.logs().await, 1, "the same intent is carried out once");
}

#[tokio::test]
async fn a_reorganisation_below_an_open_transaction_is_made_good_first() {
    let node = Anvil::start(&["--no-mining"]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let first = spawn(&sender, "a");
    until("the first is pooled", async || pooled(&node).await > 0).await;
    node.mine(1).await;
    end(first).await.unwrap();
    let second = spawn(&sender, "b");
    until("the second is stored", async || attempts(&store, "b").await > 0).await;
    node.rpc("anvil_rollback", json!([1])).await;
    until("both are mined", async || {
        node.mine(1).await;
        node.logs().await == 2
    })
    .await;
    end(second).await.unwrap();
    let (a, b) = (stored(&store, "a").await, stored(&store, "b").await);
    assert_eq!((a.nonce, b.nonce, node.nonce(sender.address()).await), (0, 1, 2));
    assert!(b.attempts.len() <= 2, "its price was not the problem: {b:?}");
}

#[tokio::test]
async fn a_nonce_that_a_stranger_left_free_is_filled() {
    let node = Anvil::start(&["--no-mining"]).await;
    let store = MemoryTransactions::new();
    let sender = sender(&node.url, &store).await;
    let stranger = json!([{ "from": sender.address(), "to": Address::repeat_byte(1), "value": "0x1" }]);
    node.rpc("eth_sendTransaction", stranger).await;
    until("the stranger's is pooled", async || pooled(&node).await > 0).await;
    node.mine(1).await;
    let sending = spawn(&sender, "a");
    until("ours is stored", async || attempts(&store, "a").await > 0).await;
    assert_eq!(stored(&store, "a").await.nonce, 1);
    node.rpc("anvil_rollback", json!([1])).await;
    until("ours is mined", async || {
        node.mine(1).await;
        node.logs().await == 1
    })
    .await;
    end(sending).await.unwrap();
    assert_eq!(node.nonce(sender.address()).await, 2);
}

#[tokio::test]
async fn confirmations_are_waited_for() {
    let node = Anvil::start(&[]).await;
    let settings = SenderConfig { confirmations: 3, ..quick() };
    let sender = Sender::new(node.chain().await, &KEY, MemoryTransactions::new(), settings).await.unwrap();
    let sending = spawn(&sender, "a");
    until("it is mined", async || node.logs().await == 1).await;
    node.mine(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!sending.is_finished());
    node.mine(1).await;
    end(sending).await.unwrap();
}

#[tokio::test]
async fn an_account_without_funds_is_told_so_and_resumes_when_funded() {
    let node = Anvil::start(&[]).await;
    let store = MemoryTransactions::new();
    let secret = service::keystore::generate();
    let sender = Sender::new(node.chain().await, &secret, store.clone(), quick()).await.unwrap();
    let error = sender.send(intent("a")).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SendError::InsufficientFunds { .. }) && error.is_retryable(), "{text}");
    assert!(text.contains(&sender.address().to_string()) && text.contains("fund it"), "{text}");
    node.rpc("anvil_setBalance", json!([sender.address(), "0xde0b6b3a7640000"])).await;
    sender.send(intent("a")).await.unwrap();
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[tokio::test]
async fn a_call_that_needs_too_much_gas_is_not_sent() {
    let node = Anvil::start(&[]).await;
    let settings = SenderConfig { max_gas: 21_500, ..quick() };
    let sender = Sender::new(node.chain().await, &KEY, MemoryTransactions::new(), settings).await.unwrap();
    let data = Bytes::from(vec![1; 1000]);
    let error = sender.send(Intent { data, ..intent("a") }).await.unwrap_err();
    assert!(matches!(error, SendError::TooMuchGas { limit: 21_500, .. }), "{error}");
    assert_eq!(node.nonce(sender.address()).await, 0);
}

#[tokio::test]
async fn a_secret_that_is_no_key_is_refused() {
    let node = Anvil::start(&[]).await;
    let chain = node.chain().await;
    let refused = Sender::new(chain, &[0; 32], MemoryTransactions::new(), quick()).await;
    assert!(matches!(refused.err(), Some(SendError::InvalidKey)));
}

/// Every fault at once, from a fixed seed: requests and answers are lost, broadcasts swallowed, receipts late, the
/// pool emptied, blocks undone, and the process killed at any moment. Each intent is carried out exactly once.
#[tokio::test]
async fn any_schedule_of_faults_carries_out_each_intent_once() {
    const INTENTS: u64 = 12;
    let node = Arc::new(Anvil::start(&["--no-mining"]).await);
    let proxy = Proxy::start(&node.url).await;
    let store = MemoryTransactions::new();
    let miner = tokio::spawn({
        let node = Arc::clone(&node);
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(60)).await;
                node.mine(1).await;
            }
        }
    });
    let mut random = StdRng::seed_from_u64(0xfa17);
    let mut luck = StdRng::seed_from_u64(0x1ac4);
    proxy.rule(move |method, _| match (method, luck.random_range(0..10)) {
        ("eth_sendRawTransaction", 0..=2) => Verdict::Fail(StatusCode::BAD_GATEWAY),
        ("eth_sendRawTransaction", 3..=4) => Verdict::Lose,
        ("eth_sendRawTransaction", 5) => Verdict::Answer(json!(B256::ZERO)),
        ("eth_getTransactionReceipt", 0..=2) => Verdict::Answer(Value::Null),
        (_, 0) => Verdict::Fail(StatusCode::SERVICE_UNAVAILABLE),
        _ => Verdict::Pass,
    });
    let schedule = async {
        for number in 0..INTENTS {
            let key = format!("intent:{number}");
            loop {
                let life = Duration::from_millis(random.random_range(20..900));
                let attempt = async {
                    let chain = Chain::connect(&config(&[&proxy.url])).await?;
                    let sender = Sender::new(chain, &KEY, store.clone(), quick()).await?;
                    sender.send(intent(&key)).await
                };
                match tokio::time::timeout(life, attempt).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(error)) => assert!(error.is_retryable(), "{key}: {error}"),
                    Err(_killed) => {}
                }
                match random.random_range(0..6) {
                    0 => drop(node.rpc("anvil_dropAllTransactions", json!([])).await),
                    1 => drop(node.rpc("anvil_rollback", json!([1])).await),
                    _ => {}
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), schedule).await.expect("faults delay, but never stop");
    miner.abort();
    // A block undone after its intent had settled is made good with the next intent.
    proxy.heal();
    let sender = sender(&node.url, &store).await;
    let last = spawn(&sender, "last");
    until("everything is settled", async || {
        node.mine(1).await;
        last.is_finished()
    })
    .await;
    end(last).await.unwrap();
    assert_eq!(node.nonce(sender.address()).await, INTENTS + 1);
    assert_eq!(node.logs().await as u64, INTENTS + 1);
}

/// A store whose disk is full.
#[derive(Clone, Default)]
struct FullDisk {
    inner: MemoryTransactions,
    full: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

impl TransactionStore for FullDisk {
    async fn open(&self) -> Result<Vec<StoredTransaction>, StoreError> {
        self.inner.open().await
    }

    async fn find(&self, key: &str) -> Result<Option<StoredTransaction>, StoreError> {
        self.inner.find(key).await
    }

    async fn put(&self, transaction: &StoredTransaction) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err("no space left on device".into());
        }
        self.inner.put(transaction).await
    }

    async fn next_nonce_floor(&self) -> Result<u64, StoreError> {
        self.inner.next_nonce_floor().await
    }

    async fn since(&self, nonce: u64) -> Result<Vec<StoredTransaction>, StoreError> {
        self.inner.since(nonce).await
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_sent() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    let store = FullDisk::default();
    let chain = Chain::connect(&config(&[&proxy.url])).await.unwrap();
    let sender = Sender::new(chain, &KEY, store.clone(), quick()).await.unwrap();
    store.full.store(true, Ordering::SeqCst);
    let error = sender.send(intent("a")).await.unwrap_err();
    assert!(matches!(error, SendError::Store(_)) && error.is_retryable(), "{error}");
    assert_eq!((store.refused.load(Ordering::SeqCst), proxy.count("eth_sendRawTransaction")), (1, 0));
    store.full.store(false, Ordering::SeqCst);
    sender.send(intent("a")).await.unwrap();
    assert_eq!((node.nonce(sender.address()).await, node.logs().await), (1, 1));
}

#[test]
fn a_stored_transaction_survives_json() {
    let transaction = StoredTransaction {
        key: "commit:7".into(),
        nonce: 3,
        to: LOGGER,
        data: Bytes::from_static(&[1, 2]),
        gas_limit: 100_000,
        attempts: vec![service::chain::Attempt {
            hash: B256::repeat_byte(1),
            raw: Bytes::from_static(&[3]),
            max_fee: u128::MAX,
            priority: 1 << 70,
        }],
        outcome: None,
    };
    let text = serde_json::to_string(&transaction).unwrap();
    assert_eq!(serde_json::from_str::<StoredTransaction>(&text).unwrap(), transaction);
}
