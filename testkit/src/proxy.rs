//! Proxies that lose exactly what a test wants lost, so that a service can be killed at a known point.
//!
//! Nothing inside a service knows of them: a service that is killed at the moment when its message is swallowed was,
//! for everybody else, killed before it was sent.

use axum::{Router, body::Bytes, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

/// What a proxy looks for; once seen, this and all that follows is swallowed.
#[derive(Debug, Default)]
struct Trap {
    needle: Mutex<Option<Vec<u8>>>,
    caught: Notify,
}

impl Trap {
    fn catches(&self, bytes: &[u8]) -> bool {
        let needle = self.needle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = needle.as_ref().is_some_and(|n| bytes.windows(n.len()).any(|window| window == &n[..]));
        drop(needle);
        if found {
            self.caught.notify_one();
        }
        found
    }

    fn set(&self, needle: Option<&[u8]>) {
        *self.needle.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = needle.map(<[u8]>::to_vec);
    }
}

/// A TCP proxy in front of a service's HTTP and WebSocket port.
#[derive(Debug)]
pub struct SocketProxy {
    url: Url,
    trap: Arc<Trap>,
    stop: CancellationToken,
}

impl SocketProxy {
    /// Listens on a free port and forwards to `target`.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?).parse()?;
        let (trap, stop) = (Arc::new(Trap::default()), CancellationToken::new());
        tokio::spawn(accept(listener, target, trap.clone(), stop.clone()));
        Ok(Self { url, trap, stop })
    }

    /// Where to connect instead.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// From now on swallows everything that the service sends once it sends `text`.
    pub fn swallow(&self, text: &str) {
        self.trap.set(Some(text.as_bytes()));
    }

    /// Forwards everything again, on connections made from now on.
    pub fn release(&self) {
        self.trap.set(None);
    }

    /// Waits until the trap has caught something.
    pub async fn caught(&self) {
        self.trap.caught.notified().await;
    }
}

impl Drop for SocketProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, trap: Arc<Trap>, stop: CancellationToken) {
    loop {
        let inbound = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((inbound, _)) = inbound else { continue };
        // A service that is down refuses; so does its proxy, by closing.
        let Ok(outbound) = TcpStream::connect(target).await else { continue };
        let _ = (inbound.set_nodelay(true), outbound.set_nodelay(true));
        let (read_in, write_in) = inbound.into_split();
        let (read_out, write_out) = outbound.into_split();
        let forward = copy(read_in, write_out, None);
        let back = copy(read_out, write_in, Some(trap.clone()));
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, () = forward => {}, () = back => {} }
        });
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, trap: Option<Arc<Trap>>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        if trap.as_ref().is_some_and(|trap| trap.catches(&buffer[..length])) {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// An HTTP proxy in front of a chain's RPC endpoint.
#[derive(Debug)]
pub struct RpcProxy {
    url: Url,
    trap: Arc<Trap>,
    stop: CancellationToken,
}

struct Forward {
    target: Url,
    client: reqwest::Client,
    trap: Arc<Trap>,
}

impl RpcProxy {
    /// Listens on a free port and forwards to `target`.
    pub async fn start(target: Url) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?).parse()?;
        let (trap, stop) = (Arc::new(Trap::default()), CancellationToken::new());
        let state = Arc::new(Forward { target, client: reqwest::Client::new(), trap: trap.clone() });
        let router = Router::new().route("/", post(forward)).with_state(state);
        let until = stop.clone();
        tokio::spawn(
            async move { axum::serve(listener, router).with_graceful_shutdown(until.cancelled_owned()).await },
        );
        Ok(Self { url, trap, stop })
    }

    /// Where to send requests instead.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// From now on answers 502 to a request that contains `text`, without forwarding it.
    pub fn refuse(&self, text: &str) {
        self.trap.set(Some(text.as_bytes()));
    }

    /// Forwards everything again.
    pub fn release(&self) {
        self.trap.set(None);
    }

    /// Waits until the trap has caught something.
    pub async fn caught(&self) {
        self.trap.caught.notified().await;
    }
}

impl Drop for RpcProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn forward(State(state): State<Arc<Forward>>, body: Bytes) -> impl IntoResponse {
    if state.trap.catches(&body) {
        return (StatusCode::BAD_GATEWAY, Bytes::new());
    }
    let request = state.client.post(state.target.clone()).header("content-type", "application/json").body(body);
    match request.send().await {
        Ok(answer) => (StatusCode::OK, answer.bytes().await.unwrap_or_default()),
        Err(_) => (StatusCode::BAD_GATEWAY, Bytes::new()),
    }
}
