//! Deployed contracts, a bonded keeper, a provider with a worker, and a client with a channel.

use crate::anvil::{Anvil, CHAIN_ID};
use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::providers::DynProvider;
use alloy::sol_types::SolCall;
use deployment::{Deployment, periods};
use keeper::config::{BatchConfig, Config, FeeConfig, MarketConfig, SettleConfig};
use keeper::desk::now;
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, NANO, Price, Quantity, Timestamp};
use protocol::bindings::{catalog, registry, settlement, token};
use protocol::job::{Blob, Envelope, Limits, OutputBuffer, Program, Verify, result_hash};
use protocol::order::{JobId, Offer, Order, SignedOffer, SignedOrder};
use protocol::provider::worker_consent;
use protocol::receipt::{Receipt, Statement};
use protocol::resource::{ResourceId, Usage};
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::ChannelId;
use service::chain::{ChainConfig, SenderConfig};
use service::keystore::{KeySource, write_key_with};
use std::path::Path;
use tempfile::TempDir;

pub(crate) const CPU: ResourceId = ResourceId(1);
/// One nano a vCPU-millisecond.
pub(crate) const PRICE: Price = Price(3_600_000);
pub(crate) const DEPOSIT: Amount = Amount(100 * NANO);
pub(crate) const MODULE: &[u8] = b"\0asm module";
pub(crate) const OUTPUT: &[u8] = b"the output";

pub(crate) fn key(role: &str) -> SigningKey {
    SigningKey::from_bytes(&keccak256(role).0).unwrap()
}

pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) folder: TempDir,
    pub(crate) domain: Domain,
    pub(crate) book: AddressBook,
    pub(crate) owner: SigningKey,
    pub(crate) keeper: SigningKey,
    pub(crate) payer: SigningKey,
    pub(crate) session: SigningKey,
    pub(crate) provider: SigningKey,
    pub(crate) worker: SigningKey,
    /// What this test configures otherwise.
    pub(crate) tune: fn(&mut Config),
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_heartbeat(60).await
    }

    pub(crate) async fn with_heartbeat(heartbeat: u32) -> Self {
        let anvil = Anvil::start();
        let owner = key("owner");
        let (keeper, payer) = (key("keeper"), key("payer"));
        let deployment = Deployment {
            owner: owner.address(),
            treasury: owner.address(),
            minimum_bond: Amount(10 * NANO),
            fee_bps: 100,
            periods: periods(3, 3, heartbeat),
            grants: [&keeper, &payer].map(|holder| (holder.address(), Amount(1_000 * NANO))).to_vec(),
        };
        let book = deployment.deploy(&anvil.provider).await.unwrap();
        let world = Self {
            anvil,
            folder: tempfile::tempdir().unwrap(),
            domain: book.domain(),
            book,
            owner,
            keeper,
            payer,
            session: key("session"),
            provider: key("provider"),
            worker: key("worker"),
            tune: |_| {},
        };
        world.seed().await;
        world
    }

    pub(crate) fn settlement(&self) -> Address {
        self.domain.settlement()
    }

    pub(crate) fn channel(&self) -> ChannelId {
        ChannelId::of(self.payer.address(), self.session.address(), self.keeper.address())
    }

    async fn seed(&self) {
        let add = catalog::ResourceCatalog::addCall {
            name: "cpu.x86-64".into(),
            unit: "vCPU-ms".into(),
            scale: 3_600_000,
            scuWeight: 1,
        };
        self.anvil.send(self.owner.address(), Some(self.book.catalog()), add.abi_encode()).await;
        let approve = token::ComputeToken::approveCall { spender: self.settlement(), value: U256::MAX }.abi_encode();
        self.anvil.send(self.keeper.address(), Some(self.book.token()), approve.clone()).await;
        self.anvil.send(self.payer.address(), Some(self.book.token()), approve).await;
        let bond = settlement::Settlement::bondCall { amount: 10 * NANO, owner: self.owner.address() };
        self.anvil.send(self.keeper.address(), Some(self.settlement()), bond.abi_encode()).await;
        let register = registry::ProviderRegistry::registerCall {
            endpoint: String::new(),
            termsUri: String::new(),
            terms: B256::ZERO,
        };
        self.anvil.send(self.provider.address(), Some(self.book.registry()), register.abi_encode()).await;
        let domain = Domain::new(CHAIN_ID, self.book.registry());
        let consent = self.worker.sign(worker_consent(&domain, self.provider.address(), self.worker.address()));
        let add = registry::ProviderRegistry::addWorkerCall {
            worker: self.worker.address(),
            signature: consent.0.to_vec().into(),
        };
        self.anvil.send(self.provider.address(), Some(self.book.registry()), add.abi_encode()).await;
        let open = settlement::Settlement::openCall {
            signer: self.session.address(),
            keeper: self.keeper.address(),
            amount: DEPOSIT.get(),
        };
        self.anvil.send(self.payer.address(), Some(self.settlement()), open.abi_encode()).await;
        // The safe head trails the newest block.
        self.anvil.mine(3).await;
    }

    pub(crate) fn config(&self) -> Config {
        let (keystore, password_file) = self.keystore(self.folder.path());
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: "127.0.0.1:0".parse().unwrap(),
            data: self.folder.path().join("data"),
            address_book: deployment::write(&self.book, self.folder.path()).unwrap(),
            interval_ms: 100,
            max_blob: 1 << 20,
            max_blobs_total: 1 << 24,
            lease_ms: 500,
            key: KeySource { keystore, password_file },
            chain: self.chain_config(),
            fees: FeeConfig { keeper_bps: 200, per_channel: Amount(100) },
            batch: BatchConfig { close_after_ms: 1_500, ..BatchConfig::default() },
            market: MarketConfig::default(),
            settle: SettleConfig::default(),
            sender: SenderConfig::default(),
        };
        (self.tune)(&mut config);
        config
    }

    pub(crate) fn chain_config(&self) -> ChainConfig {
        ChainConfig {
            endpoints: vec![self.anvil.url.parse().unwrap()],
            chain_id: CHAIN_ID,
            timeout_ms: 5_000,
            poll_ms: 100,
        }
    }

    fn keystore(&self, folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
        let (keystore, password) = (folder.join("keeper.json"), folder.join("password"));
        if !keystore.exists() {
            write_key_with(&keystore, &self.keeper.to_bytes(), "secret", 12).unwrap();
            std::fs::write(&password, "secret").unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&password, mode).unwrap();
        }
        (keystore, password)
    }

    pub(crate) fn contract(&self) -> settlement::SettlementInstance<DynProvider> {
        settlement::SettlementInstance::new(self.settlement(), self.anvil.provider.clone())
    }

    pub(crate) async fn balance(&self, of: Address) -> u64 {
        let token = token::ComputeTokenInstance::new(self.book.token(), self.anvil.provider.clone());
        u64::try_from(token.balanceOf(of).call().await.unwrap()).unwrap()
    }

    pub(crate) fn envelope() -> Envelope {
        Envelope {
            version: 1,
            program: Program::Wasm {
                module: Blob { hash: keccak256(MODULE), length: Quantity(MODULE.len() as u64) },
                toolchain: "wasmtime-48".into(),
            },
            inputs: vec![],
            outputs: vec![OutputBuffer { length: Quantity(OUTPUT.len() as u64) }],
            limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(1_000) },
            verify: Verify::Reexecute,
        }
    }

    pub(crate) fn offer(&self) -> SignedOffer {
        let offer = Offer {
            provider: self.provider.address(),
            resource: CPU,
            price: PRICE,
            capacity: Quantity(1_000_000),
            terms: B256::ZERO,
            expiry: Timestamp(now().get() + 600),
            salt: U256::from(rand::random::<u64>()),
        };
        SignedOffer::sign(offer, &self.domain, &self.worker)
    }

    pub(crate) fn an_order(&self) -> Order {
        Order {
            payer: self.payer.address(),
            resource: CPU,
            max_price: PRICE,
            max_units: Quantity(1_000),
            max_total: Amount(10_000),
            spec: keccak256(Self::envelope().to_bytes()),
            terms: B256::ZERO,
            expiry: Timestamp(now().get() + 600),
            salt: U256::from(rand::random::<u64>()),
        }
    }

    pub(crate) fn sign(&self, order: Order) -> SignedOrder {
        SignedOrder::sign(order, &self.domain, &self.session)
    }

    pub(crate) fn receipt(&self, job: JobId, sequence: u64, cpu_ms: u64, last: bool) -> Receipt {
        let statement = Statement {
            job,
            provider: self.provider.address(),
            sequence,
            usage: Usage { cpu_ms: Quantity(cpu_ms), ..Usage::default() },
            amount: Amount(cpu_ms),
            result: if last { result_hash(&[output()]) } else { B256::ZERO },
            at: now(),
        };
        Receipt::sign(statement, &self.domain, &self.worker)
    }
}

pub(crate) fn output() -> Blob {
    Blob { hash: keccak256(OUTPUT), length: Quantity(OUTPUT.len() as u64) }
}
