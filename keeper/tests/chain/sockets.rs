//! A whole job over real sockets, from an order to the payout.

use crate::world::{CPU, MODULE, OUTPUT, World, output};
use alloy::primitives::{Address, keccak256};
use alloy::sol_types::SolCall;
use futures::{SinkExt, StreamExt};
use keeper::Keeper;
use protocol::amount::{Amount, Quantity};
use protocol::batch::Lines;
use protocol::bindings::settlement;
use protocol::job::Kind;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::signature::SigningKey;
use protocol::tree::Node;
use protocol::voucher::{Payment, SignedVoucher};
use protocol::wire::{
    BatchState, BatchView, Capabilities, ChannelView, Code, FromClient, FromWorker, Info, Isolation, JobState, JobView,
    OrderTaken, ProofView, ToClient, ToWorker, login_digest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::shutdown::Shutdown;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const PATIENCE: Duration = Duration::from_secs(20);

/// A keeper that runs.
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) admin: String,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(world: &World) -> Self {
        let keeper = Keeper::bind(world.config()).await.unwrap();
        let (url, admin) = (format!("http://{}", keeper.api_addr), format!("http://{}", keeper.admin_addr));
        let shutdown = Shutdown::new();
        let token = shutdown.clone();
        let task = tokio::spawn(async move { keeper.run(token).await.unwrap() });
        Self { url, admin, shutdown, task }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    pub(crate) async fn upload(&self, bytes: Vec<u8>) {
        let url = format!("{}/v1/blobs/{}", self.url, keccak256(&bytes));
        let answer = reqwest::Client::new().put(url).body(bytes).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    pub(crate) async fn order(&self, world: &World) -> OrderTaken {
        let order = world.sign(world.an_order());
        let url = format!("{}/v1/orders", self.url);
        let answer = reqwest::Client::new().post(url).json(&order).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }
}

/// One end of a socket.
struct Peer(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Peer {
    async fn connect(keeper: &Running, path: &str) -> Self {
        let url = format!("{}/v1/{path}", keeper.url.replace("http", "ws"));
        Self(connect_async(url).await.unwrap().0)
    }

    async fn send<T: Serialize>(&mut self, frame: &T) {
        self.0.send(Message::Text(serde_json::to_string(frame).unwrap().into())).await.unwrap();
    }

    async fn receive<T: DeserializeOwned>(&mut self) -> T {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time");
            match message.expect("an open socket").unwrap() {
                Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The reason with which the other side closes.
    async fn closed(&mut self) -> String {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time");
            if let Some(Ok(Message::Close(Some(frame)))) = message {
                return frame.reason.to_string();
            }
        }
    }

    /// Skips frames until `pick` takes one.
    async fn until<T: DeserializeOwned, U>(&mut self, pick: impl Fn(T) -> Option<U>) -> U {
        loop {
            if let Some(found) = pick(self.receive().await) {
                return found;
            }
        }
    }
}

async fn worker(keeper: &Running, world: &World, jobs: Vec<JobId>) -> Peer {
    let mut peer = Peer::connect(keeper, "worker").await;
    let ToWorker::Challenge { nonce } = peer.receive().await else { panic!("no challenge") };
    let capabilities = Capabilities {
        kinds: vec![Kind::Wasm],
        resources: vec![CPU],
        slots: 1,
        memory: Quantity(1 << 30),
        toolchains: vec!["wasmtime-48".into()],
        device: None,
        devices: 0,
        isolation: Isolation::default(),
    };
    let signature = world.worker.sign(login_digest(world.keeper.address(), nonce));
    peer.send(&FromWorker::Hello { provider: world.provider.address(), capabilities, jobs, signature }).await;
    assert!(matches!(peer.receive().await, ToWorker::Welcome { .. }));
    peer
}

/// A client that pays what it is asked to.
struct Client {
    peer: Peer,
    info: Info,
    channel: ChannelView,
    session: SigningKey,
}

impl Client {
    async fn login(keeper: &Running, world: &World) -> Self {
        let mut peer = Peer::connect(keeper, "client").await;
        let ToClient::Challenge { nonce } = peer.receive().await else { panic!("no challenge") };
        let signature = world.session.sign(login_digest(world.keeper.address(), nonce));
        peer.send(&FromClient::Hello { payer: world.payer.address(), signature }).await;
        let ToClient::Welcome { info, channel } = peer.receive().await else { panic!("no welcome") };
        Self { peer, info, channel, session: world.session.clone() }
    }

    async fn receipt(&mut self) -> Receipt {
        self.peer
            .until(|frame| match frame {
                ToClient::Receipt { receipt, .. } => Some(receipt),
                _ => None,
            })
            .await
    }

    /// Pays a receipt that adds `increase`, and checks what the keeper promises for it.
    async fn pay(&mut self, world: &World, receipt: &Receipt, increase: u64) {
        let payment = Payment {
            payer: world.payer.address(),
            keeper: world.keeper.address(),
            batch: self.info.batch,
            provider: world.provider.address(),
            increase: Amount(increase),
            receipt: receipt.statement.hash(),
        };
        let voucher = self.channel.account.next(&payment, &self.info.fees).unwrap();
        let signed = SignedVoucher::sign(voucher, &world.domain, &self.session);
        self.peer.send(&FromClient::Voucher { job: receipt.statement.job, voucher: signed }).await;
        let acceptance = self
            .peer
            .until(|frame| match frame {
                ToClient::Accepted { acceptance, .. } => Some(acceptance.unwrap()),
                ToClient::Refused { refusal, .. } => panic!("refused: {refusal}"),
                _ => None,
            })
            .await;
        assert_eq!(acceptance.acceptance.voucher, voucher.hash());
        let digest = world.domain.digest(acceptance.acceptance.hash());
        acceptance.signature.verify(digest, world.keeper.address()).unwrap();
        self.channel.account.apply(&voucher);
    }
}

async fn batch_becomes(keeper: &Running, number: u32, state: BatchState) -> BatchView {
    for _ in 0..300 {
        let batch: BatchView = keeper.get(&format!("/v1/batches/{number}")).await;
        if batch.state == state {
            return batch;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("batch {number} did not become {state:?}")
}

async fn job_becomes(keeper: &Running, job: JobId, state: JobState) -> JobView {
    for _ in 0..100 {
        let view: JobView = keeper.get(&format!("/v1/jobs/{job}")).await;
        if view.state == state {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("job {job} did not become {state:?}: {:?}", keeper.get::<JobView>(&format!("/v1/jobs/{job}")).await)
}

async fn claim(world: &World, proof: &ProofView) {
    let call = settlement::Settlement::claimCall {
        keeper: world.keeper.address(),
        provider: proof.provider,
        items: proof.proof.to_claim(proof.batch, proof.amount).into(),
    };
    world.anvil.send(Address::repeat_byte(7), Some(world.settlement()), call.abi_encode()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_from_its_order_to_its_payout() {
    let world = World::new().await;
    let keeper = Running::start(&world).await;
    let mut worker = worker(&keeper, &world, vec![]).await;
    worker.send(&FromWorker::Offer { offer: world.offer() }).await;
    assert!(matches!(worker.receive().await, ToWorker::OfferTaken { .. }));
    keeper.upload(MODULE.to_vec()).await;
    keeper.upload(World::envelope().to_bytes()).await;

    let mut client = Client::login(&keeper, &world).await;
    assert_eq!((client.info.batch, client.channel.account.total), (1, Amount(0)));
    let job = keeper.order(&world).await.job;
    let (price, cap) = worker
        .until(|frame| match frame {
            ToWorker::Assign { price, cap, .. } => Some((price, cap)),
            _ => None,
        })
        .await;
    assert_eq!(price, crate::world::PRICE);
    assert!(cap < Amount(10_000) && cap > Amount(8_500), "{cap}");
    // A second order finds the only slot taken.
    let second = keeper.order(&world).await;
    assert_eq!(second.state, JobState::Queued);
    assert!(second.reason.unwrap().contains("no worker free"));

    worker.send(&FromWorker::Receipt { receipt: world.receipt(job, 1, 100, false), outputs: vec![] }).await;
    let receipt = client.receipt().await;
    client.pay(&world, &receipt, 100).await;
    let accepted = worker
        .until(|frame| match frame {
            ToWorker::Accepted { accepted, .. } => Some(accepted),
            _ => None,
        })
        .await;
    assert_eq!(accepted.acceptance.acceptance.owed, Amount(100));

    keeper.upload(OUTPUT.to_vec()).await;
    worker.send(&FromWorker::Receipt { receipt: world.receipt(job, 2, 250, true), outputs: vec![output()] }).await;
    // The slot is free once the result is delivered, before it is paid.
    let next = worker
        .until(|frame| match frame {
            ToWorker::Assign { order, .. } => Some(order.order.id()),
            _ => None,
        })
        .await;
    assert_eq!(next, second.job);
    let receipt = client.receipt().await;
    client.pay(&world, &receipt, 150).await;
    let done = job_becomes(&keeper, job, JobState::Done).await;
    assert_eq!((done.paid, done.debited, done.outputs), (Amount(250), client.channel.account.total, vec![output()]));

    // The client stops the second job; its worker has delivered nothing.
    client.peer.send(&FromClient::Cancel { job: second.job }).await;
    let refusal = worker
        .until(|frame| match frame {
            ToWorker::Stop { refusal, .. } => Some(refusal),
            _ => None,
        })
        .await;
    assert_eq!(refusal.code, Code::Cancelled);
    worker.send(&FromWorker::Failed { job: second.job, refusal }).await;
    job_becomes(&keeper, second.job, JobState::Cancelled).await;
    settle_and_claim(&world, &keeper, client.channel.account.total).await;
    keeper.stop().await;
}

async fn settle_and_claim(world: &World, keeper: &Running, debits: Amount) {
    let committed = batch_becomes(keeper, 1, BatchState::Committed).await;
    let commitment = committed.commitment.unwrap();
    assert!(committed.gas.unwrap() > Quantity(100_000) && committed.transaction.is_some());
    let file = reqwest::get(format!("{}/v1/batches/1/lines", keeper.url)).await.unwrap().bytes().await.unwrap();
    let lines = Lines::verify(&file, &commitment).unwrap();
    assert_eq!((lines.lines().len(), lines.lines()[0].amount), (1, Amount(250)));
    let published = reqwest::get(format!("{}/v1/blobs/{}", keeper.url, commitment.data_hash)).await.unwrap();
    assert_eq!(published.bytes().await.unwrap(), file);

    let provider = world.provider.address();
    let proof: ProofView = keeper.get(&format!("/v1/batches/1/proofs/{provider}")).await;
    assert_eq!(proof.amount, Amount(250));
    let root = Node { hash: commitment.root, sum: commitment.sum };
    proof.proof.verify(Node::earning(provider, proof.amount), root).unwrap();
    batch_becomes(keeper, 1, BatchState::Final).await;
    claim(world, &proof).await;
    assert_eq!(world.balance(provider).await, 250);
    let channel = world.contract().channel(world.channel().0).call().await.unwrap();
    assert_eq!(channel.spent, debits.get());
    assert_eq!(commitment.sum.plus(commitment.fee).unwrap(), debits, "every nano is accounted for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stays_away_loses_its_job_and_one_that_returns_keeps_it() {
    let world = World::new().await;
    let keeper = Running::start(&world).await;
    keeper.upload(MODULE.to_vec()).await;
    keeper.upload(World::envelope().to_bytes()).await;
    let mut first = worker(&keeper, &world, vec![]).await;
    first.send(&FromWorker::Offer { offer: world.offer() }).await;
    assert!(matches!(first.receive().await, ToWorker::OfferTaken { .. }));
    let job = keeper.order(&world).await.job;
    drop(first);
    // Back in time, without ever having read the assignment: it is sent again.
    let mut again = worker(&keeper, &world, vec![]).await;
    assert!(matches!(again.receive().await, ToWorker::Assign { .. }));
    let reserved = async || keeper.get::<ChannelView>(&format!("/v1/vouchers/{}", world.channel())).await.reserved;
    assert_eq!(reserved().await, Amount(10_000));
    drop(again);
    let failed = job_becomes(&keeper, job, JobState::Failed).await;
    assert!(failed.reason.unwrap().contains("vanished"));
    assert_eq!(reserved().await, Amount(0));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_says_why() {
    let world = World::new().await;
    let keeper = Running::start(&world).await;
    let mut peer = Peer::connect(&keeper, "client").await;
    let ToClient::Challenge { nonce } = peer.receive().await else { panic!("no challenge") };
    let signature = world.worker.sign(login_digest(world.keeper.address(), nonce));
    peer.send(&FromClient::Hello { payer: world.payer.address(), signature }).await;
    assert!(peer.closed().await.starts_with("unknown_channel: "));

    let mut peer = Peer::connect(&keeper, "worker").await;
    let ToWorker::Challenge { .. } = peer.receive().await else { panic!("no challenge") };
    peer.send(&"not a hello").await;
    assert!(peer.closed().await.starts_with("malformed_request: "));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_peer_can_hold_is_bounded() {
    let world = World::new().await;
    let keeper = Running::start(&world).await;
    let mut first = Client::login(&keeper, &world).await;
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(Client::login(&keeper, &world).await);
    }
    let gone = async |peer: &mut Peer| {
        tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = peer.0.next().await {} }).await.is_ok()
    };
    assert!(gone(&mut first.peer).await, "the ninth socket of a channel takes the place of the first");

    // A header that announces a frame of 1 MiB is enough: nothing of it is waited for.
    let mut stream = TcpStream::connect(keeper.url.trim_start_matches("http://")).await.unwrap();
    let request = "GET /v1/client HTTP/1.1\r\nHost: keeper\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut huge = vec![0x81, 0x80 | 127];
    huge.extend_from_slice(&(1u64 << 20).to_be_bytes());
    huge.extend_from_slice(&[0; 4]);
    stream.write_all(&huge).await.unwrap();
    let mut answer = Vec::new();
    let soon = Duration::from_secs(5);
    let read = tokio::time::timeout(soon, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the socket is closed before the login runs out");
    keeper.stop().await;
}
