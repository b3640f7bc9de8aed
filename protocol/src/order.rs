//! Offers and orders: the two sides of the market, each a signed EIP-712 message.

use crate::amount::{Amount, Price, Quantity, Timestamp};
use crate::bindings::messages;
use crate::resource::ResourceId;
use crate::signature::{Domain, Signature, SignatureError, SigningKey};
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolStruct;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The struct hash of an order, which names its job everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub B256);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A provider's ask: so much of a resource, at this price, until it expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    /// Who is paid: the provider's registered address.
    pub provider: Address,
    /// What is sold.
    pub resource: ResourceId,
    /// Least price taken, in nano per human unit.
    pub price: Price,
    /// How much is for sale, in base units.
    pub capacity: Quantity,
    /// Hash of the provider's terms; zero for none.
    pub terms: B256,
    /// Last second at which the offer may be matched.
    pub expiry: Timestamp,
    /// Makes equal offers distinct.
    pub salt: U256,
}

/// A client's bid for one job. Its hash is the job id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Whose channel pays.
    pub payer: Address,
    /// What is bought.
    pub resource: ResourceId,
    /// Most it may cost, in nano per human unit.
    pub max_price: Price,
    /// Most that may be used, in base units: the job is stopped there.
    pub max_units: Quantity,
    /// Most that the channel may be debited, all fees included.
    pub max_total: Amount,
    /// keccak256 of the job envelope's bytes.
    pub spec: B256,
    /// Hash of the client's terms; zero for none.
    pub terms: B256,
    /// Last second at which the order may be matched.
    pub expiry: Timestamp,
    /// Makes equal orders distinct.
    pub salt: U256,
}

impl Offer {
    /// The message as Solidity declares it.
    pub fn message(&self) -> messages::Offer {
        messages::Offer {
            provider: self.provider,
            resource: self.resource.0,
            price: self.price.get(),
            capacity: self.capacity.get(),
            terms: self.terms,
            expiry: self.expiry.get(),
            salt: self.salt,
        }
    }

    /// The struct hash, which names the offer.
    pub fn hash(&self) -> B256 {
        self.message().eip712_hash_struct()
    }
}

impl Order {
    /// The message as Solidity declares it.
    pub fn message(&self) -> messages::Order {
        messages::Order {
            payer: self.payer,
            resource: self.resource.0,
            maxPrice: self.max_price.get(),
            maxUnits: self.max_units.get(),
            maxTotal: self.max_total.get(),
            spec: self.spec,
            terms: self.terms,
            expiry: self.expiry.get(),
            salt: self.salt,
        }
    }

    /// The struct hash, which is the job id.
    pub fn id(&self) -> JobId {
        JobId(self.message().eip712_hash_struct())
    }
}

/// An offer with the signature of the provider or of one of its worker keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedOffer {
    /// What is offered.
    pub offer: Offer,
    /// By the provider or a worker key registered for it.
    pub signature: Signature,
}

/// An order with the signature of a channel's session key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedOrder {
    /// What is ordered.
    pub order: Order,
    /// By the session key; together with payer and keeper it names the channel.
    pub signature: Signature,
}

impl SignedOffer {
    /// Signs an offer.
    pub fn sign(offer: Offer, domain: &Domain, key: &SigningKey) -> Self {
        let signature = key.sign(domain.digest(offer.hash()));
        Self { offer, signature }
    }

    /// Who signed.
    pub fn signer(&self, domain: &Domain) -> Result<Address, SignatureError> {
        self.signature.recover(domain.digest(self.offer.hash()))
    }
}

impl SignedOrder {
    /// Signs an order.
    pub fn sign(order: Order, domain: &Domain, key: &SigningKey) -> Self {
        let signature = key.sign(domain.digest(order.id().0));
        Self { order, signature }
    }

    /// Who signed.
    pub fn signer(&self, domain: &Domain) -> Result<Address, SignatureError> {
        self.signature.recover(domain.digest(self.order.id().0))
    }
}
