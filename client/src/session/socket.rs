//! The client's socket: connects, logs in with the session key, carries frames.

use crate::keeper::{Keeper, KeeperError};
use alloy::primitives::Address;
use futures::{SinkExt, StreamExt};
use protocol::signature::SigningKey;
use protocol::wire::{ChannelView, FromClient, Info, ToClient, login_digest};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// A frame is a receipt or a job; the largest of them is far smaller.
const MAX_FRAME: usize = 4 << 20;
/// How long connecting and logging in may take.
const LOGIN: Duration = Duration::from_secs(10);

/// The socket is gone or was never there. All of this is worth another try.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The other side hung up.
    #[error("the connection was closed{0}")]
    Closed(String),
    /// A frame that this version does not read.
    #[error("the keeper sent a frame that this version does not read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Something else came where the login asks for one certain frame.
    #[error("the keeper did not log this session in")]
    Login,
    /// It took too long.
    #[error("the keeper did not answer in time")]
    Timeout,
}

impl From<Error> for SocketError {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Closed(String::new()),
            Error::Http(response) => {
                let body = response.body().as_deref().unwrap_or_default();
                let text = String::from_utf8_lossy(&body[..body.len().min(300)]);
                Self::Connect(format!("HTTP status {} {text}", response.status()))
            }
            other => Self::Connect(other.to_string()),
        }
    }
}

impl From<KeeperError> for SocketError {
    fn from(error: KeeperError) -> Self {
        Self::Connect(error.to_string())
    }
}

/// An open, logged-in socket.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heard: Instant,
}

/// What the keeper says at login.
pub(super) struct Welcome {
    pub(super) info: Info,
    pub(super) channel: ChannelView,
}

impl Socket {
    /// Connects and logs in. The signature names the keeper, so that it opens no door elsewhere.
    pub(super) async fn open(
        endpoint: &Keeper,
        keeper: Address,
        payer: Address,
        key: &SigningKey,
    ) -> Result<(Self, Welcome), SocketError> {
        timeout(LOGIN, Self::login(endpoint, keeper, payer, key)).await.map_err(|_| SocketError::Timeout)?
    }

    async fn login(
        endpoint: &Keeper,
        keeper: Address,
        payer: Address,
        key: &SigningKey,
    ) -> Result<(Self, Welcome), SocketError> {
        let url = endpoint.socket_url()?;
        let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
        let (stream, _) = connect_async_with_config(url.as_str(), Some(config), true).await?;
        let mut socket = Self { stream, heard: Instant::now() };
        let ToClient::Challenge { nonce } = socket.next().await? else { return Err(SocketError::Login) };
        let signature = key.sign(login_digest(keeper, nonce));
        socket.send(&FromClient::Hello { payer, signature }).await?;
        let ToClient::Welcome { info, channel } = socket.next().await? else { return Err(SocketError::Login) };
        Ok((socket, Welcome { info, channel }))
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: &FromClient) -> Result<(), SocketError> {
        let text = serde_json::to_string(frame)?;
        Ok(self.stream.send(Message::text(text)).await?)
    }

    /// The next frame. Dropping this future loses none.
    pub(super) async fn next(&mut self) -> Result<ToClient, SocketError> {
        loop {
            let message = self.stream.next().await;
            self.heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text)?),
                Some(Ok(Message::Binary(bytes))) => return Ok(serde_json::from_slice(&bytes)?),
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| format!(": {}", frame.reason)).unwrap_or_default();
                    return Err(SocketError::Closed(reason));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(SocketError::Closed(String::new())),
            }
        }
    }

    /// How long nothing has come, not even an answer to a ping.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Asks the other side whether it is still there; the answer needs no frame of ours.
    pub(super) async fn ping(&mut self) -> Result<(), SocketError> {
        Ok(self.stream.send(Message::Ping(Vec::new().into())).await?)
    }

    /// Says goodbye; the other side need not hear it.
    pub(super) async fn close(mut self) {
        if let Err(error) = timeout(Duration::from_secs(1), self.stream.close(None)).await {
            tracing::debug!(%error, "the keeper did not say goodbye");
        }
    }
}
