//! The keeper as an outlet: its terms, its blobs, and whether it is there.

use crate::accept::check_standing;
use crate::ledger::Assignment;
use crate::node::{Node, lock};
use crate::outlet::{BlobError, Outlet, Standing, verified};
use alloy::primitives::{Address, B256, keccak256};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use protocol::amount::Quantity;
use protocol::job::Blob;
use protocol::order::JobId;
use protocol::voucher::BatchNumber;
use protocol::wire::{Code, Info, ProofView, Refusal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use url::Url;

/// Longest that a request to the keeper may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Billing interval until the keeper has said its own.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// No keeper makes a worker bill more often than this.
const LEAST_INTERVAL: Duration = Duration::from_millis(50);
/// Nor more seldom: unpaid work is only noticed when it is billed.
const MOST_INTERVAL: Duration = Duration::from_secs(5);

/// A request to the keeper failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// It did not answer, or with a failure of its own.
    #[error("the keeper cannot be reached: {0}")]
    Unreachable(String),
    /// It has no such thing.
    #[error("the keeper has no {0}")]
    NotFound(String),
    /// It refused.
    #[error("the keeper refused: {0}")]
    Refused(String),
    /// The address of the keeper is not one.
    #[error("`keeper` is no HTTP address: {0}")]
    Address(String),
}

impl From<reqwest::Error> for LinkError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.without_url().to_string())
    }
}

/// One keeper.
pub(crate) struct KeeperLink {
    pub(crate) node: Arc<Node>,
    base: Url,
    http: reqwest::Client,
    info: Mutex<Option<Info>>,
    up: AtomicBool,
    due: Notify,
    offers_due: Notify,
}

impl KeeperLink {
    pub(crate) fn new(node: Arc<Node>, mut base: Url) -> Result<Self, LinkError> {
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(LinkError::Address(base.to_string()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).tcp_nodelay(true).build()?;
        Ok(Self { node, base, http, info: Mutex::default(), up: AtomicBool::new(false), due: Notify::new(), offers_due: Notify::new() })
    }

    /// The keeper's address, once it has said its terms.
    pub(crate) fn keeper(&self) -> Option<Address> {
        lock(&self.info).as_ref().map(|info| info.keeper)
    }

    pub(crate) fn set_info(&self, info: Info) {
        *lock(&self.info) = Some(info);
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }

    /// Resolves when a report may be due.
    pub(crate) async fn reports_due(&self) {
        self.due.notified().await;
    }

    /// Has every offer sent again: buyers do not see them.
    pub(crate) fn offer_again(&self) {
        self.offers_due.notify_one();
    }

    /// Resolves when every offer is to be sent again.
    pub(crate) async fn offers_due(&self) {
        self.offers_due.notified().await;
    }

    /// Address of the worker's socket.
    pub(crate) fn socket(&self) -> Result<Url, LinkError> {
        let mut url = self.url("v1/worker")?;
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).map_err(|()| LinkError::Address(self.base.to_string()))?;
        Ok(url)
    }

    pub(crate) async fn fetch_info(&self) -> Result<Info, LinkError> {
        Ok(self.get("v1/info").await?.json().await?)
    }

    /// The provider's leaf in a batch with its proof; not checked yet.
    pub(crate) async fn fetch_proof(&self, batch: BatchNumber, provider: Address) -> Result<ProofView, LinkError> {
        Ok(self.get(&format!("v1/batches/{batch}/proofs/{provider}")).await?.json().await?)
    }

    fn url(&self, path: &str) -> Result<Url, LinkError> {
        self.base.join(path).map_err(|error| LinkError::Address(error.to_string()))
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response, LinkError> {
        answer(path, self.http.get(self.url(path)?).send().await?).await
    }

    async fn fetch_blob(&self, hash: B256, limit: u64) -> Result<Bytes, BlobError> {
        let mut response = self.get(&format!("v1/blobs/{hash}")).await.map_err(|error| blob_error(hash, &error))?;
        let mut bytes = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if (bytes.len() as u64).saturating_add(chunk.len() as u64) > limit => {
                    return Err(BlobError::TooLarge { hash, limit });
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return verified(hash, bytes.freeze()),
                Err(error) => return Err(BlobError::Unreachable(error.without_url().to_string())),
            }
        }
    }

    async fn store_blob(&self, bytes: Bytes) -> Result<Blob, BlobError> {
        let blob = Blob { hash: keccak256(&bytes), length: Quantity(bytes.len() as u64) };
        let path = format!("v1/blobs/{}", blob.hash);
        let put = async {
            let response = self
                .http
                .put(self.url(&path)?)
                .header("content-type", "application/octet-stream")
                .body(bytes)
                .send()
                .await?;
            answer(&path, response).await
        };
        put.await.map(|_| blob).map_err(|error| blob_error(blob.hash, &error))
    }

    async fn check(&self, assignment: &Assignment) -> Result<(), Standing> {
        let (market, limits) = (&self.node.market, &self.node.config.limits);
        let unknown = |error: &dyn std::fmt::Display| Standing::Unknown(error.to_string());
        let keeper = market.keeper(assignment.keeper).await.map_err(|error| unknown(&error))?;
        let channel = market.channel(assignment.channel).await.map_err(|error| unknown(&error))?;
        let refused = |code, text: String| Err(Standing::Refused(Refusal::new(code, text)));
        if let Err(error) = check_standing(&keeper, &channel) {
            return refused(error.code(), error.to_string());
        }
        if channel.deposit <= channel.spent {
            return refused(Code::InsufficientFunds, "the channel holds nothing at the chain's safe head".into());
        }
        self.node.check_unpaid(assignment.channel).await?;
        let ledger = &self.node.ledger;
        let owed = ledger.channel_exposure(assignment.channel).await.map_err(|error| unknown(&error))?;
        if owed >= limits.channel {
            return refused(Code::Limited, format!("the channel owes {owed} nano that are not final yet"));
        }
        let owed = ledger.keeper_exposure(assignment.keeper).await.map_err(|error| unknown(&error))?;
        if owed >= limits.keeper {
            return refused(Code::Limited, format!("the keeper owes {owed} nano that are not final yet"));
        }
        Ok(())
    }
}

impl Outlet for KeeperLink {
    fn interval(&self) -> Duration {
        billing_interval(lock(&self.info).as_ref().map(|info| info.interval_ms))
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn changed(&self, _job: JobId) {
        self.due.notify_one();
    }

    fn standing<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<(), Standing>> {
        Box::pin(self.check(assignment))
    }

    fn fetch(&self, hash: B256, limit: u64) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        Box::pin(self.fetch_blob(hash, limit))
    }

    fn store(&self, bytes: Bytes) -> BoxFuture<'_, Result<Blob, BlobError>> {
        Box::pin(self.store_blob(bytes))
    }
}

/// The interval that the keeper says, within bounds.
fn billing_interval(said: Option<Quantity>) -> Duration {
    said.map_or(DEFAULT_INTERVAL, |ms| Duration::from_millis(ms.get())).clamp(LEAST_INTERVAL, MOST_INTERVAL)
}

/// A success, or what the keeper said instead.
async fn answer(what: &str, response: reqwest::Response) -> Result<reqwest::Response, LinkError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let said = response.text().await.unwrap_or_default();
    let said = serde_json::from_str::<serde_json::Value>(&said)
        .ok()
        .and_then(|problem| problem.get("detail").and_then(|detail| detail.as_str().map(str::to_owned)))
        .unwrap_or_else(|| status.to_string());
    Err(match status.as_u16() {
        404 => LinkError::NotFound(what.to_owned()),
        408 | 425 | 429 | 500.. => LinkError::Unreachable(said),
        _ => LinkError::Refused(said),
    })
}

fn blob_error(hash: B256, error: &LinkError) -> BlobError {
    match error {
        LinkError::NotFound(_) => BlobError::Missing(hash),
        LinkError::Unreachable(reason) => BlobError::Unreachable(reason.clone()),
        LinkError::Refused(reason) | LinkError::Address(reason) => BlobError::Refused { hash, reason: reason.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keeper_puts_billing_off() {
        assert_eq!(billing_interval(None), DEFAULT_INTERVAL);
        assert_eq!(billing_interval(Some(Quantity(0))), LEAST_INTERVAL);
        assert_eq!(billing_interval(Some(Quantity(700))), Duration::from_millis(700));
        assert_eq!(billing_interval(Some(Quantity(u64::MAX))), MOST_INTERVAL);
    }
}
