//! What both sockets share: frames in JSON, a login, and a heartbeat.

use super::Problem;
use alloy::primitives::{Address, B256};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use futures::StreamExt;
use protocol::signature::Signature;
use protocol::wire::{Code, Refusal, login_digest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::shutdown::Shutdown;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::Interval;

/// Largest frame.
const MAX_FRAME: usize = 256 * 1024;
/// How long a peer may take to log in.
const LOGIN: Duration = Duration::from_secs(10);
/// How often a silent peer is asked whether it is there.
pub(super) const PING: Duration = Duration::from_secs(5);
/// A peer that was silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// A peer that does not take a frame for so long is gone.
const STALL: Duration = Duration::from_secs(10);
/// A close frame's reason has at most 123 bytes.
const MAX_REASON: usize = 123;

/// A socket that is gone; there is nobody to tell why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;

/// What came in.
pub(super) enum Incoming<T> {
    /// A frame.
    Frame(T),
    /// Something that is no frame of ours.
    Bad(Refusal),
    /// Something of the transport's own, such as a pong.
    Nothing,
}

/// One end of a socket.
pub(super) struct Socket {
    inner: WebSocket,
    heard: Instant,
}

impl Socket {
    pub(super) fn new(inner: WebSocket) -> Self {
        Self { inner, heard: Instant::now() }
    }

    pub(super) async fn send<T: Serialize>(&mut self, frame: &T) -> Result<(), Gone> {
        let text = serde_json::to_string(frame).map_err(|_| Gone)?;
        self.write(Message::Text(text.into())).await
    }

    /// Asks a silent peer whether it is there; gives one up that has been silent for too long.
    async fn ping(&mut self) -> Result<(), Gone> {
        if self.heard.elapsed() > SILENCE {
            return Err(Gone);
        }
        self.write(Message::Ping(bytes::Bytes::new())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), Gone> {
        match tokio::time::timeout(STALL, self.inner.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    /// Waits for what comes next. Safe to drop half-way.
    async fn receive<T: DeserializeOwned>(&mut self) -> Result<Incoming<T>, Gone> {
        let message = self.inner.next().await.ok_or(Gone)?.map_err(|_| Gone)?;
        self.heard = Instant::now();
        Ok(match message {
            Message::Text(text) => match serde_json::from_str(text.as_str()) {
                Ok(frame) => Incoming::Frame(frame),
                Err(error) => Incoming::Bad(Refusal::new(Code::MalformedRequest, error.to_string())),
            },
            Message::Binary(_) => Incoming::Bad(Refusal::new(Code::MalformedRequest, "frames are JSON texts")),
            Message::Close(_) => return Err(Gone),
            Message::Ping(_) | Message::Pong(_) => Incoming::Nothing,
        })
    }

    /// Sends what is for the peer, and asks whether it is there, until something comes in. `None` once the keeper stops.
    pub(super) async fn turn<In: DeserializeOwned, Out: Serialize>(
        &mut self,
        outbox: &mut mpsc::Receiver<Out>,
        ping: &mut Interval,
        shutdown: &Shutdown,
    ) -> Result<Option<Incoming<In>>, Gone> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                frame = outbox.recv() => self.send(&frame.ok_or(Gone)?).await?,
                _ = ping.tick() => self.ping().await?,
                incoming = self.receive() => return incoming.map(Some),
            }
        }
    }

    /// The first frame of a peer, within a few seconds.
    pub(super) async fn hello<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        let late = || Refusal::new(Code::MalformedRequest, "log in first: answer the challenge with a hello");
        let deadline = tokio::time::Instant::now() + LOGIN;
        loop {
            match tokio::time::timeout_at(deadline, self.receive()).await {
                Ok(Ok(Incoming::Frame(frame))) => return Ok(frame),
                Ok(Ok(Incoming::Bad(refusal))) => return Err(refusal),
                Ok(Ok(Incoming::Nothing)) => {}
                Ok(Err(Gone)) | Err(_) => return Err(late()),
            }
        }
    }

    /// Closes the socket and says why.
    pub(super) async fn refuse(mut self, refusal: &Refusal) {
        let mut reason = format!("{}: {}", refusal.code.as_str(), refusal.detail);
        while reason.len() > MAX_REASON {
            reason.pop();
        }
        let frame = CloseFrame { code: close_code::POLICY, reason: Utf8Bytes::from(reason) };
        // The peer may be gone already, which is what was wanted.
        let _ = self.write(Message::Close(Some(frame))).await;
    }

    /// Closes the socket because the keeper stops.
    pub(super) async fn restart(mut self) {
        let frame = CloseFrame { code: close_code::RESTART, reason: Utf8Bytes::from_static("the keeper restarts") };
        let _ = self.write(Message::Close(Some(frame))).await;
    }
}

/// A request that should become a socket.
pub(super) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// Bounds what a peer may make this end hold. Without a bound of its own a single frame could be 16 MiB.
pub(super) fn framed(upgrade: Upgrade) -> Result<WebSocketUpgrade, Problem> {
    let upgrade = upgrade.map_err(|rejection| Refusal::new(Code::MalformedRequest, rejection.body_text()))?;
    Ok(upgrade.max_frame_size(MAX_FRAME).max_message_size(MAX_FRAME))
}

/// A nonce that no earlier login was made for.
pub(super) fn nonce() -> B256 {
    B256::from(rand::random::<[u8; 32]>())
}

/// Whose key answered the challenge.
pub(super) fn logged_in(keeper: Address, nonce: B256, signature: &Signature) -> Result<Address, Refusal> {
    signature.recover(login_digest(keeper, nonce)).map_err(|error| Refusal::new(Code::BadSignature, error.to_string()))
}
