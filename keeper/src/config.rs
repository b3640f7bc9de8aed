//! The keeper's configuration, one struct, every key documented. Unknown keys are refused.

use protocol::amount::Amount;
use serde::Deserialize;
use service::chain::{ChainConfig, SenderConfig};
use service::keystore::KeySource;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that can be set. `keeper.example.toml` shows each key with its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API listens. Put a reverse proxy with TLS before it to open it to the world.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; keep it on loopback.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// Folder of the ledger and the blobs. It is the keeper's memory: back it up.
    pub data: PathBuf,
    /// The address book of the deployment: the contracts, whose code is checked at the start.
    pub address_book: PathBuf,
    /// How often a running job is billed, in milliseconds.
    #[serde(default = "default_interval_ms")]
    pub interval_ms: u64,
    /// Largest blob taken, in bytes.
    #[serde(default = "default_max_blob")]
    pub max_blob: u64,
    /// Most bytes of all blobs together.
    #[serde(default = "default_max_blobs_total")]
    pub max_blobs_total: u64,
    /// How long a vanished worker keeps its jobs, in milliseconds.
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    /// The keeper's signing key. Its address is the keeper's identity and never changes.
    pub key: KeySource,
    /// The chain.
    pub chain: ChainConfig,
    /// What the keeper charges.
    #[serde(default)]
    pub fees: FeeConfig,
    /// When a batch is closed.
    #[serde(default)]
    pub batch: BatchConfig,
    /// Rules of the market.
    #[serde(default)]
    pub market: MarketConfig,
    /// How batches are settled.
    #[serde(default)]
    pub settle: SettleConfig,
    /// How the keeper's transactions are priced and watched.
    #[serde(default)]
    pub sender: SenderConfig,
}

/// What the keeper charges, besides the protocol's fee.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeeConfig {
    /// Share of a provider's earnings, in basis points, on top of them.
    pub keeper_bps: u16,
    /// Nano for collecting a channel, once per channel and batch, in a string.
    pub per_channel: Amount,
}

impl Default for FeeConfig {
    fn default() -> Self {
        Self { keeper_bps: 100, per_channel: Amount(1_000) }
    }
}

/// When a batch is closed: at the first of these that is reached, once the batch before it is final.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Milliseconds since the batch's first voucher.
    pub close_after_ms: u64,
    /// Number of vouchers.
    pub max_vouchers: u64,
    /// Debited nano, in a string.
    pub max_value: Amount,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { close_after_ms: 3_600_000, max_vouchers: 1_000_000, max_value: Amount(10_000_000_000_000) }
    }
}

/// Rules of the market.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarketConfig {
    /// How long a job waits for a voucher, and a stopped one for its worker, before it is ended, in milliseconds.
    pub pay_within_ms: u64,
    /// How long a receipt that its client does not answer holds up those of the channel's other jobs, in milliseconds.
    pub turn_ms: u64,
    /// Most jobs of one channel that may wait or run at a time.
    pub open_jobs_per_channel: usize,
    /// Most offers that may rest for one provider.
    pub offers_per_provider: usize,
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self { pay_within_ms: 600_000, turn_ms: 10_000, open_jobs_per_channel: 1_000, offers_per_provider: 1_000 }
    }
}

/// How batches are settled.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettleConfig {
    /// Claim the keeper's own earnings of each batch once it is final.
    pub claim_own: bool,
    /// Pay all providers of each final batch in one transaction, at the keeper's cost.
    pub distribute: bool,
    /// Vouchers per `collect`; more than 900 do not fit a transaction.
    pub chunk: usize,
    /// How long the keeper goes on accepting vouchers without a view of the chain, in milliseconds.
    pub blind_ms: u64,
}

impl Default for SettleConfig {
    fn default() -> Self {
        Self { claim_own: true, distribute: false, chunk: 900, blind_ms: 60_000 }
    }
}

const fn default_listen() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8645)
}

const fn default_admin() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9645)
}

const fn default_interval_ms() -> u64 {
    1_000
}

const fn default_max_blob() -> u64 {
    64 * 1024 * 1024
}

const fn default_max_blobs_total() -> u64 {
    64 * 1024 * 1024 * 1024
}

const fn default_lease_ms() -> u64 {
    30_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn example() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/keeper.example.toml"))
    }

    #[test]
    fn the_example_shows_every_key_with_its_default() {
        let config: Config = service::config::load(Some(example()), "CAPA_KEEPER_TEST_").unwrap();
        assert_eq!((config.listen, config.admin), (default_listen(), default_admin()));
        assert_eq!(config.interval_ms, default_interval_ms());
        assert_eq!(config.max_blob, default_max_blob());
        assert_eq!(config.max_blobs_total, default_max_blobs_total());
        assert_eq!(config.lease_ms, default_lease_ms());
        assert_eq!(format!("{:?}", config.fees), format!("{:?}", FeeConfig::default()));
        assert_eq!(format!("{:?}", config.batch), format!("{:?}", BatchConfig::default()));
        assert_eq!(format!("{:?}", config.market), format!("{:?}", MarketConfig::default()));
        assert_eq!(format!("{:?}", config.settle), format!("{:?}", SettleConfig::default()));
        assert_eq!(format!("{:?}", config.sender), format!("{:?}", SenderConfig::default()));
    }

    #[test]
    fn a_misspelt_key_is_refused_by_name() {
        let text = std::fs::read_to_string(example()).unwrap().replace("lease_ms", "leese_ms");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let error = service::config::load::<Config>(Some(file.path()), "CAPA_KEEPER_TEST_").unwrap_err();
        assert!(error.to_string().contains("leese_ms"), "{error}");
    }
}
