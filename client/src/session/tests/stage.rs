//! A scripted keeper, for the session's tests: it speaks over real sockets what each test tells it to.

use super::super::fixture::*;
use super::super::*;
use crate::anchor::{ChannelState, Settling};
use crate::session::state::{State, peek};
use axum::extract::State as Shared;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use protocol::address_book::{Contract, Contracts};
use protocol::job::{Envelope, Limits, OutputBuffer, Program, Verify};
use protocol::receipt::Statement;
use protocol::resource::Resource;
use protocol::voucher::{Accepted, SignedVoucher, Voucher};
use protocol::wire::{ChannelView, Code, FromClient, ToClient, login_digest};
use std::sync::Mutex;
use tokio::time::timeout;

fn book() -> AddressBook {
    let contract = |address| Contract { address, code_hash: B256::ZERO, creation: None };
    AddressBook {
        chain_id: Quantity(51866),
        start_block: Quantity(0),
        deployer: Address::ZERO,
        salt: B256::ZERO,
        contracts: Contracts {
            token: contract(Address::repeat_byte(0xdd)),
            settlement: contract(identity().settlement),
            registry: contract(Address::ZERO),
            catalog: contract(Address::ZERO),
            timelock: None,
        },
    }
}

/// The chain as the tests set it.
#[derive(Clone)]
pub(super) struct FakeChain {
    pub(super) deposit: Arc<Mutex<u64>>,
    pub(super) batch: Arc<Mutex<u32>>,
}

impl Anchor for FakeChain {
    async fn settling(&self, _: Address) -> Result<Settling, AnchorError> {
        Ok(Settling::Netted(keeper_terms(*self.batch.lock().unwrap(), false)))
    }
    async fn channel(&self, _: ChannelId) -> Result<ChannelState, AnchorError> {
        let deposit = Amount(*self.deposit.lock().unwrap());
        Ok(ChannelState { deposit, spent: Amount(0), settled: Amount(0), batch: 0, thaw_at: None })
    }
    async fn provider_of(&self, worker: Address) -> Result<Option<Address>, AnchorError> {
        Ok((worker == worker_key().address()).then_some(PROVIDER))
    }
    async fn resources(&self) -> Result<Vec<Resource>, AnchorError> {
        Ok(vec![cpu()])
    }
}

/// What the scripted keeper answers to what is not scripted.
pub(super) struct Desk {
    pub(super) info: Mutex<Info>,
    pub(super) view: Mutex<ChannelView>,
    pub(super) peers: mpsc::UnboundedSender<Peer>,
}

/// The keeper's end of one logged-in socket.
pub(super) struct Peer(pub(super) WebSocket);

impl Peer {
    pub(super) async fn send(&mut self, frame: ToClient) {
        self.0.send(Message::text(serde_json::to_string(&frame).unwrap())).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> FromClient {
        loop {
            let message = timeout(Duration::from_secs(10), self.0.recv()).await.expect("a frame in time");
            if let Message::Text(text) = message.expect("an open socket").unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    pub(super) async fn voucher(&mut self) -> SignedVoucher {
        match self.next().await {
            FromClient::Voucher { voucher, .. } => voucher,
            other => panic!("expected a voucher, got {other:?}"),
        }
    }

    pub(super) async fn receipt(&mut self, statement: Statement) {
        let claimed = claimed(statement);
        self.send(ToClient::Receipt { receipt: claimed.receipt, price: claimed.price, worker: claimed.worker }).await;
    }

    pub(super) async fn accept(&mut self, job: JobId, voucher: &Voucher) {
        let acceptance = Some(accept(voucher));
        self.send(ToClient::Accepted { job, voucher: voucher.hash(), acceptance }).await;
    }

    pub(super) async fn refuse(&mut self, job: JobId, voucher: &Voucher, code: Code) {
        let refusal = Refusal::new(code, "scripted");
        self.send(ToClient::Refused { job, voucher: voucher.hash(), refusal }).await;
    }
}

pub(super) struct Stage {
    pub(super) url: url::Url,
    pub(super) desk: Arc<Desk>,
    pub(super) peers: mpsc::UnboundedReceiver<Peer>,
    pub(super) chain: FakeChain,
    pub(super) folder: tempfile::TempDir,
}

pub(super) async fn welcome(mut socket: WebSocket, desk: Arc<Desk>) {
    let nonce = B256::from(rand::random::<[u8; 32]>());
    let send = |frame: ToClient| Message::text(serde_json::to_string(&frame).unwrap());
    socket.send(send(ToClient::Challenge { nonce })).await.unwrap();
    let Some(Ok(Message::Text(text))) = socket.recv().await else { panic!("no login") };
    let FromClient::Hello { payer, signature } = serde_json::from_str(&text).unwrap() else { panic!("no hello") };
    assert_eq!(payer, PAYER);
    signature.verify(login_digest(keeper_key().address(), nonce), session_key().address()).unwrap();
    let (info, channel) = (desk.info.lock().unwrap().clone(), desk.view.lock().unwrap().clone());
    socket.send(send(ToClient::Welcome { info, channel })).await.unwrap();
    desk.peers.send(Peer(socket)).ok();
}

impl Stage {
    pub(super) async fn new() -> Self {
        let (sender, peers) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            info: Mutex::new(info(1)),
            view: Mutex::new(view(&State::new(&identity(), Amount(0)))),
            peers: sender,
        });
        let router = Router::new()
            .route(
                "/v1/info",
                get(|Shared(desk): Shared<Arc<Desk>>| async move { Json(desk.info.lock().unwrap().clone()) }),
            )
            .route("/v1/blobs/{hash}", put(|| async {}))
            .route(
                "/v1/orders",
                post(|Json(order): Json<SignedOrder>| async move {
                    assert_eq!(order.signer(&domain()).unwrap(), session_key().address());
                    Json(OrderTaken { job: order.order.id(), state: JobState::Queued, reason: None })
                }),
            )
            .route(
                "/v1/client",
                get(|Shared(desk): Shared<Arc<Desk>>, upgrade: WebSocketUpgrade| async move {
                    upgrade.on_upgrade(|socket| welcome(socket, desk))
                }),
            )
            .with_state(desk.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let chain = FakeChain { deposit: Arc::new(Mutex::new(10_000_000)), batch: Arc::new(Mutex::new(1)) };
        Self { url, desk, peers, chain, folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn config(&self) -> SessionConfig {
        SessionConfig {
            endpoint: self.url.clone(),
            book: book(),
            payer: PAYER,
            keeper: keeper_key().address(),
            key: session_key(),
            folder: self.folder.path().to_owned(),
            policy: Policy::default(),
        }
    }

    pub(super) async fn session(&self) -> Session {
        Session::open(self.config(), self.chain.clone(), Duration::from_secs(5)).await.unwrap()
    }

    pub(super) async fn peer(&mut self) -> Peer {
        timeout(Duration::from_secs(10), self.peers.recv()).await.expect("a login in time").unwrap()
    }

    pub(super) fn stored(&self) -> State {
        peek(self.folder.path(), &identity()).unwrap().unwrap()
    }

    /// What a keeper that took `voucher` shows from then on.
    pub(super) fn count(&self, voucher: &SignedVoucher) {
        let mut view = self.desk.view.lock().unwrap();
        view.account.apply(&voucher.voucher);
        view.newest = Some(Accepted { voucher: *voucher, acceptance: accept(&voucher.voucher) });
    }
}

pub(super) fn job() -> Prepared {
    let module = protocol::job::Blob { hash: alloy::primitives::keccak256("m"), length: Quantity(1) };
    let envelope = Envelope {
        version: 1,
        program: Program::Wasm { module, toolchain: "wasmtime-48".into() },
        inputs: vec![],
        outputs: vec![OutputBuffer { length: Quantity(4) }],
        limits: Limits { memory: Quantity(65536), wall_ms: Quantity(1000) },
        verify: Verify::Reexecute,
    };
    let bytes = envelope.to_bytes();
    let spec = alloy::primitives::keccak256(&bytes);
    Prepared { name: "t".into(), envelope, spec, blobs: vec![bytes.into(), "m".into()], expected: None }
}

pub(super) fn terms() -> Terms {
    let order = order();
    Terms {
        resource: order.resource,
        max_price: order.max_price,
        max_units: order.max_units,
        max_total: order.max_total,
        expiry: order.expiry,
    }
}

pub(super) fn receipt_of(job: JobId, sequence: u64, ms: u64) -> Statement {
    Statement { job, ..statement(sequence, ms) }
}
