//! REST client of a keeper, or of a worker's direct endpoint, which speaks the same.

use alloy::primitives::{Address, B256, keccak256};
use bytes::Bytes;
use protocol::job::Blob;
use protocol::order::{JobId, SignedOrder};
use protocol::resource::ResourceId;
use protocol::voucher::{BatchNumber, ChannelId};
use protocol::wire::{BatchView, Book, ChannelView, Code, Info, JobView, OfferView, OrderTaken, ProofView, Refusal};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use url::Url;

/// Answers other than blobs are at most this long.
const MAX_ANSWER: u64 = 64 << 20;
/// A refusal is a few sentences, whatever the server sends.
const MAX_REFUSAL: usize = 64 << 10;

/// A request to a keeper did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The keeper said no, and why.
    #[error("the keeper refused: {0}")]
    Refused(Refusal),
    /// No answer, or a failure on its side: the same request may succeed later.
    #[error("the keeper cannot be reached right now: {0}")]
    Retryable(String),
    /// It answers, but not as a keeper does.
    #[error("this is no answer of a keeper: {0}. Check the URL, and that both run the same version")]
    Final(String),
}

impl KeeperError {
    /// Whether the same request may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.code, Code::Internal | Code::Limited),
            Self::Retryable(_) => true,
            Self::Final(_) => false,
        }
    }

    /// Why the keeper refused, if it did.
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Retryable(_) | Self::Final(_) => None,
        }
    }
}

impl From<reqwest::Error> for KeeperError {
    fn from(error: reqwest::Error) -> Self {
        let text = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ");
        if error.is_builder() || error.is_decode() { Self::Final(text) } else { Self::Retryable(text) }
    }
}

/// The two fields of a problem document (RFC 9457) that a program needs.
#[derive(Deserialize)]
struct Problem {
    code: Code,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    title: Option<String>,
}

/// A keeper behind a URL.
#[derive(Debug, Clone)]
pub struct Keeper {
    url: Url,
    http: Client,
}

impl Keeper {
    /// Talks to the keeper at `url`, such as `http://127.0.0.1:8420`.
    pub fn new(url: Url) -> Result<Self, KeeperError> {
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(KeeperError::Final(format!("{url} is not an http or https URL")));
        }
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(60))
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { url, http })
    }

    /// Where it is.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Who this is and on which terms it works.
    pub async fn info(&self) -> Result<Info, KeeperError> {
        self.get("info").await
    }

    /// Uploads bytes and returns their name.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<Blob, KeeperError> {
        let blob = Blob { hash: keccak256(&bytes), length: (bytes.len() as u64).into() };
        let request = self.request(Method::PUT, &format!("blobs/{}", blob.hash))?;
        checked(request.header("content-type", "application/octet-stream").body(bytes).send().await?).await?;
        Ok(blob)
    }

    /// Downloads a blob; only bytes with that hash are ever returned.
    pub async fn blob(&self, hash: B256, limit: u64) -> Result<Bytes, KeeperError> {
        let request = self.request(Method::GET, &format!("blobs/{hash}"))?;
        let bytes = body(checked(request.send().await?).await?, limit).await?;
        let found = keccak256(&bytes);
        if found != hash {
            return Err(KeeperError::Final(format!("asked for blob {hash}, got bytes that hash to {found}")));
        }
        Ok(bytes)
    }

    /// Orders a job. The same order again names the same job.
    pub async fn order(&self, order: &SignedOrder) -> Result<OrderTaken, KeeperError> {
        let request = self.request(Method::POST, "orders")?.json(order);
        json(checked(request.send().await?).await?).await
    }

    /// One job.
    pub async fn job(&self, id: JobId) -> Result<JobView, KeeperError> {
        self.get(&format!("jobs/{id}")).await
    }

    /// The jobs of a channel, by who funded it and its session key.
    pub async fn jobs(&self, payer: Address, signer: Address) -> Result<Vec<JobView>, KeeperError> {
        self.get(&format!("jobs?payer={payer}&signer={signer}")).await
    }

    /// Price levels of a resource.
    pub async fn book(&self, resource: ResourceId) -> Result<Book, KeeperError> {
        self.get(&format!("book/{resource}")).await
    }

    /// Offers in the book.
    pub async fn offers(&self) -> Result<Vec<OfferView>, KeeperError> {
        self.get("offers").await
    }

    /// The keeper's account of a channel, with its evidence.
    pub async fn vouchers(&self, channel: ChannelId) -> Result<ChannelView, KeeperError> {
        self.get(&format!("vouchers/{channel}")).await
    }

    /// The newest batches.
    pub async fn batches(&self) -> Result<Vec<BatchView>, KeeperError> {
        self.get("batches").await
    }

    /// One batch.
    pub async fn batch(&self, number: BatchNumber) -> Result<BatchView, KeeperError> {
        self.get(&format!("batches/{number}")).await
    }

    /// The lines file of a batch, as published. It counts only once `protocol::batch::Lines::verify` has taken it.
    pub async fn lines(&self, number: BatchNumber) -> Result<Bytes, KeeperError> {
        let request = self.request(Method::GET, &format!("batches/{number}/lines"))?;
        body(checked(request.send().await?).await?, MAX_ANSWER).await
    }

    /// A provider's leaf in a batch and its proof.
    pub async fn proof(&self, number: BatchNumber, provider: Address) -> Result<ProofView, KeeperError> {
        self.get(&format!("batches/{number}/proofs/{provider}")).await
    }

    /// Where its client socket is.
    pub fn socket_url(&self) -> Result<Url, KeeperError> {
        let mut url = self.join("client")?;
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).map_err(|()| KeeperError::Final(format!("{url} cannot carry a socket")))?;
        Ok(url)
    }

    fn join(&self, path: &str) -> Result<Url, KeeperError> {
        let base = self.url.as_str().trim_end_matches('/');
        format!("{base}/v1/{path}").parse().map_err(|error| KeeperError::Final(format!("{base}: {error}")))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, KeeperError> {
        Ok(self.http.request(method, self.join(path)?))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, KeeperError> {
        json(checked(self.request(Method::GET, path)?.send().await?).await?).await
    }
}

/// Turns an error status into the refusal that its body holds.
async fn checked(response: Response) -> Result<Response, KeeperError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = response.url().clone();
    let bytes = body(response, MAX_REFUSAL as u64).await.unwrap_or_default();
    if let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) {
        let detail = problem.detail.or(problem.title).unwrap_or_else(|| format!("HTTP status {status}"));
        return Err(KeeperError::Refused(Refusal::new(problem.code, detail)));
    }
    let text = format!("{url} answered {status}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => KeeperError::Retryable(text),
        _ if status.is_server_error() => KeeperError::Retryable(text),
        _ => KeeperError::Final(text),
    })
}

/// Reads a body that must not be longer than `limit`, without trusting what its header says.
async fn body(mut response: Response, limit: u64) -> Result<Bytes, KeeperError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(KeeperError::Final(format!("{} sends more than {limit} bytes", response.url())));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, KeeperError> {
    let url = response.url().clone();
    let bytes = body(response, MAX_ANSWER).await?;
    serde_json::from_slice(&bytes).map_err(|error| KeeperError::Final(format!("{url}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Keeper {
        Keeper::new(url.parse().unwrap()).unwrap()
    }

    #[test]
    fn paths_are_below_the_given_url() {
        assert_eq!(at("http://127.0.0.1:1/").join("info").unwrap().as_str(), "http://127.0.0.1:1/v1/info");
        assert_eq!(at("https://x.example/capa").join("a?b=c").unwrap().as_str(), "https://x.example/capa/v1/a?b=c");
        assert_eq!(at("https://x.example").socket_url().unwrap().as_str(), "wss://x.example/v1/client");
        assert_eq!(at("http://[::1]:9").socket_url().unwrap().as_str(), "ws://[::1]:9/v1/client");
    }

    #[test]
    fn other_schemes_are_refused() {
        for url in ["ftp://x.example", "mailto:a@b.example", "file:///etc/passwd"] {
            assert!(matches!(Keeper::new(url.parse().unwrap()), Err(KeeperError::Final(_))), "{url}");
        }
    }
}
