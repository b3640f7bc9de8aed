//! Where a local network lies: its folder, its ports, and the configuration file and key of each service.

use crate::accounts::Accounts;
use crate::anvil::CHAIN_ID;
use anyhow::{Context, bail};
use protocol::address_book::AddressBook;
use protocol::signature::SigningKey;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use url::Url;

/// Password of every keystore of a local network, whose keys are known to everyone anyway.
pub const PASSWORD: &str = "local";

/// Ports of the services, all on loopback.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// The chain's RPC.
    pub chain: u16,
    /// The keeper's API.
    pub keeper: u16,
    /// The indexer's API and web page.
    pub indexer: u16,
    /// The worker's endpoint for direct channels.
    pub direct: u16,
    /// Health and metrics of keeper, indexer and worker.
    pub admin: [u16; 3],
}

/// Ports that no other network of ours takes while this value lives.
///
/// Ports are chosen long before the services bind them, so looking for free ones is not enough: two networks would
/// find the same. Each takes a block of ports instead, and holds it by listening on its first. The blocks lie below
/// the range in which the system numbers outgoing connections.
#[derive(Debug)]
pub struct Reserved {
    /// The ports.
    pub ports: Ports,
    _block: TcpListener,
}

const BLOCK: u16 = 8;
const BLOCKS: std::ops::Range<u16> = 2_000..4_000;

impl Reserved {
    /// A block of ports, all free now.
    pub fn new() -> anyhow::Result<Self> {
        for _ in 0..10_000 {
            let first = rand::random_range(BLOCKS) * BLOCK;
            let Ok(block) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) else { continue };
            if (first + 1..first + BLOCK).all(is_free) {
                let ports = Ports {
                    chain: first + 1,
                    keeper: first + 2,
                    indexer: first + 3,
                    direct: first + 4,
                    admin: [first + 5, first + 6, first + 7],
                };
                return Ok(Self { ports, _block: block });
            }
        }
        bail!("no {BLOCK} neighbouring ports are free on this machine")
    }

    /// The same, but with ports that are easy to remember wherever nothing else has them.
    pub fn preferred() -> anyhow::Result<Self> {
        let mut reserved = Self::new()?;
        let ports = &mut reserved.ports;
        let [keeper_admin, indexer_admin, worker_admin] = &mut ports.admin;
        for (port, usual) in [
            (&mut ports.chain, 8545),
            (&mut ports.keeper, 7100),
            (keeper_admin, 7101),
            (&mut ports.indexer, 7200),
            (indexer_admin, 7201),
            (&mut ports.direct, 7300),
            (worker_admin, 7301),
        ] {
            if is_free(usual) {
                *port = usual;
            }
        }
        Ok(reserved)
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// How the services of a local network are tuned; the tests make them quicker or stricter.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// After how long the keeper closes a batch, from its first voucher.
    pub close_after_ms: u64,
    /// How often a running job is billed.
    pub interval_ms: u64,
    /// How long a vanished worker may come back to its job.
    pub lease_ms: u64,
    /// Jobs that the worker runs at a time.
    pub slots: u32,
    /// The keeper's share of earnings, in basis points.
    pub keeper_bps: u16,
    /// The keeper's fee per channel and batch, in nano.
    pub per_channel: u64,
    /// Price of a vCPU-hour, in nano.
    pub cpu_price: u64,
    /// Price of a GPU-hour, in nano.
    pub gpu_price: u64,
    /// Whether the worker offers CPU time and GPU time.
    pub offers: Vec<&'static str>,
    /// Where the worker reaches its keeper, if not directly.
    pub worker_keeper: Option<Url>,
    /// Where the keeper reaches the chain, if not directly.
    pub keeper_chain: Option<Url>,
    /// Folders with CUDA libraries, and whether an emulated device is taken.
    pub emulated: Option<Vec<PathBuf>>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            close_after_ms: 4_000,
            interval_ms: 500,
            lease_ms: 5_000,
            slots: 2,
            keeper_bps: 200,
            per_channel: 1_000,
            cpu_price: 50_000_000,
            gpu_price: 2_500_000_000,
            offers: vec!["cpu.x86-64"],
            worker_keeper: None,
            keeper_chain: None,
            emulated: None,
        }
    }
}

/// The files of a local network.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
    ports: Ports,
}

impl Layout {
    /// A network in `folder`.
    pub const fn new(folder: PathBuf, ports: Ports) -> Self {
        Self { folder, ports }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its ports.
    pub const fn ports(&self) -> Ports {
        self.ports
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The address book.
    pub fn address_book(&self) -> PathBuf {
        self.file("address-book.json")
    }

    /// Address of the keeper's API.
    pub fn keeper(&self) -> SocketAddr {
        loopback(self.ports.keeper)
    }

    /// Address of the indexer's API.
    pub fn indexer(&self) -> SocketAddr {
        loopback(self.ports.indexer)
    }

    /// Address of the worker's direct endpoint.
    pub fn direct(&self) -> SocketAddr {
        loopback(self.ports.direct)
    }

    /// The chain's RPC.
    pub fn chain(&self) -> anyhow::Result<Url> {
        http(loopback(self.ports.chain))
    }

    /// Writes keystores, the address book, and a configuration for each service and for `capa`.
    pub fn write(&self, book: &AddressBook, accounts: &Accounts, tuning: &Tuning) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder)?;
        deployment::write(book, &self.folder)?;
        self.secret("password", PASSWORD)?;
        for (name, key) in [
            ("keeper", &accounts.keeper),
            ("worker", &accounts.worker),
            ("client", &accounts.client),
            ("session", &accounts.session),
        ] {
            self.keystore(name, key)?;
        }
        self.text("keeper.toml", &self.keeper_config(tuning)?)?;
        self.text("indexer.toml", &self.indexer_config(accounts)?)?;
        self.text("capa.toml", &self.client_config()?)?;
        self.text("worker.toml", &self.worker_config(accounts, tuning)?)
    }

    fn keeper_config(&self, tuning: &Tuning) -> anyhow::Result<String> {
        let chain = tuning.keeper_chain.clone().map_or_else(|| self.chain(), Ok)?;
        Ok(format!(
            r#"listen = "{listen}"
admin = "{admin}"
data = "{data}"
address_book = "{address_book}"
interval_ms = {interval}
lease_ms = {lease}
{key}{chain}
[fees]
keeper_bps = {keeper_bps}
per_channel = "{per_channel}"

[batch]
close_after_ms = {close}
"#,
            listen = self.keeper(),
            admin = loopback(self.ports.admin[0]),
            data = self.file("keeper").display(),
            address_book = self.address_book().display(),
            interval = tuning.interval_ms,
            lease = tuning.lease_ms,
            key = self.key_section("keeper"),
            chain = chain_section(&chain),
            keeper_bps = tuning.keeper_bps,
            per_channel = tuning.per_channel,
            close = tuning.close_after_ms,
        ))
    }

    fn indexer_config(&self, accounts: &Accounts) -> anyhow::Result<String> {
        Ok(format!(
            r#"listen = "{listen}"
admin = "{admin}"
data = "{data}"
address_book = "{address_book}"
{chain}
[[keepers]]
address = "{keeper}"
url = "{url}"
"#,
            listen = self.indexer(),
            admin = loopback(self.ports.admin[1]),
            data = self.file("indexer").display(),
            address_book = self.address_book().display(),
            chain = chain_section(&self.chain()?),
            keeper = accounts.keeper.address(),
            url = http(self.keeper())?,
        ))
    }

    fn worker_config(&self, accounts: &Accounts, tuning: &Tuning) -> anyhow::Result<String> {
        let keeper = tuning.worker_keeper.clone().map_or_else(|| http(self.keeper()), Ok)?;
        let mut text = format!(
            r#"keeper = "{keeper}"
provider = "{provider}"
address_book = "{address_book}"
data = "{data}"
admin = "{admin}"
slots = {slots}
{key}{chain}
[claim]
minimum = "1"
poll_ms = 500

[direct]
listen = "{direct}"
interval_ms = {interval}
redeem = "1"
"#,
            provider = accounts.provider.address(),
            address_book = self.address_book().display(),
            data = self.file("worker").display(),
            admin = loopback(self.ports.admin[2]),
            slots = tuning.slots,
            key = self.key_section("worker"),
            chain = chain_section(&self.chain()?),
            direct = self.direct(),
            interval = tuning.interval_ms,
        );
        for resource in &tuning.offers {
            let price = if resource.starts_with("gpu") { tuning.gpu_price } else { tuning.cpu_price };
            text.push_str(&format!(
                "\n[[offers]]\nresource = \"{resource}\"\nprice = \"{price}\"\ncapacity = \"36000000\"\n"
            ));
        }
        if let Some(libraries) = &tuning.emulated {
            text.push_str(&format!(
                "\n[execute.cuda]\nenabled = true\nallow_emulated = true\nlibraries = {libraries:?}\n"
            ));
        }
        Ok(text)
    }

    /// For `capa --config`, so that a person can go on where the walk ended.
    fn client_config(&self) -> anyhow::Result<String> {
        let file = |name: &str| self.file(name).display().to_string();
        Ok(format!(
            r#"rpc = "{rpc}"
address_book = "{address_book}"
keeper = "{keeper}"
indexer = "{indexer}"
wallet = "{wallet}"
session = "{session}"
password_file = "{password}"
state = "{state}"
"#,
            rpc = self.chain()?,
            address_book = self.address_book().display(),
            keeper = http(self.keeper())?,
            indexer = http(self.indexer())?,
            wallet = file("client.key.json"),
            session = file("session.key.json"),
            password = file("password"),
            state = file("client"),
        ))
    }

    fn key_section(&self, name: &str) -> String {
        let (key, password) = (self.file(&format!("{name}.key.json")), self.file("password"));
        format!("\n[key]\nkeystore = \"{}\"\npassword_file = \"{}\"\n", key.display(), password.display())
    }

    fn keystore(&self, name: &str, key: &SigningKey) -> anyhow::Result<()> {
        // The keys are public, so a strong key derivation would only make every start slower.
        let path = self.file(&format!("{name}.key.json"));
        service::keystore::write_key_with(&path, &key.to_bytes(), PASSWORD, 10)
            .with_context(|| format!("writing {}", path.display()))
    }

    fn secret(&self, name: &str, text: &str) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name);
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?)
    }

    fn text(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}

fn chain_section(url: &Url) -> String {
    format!("\n[chain]\nendpoints = [\"{url}\"]\nchain_id = {CHAIN_ID}\npoll_ms = 200\n")
}

/// An address on this machine.
pub const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Its URL.
pub fn http(address: SocketAddr) -> anyhow::Result<Url> {
    Ok(format!("http://{address}/").parse()?)
}
