//! What a keeper refuses to start with.

use crate::world::World;
use keeper::{Keeper, KeeperError};
use protocol::amount::Quantity;
use serde_json::json;
use service::chain::ChainError;

async fn refusal(world: &World) -> KeeperError {
    match Keeper::bind(world.config()).await {
        Err(error) => error,
        Ok(_) => panic!("the keeper started"),
    }
}

#[tokio::test]
async fn other_contracts_than_the_address_book_says() {
    let mut world = World::new().await;
    let (right, registry) = (world.book.clone(), world.book.registry());
    let code = world.anvil.raw("eth_getCode", json!([registry, "latest"])).await;

    world.anvil.raw("anvil_setCode", json!([registry, "0x60006000fd"])).await;
    let error = refusal(&world).await;
    let differs = matches!(&error, KeeperError::Chain(ChainError::WrongCode { name: "registry", .. }));
    assert!(differs && error.to_string().contains(&registry.to_string()), "{error}");
    world.anvil.raw("anvil_setCode", json!([registry, code])).await;

    world.book.chain_id = Quantity(1);
    let error = refusal(&world).await;
    assert!(matches!(error, KeeperError::Chain(ChainError::WrongChain { recorded: 1, .. })), "{error}");

    world.book = right.clone();
    world.book.contracts.token = right.contracts.catalog.clone();
    let error = refusal(&world).await;
    assert!(matches!(error, KeeperError::WrongToken { found, .. } if found == right.token()), "{error}");

    world.book = right;
    Keeper::bind(world.config()).await.unwrap();
}

#[tokio::test]
async fn no_address_book() {
    let world = World::new().await;
    let mut config = world.config();
    config.address_book = world.folder.path().join("none.json");
    let error = Keeper::bind(config).await.err().unwrap();
    assert!(matches!(error, KeeperError::AddressBook(_)) && error.to_string().contains("none.json"), "{error}");
}
