//! A keeper's HTTP side: its terms, its proofs, its blobs. It needs no login.

use alloy::primitives::Address;
use protocol::voucher::BatchNumber;
use protocol::wire::{Info, ProofView};
use serde::de::DeserializeOwned;
use std::time::Duration;
use url::Url;

/// Longest that a request to the keeper may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest document of a keeper that is read, in bytes; blobs have bounds of their own.
const MAX_DOCUMENT: usize = 1 << 20;

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
        self.read("v1/info").await
    }

    /// The provider's leaf in a batch with its proof; not checked yet.
    pub(crate) async fn fetch_proof(&self, batch: BatchNumber, provider: Address) -> Result<ProofView, LinkError> {
        self.read(&format!("v1/batches/{batch}/proofs/{provider}")).await
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url, LinkError> {
        self.base.join(path).map_err(|error| LinkError::Address(error.to_string()))
    }

    /// A document of the keeper's, which is never large.
    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, LinkError> {
        let text = bounded(self.get(path).await?).await?;
        serde_json::from_slice(&text).map_err(|error| LinkError::Refused(format!("{path} cannot be read: {error}")))
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
    let said = bounded(response).await.unwrap_or_default();
    let said = serde_json::from_slice::<serde_json::Value>(&said)
        .ok()
        .and_then(|problem| problem.get("detail").and_then(|detail| detail.as_str().map(str::to_owned)))
        .unwrap_or_else(|| status.to_string());
    Err(match status.as_u16() {
        404 => LinkError::NotFound(what.to_owned()),
        408 | 425 | 429 | 500.. => LinkError::Unreachable(said),
        _ => LinkError::Refused(said),
    })
}

/// The body of an answer; one that has no end must not fill the memory.
async fn bounded(mut response: reqwest::Response) -> Result<Vec<u8>, LinkError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_DOCUMENT {
            return Err(LinkError::Refused(format!("it sent more than {MAX_DOCUMENT} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::get;
    use bytes::Bytes;

    fn endless() -> Body {
        Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 16]))))
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_cut_off() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let proofs = get(async || (StatusCode::BAD_REQUEST, endless()));
        let routes = Router::new().route("/v1/info", get(async || endless())).fallback_service(proofs);
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        let api = KeeperApi::new(base.parse().unwrap()).unwrap();
        let answers = async {
            let info = api.fetch_info().await.err().unwrap();
            assert!(matches!(&info, LinkError::Refused(text) if text.contains("1048576 bytes")), "{info}");
            let proof = api.fetch_proof(1, Address::ZERO).await.err().unwrap();
            assert!(matches!(&proof, LinkError::Refused(text) if text.contains("400")), "{proof}");
        };
        tokio::time::timeout(Duration::from_secs(20), answers).await.expect("it reads on and on");
        server.abort();
    }
}
