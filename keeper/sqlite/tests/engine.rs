//! The tests of every engine, and those of this one.
#![allow(clippy::unwrap_used)]

use keeper_sqlite::SqliteStore;
use service::chain::{Attempt, Outcome, StoredTransaction, TransactionStore};

#[tokio::test]
async fn it_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keeper.db");
    keeper_store::suite::all(async || SqliteStore::connect(&file).await.unwrap()).await;
}

#[tokio::test]
async fn it_remembers_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::connect(&folder.path().join("keeper.db")).await.unwrap();
    assert_eq!(store.next_nonce_floor().await.unwrap(), 0);
    let open = StoredTransaction {
        key: "commit:1".into(),
        nonce: 4,
        to: Default::default(),
        data: vec![1, 2].into(),
        gas_limit: 21_000,
        attempts: vec![Attempt { hash: Default::default(), raw: vec![3].into(), max_fee: u128::MAX, priority: 1 }],
        outcome: None,
    };
    store.put(&open).await.unwrap();
    assert_eq!(TransactionStore::open(&store).await.unwrap(), std::slice::from_ref(&open));
    let outcome = Outcome { hash: Default::default(), block: 9, success: true, gas_used: 20_000, fee_paid: 7 };
    let settled = StoredTransaction { outcome: Some(outcome), ..open };
    store.put(&settled).await.unwrap();
    assert_eq!(TransactionStore::open(&store).await.unwrap(), []);
    assert_eq!(store.find("commit:1").await.unwrap(), Some(settled.clone()));
    assert_eq!(store.find("commit:2").await.unwrap(), None);
    assert_eq!((store.since(4).await.unwrap(), store.since(5).await.unwrap()), (vec![settled], vec![]));
    assert_eq!(store.next_nonce_floor().await.unwrap(), 5);
}
