//! Usage lines: fetched from keepers, checked against the chain, and only then counted.

use crate::config::Keeper;
use crate::observe;
use alloy::primitives::B256;
use futures::StreamExt;
use indexer_store::fact::BatchId;
use indexer_store::row::Wanted;
use indexer_store::store::Store;
use protocol::batch::{Commitment, LINE_BYTES, Lines, LinesError};
use service::shutdown::Shutdown;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often batches are looked for even if nothing was heard of a new one.
const TICK: Duration = Duration::from_secs(1);
/// Longest pause between two attempts to reach a keeper.
const UNREACHABLE: Duration = Duration::from_secs(60);
/// Longest pause after a keeper published something else than it committed to.
const LYING: Duration = Duration::from_secs(600);
/// How long one file may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Keepers asked at a time.
const PARALLEL: usize = 4;

/// Why a batch's lines do not count yet.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// The keeper did not answer.
    #[error("its keeper cannot be reached: {0}")]
    Unreachable(String),
    /// The keeper answered with an error.
    #[error("its keeper answered {0}")]
    Status(reqwest::StatusCode),
    /// More bytes than the committed number of lines has.
    #[error("its keeper sent more than the {0} lines that it committed to")]
    TooLong(u32),
    /// The file is not the committed one.
    #[error(transparent)]
    Lines(#[from] LinesError),
}

impl FetchError {
    /// Whether the keeper published something else than it committed to.
    const fn is_mismatch(&self) -> bool {
        matches!(self, Self::TooLong(_) | Self::Lines(_))
    }
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.without_url().to_string())
    }
}

/// Attempts at one file.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    failed: u32,
    next: Instant,
}

/// A keeper's files, fetched one after another.
struct Source {
    keeper: Keeper,
    attempts: HashMap<(BatchId, B256), Attempts>,
}

/// Fetches lines until shutdown.
pub(crate) struct Fetcher<S> {
    store: S,
    client: reqwest::Client,
    sources: Vec<Source>,
    changed: Arc<watch::Sender<()>>,
}

impl<S: Store> Fetcher<S> {
    pub(crate) fn new(store: S, keepers: &[Keeper], changed: Arc<watch::Sender<()>>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        let sources =
            keepers.iter().map(|keeper| Source { keeper: keeper.clone(), attempts: HashMap::new() }).collect();
        Ok(Self { store, client, sources, changed })
    }

    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut news = self.changed.subscribe();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.round() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                // The sender lives in `self`, so this only ends with news.
                _ = news.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Looks once at what is missing and due, at several keepers at a time.
    async fn round(&mut self) {
        let (store, client, changed) = (&self.store, &self.client, &self.changed);
        futures::stream::iter(self.sources.iter_mut())
            .for_each_concurrent(PARALLEL, |source| async move { visit(store, client, changed, source).await })
            .await;
    }
}

async fn visit<S: Store>(store: &S, client: &reqwest::Client, changed: &watch::Sender<()>, source: &mut Source) {
    let wanted = match store.wanted(source.keeper.address).await {
        Ok(wanted) => wanted,
        Err(error) => return observe::store_failed(&error),
    };
    source.attempts.retain(|key, _| wanted.iter().any(|want| key_of(want) == *key));
    for want in wanted {
        let key = key_of(&want);
        if source.attempts.get(&key).is_some_and(|attempts| attempts.next > Instant::now()) {
            continue;
        }
        let done = match fetch(client, &source.keeper, want).await {
            Ok(lines) => {
                observe::lines_verified(want.id, lines.lines().len());
                store.attach(want.id, &lines).await.map(|_| ())
            }
            Err(error) => {
                let failed = source.attempts.get(&key).map_or(0, |attempts| attempts.failed).saturating_add(1);
                let next = Instant::now() + pause(failed, error.is_mismatch());
                source.attempts.insert(key, Attempts { failed, next });
                observe::lines_failed(want.id, &error.to_string(), error.is_mismatch());
                store.complain(want.id, &error.to_string(), error.is_mismatch()).await
            }
        };
        match done {
            Ok(()) => changed.send_replace(()),
            Err(error) => observe::store_failed(&error),
        }
    }
}

const fn key_of(want: &Wanted) -> (BatchId, B256) {
    (want.id, want.commitment.data_hash)
}

/// Doubles from one second.
fn pause(failed: u32, is_mismatch: bool) -> Duration {
    let longest = if is_mismatch { LYING } else { UNREACHABLE };
    Duration::from_secs(1 << failed.saturating_sub(1).min(16)).min(longest)
}

async fn fetch(client: &reqwest::Client, keeper: &Keeper, want: Wanted) -> Result<Lines, FetchError> {
    let base = keeper.url.as_str().trim_end_matches('/');
    let answer = client.get(format!("{base}/v1/batches/{}/lines", want.id.number)).send().await?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status()));
    }
    let bytes = read_bounded(answer, want.commitment.line_count).await?;
    verify(bytes, want.commitment).await
}

/// Reads no more than the committed number of lines: a keeper must not fill the memory of those who check it.
async fn read_bounded(answer: reqwest::Response, line_count: u32) -> Result<Vec<u8>, FetchError> {
    let longest = line_count as usize * LINE_BYTES;
    let mut bytes = Vec::new();
    let mut answer = answer;
    while let Some(chunk) = answer.chunk().await? {
        if bytes.len() + chunk.len() > longest {
            return Err(FetchError::TooLong(line_count));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Hashing a large file takes longer than a task may hold its thread.
async fn verify(bytes: Vec<u8>, commitment: Commitment) -> Result<Lines, FetchError> {
    let done = tokio::task::spawn_blocking(move || Lines::verify(&bytes, &commitment)).await;
    match done {
        Ok(lines) => Ok(lines?),
        Err(_) => Err(FetchError::Unreachable("this indexer is shutting down".to_owned())),
    }
}
