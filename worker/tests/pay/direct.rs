use crate::chain::World;
use crate::job::{self, PRICE};
use crate::setup::{PAYER, PROVIDER, Running, config, ledger_beside, session_key, until, world};
use alloy::primitives::B256;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use protocol::amount::{Amount, Quantity};
use protocol::job::result_hash;
use protocol::order::{JobId, Order, SignedOrder};
use protocol::receipt::{Facts, Receipt};
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{Account, ChannelId, Payment, SignedVoucher};
use protocol::wire::{
    ChannelView, Code, FromClient, Info, JobState, JobView, OfferView, OrderTaken, Refusal, ToClient, ToWorker,
    login_digest,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use worker::config::DirectConfig;
use worker::ledger::{Assignment, JobStage};

const SHORT: u64 = 200_000_000;
const LONG: u64 = 60_000_000_000;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// A client that pays without a keeper.
struct Client {
    world: World,
    domain: Domain,
    folder: tempfile::TempDir,
    http: reqwest::Client,
    base: String,
    account: Account,
    paid: Amount,
}

impl Client {
    async fn start(change: impl FnOnce(&mut worker::Config)) -> (Self, Running) {
        let (world, domain) = world().await;
        world.open_channel(PAYER, session_key().address(), PROVIDER, 50_000_000).await;
        let folder = tempfile::tempdir().unwrap();
        let mut client = Self {
            world,
            domain,
            folder,
            http: reqwest::Client::new(),
            base: String::new(),
            account: Account::default(),
            paid: Amount::ZERO,
        };
        let mut config = client.config();
        change(&mut config);
        let running = Running::start(config).await;
        client.base = format!("http://{}", running.direct.unwrap());
        (client, running)
    }

    fn config(&self) -> worker::Config {
        let mut config = config(&self.world, self.folder.path());
        config.direct = Some(DirectConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            interval_ms: 60,
            max_blob: Quantity(1 << 20),
            max_store: Quantity(1 << 24),
            redeem: Amount(1),
        });
        config
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let response = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    async fn put(&self, bytes: &Bytes) {
        let url = format!("{}/v1/blobs/{}", self.base, job::blob(bytes).hash);
        let response = self.http.put(url).body(bytes.clone()).send().await.unwrap();
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
    }

    async fn order(&self, rounds: u64, salt: u64) -> SignedOrder {
        let module = job::module(rounds, 0);
        let envelope = job::envelope(&module);
        self.put(&module).await;
        self.put(&envelope).await;
        job::order(PAYER, &session_key(), &self.domain, &envelope, salt)
    }

    async fn submit(&self, order: &SignedOrder) -> Result<OrderTaken, Refusal> {
        let response = self.http.post(format!("{}/v1/orders", self.base)).json(order).send().await.unwrap();
        if response.status().is_success() {
            return Ok(response.json().await.unwrap());
        }
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: serde_json::Value = response.json().await.unwrap();
        Err(serde_json::from_value(problem).unwrap())
    }

    async fn connect(&mut self) -> Socket {
        let url = format!("{}/v1/client", self.base.replace("http", "ws"));
        let (mut socket, _) = connect_async(url).await.unwrap();
        let ToClient::Challenge { nonce } = next(&mut socket).await else { panic!("no challenge") };
        let signature = session_key().sign(login_digest(PROVIDER, nonce));
        send(&mut socket, &FromClient::Hello { payer: PAYER, signature }).await;
        let ToClient::Welcome { info, channel } = next(&mut socket).await else { panic!("no welcome") };
        assert!(info.is_direct());
        assert_eq!((channel.deposit, channel.closing), (Amount(50_000_000), false));
        self.account = channel.account;
        socket
    }

    /// An order as the worker takes it.
    fn assignment(&self, order: &SignedOrder, session: &SigningKey) -> Assignment {
        let signer = session.address();
        let channel = ChannelId::of(PAYER, signer, PROVIDER);
        Assignment { keeper: PROVIDER, order: order.clone(), signer, channel, price: PRICE, cap: Amount(2_000_000) }
    }

    fn voucher(&self, receipt: &Receipt, info: &Info) -> SignedVoucher {
        let payment = Payment {
            payer: PAYER,
            keeper: PROVIDER,
            batch: 0,
            provider: PROVIDER,
            increase: receipt.statement.amount.minus(self.paid).unwrap(),
            receipt: receipt.statement.hash(),
        };
        let voucher = self.account.next(&payment, &info.fees).unwrap();
        SignedVoucher::sign(voucher, &self.domain, &session_key())
    }

    /// Pays every receipt of a job until it is done; returns the last one.
    async fn pay(&mut self, socket: &mut Socket, order: &SignedOrder) -> JobView {
        let info: Info = self.get("/v1/info").await;
        let job = order.order.id();
        loop {
            match next(socket).await {
                ToClient::Receipt { receipt, price, worker } => {
                    let facts = Facts {
                        domain: &self.domain,
                        order: &order.order,
                        resource: &info.resources[0],
                        price,
                        provider: PROVIDER,
                        worker,
                        last: None,
                    };
                    if receipt.statement.sequence == 1 {
                        receipt.clone().check(&facts).unwrap();
                    }
                    let voucher = self.voucher(&receipt, &info);
                    send(socket, &FromClient::Voucher { job, voucher }).await;
                    let refused = wait_for(socket, |frame| match frame {
                        ToClient::Accepted { voucher: hash, acceptance: None, .. } => {
                            assert_eq!(hash, voucher.voucher.hash());
                            Some(None)
                        }
                        ToClient::Refused { refusal, .. } => Some(Some(refusal)),
                        _ => None,
                    })
                    .await;
                    assert_eq!(refused, None);
                    self.account.apply(&voucher.voucher);
                    self.paid = receipt.statement.amount;
                }
                ToClient::Job { job: view } if view.id == job && view.state.is_terminal() => return *view,
                _ => {}
            }
        }
    }
}

async fn send(socket: &mut Socket, frame: &FromClient) {
    socket.send(Message::text(serde_json::to_string(frame).unwrap())).await.unwrap();
}

async fn next(socket: &mut Socket) -> ToClient {
    loop {
        let message = tokio::time::timeout(std::time::Duration::from_secs(30), socket.next()).await;
        match message.expect("a frame within 30 s").unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(reason) => panic!("closed: {reason:?}"),
            _ => {}
        }
    }
}

async fn wait_for<T>(socket: &mut Socket, mut wanted: impl FnMut(ToClient) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(next(socket).await) {
            return found;
        }
    }
}

async fn receipt(socket: &mut Socket) -> Receipt {
    wait_for(socket, |frame| match frame {
        ToClient::Receipt { receipt, .. } => Some(receipt),
        _ => None,
    })
    .await
}

async fn ended(socket: &mut Socket, id: JobId) -> JobView {
    wait_for(socket, |frame| match frame {
        ToClient::Job { job } if job.id == id && job.ended_at.is_some() => Some(*job),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_ordered_run_paid_and_redeemed_without_a_keeper() {
    let (mut client, running) = Client::start(|_| ()).await;
    let offers: Vec<OfferView> = client.get("/v1/offers").await;
    assert_eq!((offers[0].offer.provider, offers[0].offer.price), (PROVIDER, PRICE));
    let order = client.order(SHORT, 1).await;
    let mut socket = client.connect().await;
    let taken = client.submit(&order).await.unwrap();
    assert_eq!(taken.job, order.order.id());
    assert_eq!(client.submit(&order).await.unwrap().job, taken.job, "the same order is the same job");
    let job = client.pay(&mut socket, &order).await;
    assert_eq!((job.state, job.paid, job.paid), (JobState::Done, client.paid, job.amount), "{job:?}");
    assert_eq!(job.debited, client.account.total);
    let output = SHORT.to_le_bytes();
    assert_eq!(job.result, Some(result_hash(&[job::blob(&output)])));
    let url = format!("{}/v1/blobs/{}", client.base, job.outputs[0].hash);
    assert_eq!(client.http.get(url).send().await.unwrap().bytes().await.unwrap().as_ref(), output);
    // Redemption takes the protocol fee from the total, rounded up each time.
    until("the redemption", async || (client.world.balance(PROVIDER).await >= job.paid.get()).then_some(())).await;
    let id = ChannelId::of(PAYER, session_key().address(), PROVIDER);
    let channel: ChannelView = client.get(&format!("/v1/vouchers/{id}")).await;
    assert_eq!((channel.account.total, channel.reserved), (client.account.total, Amount::ZERO));
    let jobs: Vec<JobView> = client.get(&format!("/v1/jobs?signer={}", session_key().address())).await;
    assert_eq!(jobs, vec![job]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vouchers_that_pay_less_are_refused() {
    let (mut client, running) = Client::start(|_| ()).await;
    let order = client.order(SHORT, 1).await;
    let mut socket = client.connect().await;
    client.submit(&order).await.unwrap();
    let first = receipt(&mut socket).await;
    let info: Info = client.get("/v1/info").await;
    let right = client.voucher(&first, &info).voucher;
    let mut short = right;
    short.total = Amount(right.total.get() - 1);
    let mut unearned = right;
    unearned.latest.earned = Amount(right.latest.earned.get() - 1);
    let mut stranger = right;
    stranger.latest.receipt = B256::repeat_byte(1);
    let mut above = right;
    above.total = Amount(50_000_001);
    let cases = [
        (SignedVoucher::sign(short, &client.domain, &session_key()), Code::BadVoucher),
        (SignedVoucher::sign(unearned, &client.domain, &session_key()), Code::BadVoucher),
        (SignedVoucher::sign(stranger, &client.domain, &session_key()), Code::BadVoucher),
        (SignedVoucher::sign(above, &client.domain, &session_key()), Code::InsufficientFunds),
        (SignedVoucher::sign(right, &client.domain, &crate::setup::key(9)), Code::BadSignature),
    ];
    for (voucher, code) in cases {
        send(&mut socket, &FromClient::Voucher { job: order.order.id(), voucher }).await;
        let refusal = wait_for(&mut socket, |frame| match frame {
            ToClient::Refused { refusal, .. } => Some(refusal),
            ToClient::Accepted { .. } => panic!("{voucher:?} was accepted"),
            _ => None,
        })
        .await;
        assert_eq!(refusal.code, code, "{refusal}");
    }
    assert_eq!(client.get::<JobView>(&format!("/v1/jobs/{}", order.order.id())).await.paid, Amount::ZERO);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_pay_is_stopped_and_gets_no_more() {
    let (mut client, running) = Client::start(|config| config.limits.unaccepted = Amount(400)).await;
    let order = client.order(LONG, 1).await;
    let mut socket = client.connect().await;
    client.submit(&order).await.unwrap();
    let job = ended(&mut socket, order.order.id()).await;
    assert_eq!((job.state, job.paid), (JobState::Failed, Amount::ZERO));
    assert!(job.amount > Amount(400), "what was used until then is billed");
    let next = client.order(SHORT, 2).await;
    assert_eq!(client.submit(&next).await.unwrap_err().code, Code::Limited);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cannot_be_served_are_refused() {
    let (mut client, running) = Client::start(|_| ()).await;
    let order = client.order(SHORT, 1).await;
    let session = session_key();
    let changed = |change: &dyn Fn(&mut protocol::order::Order)| {
        let mut order = order.order.clone();
        change(&mut order);
        SignedOrder::sign(order, &client.domain, &session)
    };
    let stranger = SignedOrder::sign(order.order.clone(), &client.domain, &crate::setup::key(9));
    let cases = [
        (changed(&|order| order.max_price.0 = 1), Code::BadPrice),
        (changed(&|order| order.max_units.0 = 0), Code::BadQuantity),
        (changed(&|order| order.max_total.0 = 1), Code::TotalTooSmall),
        (changed(&|order| order.max_total.0 = 50_000_001), Code::InsufficientFunds),
        (changed(&|order| order.expiry.0 = 1), Code::Expired),
        (changed(&|order| order.resource.0 = 9), Code::UnknownResource),
        (changed(&|order| order.spec = B256::repeat_byte(1)), Code::MissingBlob),
        (stranger, Code::UnknownChannel),
    ];
    for (order, code) in cases {
        assert_eq!(client.submit(&order).await.unwrap_err().code, code);
    }
    let mut socket = client.connect().await;
    client.submit(&order).await.unwrap();
    send(&mut socket, &FromClient::Cancel { job: order.order.id() }).await;
    assert_eq!(ended(&mut socket, order.order.id()).await.state, JobState::Cancelled);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_may_run_longer_than_the_operator_allows_is_refused_when_it_is_ordered() {
    let (client, running) = Client::start(|config| config.execute.max_wall_ms = 1).await;
    let order = client.order(SHORT, 1).await;
    let refusal = client.submit(&order).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unsupported);
    assert!(refusal.detail.contains("limits.wallMs") && refusal.detail.contains("allows 1"), "{}", refusal.detail);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_only_written_down_starts_when_it_is_sent_again() {
    let (mut client, running) = Client::start(|_| ()).await;
    let order = client.order(SHORT, 1).await;
    let ledger = ledger_beside(&client.config()).await;
    let assignment = client.assignment(&order, &session_key());
    ledger.add_job(&assignment, JobStage::Queued, protocol::amount::Timestamp(5)).await.unwrap();
    ledger.close().await;
    let mut socket = client.connect().await;
    assert_eq!(client.submit(&order).await.unwrap().state, JobState::Queued);
    let job = tokio::time::timeout(PATIENCE, client.pay(&mut socket, &order)).await.expect("the job starts");
    assert_eq!(job.state, JobState::Done);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_the_client_will_not_pay_does_not_hold_up_the_next() {
    let (mut client, running) = Client::start(|_| ()).await;
    let (first, second) = (client.order(SHORT, 1).await, client.order(SHORT, 2).await);
    let mut socket = client.connect().await;
    client.submit(&first).await.unwrap();
    client.submit(&second).await.unwrap();
    loop {
        let asked = tokio::time::timeout(PATIENCE, receipt(&mut socket)).await.expect("the next job is asked for");
        let job = asked.statement.job;
        if job == second.order.id() {
            break;
        }
        send(&mut socket, &FromClient::Cancel { job }).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voucher_that_cannot_be_redeemed_does_not_hold_up_the_others() {
    let (mut client, running) = Client::start(|_| ()).await;
    let order = client.order(SHORT, 1).await;
    // A channel that holds nothing (any more).
    let stranger = crate::setup::key(9);
    let ledger = ledger_beside(&client.config()).await;
    let lost = job::order(PAYER, &stranger, &client.domain, b"lost", 9);
    let assignment = client.assignment(&lost, &stranger);
    ledger.add_job(&assignment, JobStage::Closed, protocol::amount::Timestamp(5)).await.unwrap();
    let payment = Payment {
        payer: PAYER,
        keeper: PROVIDER,
        batch: 0,
        provider: PROVIDER,
        increase: Amount(5_000),
        receipt: B256::ZERO,
    };
    let voucher = Account::default().next(&payment, &protocol::voucher::Fees::direct(100)).unwrap();
    let voucher = SignedVoucher::sign(voucher, &client.domain, &stranger);
    let amounts = (Amount(5_000), voucher.voucher.total, true);
    ledger.credit_direct(assignment.job(), assignment.channel, &voucher, amounts).await.unwrap();
    ledger.close().await;
    let mut socket = client.connect().await;
    client.submit(&order).await.unwrap();
    let paid = client.pay(&mut socket, &order).await.paid.get();
    until("the redemption", async || (client.world.balance(PROVIDER).await >= paid).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_cannot_stop_what_is_not_its_own() {
    let (mut client, running) = Client::start(|_| ()).await;
    running.stop().await;
    let keeper = crate::keeper::Keeper::start(&client.world, &client.domain).await;
    let mut config = client.config();
    config.keeper = Some(keeper.url.parse().unwrap());
    let running = Running::start(config).await;
    client.base = format!("http://{}", running.direct.unwrap());
    until("the worker connects", async || keeper.is_connected().then_some(())).await;
    let order = client.order(LONG, 1).await;
    let id = order.order.id();
    let mut socket = client.connect().await;
    client.submit(&order).await.unwrap();
    let sequence = receipt(&mut socket).await.statement.sequence;
    let refusal = Refusal::new(Code::Cancelled, "says the keeper");
    keeper.send(ToWorker::Stop { job: id, refusal: refusal.clone() });
    keeper.send(ToWorker::ReceiptRefused { job: id, sequence, refusal });
    until("the answers", async || (keeper.book().failed.len() == 2).then_some(())).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let view: JobView = client.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!((view.state, view.reason), (JobState::Running, None));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_channel_is_redeemed_whatever_the_gas() {
    let dear = |config: &mut worker::Config| config.claim.coin_price = Amount(1_000_000_000_000_000_000);
    let (mut client, running) = Client::start(dear).await;
    let order = client.order(SHORT, 1).await;
    let mut socket = client.connect().await;
    client.submit(&order).await.unwrap();
    let paid = client.pay(&mut socket, &order).await.paid.get();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(client.world.balance(PROVIDER).await, 0, "its gas would cost more");
    let close = client.world.settlement.close(session_key().address(), PROVIDER).calldata().clone();
    client.world.send(PAYER, *client.world.settlement.address(), close).await;
    until("the redemption", async || (client.world.balance(PROVIDER).await >= paid).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vouchers_are_redeemed_though_the_endpoint_is_gone() {
    let (mut client, running) = Client::start(|config| config.direct.as_mut().unwrap().redeem = Amount(u64::MAX)).await;
    let order = client.order(SHORT, 1).await;
    let mut socket = client.connect().await;
    client.submit(&order).await.unwrap();
    let paid = client.pay(&mut socket, &order).await.paid.get();
    running.stop().await;
    let mut config = client.config();
    (config.direct, config.keeper) = (None, Some("http://127.0.0.1:1/".parse().unwrap()));
    let running = Running::start(config).await;
    until("the redemption", async || (client.world.balance(PROVIDER).await >= paid).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_receipt_that_bills_nothing_new_ends_its_job_without_a_voucher() {
    let (mut client, running) = Client::start(|_| ()).await;
    running.stop().await;
    let order = job::order(PAYER, &session_key(), &client.domain, b"no matter", 1);
    let assignment = client.assignment(&order, &session_key());
    let id = order.order.id();
    let outputs = [job::blob(b"the result")];
    let statement = |sequence, result| protocol::receipt::Statement {
        job: id,
        provider: PROVIDER,
        sequence,
        usage: protocol::resource::Usage { cpu_ms: Quantity(50), ..Default::default() },
        amount: Amount(100),
        result,
        at: protocol::amount::Timestamp(5),
    };
    let sign = |statement| Receipt::sign(statement, &client.domain, &crate::setup::worker_key());
    let (first, last) = (sign(statement(1, B256::ZERO)), sign(statement(2, result_hash(&outputs))));
    let info = Info { fees: protocol::voucher::Fees::direct(100), ..info(&client) };
    let voucher = client.voucher(&first, &info);
    let ledger = worker::ledger::Ledger::open(&client.config().data).await.unwrap();
    let now = protocol::amount::Timestamp(u64::from(u32::MAX));
    ledger.add_job(&assignment, JobStage::Running, now).await.unwrap();
    ledger.add_receipt(&first).await.unwrap();
    let amounts = (Amount(100), voucher.voucher.total, false);
    ledger.credit_direct(id, assignment.channel, &voucher, amounts).await.unwrap();
    ledger.deliver(&last, &outputs, now).await.unwrap();
    ledger.close().await;
    let running = Running::start(client.config()).await;
    client.base = format!("http://{}", running.direct.unwrap());
    // A client that only reads, and never opens a socket, learns that nothing more is to be paid.
    let done = until("the job is done", async || {
        let job: JobView = client.get(&format!("/v1/jobs/{id}")).await;
        (job.state == JobState::Done).then_some(job)
    })
    .await;
    assert_eq!((done.paid, done.result), (Amount(100), Some(result_hash(&outputs))));
    running.stop().await;
}

/// Terms of the provider, as far as a voucher needs them.
fn info(client: &Client) -> Info {
    Info {
        keeper: PROVIDER,
        chain_id: Quantity(client.domain.chain_id()),
        settlement: client.domain.settlement(),
        token: *client.world.token.address(),
        batch: 0,
        fees: Default::default(),
        resources: vec![],
        interval_ms: Quantity(60),
        max_blob: Quantity(1),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_uses_up_its_order_can_be_paid_to_its_last_receipt() {
    let (mut client, running) = Client::start(|_| ()).await;
    let order = client.order(20 * SHORT, 1).await.order;
    let order = SignedOrder::sign(Order { max_total: Amount(10_000), ..order }, &client.domain, &session_key());
    let mut socket = client.connect().await;
    let before = client.account.total;
    client.submit(&order).await.unwrap();
    let job = client.pay(&mut socket, &order).await;
    assert_eq!(job.state, JobState::Failed, "{job:?}");
    if job.amount > client.paid {
        let last = receipt(&mut socket).await;
        let info: Info = client.get("/v1/info").await;
        let voucher = client.voucher(&last, &info);
        client.account.apply(&voucher.voucher);
    }
    assert!(job.amount > Amount(8_000), "{job:?}");
    // Each voucher rounds its fee up: a client signs for no more than its order, so they must all fit.
    let debited = client.account.total.minus(before).unwrap();
    assert!(debited <= Amount(10_000), "{debited} for {}", job.amount);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_drains_it_takes_no_orders_and_starts_none() {
    let (mut client, running) = Client::start(|_| ()).await;
    let (long, queued, late) =
        (client.order(20 * SHORT, 1).await, client.order(SHORT, 2).await, client.order(SHORT, 3).await);
    let mut socket = client.connect().await;
    client.submit(&long).await.unwrap();
    client.submit(&queued).await.unwrap();
    running.drain();
    let job = ended(&mut socket, queued.order.id()).await;
    assert_eq!(job.state, JobState::Failed, "{job:?}");
    assert_eq!(client.submit(&late).await.unwrap_err().code, Code::Limited);
    assert_eq!(client.get::<Vec<OfferView>>("/v1/offers").await, vec![]);
    let job = client.pay(&mut socket, &long).await;
    assert_eq!(job.state, JobState::Done, "what ran is finished and paid");
    running.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_address_that_keeps_batches_takes_no_direct_jobs() {
    let (client, running) = Client::start(|_| ()).await;
    let order = client.order(SHORT, 1).await;
    client.world.give(PAYER, PROVIDER, crate::chain::BOND).await;
    client.world.bond(PROVIDER).await;
    assert_eq!(client.submit(&order).await.unwrap_err().code, Code::Unsupported);
    running.stop().await;
}
