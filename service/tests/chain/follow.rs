use std::time::Duration;

use alloy::primitives::B256;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use service::chain::{BlockRef, Chain, ChainError, Change, Follow};

use crate::anvil::{Anvil, LOGGER, config, hash, quantity};
use crate::proxy::{Proxy, Verdict};

/// What a caller keeps: blocks with the number of their logs, changed only by what [`Follow`] says.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ledger {
    blocks: Vec<(BlockRef, usize)>,
    reverted: usize,
}

impl Ledger {
    fn take(&mut self, change: Change) {
        match change {
            Change::Applied { block, parent, logs } => {
                if let Some((tip, _)) = self.blocks.last() {
                    assert!(block.number > tip.number, "{block:?} after {tip:?}");
                    if block.number == tip.number + 1 {
                        assert_eq!(parent, tip.hash);
                    }
                }
                assert!(logs.iter().all(|log| log.block_hash == Some(block.hash) && log.address() == LOGGER));
                self.blocks.push((block, logs.len()));
            }
            Change::Reverted { block } => {
                assert_eq!(self.blocks.pop().unwrap().0, block, "reverts come newest first");
                self.reverted += 1;
            }
        }
    }

    fn recent(&self) -> Vec<BlockRef> {
        self.blocks.iter().map(|(block, _)| *block).collect()
    }

    /// The blocks that hold logs: the part that does not depend on where ranges happened to end.
    fn logs(&self) -> Vec<(B256, usize)> {
        self.blocks.iter().filter(|(_, logs)| *logs > 0).map(|(block, logs)| (block.hash, *logs)).collect()
    }

    /// Follows until the ledger's tip is the node's newest block.
    async fn catch_up(&mut self, follow: &mut Follow, node: &Anvil) {
        let head = node.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
        let head = hash(&head["hash"]);
        while self.blocks.last().is_none_or(|(tip, _)| tip.hash != head) {
            let change = tokio::time::timeout(Duration::from_secs(20), follow.next()).await;
            self.take(change.expect("the head is reached").unwrap());
        }
    }
}

async fn follow(node: &Anvil) -> Follow {
    Follow::new(node.chain().await, vec![LOGGER], 0, Vec::new())
}

async fn follow_by(url: &str) -> Follow {
    Follow::new(Chain::connect(&config(&[url])).await.unwrap(), vec![LOGGER], 0, Vec::new())
}

/// 200 blocks, four of which hold logs.
async fn history(node: &Anvil) {
    for gap in [10, 50, 60, 76] {
        node.log().await;
        node.mine(gap).await;
    }
}

async fn silence(follow: &mut Follow) {
    let change = tokio::time::timeout(Duration::from_millis(400), follow.next()).await;
    assert!(change.is_err(), "nothing was to happen, but: {change:?}");
}

#[tokio::test]
async fn history_yields_blocks_with_logs_and_the_head_yields_every_block() {
    let node = Anvil::start(&[]).await;
    history(&node).await;
    let (mut follow, mut ledger) = (follow(&node).await, Ledger::default());
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!(ledger.logs().iter().map(|(_, logs)| logs).sum::<usize>(), 4);
    let numbers: Vec<u64> = ledger.blocks.iter().map(|(block, _)| block.number).collect();
    assert_eq!(&numbers[..4], [1, 12, 63, 124], "{numbers:?}");
    assert_eq!(&numbers[4..], (136..=200).collect::<Vec<_>>());
    node.log().await;
    node.mine(2).await;
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!(ledger.blocks.last().unwrap().0.number, 203);
    assert_eq!(ledger.logs().len(), 5);
    assert_eq!(ledger.reverted, 0);
    silence(&mut follow).await;
}

#[tokio::test]
async fn a_reorganisation_is_reverted_newest_first() {
    let node = Anvil::start(&[]).await;
    node.mine(5).await;
    node.log().await;
    node.mine(5).await;
    let (mut follow, mut ledger) = (follow(&node).await, Ledger::default());
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!(ledger.logs().len(), 1);
    // The transaction of block 6 vanishes with it.
    node.rpc("anvil_reorg", json!([7, []])).await;
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!((ledger.reverted, ledger.logs().len(), ledger.blocks.len()), (7, 0, 12));
}

#[tokio::test]
async fn a_rollback_is_seen_as_soon_as_another_block_stands_in_its_place() {
    let node = Anvil::start(&[]).await;
    node.mine(10).await;
    let (mut follow, mut ledger) = (follow(&node).await, Ledger::default());
    ledger.catch_up(&mut follow, &node).await;
    node.rpc("anvil_rollback", json!([4])).await;
    // A shorter chain that contradicts nothing cannot be told from a node that is behind.
    silence(&mut follow).await;
    node.log().await;
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!((ledger.reverted, ledger.logs().len(), ledger.blocks.len()), (4, 1, 8));
}

#[tokio::test]
async fn the_first_followed_block_may_be_replaced_too() {
    let node = Anvil::start(&[]).await;
    node.mine(3).await;
    let mut follow = Follow::new(node.chain().await, vec![LOGGER], 2, Vec::new());
    let mut ledger = Ledger::default();
    ledger.catch_up(&mut follow, &node).await;
    node.rpc("anvil_reorg", json!([3, []])).await;
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!((ledger.reverted, ledger.blocks.len()), (2, 2));
}

#[tokio::test]
async fn a_restart_amid_a_reorganisation_leaves_no_orphan() {
    let node = Anvil::start(&[]).await;
    node.log().await;
    node.mine(8).await;
    let (mut first, mut ledger) = (follow(&node).await, Ledger::default());
    ledger.catch_up(&mut first, &node).await;
    node.rpc("anvil_reorg", json!([5, []])).await;
    // The process dies after it has undone one block of five.
    ledger.take(first.next().await.unwrap());
    assert_eq!(ledger.reverted, 1);
    let recent = ledger.recent().split_off(2);
    let mut second = Follow::new(node.chain().await, vec![LOGGER], 0, recent);
    ledger.catch_up(&mut second, &node).await;
    let mut clean = Ledger::default();
    clean.catch_up(&mut follow(&node).await, &node).await;
    assert_eq!(ledger.blocks, clean.blocks);
    assert_eq!(ledger.reverted, 5);
}

#[tokio::test]
async fn another_chain_than_the_stored_one_is_final() {
    let node = Anvil::start(&[]).await;
    node.mine(10).await;
    let stranger = BlockRef { number: 7, hash: B256::repeat_byte(7), timestamp: 7 };
    let mut follow = Follow::new(node.chain().await, vec![LOGGER], 0, vec![stranger]);
    let error = follow.next().await.unwrap_err();
    assert!(matches!(error, ChainError::Final(_)) && error.to_string().contains("empty store"), "{error}");
}

#[tokio::test]
async fn a_node_that_is_merely_behind_yields_nothing() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    node.mine(20).await;
    let (mut follow, mut ledger) = (follow_by(&proxy.url).await, Ledger::default());
    ledger.catch_up(&mut follow, &node).await;
    let old = node.rpc("eth_getBlockByNumber", json!(["0xc", false])).await;
    proxy.rule(move |method, params| match (method, params[0].as_str()) {
        ("eth_getBlockByNumber", Some("latest")) => Verdict::Answer(old.clone()),
        ("eth_getBlockByNumber", Some(at)) if quantity(&json!(at)) > 12 => Verdict::Answer(Value::Null),
        _ => Verdict::Pass,
    });
    node.log().await;
    silence(&mut follow).await;
    proxy.heal();
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!((ledger.reverted, ledger.logs().len()), (0, 1));
}

#[tokio::test]
async fn logs_withheld_near_the_head_are_not_lost() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    node.log().await;
    for lie in [
        |method: &str| (method == "eth_getBlockReceipts").then(|| json!([])),
        |method: &str| (method == "eth_getBlockReceipts").then_some(Value::Null),
    ] {
        proxy.rule(move |method, _| lie(method).map_or(Verdict::Pass, Verdict::Answer));
        let mut follow = follow_by(&proxy.url).await;
        let mut ledger = Ledger::default();
        ledger.take(follow.next().await.unwrap());
        let error = follow.next().await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("announces logs"), "{error}");
        proxy.heal();
        ledger.catch_up(&mut follow, &node).await;
        assert_eq!(ledger.logs().len(), 1);
    }
}

#[tokio::test]
async fn a_node_without_block_receipts_serves_too_but_is_not_believed_either() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    node.log().await;
    proxy.rule(|method, _| match method {
        "eth_getBlockReceipts" => Verdict::Refuse(-32601, "the method does not exist"),
        "eth_getLogs" => Verdict::Answer(json!([])),
        _ => Verdict::Pass,
    });
    let (mut follow, mut ledger) = (follow_by(&proxy.url).await, Ledger::default());
    ledger.take(follow.next().await.unwrap());
    let error = follow.next().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("announces logs"), "{error}");
    proxy.rule(|method, _| match method {
        "eth_getBlockReceipts" => Verdict::Refuse(-32601, "the method does not exist"),
        _ => Verdict::Pass,
    });
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!(ledger.logs().len(), 1);
}

#[tokio::test]
async fn a_log_of_another_branch_is_refused() {
    fn elsewhere(mut receipts: Value) -> Value {
        receipts[0]["logs"][0]["blockHash"] = json!(B256::repeat_byte(1));
        receipts
    }
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    node.log().await;
    proxy.rule(|method, _| match method {
        "eth_getBlockReceipts" => Verdict::Edit(elsewhere),
        _ => Verdict::Pass,
    });
    let mut follow = follow_by(&proxy.url).await;
    follow.next().await.unwrap();
    let error = follow.next().await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("another block"), "{error}");
}

#[tokio::test]
async fn a_node_that_bounds_ranges_is_asked_for_smaller_ones() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    history(&node).await;
    proxy.rule(|method, params| {
        let wide = |filter: &Value| quantity(&filter["toBlock"]) - quantity(&filter["fromBlock"]) >= 10;
        match method {
            "eth_getLogs" if params[0].get("blockHash").is_none() && wide(&params[0]) => {
                Verdict::Refuse(-32602, "query exceeds the range of 10 blocks")
            }
            _ => Verdict::Pass,
        }
    });
    let (mut follow, mut ledger) = (follow_by(&proxy.url).await, Ledger::default());
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!(ledger.logs().len(), 4);
}

#[tokio::test]
async fn a_range_whose_end_the_node_does_not_have_is_not_believed() {
    let node = Anvil::start(&[]).await;
    let proxy = Proxy::start(&node.url).await;
    history(&node).await;
    // The head comes from a node that is ahead; the range from one that has nothing above block 5.
    proxy.rule(|method, params| match (method, params[0].as_str()) {
        ("eth_getBlockByNumber", Some("latest")) => Verdict::Pass,
        ("eth_getBlockByNumber", Some(at)) if quantity(&json!(at)) > 5 => Verdict::Answer(Value::Null),
        ("eth_getLogs", _) => Verdict::Answer(json!([])),
        _ => Verdict::Pass,
    });
    let (mut follow, mut ledger) = (follow_by(&proxy.url).await, Ledger::default());
    silence(&mut follow).await;
    proxy.heal();
    ledger.catch_up(&mut follow, &node).await;
    assert_eq!(ledger.logs().len(), 4);
}

#[tokio::test]
async fn random_reorganisations_end_where_a_clean_start_ends() {
    let mut random = StdRng::seed_from_u64(0xca9a);
    let node = Anvil::start(&[]).await;
    node.mine(30).await;
    let (mut follower, mut ledger) = (follow(&node).await, Ledger::default());
    for round in 0..64 {
        match random.random_range(0..4) {
            0 => node.mine(random.random_range(1..90)).await,
            1 => node.log().await,
            _ => {
                // The node would mine the same empty blocks again; a later clock makes them differ.
                let depth = random.random_range(1..25);
                node.rpc("anvil_rollback", json!([depth])).await;
                node.rpc("evm_increaseTime", json!([1])).await;
                node.log().await;
                node.mine(depth).await;
            }
        }
        if random.random_bool(0.3) {
            follower = Follow::new(node.chain().await, vec![LOGGER], 0, ledger.recent());
        }
        if random.random_bool(0.7) {
            ledger.catch_up(&mut follower, &node).await;
        }
        if round % 8 == 7 {
            ledger.catch_up(&mut follower, &node).await;
            let mut clean = Ledger::default();
            clean.catch_up(&mut follow(&node).await, &node).await;
            assert_eq!(ledger.logs(), clean.logs(), "round {round}");
        }
    }
    assert!(ledger.reverted > 200, "{}", ledger.reverted);
}
