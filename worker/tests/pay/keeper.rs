//! A keeper and its one client in a page: it speaks the worker's half of the wire and settles on the real chain.

use crate::chain::World;
use crate::job::PRICE;
use crate::setup::{PAYER, PROVIDER, keeper_key, session_key};
use alloy::primitives::{Address, B256, keccak256};
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use protocol::amount::{Amount, Quantity};
use protocol::batch::{ClosedBatch, close};
use protocol::order::{JobId, SignedOffer, SignedOrder};
use protocol::receipt::Receipt;
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{Acceptance, Accepted, Account, ChannelId, Fees, Payment, SignedAcceptance, SignedVoucher};
use protocol::wire::{FromWorker, Info, ProofView, Refusal, ToWorker, login_digest};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) blobs: HashMap<B256, Bytes>,
    pub(crate) offers: Vec<SignedOffer>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) failed: Vec<(JobId, Refusal)>,
    /// Jobs that the worker held at each login.
    pub(crate) hellos: Vec<Vec<JobId>>,
    pub(crate) account: Account,
    pub(crate) paid: HashMap<JobId, Amount>,
    pub(crate) newest: Option<Accepted>,
    closed: HashMap<u32, ClosedBatch>,
    /// Batches whose proofs are kept from everybody.
    pub(crate) hidden: HashMap<u32, ClosedBatch>,
    pub(crate) batch: u32,
    /// Whether receipts are paid.
    pub(crate) pays: bool,
    /// Whether acceptances are kept from the worker.
    pub(crate) withholds: bool,
    /// Whether uploads are stored and never answered.
    pub(crate) stalls: bool,
    /// Slots that the worker said it has.
    pub(crate) slots: Option<u32>,
    socket: Option<mpsc::UnboundedSender<ToWorker>>,
}

#[derive(Clone)]
pub(crate) struct Keeper {
    domain: Domain,
    token: Address,
    pub(crate) url: String,
    book: Arc<Mutex<Book>>,
}

impl Keeper {
    pub(crate) async fn start(world: &World, domain: &Domain) -> Self {
        world.bond(keeper_key().address()).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keeper = Self {
            domain: domain.clone(),
            token: *world.token.address(),
            url: format!("http://{}", listener.local_addr().unwrap()),
            book: Arc::new(Mutex::new(Book { batch: 1, pays: true, ..Book::default() })),
        };
        let routes = Router::new()
            .route("/v1/info", get(async |State(keeper): State<Keeper>| axum::Json(keeper.info())))
            .route("/v1/blobs/{hash}", get(read_blob).put(write_blob))
            .route("/v1/batches/{batch}/proofs/{provider}", get(read_proof))
            .route("/v1/worker", get(open_socket))
            .layer(DefaultBodyLimit::max(1 << 24))
            .with_state(keeper.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        keeper
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    pub(crate) fn info(&self) -> Info {
        Info {
            keeper: keeper_key().address(),
            chain_id: Quantity(self.domain.chain_id()),
            settlement: self.domain.settlement(),
            token: self.token,
            batch: self.book().batch,
            fees: self.fees(),
            resources: vec![],
            interval_ms: Quantity(60),
            max_blob: Quantity(1 << 20),
        }
    }

    fn fees(&self) -> Fees {
        Fees { protocol_bps: 100, keeper_bps: 50, per_channel: Amount(1_000) }
    }

    pub(crate) fn put(&self, bytes: &Bytes) {
        self.book().blobs.insert(keccak256(bytes), bytes.clone());
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.book().socket.as_ref().is_some_and(|socket| !socket.is_closed())
    }

    pub(crate) fn send(&self, frame: ToWorker) {
        self.book().socket.as_ref().unwrap().send(frame).unwrap();
    }

    pub(crate) fn assign(&self, order: &SignedOrder) {
        self.assign_from(order, &session_key());
    }

    pub(crate) fn assign_from(&self, order: &SignedOrder, session: &SigningKey) {
        let channel = ChannelId::of(PAYER, session.address(), keeper_key().address());
        let cap = self.fees().net(order.order.max_total, true);
        self.send(ToWorker::Assign { order: order.clone(), channel, price: PRICE, cap });
    }

    /// The client signs, the keeper accepts.
    pub(crate) fn pay(&self, receipt: &Receipt) {
        let fees = self.fees();
        let mut book = self.book();
        let job = receipt.statement.job;
        let before = book.paid.get(&job).copied().unwrap_or_default();
        let payment = Payment {
            payer: PAYER,
            keeper: keeper_key().address(),
            batch: book.batch,
            provider: PROVIDER,
            increase: receipt.statement.amount.minus(before).unwrap(),
            receipt: receipt.statement.hash(),
        };
        let voucher = book.account.next(&payment, &fees).unwrap();
        book.account.apply(&voucher);
        book.paid.insert(job, receipt.statement.amount);
        let acceptance = Acceptance {
            voucher: voucher.hash(),
            provider: PROVIDER,
            batch: voucher.batch,
            owed: voucher.latest.earned,
        };
        let accepted = Accepted {
            voucher: SignedVoucher::sign(voucher, &self.domain, &session_key()),
            acceptance: SignedAcceptance::sign(acceptance, &self.domain, &keeper_key()),
        };
        book.newest = Some(accepted);
        let withholds = book.withholds;
        drop(book);
        if withholds {
            return;
        }
        self.send(ToWorker::Accepted { job, accepted });
    }

    /// Closes the batch off chain; with `publish` its proofs can be fetched. Collects and commits it.
    pub(crate) async fn settle(&self, world: &World, publish: bool) -> Amount {
        let keeper = keeper_key().address();
        let (number, newest) = {
            let mut book = self.book();
            book.batch += 1;
            (book.batch - 1, book.newest.unwrap())
        };
        let earned = newest.voucher.voucher.latest.earned;
        let debits = newest.voucher.voucher.total;
        let closed = close(keeper, debits, 100, BTreeMap::from([(PROVIDER, earned)]), vec![]).unwrap();
        let settlement = &world.settlement;
        let collect = settlement.collect(newest.voucher.to_debit().to_vec().into()).calldata().clone();
        world.send(keeper, *settlement.address(), collect).await;
        let c = closed.commitment;
        let commit = settlement
            .commit(c.root, c.sum.get(), c.lines_root, c.lines_sum.get(), c.line_count, c.data_hash)
            .calldata()
            .clone();
        world.send(keeper, *settlement.address(), commit).await;
        let mut book = self.book();
        if publish {
            book.closed.insert(number, closed)
        } else {
            book.hidden.insert(number, closed)
        };
        earned
    }

    async fn serve(self, mut socket: WebSocket) {
        let nonce = B256::from(rand::random::<[u8; 32]>());
        write(&mut socket, &ToWorker::Challenge { nonce }).await;
        let Some(FromWorker::Hello { jobs, signature, capabilities, .. }) = read(&mut socket).await else { return };
        signature.verify(login_digest(keeper_key().address(), nonce), crate::setup::worker_key().address()).unwrap();
        write(&mut socket, &ToWorker::Welcome { info: self.info() }).await;
        let (sender, mut frames) = mpsc::unbounded_channel();
        {
            let mut book = self.book();
            book.hellos.push(jobs);
            book.slots = Some(capabilities.slots);
            book.socket = Some(sender);
        }
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => write(&mut socket, &frame).await,
                    None => return,
                },
                frame = read(&mut socket) => match frame {
                    Some(frame) => self.take(frame),
                    None => return,
                },
            }
        }
    }

    fn take(&self, frame: FromWorker) {
        match frame {
            FromWorker::Offer { offer } => self.book().offers.push(offer),
            FromWorker::Changed { capabilities } => self.book().slots = Some(capabilities.slots),
            FromWorker::Failed { job, refusal } => self.book().failed.push((job, refusal)),
            FromWorker::Receipt { receipt, .. } => {
                let pays = {
                    let mut book = self.book();
                    let known = book.receipts.contains(&receipt);
                    if !known {
                        book.receipts.push(receipt.clone());
                    }
                    book.pays && !known
                };
                if pays {
                    self.pay(&receipt);
                }
            }
            FromWorker::Hello { .. } => panic!("a second hello"),
        }
    }
}

async fn write(socket: &mut WebSocket, frame: &ToWorker) {
    // A worker that was ended in the meantime no longer listens.
    let _ = socket.send(Message::text(serde_json::to_string(frame).unwrap())).await;
}

async fn read(socket: &mut WebSocket) -> Option<FromWorker> {
    loop {
        match socket.recv().await?.ok()? {
            Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

async fn open_socket(State(keeper): State<Keeper>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| keeper.serve(socket))
}

async fn read_blob(State(keeper): State<Keeper>, Path(hash): Path<B256>) -> Response {
    match keeper.book().blobs.get(&hash) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn write_blob(State(keeper): State<Keeper>, Path(hash): Path<B256>, bytes: Bytes) -> StatusCode {
    assert_eq!(keccak256(&bytes), hash);
    keeper.book().blobs.insert(hash, bytes);
    if keeper.book().stalls {
        std::future::pending::<()>().await;
    }
    StatusCode::CREATED
}

async fn read_proof(
    State(keeper): State<Keeper>,
    Path((batch, provider)): Path<(u32, Address)>,
) -> Result<axum::Json<ProofView>, StatusCode> {
    let book = keeper.book();
    let closed = book.closed.get(&batch).ok_or(StatusCode::NOT_FOUND)?;
    let (amount, proof) = closed.proof(provider).ok_or(StatusCode::NOT_FOUND)?;
    Ok(axum::Json(ProofView { batch, provider, amount, proof }))
}
