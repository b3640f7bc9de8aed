//! The transport under [`super::Chain`]: one request, several endpoints, the next when one fails.
//!
//! It also keeps addresses out of logs: an endpoint's path and query often are its access token.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use url::Url;

use super::ChainError;

/// How long an endpoint that failed is asked only after all others.
const REST: Duration = Duration::from_secs(5);

/// Several endpoints of one chain, in order of preference.
#[derive(Clone)]
pub(super) struct Endpoints {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    chain_id: u64,
    list: Vec<Endpoint>,
    started: Instant,
}

struct Endpoint {
    url: Url,
    /// Host and port: what may be logged.
    name: String,
    /// Set while the endpoint is known to serve our chain; cleared by each failure, since what comes back after
    /// one need not be what went away.
    verified: AtomicBool,
    /// Milliseconds since `started` until which the endpoint is asked last.
    resting_until: AtomicU64,
}

/// Why one endpoint gave no answer.
enum Failure {
    WrongChain(u64),
    Other(String),
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongChain(id) => write!(f, "serves chain {id}"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// The part of an endpoint's address that may be shown.
pub(super) fn public_name(url: &Url) -> String {
    let host = url.host_str().unwrap_or("unknown host");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Endpoints {
    pub(super) fn new(urls: &[Url], chain_id: u64, timeout: Duration) -> Result<Self, ChainError> {
        if urls.is_empty() {
            return Err(ChainError::Final("no endpoint is configured: add one to `endpoints`".into()));
        }
        // A request is answered by the endpoint it was sent to or by none: a redirect would carry it elsewhere.
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ChainError::Final(format!("cannot set up HTTP: {error}")))?;
        let list = urls
            .iter()
            .map(|url| Endpoint {
                url: url.clone(),
                name: public_name(url),
                verified: AtomicBool::new(false),
                resting_until: AtomicU64::new(0),
            })
            .collect();
        Ok(Self { inner: Arc::new(Inner { http, chain_id, list, started: Instant::now() }) })
    }

    /// Asks every endpoint for its chain. An endpoint of another chain is a mistake in the configuration; one that
    /// does not answer may come back; that none answers is reported.
    pub(super) async fn check_all(&self) -> Result<(), ChainError> {
        let mut silent = Vec::new();
        for endpoint in &self.inner.list {
            match self.inner.verify(endpoint).await {
                Ok(()) => {}
                Err(Failure::WrongChain(id)) => {
                    return Err(ChainError::Final(format!(
                        "{} serves chain {id}, but chain {} is configured: correct `endpoints` or `chain_id`",
                        endpoint.name, self.inner.chain_id
                    )));
                }
                Err(Failure::Other(reason)) => silent.push(format!("{}: {reason}", endpoint.name)),
            }
        }
        if silent.len() == self.inner.list.len() {
            return Err(ChainError::Retryable(format!("no endpoint answers ({})", silent.join("; "))));
        }
        for reason in silent {
            tracing::warn!(%reason, "an endpoint of the chain does not answer; going on with the others");
        }
        Ok(())
    }

    async fn dispatch(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = serde_json::to_vec(&packet).map_err(TransportError::ser_err)?;
        let mut reasons = Vec::new();
        for endpoint in self.inner.by_preference() {
            match self.inner.ask(endpoint, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    metrics::counter!("chain_endpoint_failures_total", "endpoint" => endpoint.name.clone())
                        .increment(1);
                    tracing::debug!(endpoint = %endpoint.name, reason = %failure, "an endpoint of the chain failed");
                    self.inner.rest(endpoint);
                    reasons.push(format!("{}: {failure}", endpoint.name));
                }
            }
        }
        Err(TransportErrorKind::custom_str(&reasons.join("; ")))
    }
}

impl Inner {
    /// The endpoints in the configured order, those that failed a moment ago last.
    fn by_preference(&self) -> Vec<&Endpoint> {
        let now = self.now();
        let mut order: Vec<&Endpoint> = self.list.iter().collect();
        order.sort_by_key(|endpoint| endpoint.resting_until.load(Ordering::Relaxed) > now);
        order
    }

    async fn ask(&self, endpoint: &Endpoint, body: Vec<u8>) -> Result<ResponsePacket, Failure> {
        if !endpoint.verified.load(Ordering::Relaxed) {
            self.verify(endpoint).await?;
        }
        let (status, bytes) = self.post(endpoint, body).await?;
        let limited = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let answer: ResponsePacket = serde_json::from_slice(&bytes)
            .ok()
            .filter(|_| !limited)
            .ok_or_else(|| Failure::Other(format!("answered with HTTP status {status}")))?;
        let busy = answer.payloads().find_map(|payload| payload.as_error().filter(|error| error.is_retry_err()));
        match busy {
            Some(error) => Err(Failure::Other(error.message.to_string())),
            None => Ok(answer),
        }
    }

    async fn verify(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        let question = br#"{"jsonrpc":"2.0","id":0,"method":"eth_chainId","params":[]}"#;
        let (_, bytes) = self.post(endpoint, question.to_vec()).await?;
        let answer: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|_| Failure::Other("does not speak JSON-RPC".into()))?;
        let id = answer["result"]
            .as_str()
            .and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok())
            .ok_or_else(|| Failure::Other("does not tell its chain id".into()))?;
        if id != self.chain_id {
            return Err(Failure::WrongChain(id));
        }
        endpoint.verified.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn post(&self, endpoint: &Endpoint, body: Vec<u8>) -> Result<(StatusCode, Vec<u8>), Failure> {
        // The library's errors print the address they failed at, token and all.
        let failed = |error: reqwest::Error| Failure::Other(error.without_url().to_string());
        let request = self.http.post(endpoint.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        Ok((status, answer.bytes().await.map_err(failed)?.to_vec()))
    }

    fn rest(&self, endpoint: &Endpoint) {
        endpoint.verified.store(false, Ordering::Relaxed);
        let until = self.now().saturating_add(millis(REST));
        endpoint.resting_until.store(until, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl tower::Service<RequestPacket> for Endpoints {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().dispatch(packet))
    }
}
