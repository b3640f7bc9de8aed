//! The socket to the keeper: log in, offer, take jobs, report, and count what is paid.
//!
//! Reports are read from the ledger, so a new socket simply starts with everything that is not paid yet.

mod frames;
mod reports;

use crate::credit::{self, Incoming};
use crate::drain;
use crate::ledger::{Assignment, JobRow, JobStage, LedgerError};
use crate::link::KeeperLink;
use crate::node::now;
use crate::observe;
use crate::offer::Offers;
use crate::outlet::Outlet;
use alloy::primitives::Address;
use frames::{ConnectError, Socket, next_frame, send};
use futures::{SinkExt, StreamExt};
use protocol::amount::{Amount, Price};
use protocol::order::{JobId, SignedOrder};
use protocol::voucher::ChannelId;
use protocol::wire::{Capabilities, Code, FromWorker, Info, Refusal, ToWorker, login_digest};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Longest wait for the socket, the challenge and the welcome.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the socket is proven alive.
const PING: Duration = Duration::from_secs(10);
/// A socket that was silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(35);
/// First and longest pause between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// How long an assigned job waits for a slot that is just becoming free.
const SLOT_WAIT: Duration = Duration::from_secs(5);
/// Largest frame of a keeper.
const MAX_FRAME: usize = 256 << 10;
/// Jobs beyond the slots that a keeper may have assigned at once: it may hear of an end a moment late.
const EARLY: usize = 16;
/// Acceptances that may wait to be counted.
const QUEUE: usize = 1_024;

/// Keeps a socket to the keeper open until the shutdown.
pub(crate) async fn run(link: Arc<KeeperLink>) {
    let node = link.node.clone();
    let standing = node.ledger.live_offers(now()).await.unwrap_or_else(|error| {
        observe::failing("offers", &error);
        Vec::new()
    });
    let (offers, unknown) = Offers::new(node.config.provider, &node.config.offers, &node.resources, &standing);
    for name in unknown {
        tracing::warn!(resource = name, "the ResourceCatalog has no such resource: the offer is left out");
    }
    let (credits, incoming) = mpsc::channel(QUEUE);
    let mut crediting = tokio::spawn(credit::run(link.clone(), incoming));
    let mut connection =
        Connection { link: link.clone(), offers, credits, sent: HashMap::new(), told: None, drains_since: None };
    let mut pause = BACKOFF.0;
    while !node.shutdown.is_cancelled() {
        let result = tokio::select! {
            result = connection.session(&mut pause) => result,
            // Without it no payment would ever count again: the worker ends, and says so.
            ended = &mut crediting => {
                tracing::error!(?ended, "counting acceptances ended");
                return;
            }
            () = node.shutdown.cancelled() => break,
        };
        link.set_up(false);
        if let Err(error) = result {
            observe::disconnected(&error, pause.as_millis());
            node.report_keeper(Err(error.to_string()));
        }
        let jitter = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = tokio::time::sleep(jitter) => pause = (pause * 2).min(BACKOFF.1),
            () = node.shutdown.cancelled() => break,
        }
    }
    drop(connection);
    if let Err(error) = crediting.await {
        observe::failing("acceptance", &error);
    }
}

struct Connection {
    link: Arc<KeeperLink>,
    offers: Offers,
    credits: mpsc::Sender<Incoming>,
    /// The newest sequence of each job that went over the socket that is open now.
    sent: HashMap<JobId, u64>,
    /// What the keeper was last told that this worker can run.
    told: Option<Capabilities>,
    /// When this connection saw the drain begin.
    drains_since: Option<Instant>,
}

impl Connection {
    /// One socket, from its opening to its end.
    async fn session(&mut self, pause: &mut Duration) -> Result<(), ConnectError> {
        let (mut socket, info) = timeout(HANDSHAKE, self.log_in()).await.map_err(|_| ConnectError::Silent)??;
        *pause = BACKOFF.0;
        observe::connected(info.keeper);
        self.link.node.ledger.set_keeper(info.keeper, self.link.api.base()).await?;
        self.link.set_info(info);
        self.link.set_up(true);
        self.link.node.report_keeper(Ok(()));
        self.sent.clear();
        self.offers.reconnected();
        self.report(&mut socket).await?;
        let mut heard = Instant::now();
        let mut pings = tokio::time::interval(PING);
        let mut renewals = tokio::time::interval(Duration::from_secs(1));
        let link = self.link.clone();
        loop {
            tokio::select! {
                () = link.node.drain.cancelled(), if self.drains_since.is_none() => {
                    self.drains_since = Some(Instant::now());
                    self.announce(&mut socket).await?;
                }
                message = socket.next() => {
                    heard = Instant::now();
                    self.receive(&mut socket, message).await?;
                }
                () = link.reports_due() => self.report(&mut socket).await?,
                () = link.offers_due() => {
                    self.offers.reconnected();
                    self.publish(&mut socket).await?;
                }
                _ = renewals.tick() => {
                    self.announce(&mut socket).await?;
                    self.publish(&mut socket).await?;
                }
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(ConnectError::Silent);
                    }
                    socket.send(Message::Ping(Default::default())).await?;
                }
            }
        }
    }

    async fn log_in(&mut self) -> Result<(Socket, Info), ConnectError> {
        let (link, node) = (&self.link, &self.link.node);
        let info = link.api.fetch_info().await?;
        let keeper = info.keeper;
        self.check_terms(&info, keeper)?;
        let url = link.api.socket()?;
        let bounds = WebSocketConfig::default().max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
        let (mut socket, _) = connect_async_with_config(url.as_str(), Some(bounds), true).await?;
        let nonce = match next_frame(&mut socket).await? {
            ToWorker::Challenge { nonce } => nonce,
            other => return Err(ConnectError::Protocol(format!("{other:?} instead of a challenge"))),
        };
        let open = node.ledger.open_jobs(info.keeper).await?;
        let capabilities = self.capabilities();
        let hello = FromWorker::Hello {
            provider: node.config.provider,
            capabilities: capabilities.clone(),
            jobs: open.iter().filter(|row| !(row.stage == JobStage::Failed && row.reported)).map(job_of).collect(),
            signature: node.key.sign(login_digest(info.keeper, nonce)),
        };
        send(&mut socket, &hello).await?;
        match next_frame(&mut socket).await? {
            ToWorker::Welcome { info } => {
                self.check_terms(&info, keeper)?;
                self.told = Some(capabilities);
                Ok((socket, info))
            }
            other => Err(ConnectError::Protocol(format!("{other:?} instead of a welcome"))),
        }
    }

    /// What this worker can run now; while it drains it has no slots.
    fn capabilities(&self) -> Capabilities {
        let node = &self.link.node;
        let mut capabilities = node.capabilities();
        if node.drain.is_cancelled() {
            capabilities.slots = 0;
        }
        capabilities
    }

    /// Tells the keeper once what changed in that.
    async fn announce(&mut self, socket: &mut Socket) -> Result<(), ConnectError> {
        let capabilities = self.capabilities();
        if self.told.as_ref() != Some(&capabilities) {
            send(socket, &FromWorker::Changed { capabilities: capabilities.clone() }).await?;
            self.told = Some(capabilities);
        }
        Ok(())
    }

    fn check_terms(&self, info: &Info, keeper: Address) -> Result<(), ConnectError> {
        let node = &self.link.node;
        if info.keeper != keeper {
            return Err(ConnectError::Protocol("the terms of another keeper".into()));
        }
        if info.chain_id.get() != node.domain.chain_id() {
            return Err(ConnectError::Stranger("chain"));
        }
        if info.settlement != node.domain.settlement() {
            return Err(ConnectError::Stranger("Settlement contract"));
        }
        Ok(())
    }

    async fn receive(
        &mut self,
        socket: &mut Socket,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), ConnectError> {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                return Err(ConnectError::Closed(frame.map(|frame| frame.reason.to_string()).unwrap_or_default()));
            }
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(ConnectError::Closed("without a reason".into())),
        };
        match serde_json::from_str(text.as_str()) {
            Ok(frame) => self.handle(socket, frame).await,
            Err(error) => {
                observe::failing("frame", &error);
                Ok(())
            }
        }
    }

    async fn handle(&mut self, socket: &mut Socket, frame: ToWorker) -> Result<(), ConnectError> {
        if let Some(job) = governed(&frame)
            && self.is_foreign(job).await?
        {
            let refusal = Refusal::new(Code::NodeFailed, "this worker has the job from somebody else");
            return send(socket, &FromWorker::Failed { job, refusal }).await;
        }
        match frame {
            ToWorker::Assign { order, .. } if self.drains_since.is_some_and(|since| since.elapsed() > drain::GRACE) => {
                let job = order.order.id();
                return self.decline(socket, job, drain::refusal()).await;
            }
            ToWorker::Assign { order, .. } if self.link.node.is_crowded(EARLY) => {
                let refusal = Refusal::new(Code::Limited, "all slots of this worker are taken");
                let job = order.order.id();
                return self.decline(socket, job, refusal).await;
            }
            ToWorker::Assign { order, channel, price, cap } => {
                self.offers.matched(order.order.resource, order.order.max_units);
                self.assign(order, channel, price, cap).await?;
            }
            ToWorker::Accepted { job, accepted } => {
                // The other end lives as long as this connection, so sending fails only while it is being dropped.
                let _ = self.credits.send(Incoming { job, accepted }).await;
            }
            ToWorker::ReceiptRefused { job, sequence, refusal } => {
                observe::receipt_refused(job, sequence, &refusal);
                self.refused(job, sequence, refusal).await?;
            }
            ToWorker::Stop { job, refusal } => {
                if !self.link.node.stop(job, refusal.clone()) {
                    self.stopped(socket, job, refusal).await?;
                }
            }
            ToWorker::OfferTaken { offer } => observe::offer_taken(offer),
            ToWorker::OfferRefused { offer, refusal } => {
                self.offers.refused(offer, now());
                observe::offer_refused(offer, &refusal);
            }
            ToWorker::Info { info } => {
                self.check_terms(&info, self.link.keeper().unwrap_or(info.keeper))?;
                self.link.set_info(info);
            }
            ToWorker::Challenge { .. } | ToWorker::Welcome { .. } => {
                return Err(ConnectError::Protocol("a second login".into()));
            }
        }
        Ok(())
    }

    /// Takes a job, or reports again how it ended.
    async fn assign(
        &mut self,
        order: SignedOrder,
        channel: ChannelId,
        price: Price,
        cap: Amount,
    ) -> Result<(), ConnectError> {
        let node = self.link.node.clone();
        let Some(keeper) = self.link.keeper() else {
            return Err(ConnectError::Protocol("a job before the welcome".into()));
        };
        // A signature that recovers nobody names the zero address, which no channel has: the match is then refused.
        let signer = order.signer(&node.domain).unwrap_or_default();
        let assignment = Assignment { keeper, order, signer, channel, price, cap };
        let job = assignment.job();
        let Some(stop) = node.register(job) else { return Ok(()) };
        let added = node.ledger.add_job(&assignment, JobStage::Running, now()).await;
        if !matches!(added, Ok(true)) {
            node.unregister(job);
            added?;
            node.ledger.set_reported(job, false).await?;
            self.sent.remove(&job);
            self.link.changed(job);
            return Ok(());
        }
        let (link, asked) = (self.link.clone(), Instant::now());
        tokio::spawn(async move {
            // The keeper may hear of a job's end a moment before its slot is free here.
            if let Ok(Ok(slot)) = timeout(SLOT_WAIT, node.slots.clone().acquire_owned()).await {
                observe::waited("slot", asked.elapsed());
                node.run_to_its_end(link.as_ref(), &assignment, &stop, slot).await;
                return;
            }
            node.unregister(job);
            let refusal = Refusal::new(Code::Limited, "all slots of this worker are taken");
            if let Err(error) = node.ledger.fail(job, None, &refusal, now()).await {
                observe::failing("ledger", &error);
            }
            link.changed(job);
        });
        Ok(())
    }

    /// Whether a job is somebody else's: a direct client's, or another keeper's from before.
    async fn is_foreign(&self, job: JobId) -> Result<bool, LedgerError> {
        let row = self.link.node.ledger.job(job).await?;
        Ok(row.is_some_and(|row| Some(row.assignment.keeper) != self.link.keeper()))
    }

    async fn publish(&mut self, socket: &mut Socket) -> Result<(), ConnectError> {
        let node = self.link.node.clone();
        if node.drain.is_cancelled() {
            return Ok(());
        }
        for offer in self.offers.due(now(), &node.domain, &node.key) {
            node.ledger.add_offer(&offer, now()).await?;
            node.bind(&offer.offer);
            send(socket, &FromWorker::Offer { offer }).await?;
        }
        Ok(())
    }
}

/// The job that a frame rules over. Acceptances rule over none: they are signed by the keeper of their job.
fn governed(frame: &ToWorker) -> Option<JobId> {
    match frame {
        ToWorker::Assign { order, .. } => Some(order.order.id()),
        ToWorker::ReceiptRefused { job, .. } | ToWorker::Stop { job, .. } => Some(*job),
        _ => None,
    }
}

fn job_of(row: &JobRow) -> JobId {
    row.assignment.job()
}
