//! A keeper's HTTP side: its terms, its proofs, its blobs. It needs no login.

use alloy::primitives::Address;
use protocol::voucher::BatchNumber;
use protocol::wire::{Info, ProofView};
use std::time::Duration;
use url::Url;

/// Longest that a request to the keeper may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Where a keeper is asked.
#[derive(Debug, Clone)]
pub(crate) struct KeeperApi {
    base: Url,
    pub(crate) http: reqwest::Client,
}

impl KeeperApi {
    pub(crate) fn new(mut base: Url) -> Result<Self, LinkError> {
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(LinkError::Address(base.to_string()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).tcp_nodelay(true).build()?;
        Ok(Self { base, http })
    }

    /// The keeper's address on the web.
    pub(crate) const fn base(&self) -> &Url {
        &self.base
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

    pub(crate) fn url(&self, path: &str) -> Result<Url, LinkError> {
        self.base.join(path).map_err(|error| LinkError::Address(error.to_string()))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<reqwest::Response, LinkError> {
        answer(path, self.http.get(self.url(path)?).send().await?).await
    }
}

/// A success, or what the keeper said instead.
pub(crate) async fn answer(what: &str, response: reqwest::Response) -> Result<reqwest::Response, LinkError> {
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
