//! The socket of a direct client: receipts out, vouchers in, one at a time.

use super::{Direct, DirectError};
use crate::ledger::JobStage;
use crate::node::now;
use crate::observe;
use alloy::primitives::B256;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use protocol::order::JobId;
use protocol::voucher::{ChannelId, SignedVoucher};
use protocol::wire::{Code, FromClient, Info, Refusal, ToClient, login_digest};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Longest wait for the answer to the challenge.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the socket is proven alive.
const PING: Duration = Duration::from_secs(15);
/// A socket that was silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(50);

/// Why a socket ends.
#[derive(Debug, thiserror::Error)]
enum SocketError {
    /// The client left.
    #[error("the client left")]
    Gone,
    /// The client is told why, then the socket is closed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This side failed.
    #[error(transparent)]
    Direct(#[from] DirectError),
}

impl From<crate::ledger::LedgerError> for SocketError {
    fn from(error: crate::ledger::LedgerError) -> Self {
        Self::Direct(error.into())
    }
}

pub(crate) async fn serve(direct: Arc<Direct>, socket: WebSocket) {
    let channel = ChannelId(B256::ZERO);
    let mut session = Session { direct, socket, channel, in_flight: None, declined: HashMap::new() };
    let reason = match session.run().await {
        Ok(()) => Refusal::new(Code::Internal, "this endpoint is shutting down: connect again"),
        Err(SocketError::Gone) => return,
        Err(SocketError::Refused(refusal)) => refusal,
        Err(SocketError::Direct(error)) => {
            observe::failing("direct", &error);
            error.refusal()
        }
    };
    // A reason may have at most 123 bytes in a close frame.
    let mut text = format!("{}: {}", reason.code.as_str(), reason.detail);
    while text.len() > 123 {
        text.pop();
    }
    let frame = CloseFrame { code: close_code::POLICY, reason: text.into() };
    // The client may be gone already.
    let _ = session.socket.send(Message::Close(Some(frame))).await;
}

struct Session {
    direct: Arc<Direct>,
    socket: WebSocket,
    channel: ChannelId,
    /// The receipt that waits for its voucher, by job and sequence.
    in_flight: Option<(JobId, u64)>,
    /// Receipts that the client answered by stopping their job; they must not hold up the channel's other jobs.
    declined: HashMap<JobId, u64>,
}

impl Session {
    async fn run(&mut self) -> Result<(), SocketError> {
        let mut changes = self.direct.changes.subscribe();
        let mut info = timeout(HANDSHAKE, self.log_in()).await.map_err(|_| SocketError::Gone)??;
        for row in self.direct.node.ledger.channel_jobs(self.channel, 50).await? {
            if !matches!(row.stage, JobStage::Closed) {
                self.show_job(row.assignment.job()).await?;
            }
        }
        self.ask_for_payment().await?;
        let (mut pings, mut heard) = (tokio::time::interval(PING), Instant::now());
        let shutdown = self.direct.node.shutdown.clone();
        loop {
            tokio::select! {
                message = self.socket.recv() => {
                    heard = Instant::now();
                    let message = message.ok_or(SocketError::Gone)?.map_err(|_| SocketError::Gone)?;
                    self.receive(message).await?;
                }
                change = changes.recv() => match change {
                    Ok(job) => self.changed(job).await?,
                    // What was missed is read from the ledger.
                    Err(broadcast::error::RecvError::Lagged(_)) => self.ask_for_payment().await?,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(SocketError::Gone);
                    }
                    self.socket.send(Message::Ping(Default::default())).await.map_err(|_| SocketError::Gone)?;
                    let current = self.direct.info();
                    if current != info {
                        info = current.clone();
                        self.send(&ToClient::Info { info: current }).await?;
                    }
                }
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    async fn log_in(&mut self) -> Result<Info, SocketError> {
        let nonce = B256::from(rand::random::<[u8; 32]>());
        self.send(&ToClient::Challenge { nonce }).await?;
        let hello = loop {
            match self.socket.recv().await {
                Some(Ok(Message::Text(text))) => break parse(text.as_str())?,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Err(SocketError::Gone),
            }
        };
        let FromClient::Hello { payer, signature } = hello else {
            return Err(Refusal::new(Code::MalformedRequest, "log in first").into());
        };
        let signer = signature
            .recover(login_digest(self.direct.provider(), nonce))
            .map_err(|error| Refusal::new(Code::BadSignature, error.to_string()))?;
        let channel = self.direct.channel_view(payer, signer).await?;
        if channel.deposit.get() == 0 {
            let text = "this payer and session key have no channel with this provider that is safe on chain";
            return Err(Refusal::new(Code::UnknownChannel, text).into());
        }
        self.channel = channel.channel;
        let info = self.direct.info();
        self.send(&ToClient::Welcome { info: info.clone(), channel }).await?;
        Ok(info)
    }

    async fn receive(&mut self, message: Message) -> Result<(), SocketError> {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err(SocketError::Gone),
            _ => return Ok(()),
        };
        match parse(text.as_str())? {
            FromClient::Voucher { job, voucher } => self.take_voucher(job, &voucher).await,
            FromClient::Cancel { job } => self.cancel(job).await,
            FromClient::Hello { .. } => Err(Refusal::new(Code::MalformedRequest, "logged in already").into()),
        }
    }

    async fn take_voucher(&mut self, job: JobId, voucher: &SignedVoucher) -> Result<(), SocketError> {
        let hash = voucher.voucher.hash();
        match self.direct.count(self.channel, job, voucher).await {
            Ok(()) => {
                self.in_flight = None;
                self.send(&ToClient::Accepted { job, voucher: hash, acceptance: None }).await?;
                self.show_job(job).await?;
                self.ask_for_payment().await
            }
            Err(DirectError::Ledger(error)) => Err(error.into()),
            Err(error) => self.send(&ToClient::Refused { job, voucher: hash, refusal: error.refusal() }).await,
        }
    }

    async fn cancel(&mut self, job: JobId) -> Result<(), SocketError> {
        let node = self.direct.node.clone();
        let own = node.ledger.job(job).await?.filter(|row| row.assignment.channel == self.channel);
        let Some(row) = own else { return Ok(()) };
        let refusal = Refusal::new(Code::Cancelled, "the client stopped the job");
        let waits = row.stage == JobStage::Queued;
        if !node.stop(job, refusal.clone()) && waits {
            node.ledger.fail(job, None, &refusal, now()).await?;
            self.show_job(job).await?;
        }
        if let Some((_, sequence)) = self.in_flight.take_if(|(asked, _)| *asked == job) {
            self.declined.insert(job, sequence);
        }
        self.ask_for_payment().await
    }

    async fn changed(&mut self, job: JobId) -> Result<(), SocketError> {
        let row = self.direct.node.ledger.job(job).await?;
        if row.is_some_and(|row| row.assignment.channel == self.channel) {
            self.show_job(job).await?;
            self.ask_for_payment().await?;
        }
        Ok(())
    }

    async fn show_job(&mut self, job: JobId) -> Result<(), SocketError> {
        let job = Box::new(self.direct.job(job).await?);
        self.send(&ToClient::Job { job }).await
    }

    /// Sends the next receipt that is due, unless one is out already.
    async fn ask_for_payment(&mut self) -> Result<(), SocketError> {
        if self.in_flight.is_some() {
            return Ok(());
        }
        let Some(due) = self.direct.due(self.channel, &self.declined).await? else { return Ok(()) };
        self.in_flight = Some((due.receipt.statement.job, due.receipt.statement.sequence));
        let worker = self.direct.node.key.address();
        let frame = ToClient::Receipt { receipt: due.receipt, price: due.row.assignment.price, worker };
        self.send(&frame).await
    }

    async fn send(&mut self, frame: &ToClient) -> Result<(), SocketError> {
        let text = serde_json::to_string(frame).map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
        self.socket.send(Message::text(text)).await.map_err(|_| SocketError::Gone)
    }
}

fn parse(text: &str) -> Result<FromClient, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::new(Code::MalformedRequest, error.to_string()))
}
