//! The configuration: one struct, every key documented, unknown keys refused.

use crate::execute::{ExecuteConfig, OCI_IDS};
use alloy::primitives::Address;
use protocol::amount::{Amount, Price, Quantity};
use protocol::wire::{Isolation, IsolationLevel};
use serde::Deserialize;
use service::chain::client::ChainConfig;
use service::keystore::KeySource;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use url::Url;

/// Everything that a worker is told at its start. `worker.example.toml` shows each key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The keeper to work for. A worker without one serves its direct endpoint only.
    pub keeper: Option<Url>,
    /// An indexer that `status` and `doctor` ask how the market sees this provider; the worker runs without it.
    pub indexer: Option<Url>,
    /// Whose worker this is: the registered address that is paid.
    pub provider: Address,
    /// The worker key. It signs receipts and offers and pays the gas of claims; it never holds earnings.
    pub key: KeySource,
    /// The chain.
    pub chain: ChainConfig,
    /// The address book of the deployment: the contracts, whose code is checked at the start.
    pub address_book: PathBuf,
    /// Folder of the ledger and of direct jobs' blobs.
    pub data: PathBuf,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[serde(default = "admin")]
    pub admin: SocketAddr,
    /// Jobs at a time.
    #[serde(default = "one")]
    pub slots: u32,
    /// What is sold, and for how much.
    pub offers: Vec<OfferConfig>,
    /// Where the worker stops to trust.
    #[serde(default)]
    pub limits: Limits,
    /// When earnings are fetched from the chain.
    #[serde(default)]
    pub claim: ClaimConfig,
    /// The endpoint for clients that pay without a keeper.
    pub direct: Option<DirectConfig>,
    /// How the worker ends.
    #[serde(default)]
    pub drain: DrainConfig,
    /// Devices and libraries of the executors.
    #[serde(default)]
    pub execute: ExecuteConfig,
    /// How jobs are kept apart from the machine and from each other.
    #[serde(default)]
    pub sandbox: SandboxConfig,
    /// The program that jobs' processes run, `capa-worker`. No key of the file: it is this very program, even after
    /// the file it was started from was replaced. Only programs that hold a worker in themselves name another one.
    #[serde(skip, default = "this_program")]
    pub runner: PathBuf,
}

/// A resource for sale.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferConfig {
    /// Its name in the ResourceCatalog, such as `cpu.x86-64`.
    pub resource: String,
    /// Least price, in nano CAPA per human unit.
    pub price: Price,
    /// How much one offer sells, in base units. It is renewed before it is used up.
    pub capacity: Quantity,
    /// How long one offer stands, in seconds. It is renewed before it expires.
    #[serde(default = "ten_minutes")]
    pub lifetime: u64,
}

/// Limits of trust and of size. Amounts are in nano CAPA.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most that the jobs of one channel may have used together and nobody accepted to pay; then they are stopped.
    pub unaccepted: Amount,
    /// The same for the running jobs of all channels with one keeper, and of all direct channels.
    pub unaccepted_keeper: Amount,
    /// Longest that a receipt may wait for its payment while the job runs, in milliseconds; then it is stopped.
    pub patience_ms: u64,
    /// Most that one channel may owe in batches that are not final.
    pub channel: Amount,
    /// Most that one keeper may owe in batches that are not final.
    pub keeper: Amount,
    /// Most bytes of program and inputs of one job.
    pub input: Quantity,
    /// How old a chain fact may be when an acceptance is counted by it, in milliseconds.
    pub chain_age_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unaccepted: Amount(100_000_000),
            unaccepted_keeper: Amount(1_000_000_000),
            patience_ms: 60_000,
            channel: Amount(20_000_000_000),
            keeper: Amount(200_000_000_000),
            input: Quantity(1 << 30),
            chain_age_ms: 2_000,
        }
    }
}

/// When earnings are claimed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimConfig {
    /// Least amount of final earnings that is claimed, in nano CAPA.
    pub minimum: Amount,
    /// What one whole coin of the chain (10^18 of its smallest unit) is worth, in nano CAPA: by this the gas of a payout
    /// is weighed. With 0 it is not, and only `minimum` and `direct.redeem` count.
    pub coin_price: Amount,
    /// Most of a payout that its gas may cost, in basis points; what would cost more waits for cheaper gas.
    pub max_cost_bps: u16,
    /// How often the keeper's batches are looked at, in milliseconds.
    pub poll_ms: u64,
    /// Most items of one claim.
    pub batches: usize,
}

impl Default for ClaimConfig {
    fn default() -> Self {
        Self {
            minimum: Amount(1_000_000_000),
            coin_price: Amount::ZERO,
            max_cost_bps: 1_000,
            poll_ms: 5_000,
            batches: 64,
        }
    }
}

/// How the worker ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainConfig {
    /// Longest that running jobs and their payments are waited for, in seconds.
    pub timeout_s: u64,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { timeout_s: 600 }
    }
}

/// The endpoint for clients that pay without a keeper.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectConfig {
    /// Where it listens.
    #[serde(default = "any_port")]
    pub listen: SocketAddr,
    /// How often a running job is billed, in milliseconds.
    #[serde(default = "second")]
    pub interval_ms: u64,
    /// Largest blob taken, in bytes.
    #[serde(default = "blob")]
    pub max_blob: Quantity,
    /// Most bytes of blobs kept in all.
    #[serde(default = "store")]
    pub max_store: Quantity,
    /// Least amount of a channel worth the gas of a redemption, in nano CAPA.
    #[serde(default = "redeem")]
    pub redeem: Amount,
}

/// How jobs are kept apart from the machine and from each other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// Jobs of strangers run only where at least this is in force.
    pub require: IsolationLevel,
    /// Payers whose jobs run whatever is in force.
    pub friends: Vec<Address>,
    /// User numbers for jobs' processes, which nothing else on the machine may have. Used by a worker that is root.
    pub users: Users,
    /// Folder in which all workers of this machine agree on who has which user number, best on a file system that a
    /// reboot clears. It must be the same for all of them. Used by a worker that is root.
    pub run: PathBuf,
    /// How long one payer's jobs may have had devices within an hour without being billed for it, such as for compiling, in
    /// seconds. Five seconds of each job that is billed are not counted. A job that passes this is stopped, and then the
    /// payer's jobs are refused until the hour is over.
    pub unbilled_s: u64,
    /// How long a process waits for another job of its tenant before it is ended, in seconds.
    pub idle_s: u64,
    /// How long a job may go on after its wall time, or after it was told to stop, before its process is killed, in
    /// milliseconds.
    pub grace_ms: u64,
}

/// A range of user numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Users {
    /// Whether some number is in both ranges.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let end = |users: Self| u64::from(users.first) + u64::from(users.count);
        u64::from(self.first) < end(other) && u64::from(other.first) < end(self)
    }
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            require: IsolationLevel::Confined,
            friends: Vec::new(),
            users: Users { first: 700_000, count: 1_000 },
            run: "/run/capa-worker".into(),
            unbilled_s: 120,
            idle_s: 300,
            grace_ms: 5_000,
        }
    }
}

impl SandboxConfig {
    /// Whether a tenant's jobs may run with only this in force, or a sentence that says what is missing.
    pub fn admit(&self, tenant: Address, isolation: Isolation) -> Result<(), String> {
        if isolation.level() >= self.require || self.friends.contains(&tenant) {
            return Ok(());
        }
        let Isolation { rlimits, landlock, seccomp, user, network, cgroup } = isolation;
        let strict = self.require == IsolationLevel::Isolated;
        let missing: Vec<&str> = [
            (!rlimits, "resource limits"),
            (!landlock, "file access rules (Landlock)"),
            (!seccomp, "a system call filter (seccomp)"),
            (strict && !user, "users of their own"),
            (strict && !network, "a network of their own"),
            (strict && cgroup == 0, "a control group"),
        ]
        .into_iter()
        .filter_map(|(is_missing, name)| is_missing.then_some(name))
        .collect();
        Err(format!(
            "this worker runs jobs of strangers only where they are better kept apart: {} missing here (its operator \
             finds out why by `capa-worker doctor`, adds payers to sandbox.friends, or lowers sandbox.require)",
            match missing.as_slice() {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(", ")),
            }
        ))
    }
}

/// A key of the configuration contradicts another.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is nobody to work for.
    #[error("set `keeper` to a keeper's address, or add a [direct] section: there is nobody to work for")]
    NoBuyer,
    /// Nothing is for sale.
    #[error("add at least one [[offers]] entry: nothing is for sale")]
    NoOffers,
    /// A number that must be positive is zero.
    #[error("`{0}` must be above zero")]
    Zero(&'static str),
    /// Processes of two kinds of jobs could be the same user.
    #[error(
        "sandbox.users and the {OCI_IDS} users from execute.oci.user on overlap: a container could be the user of another \
         payer's process; move one of them"
    )]
    UsersOverlap,
}

impl Config {
    /// Checks what the types cannot say.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.keeper.is_none() && self.direct.is_none() {
            return Err(ConfigError::NoBuyer);
        }
        if self.offers.is_empty() {
            return Err(ConfigError::NoOffers);
        }
        let zero_price = self.offers.iter().any(|offer| offer.price == Price::ZERO);
        let zero_capacity = self.offers.iter().any(|offer| offer.capacity == Quantity::ZERO);
        for (zero, key) in [
            (self.slots == 0, "slots"),
            (zero_price, "offers.price"),
            (zero_capacity, "offers.capacity"),
            (self.offers.iter().any(|offer| offer.lifetime == 0), "offers.lifetime"),
            (self.limits.unaccepted == Amount::ZERO, "limits.unaccepted"),
            (self.limits.unaccepted_keeper == Amount::ZERO, "limits.unaccepted_keeper"),
            (self.claim.max_cost_bps == 0, "claim.max_cost_bps"),
            (self.claim.poll_ms == 0, "claim.poll_ms"),
            (self.claim.batches == 0, "claim.batches"),
            (self.sandbox.users.count == 0, "sandbox.users.count"),
            (self.sandbox.users.first == 0, "sandbox.users.first"),
            (self.execute.max_wall_ms == 0, "execute.max_wall_ms"),
            (self.direct.as_ref().is_some_and(|direct| direct.interval_ms == 0), "direct.interval_ms"),
        ] {
            if zero {
                return Err(ConfigError::Zero(key));
            }
        }
        let containers = Users { first: self.execute.oci.user, count: OCI_IDS };
        if self.execute.oci.enabled && self.sandbox.users.overlaps(containers) {
            return Err(ConfigError::UsersOverlap);
        }
        Ok(())
    }
}

/// The file that this process runs, by its open handle rather than by its name.
pub(crate) fn this_program() -> PathBuf {
    "/proc/self/exe".into()
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

const fn admin() -> SocketAddr {
    loopback(9_103)
}

const fn any_port() -> SocketAddr {
    loopback(0)
}

const fn one() -> u32 {
    1
}

const fn ten_minutes() -> u64 {
    600
}

const fn second() -> u64 {
    1_000
}

const fn blob() -> Quantity {
    Quantity(64 << 20)
}

const fn store() -> Quantity {
    Quantity(8 << 30)
}

const fn redeem() -> Amount {
    Amount(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../worker.example.toml");

    #[test]
    fn the_example_is_a_configuration() {
        let config: Config = toml::from_str(EXAMPLE).unwrap();
        config.validate().unwrap();
        assert!(config.direct.is_some());
        assert!(config.admin.ip().is_loopback());
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let full: Config = toml::from_str(EXAMPLE).unwrap();
        let defaults = Limits::default();
        assert_eq!(full.limits.unaccepted, defaults.unaccepted);
        assert_eq!(full.limits.keeper, defaults.keeper);
        assert_eq!(full.limits.unaccepted_keeper, defaults.unaccepted_keeper);
        assert_eq!(full.claim.minimum, ClaimConfig::default().minimum);
        assert_eq!(full.sandbox, SandboxConfig::default());
        assert_eq!(full.execute.cuda, crate::execute::CudaConfig::default());
        assert_eq!(full.execute.max_wall_ms, ExecuteConfig::default().max_wall_ms);
        assert_eq!(full.claim.coin_price, ClaimConfig::default().coin_price);
        assert_eq!(full.claim.max_cost_bps, ClaimConfig::default().max_cost_bps);
        assert_eq!(full.drain.timeout_s, DrainConfig::default().timeout_s);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = format!("speed = 9\n{EXAMPLE}");
        assert!(toml::from_str::<Config>(&text).unwrap_err().to_string().contains("speed"));
    }

    /// The keys that a section may have, as its type tells them to whoever writes another one into it.
    fn keys(header: &str) -> Vec<String> {
        let text = match header {
            "" => format!("zzz = 0\n{EXAMPLE}"),
            header => EXAMPLE.replacen(&format!("\n{header}\n"), &format!("\n{header}\nzzz = 0\n"), 1),
        };
        let error = toml::from_str::<Config>(&text).unwrap_err().message().to_owned();
        let (_, known) = error.split_once("expected").unwrap_or_else(|| panic!("{header}: {error}"));
        known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_example_has_every_key() {
        let headers: Vec<&str> = EXAMPLE.lines().filter(|line| line.starts_with('[')).collect();
        assert!(headers.len() > 8, "{headers:?}");
        for header in std::iter::once("").chain(headers.iter().copied()) {
            let body = EXAMPLE.lines().skip_while(|line| !header.is_empty() && *line != header);
            let body: Vec<&str> = body.skip(usize::from(!header.is_empty())).collect();
            let own = body.iter().take_while(|line| !line.starts_with('[')).map(|line| line.trim_start_matches("# "));
            let own: Vec<&str> = own.collect();
            let name = header.trim_matches(['[', ']']);
            for key in keys(header) {
                let path = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                // Whoever sells an emulation's results is in the wrong network.
                let is_for_tests = path == "execute.cuda.allow_emulated";
                let stands = own.iter().any(|line| line.starts_with(&format!("{key} = ")));
                let is_section = headers.iter().any(|header| {
                    let other = header.trim_matches(['[', ']']);
                    other == path || other.starts_with(&format!("{path}."))
                });
                assert!(stands || is_section || is_for_tests, "worker.example.toml does not show {path}");
            }
        }
    }

    #[test]
    fn strangers_are_told_what_is_missing() {
        let friend = Address::repeat_byte(7);
        let config = SandboxConfig { friends: vec![friend], ..SandboxConfig::default() };
        let confined = Isolation { rlimits: true, landlock: true, seccomp: true, ..Isolation::default() };
        assert_eq!(config.admit(Address::ZERO, confined), Ok(()));
        let open = Isolation { landlock: false, ..confined };
        let text = config.admit(Address::ZERO, open).unwrap_err();
        assert!(text.contains("file access rules (Landlock) is missing here"), "{text}");
        assert_eq!(config.admit(friend, open), Ok(()));
        let strict = SandboxConfig { require: IsolationLevel::Isolated, ..config };
        let text = strict.admit(Address::ZERO, Isolation { user: true, ..confined }).unwrap_err();
        assert!(text.contains("a network of their own, a control group are missing here"), "{text}");
    }

    #[test]
    fn contradictions_are_named() {
        let mut config: Config = toml::from_str(EXAMPLE).unwrap();
        config.slots = 0;
        assert_eq!(config.validate().unwrap_err().to_string(), "`slots` must be above zero");
        config.slots = 1;
        config.keeper = None;
        config.direct = None;
        assert!(matches!(config.validate(), Err(ConfigError::NoBuyer)));
        let mut config: Config = toml::from_str(EXAMPLE).unwrap();
        config.execute.oci.user = config.sandbox.users.first + config.sandbox.users.count - 1;
        config.validate().unwrap();
        config.execute.oci.enabled = true;
        assert!(matches!(config.validate(), Err(ConfigError::UsersOverlap)));
        config.execute.oci.user += 1;
        config.validate().unwrap();
    }
}
