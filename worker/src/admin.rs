//! What the operator can tell a running worker, over its admin port.
//!
//! Whoever may read the data folder may do so: a token lies there, in a file that only its owner can read. So neither
//! another user of the machine nor a page in a browser on it can drain the worker, and nobody from outside can.

use crate::config::Config;
use crate::drain::{self, Progress};
use crate::ledger::LedgerError;
use crate::node::Node;
use crate::watch::{Payout, Withdrawal};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Longest that a withdrawal may take.
const WITHDRAWAL: Duration = Duration::from_secs(600);

/// Where a running worker listens, and what opens it.
#[derive(Debug, Serialize, Deserialize)]
struct Door {
    address: SocketAddr,
    token: String,
}

fn file(data: &Path) -> PathBuf {
    data.join("admin.json")
}

impl Door {
    /// Makes a token and puts it where only the operator finds it.
    fn open(data: &Path, address: SocketAddr) -> std::io::Result<Self> {
        let door = Self { address, token: hex::encode(rand::random::<[u8; 32]>()) };
        let partial = file(data).with_extension("partial");
        // A file from before may have other rights.
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut written = std::fs::File::options().create_new(true).write(true).mode(0o600).open(&partial)?;
        written.write_all(&serde_json::to_vec(&door)?)?;
        std::fs::rename(partial, file(data))?;
        Ok(door)
    }
}

struct Admin {
    node: Arc<Node>,
    door: Door,
    withdrawals: mpsc::Sender<Withdrawal>,
}

type Shared = State<Arc<Admin>>;

/// The routes beside health and metrics.
pub(crate) fn router(
    node: Arc<Node>,
    address: SocketAddr,
    withdrawals: mpsc::Sender<Withdrawal>,
) -> Result<Router, LedgerError> {
    let door = Door::open(&node.config.data, address)?;
    let admin = Arc::new(Admin { node, door, withdrawals });
    Ok(Router::new()
        .route("/drain", get(read_drain).post(begin_drain))
        .route("/withdraw", post(withdraw))
        .layer(from_fn_with_state(admin.clone(), only_the_operator))
        .with_state(admin))
}

async fn only_the_operator(
    State(admin): Shared,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer "));
    let peer = peer.ip().to_canonical();
    // Whoever comes from the very address that is listened on is on this machine as well.
    let is_near = peer.is_loopback() || peer == admin.door.address.ip();
    if is_near && token.is_some_and(|token| same(token, &admin.door.token)) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "only who may read the worker's data folder, and from this machine\n").into_response()
}

/// Compares in a time that tells nothing.
fn same(given: &str, token: &str) -> bool {
    given.len() == token.len() && given.bytes().zip(token.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

async fn read_drain(State(admin): Shared) -> Result<Json<Progress>, Failure> {
    Ok(Json(drain::progress(&admin.node).await?))
}

async fn begin_drain(State(admin): Shared) -> Result<(StatusCode, Json<Progress>), Failure> {
    admin.node.drain.cancel();
    Ok((StatusCode::ACCEPTED, Json(drain::progress(&admin.node).await?)))
}

async fn withdraw(State(admin): Shared) -> Result<Json<Vec<Payout>>, Failure> {
    let (sender, answer) = oneshot::channel();
    let ended = || Failure("the worker is ending: try again once it has".into());
    admin.withdrawals.send(sender).await.map_err(|_| ended())?;
    Ok(Json(answer.await.map_err(|_| ended())?.map_err(Failure)?))
}

/// What went wrong, for the operator.
#[derive(Debug)]
struct Failure(String);

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, self.0).into_response()
    }
}

/// Why a running worker could not be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// No worker runs with this configuration.
    #[error("no worker runs on the data folder {0}")]
    NotRunning(String),
    /// The file that opens its admin port cannot be read.
    #[error("{0} cannot be read: run this as the worker's own user")]
    Closed(String),
    /// It said no, or failed.
    #[error("the worker answered: {0}")]
    Refused(String),
}

/// The operator's side.
#[derive(Debug)]
pub(crate) struct AdminClient {
    door: Door,
    folder: String,
    http: reqwest::Client,
}

impl AdminClient {
    /// The worker that runs with this configuration.
    pub(crate) fn find(config: &Config) -> Result<Self, AdminError> {
        let (path, folder) = (file(&config.data), config.data.display().to_string());
        let closed = || AdminError::Closed(path.display().to_string());
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(AdminError::NotRunning(folder)),
            Err(_) => return Err(closed()),
        };
        let door = serde_json::from_slice(&bytes).map_err(|_| closed())?;
        Ok(Self { door, folder, http: reqwest::Client::new() })
    }

    /// Begins a drain.
    pub(crate) async fn begin_drain(&self) -> Result<Progress, AdminError> {
        self.ask(self.http.post(self.url("drain"))).await
    }

    /// How far it is.
    pub(crate) async fn drain_progress(&self) -> Result<Progress, AdminError> {
        self.ask(self.http.get(self.url("drain"))).await
    }

    /// Has everything paid out that is due.
    pub(crate) async fn withdraw(&self) -> Result<Vec<Payout>, AdminError> {
        self.ask(self.http.post(self.url("withdraw")).timeout(WITHDRAWAL)).await
    }

    fn url(&self, path: &str) -> String {
        let mut address = self.door.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}/{path}")
    }

    async fn ask<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, AdminError> {
        let response = match request.bearer_auth(&self.door.token).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(AdminError::NotRunning(self.folder.clone())),
            Err(error) => return Err(AdminError::Refused(error.without_url().to_string())),
        };
        if !response.status().is_success() {
            return Err(AdminError::Refused(response.text().await.unwrap_or_default()));
        }
        response.json().await.map_err(|error| AdminError::Refused(error.without_url().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Folder;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_reads_the_token() {
        let folder = Folder::new();
        let address = "127.0.0.1:1".parse().unwrap();
        let (first, second) = (Door::open(&folder.0, address).unwrap(), Door::open(&folder.0, address).unwrap());
        assert_ne!(first.token, second.token);
        let metadata = std::fs::metadata(file(&folder.0)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abd", "abc") && !same("ab", "abc") && !same("", "abc") && !same("abcd", "abc"));
    }
}
