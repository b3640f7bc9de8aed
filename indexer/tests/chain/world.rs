//! A chain, a keeper that publishes what it is told to, and an indexer of both.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::sol_types::SolCall;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use deployment::{Deployment, periods};
use indexer::config::{Config, Keeper};
use indexer::{Indexer, RunError};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::batch::{ClosedBatch, Line, close};
use protocol::bindings::{catalog, registry, settlement, token};
use protocol::order::JobId;
use protocol::resource::ResourceId;
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{Allocation, SignedVoucher, Voucher};
use serde_json::{Value, json};
use service::chain::ChainConfig;
use service::shutdown::Shutdown;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// W.
pub(crate) const CHALLENGE: u64 = 100;
pub(crate) const OWNER: Address = Address::repeat_byte(0xa0);
pub(crate) const CLIENT: Address = Address::repeat_byte(0xa1);
pub(crate) const PROVIDER: Address = Address::repeat_byte(0xa2);
pub(crate) const KEEPER: Address = Address::repeat_byte(0xa3);
/// Base units per human unit of the only resource.
pub(crate) const SCALE: u64 = 3_600_000;
const CHAIN_ID: u64 = 51_866;

struct Anvil(Child);

impl Drop for Anvil {
    fn drop(&mut self) {
        // A process that is gone already needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Published = Arc<Mutex<HashMap<u32, Vec<u8>>>>;

pub(crate) struct World {
    _anvil: Anvil,
    data: TempDir,
    rpc: url::Url,
    provider: DynProvider,
    address_book: PathBuf,
    pub(crate) settlement: Address,
    registry: Address,
    catalog: Address,
    published: Published,
    keeper_url: url::Url,
    spent: u64,
    batch: u32,
}

/// An indexer that runs in this process.
pub(crate) struct Running {
    api: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), RunError>>,
    client: reqwest::Client,
}

impl World {
    pub(crate) async fn start() -> Self {
        let anvil = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../node_modules/@foundry-rs/anvil-{}/bin/anvil", system()));
        let mut child = Command::new(&anvil)
            .args(["--chain-id", &CHAIN_ID.to_string(), "--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start ({error}): run `npm ci`", anvil.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil prints where it listens");
        // A full pipe would stop the node.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let rpc: url::Url = format!("http://{address}/").parse().unwrap();
        let provider = ProviderBuilder::new().connect_http(rpc.clone()).erased();
        let (keeper_url, published) = publish().await;
        let mut world = Self {
            _anvil: Anvil(child),
            data: TempDir::new().unwrap(),
            rpc,
            provider,
            address_book: PathBuf::new(),
            settlement: Address::ZERO,
            registry: Address::ZERO,
            catalog: Address::ZERO,
            published,
            keeper_url,
            spent: 0,
            batch: 0,
        };
        world.wait_for_chain().await;
        world.set_up().await;
        world
    }

    async fn wait_for_chain(&self) {
        let start = Instant::now();
        while self.provider.get_chain_id().await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "anvil did not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn set_up(&mut self) {
        for account in [OWNER, CLIENT, PROVIDER, KEEPER] {
            let balance = U256::from(10).pow(U256::from(21));
            self.raw("anvil_setBalance", (account, balance)).await;
            self.raw("anvil_impersonateAccount", (account,)).await;
        }
        self.deploy().await;
        let settlement = self.settlement;
        let bond = settlement::bondCall { amount: 1_000, owner: OWNER };
        self.send(KEEPER, Some(settlement), bond.abi_encode()).await;
        let open = settlement::openCall { signer: session().address(), keeper: KEEPER, amount: 1_000_000 };
        self.send(CLIENT, Some(settlement), open.abi_encode()).await;
        let register = registry::registerCall {
            endpoint: "https://provider.example".into(),
            termsUri: String::new(),
            terms: B256::ZERO,
        };
        self.send(PROVIDER, Some(self.registry), register.abi_encode()).await;
        let class = catalog::addCall { name: "gpu.test".into(), unit: "GPU-ms".into(), scale: SCALE, scuWeight: 1_000 };
        self.send(OWNER, Some(self.catalog), class.abi_encode()).await;
    }

    async fn deploy(&mut self) {
        let challenge = u32::try_from(CHALLENGE).unwrap();
        let deployment = Deployment {
            owner: OWNER,
            treasury: OWNER,
            minimum_bond: Amount(1_000),
            fee_bps: 0,
            periods: periods(challenge, challenge, challenge),
            grants: [CLIENT, KEEPER].map(|holder| (holder, Amount(10_000_000))).to_vec(),
        };
        let book = deployment.deploy(&self.provider).await.unwrap();
        self.address_book = deployment::write(&book, self.data.path()).unwrap();
        self.settlement = book.settlement();
        self.registry = book.registry();
        self.catalog = book.catalog();
        for holder in [CLIENT, KEEPER] {
            let call = token::approveCall { spender: self.settlement, value: U256::MAX };
            self.send(holder, Some(book.token()), call.abi_encode()).await;
        }
    }

    /// Collects a voucher over `lines` and commits them as the keeper's next batch.
    pub(crate) async fn commit(&mut self, lines: Vec<Line>) -> ClosedBatch {
        let debits = lines.iter().map(|line| line.amount.get()).sum::<u64>();
        self.spent += debits;
        self.batch += 1;
        let domain = Domain::new(CHAIN_ID, self.settlement);
        let voucher = Voucher {
            payer: CLIENT,
            keeper: KEEPER,
            batch: self.batch,
            total: Amount(self.spent),
            latest: Allocation { provider: PROVIDER, earned: Amount(debits), receipt: B256::ZERO },
        };
        let debit = SignedVoucher::sign(voucher, &domain, &session()).to_debit();
        let collect = settlement::collectCall { vouchers: Bytes::copy_from_slice(&debit) };
        self.send(KEEPER, Some(self.settlement), collect.abi_encode()).await;
        let closed = close(KEEPER, Amount(debits), 0, BTreeMap::from([(PROVIDER, Amount(debits))]), lines).unwrap();
        self.commit_closed(&closed).await;
        closed
    }

    /// Commits what was collected.
    pub(crate) async fn commit_closed(&self, closed: &ClosedBatch) {
        let commitment = &closed.commitment;
        let commit = settlement::commitCall {
            root: commitment.root,
            sum: commitment.sum.get(),
            linesRoot: commitment.lines_root,
            linesSum: commitment.lines_sum.get(),
            lineCount: commitment.line_count,
            dataHash: commitment.data_hash,
        };
        self.send(KEEPER, Some(self.settlement), commit.abi_encode()).await;
    }

    /// What the keeper answers for a batch's lines from now on.
    pub(crate) fn publish(&self, number: u32, file: Vec<u8>) {
        self.published.lock().unwrap().insert(number, file);
    }

    /// Takes the file of a batch back.
    pub(crate) fn withdraw(&self, number: u32) {
        self.published.lock().unwrap().remove(&number);
    }

    pub(crate) async fn now(&self) -> u64 {
        self.block(None).await.1
    }

    /// Number and time of a block; of the newest without a number.
    async fn block(&self, number: Option<u64>) -> (u64, u64) {
        let number = number.map_or_else(|| json!("latest"), |number| json!(format!("0x{number:x}")));
        let block: Value =
            self.provider.raw_request("eth_getBlockByNumber".into(), json!([number, false])).await.unwrap();
        let figure = |name: &str| u64::from_str_radix(&block[name].as_str().unwrap()[2..], 16).unwrap();
        (figure("number"), figure("timestamp"))
    }

    /// Moves the chain's clock on and mines a block.
    pub(crate) async fn pass(&self, seconds: u64) {
        self.raw("evm_increaseTime", (seconds,)).await;
        self.raw("evm_mine", ()).await;
    }

    /// Replaces the newest `depth` blocks by as many empty ones and one more.
    pub(crate) async fn reorganise(&self, depth: u64) {
        self.raw("anvil_rollback", (depth,)).await;
        for _ in 0..=depth {
            self.pass(1).await;
        }
    }

    pub(crate) async fn verify_line(&self, proof: &Value) -> bool {
        let bytes = |name: &str| proof[name].as_str().unwrap().parse::<Bytes>().unwrap();
        let contract = settlement::Settlement::new(self.settlement, &self.provider);
        let (number, index) = (proof["batch"].as_u64().unwrap(), proof["index"].as_u64().unwrap());
        let (number, index) = (u32::try_from(number).unwrap(), u32::try_from(index).unwrap());
        contract.verifyLine(KEEPER, number, bytes("line"), index, bytes("proof")).call().await.unwrap()
    }

    pub(crate) async fn claim(&self, closed: &ClosedBatch, number: u32) {
        let (amount, proof) = closed.proof(PROVIDER).unwrap();
        let items = proof.to_claim(number, amount).into();
        let claim = settlement::claimCall { keeper: KEEPER, provider: PROVIDER, items };
        self.send(OWNER, Some(self.settlement), claim.abi_encode()).await;
    }

    async fn send(&self, from: Address, to: Option<Address>, data: Vec<u8>) -> TransactionReceipt {
        let mut request = TransactionRequest::default().from(from).input(Bytes::from(data).into());
        request.to = Some(to.map_or(alloy::primitives::TxKind::Create, alloy::primitives::TxKind::Call));
        let hash: B256 = self.provider.raw_request("eth_sendTransaction".into(), (request,)).await.unwrap();
        let start = Instant::now();
        loop {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await.unwrap() {
                assert!(receipt.status(), "a transaction of {from} to {to:?} reverted");
                return receipt;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "a transaction was not mined");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn raw<P: alloy::rpc::json_rpc::RpcSend>(&self, method: &'static str, parameters: P) {
        let _: Value = self.provider.raw_request(method.into(), parameters).await.unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        Config {
            listen: local,
            admin: local,
            data: self.data.path().join("indexer"),
            address_book: self.address_book.clone(),
            chain: ChainConfig {
                endpoints: vec![self.rpc.clone()],
                chain_id: CHAIN_ID,
                timeout_ms: 5_000,
                poll_ms: 50,
            },
            keepers: vec![Keeper { address: KEEPER, url: self.keeper_url.clone() }],
        }
    }

    pub(crate) async fn index(&self) -> Running {
        let indexer = Indexer::bind(self.config()).await.unwrap();
        let (api, shutdown) = (indexer.api_addr, Shutdown::new());
        let task = tokio::spawn(indexer.run(shutdown.clone()));
        Running { api, shutdown, task, client: reqwest::Client::new() }
    }
}

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// The data of an answer that must be there.
    pub(crate) async fn data(&self, path: &str) -> Value {
        let (status, mut body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert!(body["asOf"]["block"].is_u64(), "{path} does not say as of which block: {body}");
        body["data"].take()
    }

    pub(crate) fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(crate) async fn graphql(&self, query: &str) -> Value {
        let answer = self.client.post(self.url("/graphql")).json(&json!({ "query": query })).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Asks again until the data are as they should be.
    pub(crate) async fn until(&self, path: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let (_, body) = self.get(path).await;
            if is_right(&body["data"]) {
                return body["data"].clone();
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{path} stayed {body}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

pub(crate) fn line(n: u8, quantity: u64, price: u64, ended_at: u64) -> Line {
    let amount = (u128::from(quantity) * u128::from(price)).div_ceil(u128::from(SCALE));
    Line {
        job: JobId(keccak256([n])),
        payer: CLIENT,
        provider: PROVIDER,
        resource: ResourceId(1),
        quantity: Quantity(quantity),
        price: Price(price),
        amount: Amount(u64::try_from(amount).unwrap()),
        ended_at: Timestamp(ended_at),
        result: B256::repeat_byte(n),
    }
}

fn session() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

async fn publish() -> (url::Url, Published) {
    async fn lines(State(published): State<Published>, Path(number): Path<u32>) -> Result<Vec<u8>, StatusCode> {
        published.lock().unwrap().get(&number).cloned().ok_or(StatusCode::NOT_FOUND)
    }
    let published = Published::default();
    let router = axum::Router::new()
        .route("/v1/batches/{number}/lines", axum::routing::get(lines))
        .with_state(Arc::clone(&published));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, published)
}

fn system() -> &'static str {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-amd64",
        ("macos", _) => "darwin-arm64",
        _ => "linux-amd64",
    }
}
