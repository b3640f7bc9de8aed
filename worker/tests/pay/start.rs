//! What a worker refuses to start with.

use crate::setup::{config, world};
use alloy::primitives::B256;
use service::chain::ChainError;
use worker::{RunError, Worker};

#[tokio::test]
async fn other_contracts_than_the_address_book_says() {
    let (mut world, _) = world().await;
    world.book.contracts.settlement.code_hash = B256::ZERO;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&world, folder.path());
    config.keeper = Some("http://127.0.0.1:1/".parse().unwrap());
    let error = Worker::bind(config).await.err().unwrap();
    assert!(matches!(error, RunError::Chain(ChainError::WrongCode { name: "settlement", .. })), "{error}");
}
