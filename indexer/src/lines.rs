//! Usage lines: fetched from keepers, checked against the chain, and only then counted.

use crate::config::Keeper;
use crate::observe;
use alloy::primitives::B256;
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

/// Fetches lines until shutdown.
pub(crate) struct Fetcher<S> {
    sources: Vec<Source<S>>,
}

impl<S: Store> Fetcher<S> {
    pub(crate) fn new(store: &S, keepers: &[Keeper], changed: &Arc<watch::Sender<()>>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        let sources = keepers.iter().map(|keeper| Source {
            keeper: keeper.clone(),
            store: store.clone(),
            client: client.clone(),
            changed: Arc::clone(changed),
            attempts: HashMap::new(),
        });
        Ok(Self { sources: sources.collect() })
    }

    /// All keepers at once, so that none can hold up another by being slow.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        futures::future::join_all(self.sources.into_iter().map(|source| source.run(shutdown.clone()))).await;
    }
}

/// One keeper's files, fetched one after another.
struct Source<S> {
    keeper: Keeper,
    store: S,
    client: reqwest::Client,
    changed: Arc<watch::Sender<()>>,
    attempts: HashMap<(BatchId, B256), Attempts>,
}

impl<S: Store> Source<S> {
    async fn run(mut self, shutdown: Shutdown) {
        let mut news = self.changed.subscribe();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.visit() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                // The sender lives in `self`, so this only ends with news.
                _ = news.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Looks once at what is missing and due.
    async fn visit(&mut self) {
        let wanted = match self.store.wanted(self.keeper.address).await {
            Ok(wanted) => wanted,
            Err(error) => return observe::store_failed(&error),
        };
        self.attempts.retain(|key, _| wanted.iter().any(|want| key_of(want) == *key));
        for want in wanted {
            let is_due = self.attempts.get(&key_of(&want)).is_none_or(|attempts| attempts.next <= Instant::now());
            if is_due {
                self.take(want).await;
            }
        }
    }

    /// Fetches and attaches one file, or remembers why not.
    async fn take(&mut self, want: Wanted) {
        let done = match fetch(&self.client, &self.keeper, want).await {
            Ok(lines) => match self.store.attach(want.id, &lines).await {
                Ok(_) => Ok(lines.lines().len()),
                Err(error) => Err((error.to_string(), false)),
            },
            Err(error) => Err((error.to_string(), error.is_mismatch())),
        };
        match done {
            Ok(count) => observe::lines_verified(want.id, count),
            Err((problem, is_mismatch)) => self.fail(want, &problem, is_mismatch).await,
        }
        self.changed.send_replace(());
    }

    async fn fail(&mut self, want: Wanted, problem: &str, is_mismatch: bool) {
        let failed = self.attempts.get(&key_of(&want)).map_or(0, |attempts| attempts.failed).saturating_add(1);
        let next = Instant::now() + pause(failed, is_mismatch);
        self.attempts.insert(key_of(&want), Attempts { failed, next });
        observe::lines_failed(want.id, problem, is_mismatch);
        if let Err(error) = self.store.complain(want.id, problem, is_mismatch).await {
            observe::store_failed(&error);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_that_is_longer_for_a_liar() {
        let seconds = |failed, is_mismatch| pause(failed, is_mismatch).as_secs();
        assert_eq!([1, 2, 3, 7, u32::MAX].map(|failed| seconds(failed, false)), [1, 2, 4, 60, 60]);
        assert_eq!([1, 7, u32::MAX].map(|failed| seconds(failed, true)), [1, 64, 600]);
    }
}
