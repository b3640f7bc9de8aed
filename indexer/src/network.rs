//! The deployment that is indexed, and its periods.

use crate::config::Keeper;
use alloy::primitives::Address;
use indexer_store::store::Scheme;
use protocol::address_book::AddressBook;
use protocol::bindings::settlement::Settlement;
use service::chain::{Chain, ChainError};

/// What never changes while an indexer runs.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) chain_id: u64,
    pub(crate) settlement: Address,
    pub(crate) registry: Address,
    pub(crate) catalog: Address,
    pub(crate) start_block: u64,
    pub(crate) keepers: Vec<Keeper>,
    /// W.
    pub(crate) challenge_period: u64,
    /// How long before its commit an honest keeper's line may have ended.
    pub(crate) lateness: u64,
}

impl Network {
    /// Checks the contracts of the address book and reads the periods.
    pub(crate) async fn read(book: &AddressBook, keepers: Vec<Keeper>, chain: &Chain) -> Result<Self, ChainError> {
        chain.verify_deployment(book.chain_id.get(), book.code()).await?;
        let contract = Settlement::new(book.settlement(), chain.provider());
        let periods = contract.periods().call().await.map_err(|error| {
            let (address, chain_id) = (book.settlement(), book.chain_id);
            let text = format!("cannot read the periods of Settlement {address} on chain {chain_id}: {error}");
            match error {
                alloy::contract::Error::TransportError(_) => ChainError::Retryable(text),
                _ => ChainError::Final(text),
            }
        })?;
        let [challenge, answer, heartbeat] = [periods.challenge, periods.answer, periods.heartbeat].map(u64::from);
        Ok(Self {
            chain_id: book.chain_id.get(),
            settlement: book.settlement(),
            registry: book.registry(),
            catalog: book.catalog(),
            start_block: book.start_block.get(),
            keepers,
            challenge_period: challenge,
            // An acceptance may be for the batch after the open one, and each of the two may use every deadline.
            lateness: 2 * (heartbeat + challenge + answer),
        })
    }

    pub(crate) fn scheme(&self) -> Scheme {
        Scheme {
            chain_id: self.chain_id,
            settlement: self.settlement,
            challenge_period: self.challenge_period,
            lateness: self.lateness,
        }
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        vec![self.settlement, self.registry, self.catalog]
    }
}
