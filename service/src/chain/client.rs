//! Reading the chain through several endpoints.

use std::fmt;
use std::time::Duration;

use alloy::eips::BlockNumberOrTag;
use alloy::network::Ethereum;
use alloy::primitives::{Address, B256, Bloom, keccak256};
use alloy::providers::{DynProvider, Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::Log;
use serde::Deserialize;
use url::Url;

use super::endpoints::{Endpoints, public_name};
use super::{BlockRef, ChainError};

/// How to reach a chain.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// JSON-RPC addresses (http or https), the preferred first. A request goes to the next when one fails.
    pub endpoints: Vec<Url>,
    /// The chain that every endpoint must serve.
    pub chain_id: u64,
    /// Milliseconds after which an endpoint counts as failed.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Milliseconds between two looks at the head.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
}

fn default_timeout_ms() -> u64 {
    5000
}

fn default_poll_ms() -> u64 {
    500
}

impl fmt::Debug for ChainConfig {
    /// Shows hosts only: the rest of an endpoint's address often is its access token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.endpoints.iter().map(public_name).collect();
        f.debug_struct("ChainConfig")
            .field("endpoints", &hosts)
            .field("chain_id", &self.chain_id)
            .field("timeout_ms", &self.timeout_ms)
            .field("poll_ms", &self.poll_ms)
            .finish()
    }
}

/// How sure a block must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The newest block; it may be replaced.
    Latest,
    /// Unlikely to be replaced: act on it.
    Safe,
    /// Not to be replaced: count money on it.
    Finalized,
}

impl From<Tag> for BlockNumberOrTag {
    fn from(tag: Tag) -> Self {
        match tag {
            Tag::Latest => Self::Latest,
            Tag::Safe => Self::Safe,
            Tag::Finalized => Self::Finalized,
        }
    }
}

/// A chain, read through whichever endpoint answers. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Chain {
    provider: DynProvider,
    chain_id: u64,
    poll: Duration,
}

impl Chain {
    /// Connects, and refuses an endpoint that serves another chain.
    ///
    /// # Errors
    /// Final for a wrong chain or an empty list; retryable when no endpoint answers.
    pub async fn connect(config: &ChainConfig) -> Result<Self, ChainError> {
        let timeout = Duration::from_millis(config.timeout_ms);
        let endpoints = Endpoints::new(&config.endpoints, config.chain_id, timeout)?;
        endpoints.check_all().await?;
        let provider = RootProvider::<Ethereum>::new(RpcClient::new(endpoints, false)).erased();
        Ok(Self { provider, chain_id: config.chain_id, poll: Duration::from_millis(config.poll_ms.max(1)) })
    }

    /// For typed calls. It reads; transactions go through [`super::Sender`].
    pub fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// The chain that every endpoint serves.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The time between two looks at the head.
    pub fn poll(&self) -> Duration {
        self.poll
    }

    /// The newest block of the given certainty.
    ///
    /// # Errors
    /// When no endpoint answers, or the chain has no such block yet (retryable).
    pub async fn head(&self, at: Tag) -> Result<BlockRef, ChainError> {
        Ok(self.header(at).await?.block())
    }

    /// The hash of the code at `address` in the newest block; the hash of nothing where there is no code.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn code_hash(&self, address: Address) -> Result<B256, ChainError> {
        Ok(keccak256(self.provider.get_code_at(address).await?))
    }

    pub(super) async fn header(&self, at: Tag) -> Result<Header, ChainError> {
        let tag = BlockNumberOrTag::from(at);
        self.header_at(tag).await?.ok_or_else(|| ChainError::Retryable(format!("the node has no {tag} block yet")))
    }

    /// The header at a height, or nothing where the node has not come so far.
    pub(super) async fn header_at(&self, at: BlockNumberOrTag) -> Result<Option<Header>, ChainError> {
        Ok(self.provider.client().request("eth_getBlockByNumber", (at, false)).await?)
    }
}

/// The fields of a header that are used, read leniently: rollups add and omit others.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    #[serde(with = "alloy::serde::quantity")]
    pub(super) number: u64,
    pub(super) hash: B256,
    pub(super) parent_hash: B256,
    #[serde(with = "alloy::serde::quantity")]
    pub(super) timestamp: u64,
    pub(super) logs_bloom: Bloom,
    #[serde(default, with = "alloy::serde::quantity::opt")]
    pub(super) base_fee_per_gas: Option<u128>,
}

impl Header {
    pub(super) fn block(&self) -> BlockRef {
        BlockRef { number: self.number, hash: self.hash, timestamp: self.timestamp }
    }
}

/// A block's receipt, read leniently: rollups have transaction types of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockReceipt {
    pub(super) block_hash: Option<B256>,
    pub(super) logs: Vec<Log>,
}
