//! Frames of the keeper's socket, and why it ends.

use crate::keeper_api::LinkError;
use crate::ledger::LedgerError;
use futures::{SinkExt, StreamExt};
use protocol::wire::{FromWorker, ToWorker};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why the connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the socket failed: {0}")]
    Socket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("the keeper closed the socket: {0}")]
    Closed(String),
    #[error("the keeper did not answer in time")]
    Silent,
    #[error("the keeper sent something else than the protocol asks for: {0}")]
    Protocol(String),
    #[error("this keeper works on another {0}: correct `keeper` in the configuration")]
    Stranger(&'static str),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<tokio_tungstenite::tungstenite::Error> for ConnectError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

/// Sends a frame.
pub(super) async fn send(socket: &mut Socket, frame: &FromWorker) -> Result<(), ConnectError> {
    let text = serde_json::to_string(frame).map_err(|error| ConnectError::Protocol(error.to_string()))?;
    Ok(socket.send(Message::text(text)).await?)
}

/// The next frame of the handshake.
pub(super) async fn next_frame(socket: &mut Socket) -> Result<ToWorker, ConnectError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(text.as_str()).map_err(|e| ConnectError::Protocol(e.to_string()));
            }
            Some(Ok(Message::Close(frame))) => {
                return Err(ConnectError::Closed(frame.map(|frame| frame.reason.to_string()).unwrap_or_default()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(ConnectError::Closed("without a reason".into())),
        }
    }
}
