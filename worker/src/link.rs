//! The keeper as an outlet: its terms, its blobs, and whether it is there.

use crate::accept::check_standing;
use crate::keeper_api::{KeeperApi, LinkError, answer};
use crate::ledger::Assignment;
use crate::node::{Node, lock};
use crate::outlet::{BlobError, Outlet, Standing, verified};
use alloy::primitives::{Address, B256, keccak256};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use protocol::amount::Quantity;
use protocol::job::Blob;
use protocol::order::JobId;
use protocol::wire::{Code, Info, Refusal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use url::Url;

/// Billing interval until the keeper has said its own.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// No keeper makes a worker bill more often than this.
const LEAST_INTERVAL: Duration = Duration::from_millis(50);
/// Nor more seldom: unpaid work is only noticed when it is billed.
const MOST_INTERVAL: Duration = Duration::from_secs(5);

/// One keeper.
pub(crate) struct KeeperLink {
    pub(crate) node: Arc<Node>,
    pub(crate) api: KeeperApi,
    info: Mutex<Option<Info>>,
    up: AtomicBool,
    due: Notify,
    offers_due: Notify,
}

impl KeeperLink {
    pub(crate) fn new(node: Arc<Node>, base: Url) -> Result<Self, LinkError> {
        let (api, up) = (KeeperApi::new(base)?, AtomicBool::new(false));
        Ok(Self { node, api, info: Mutex::default(), up, due: Notify::new(), offers_due: Notify::new() })
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

    async fn fetch_blob(&self, hash: B256, limit: u64) -> Result<Bytes, BlobError> {
        let mut response = self.api.get(&format!("v1/blobs/{hash}")).await.map_err(|error| blob_error(hash, &error))?;
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
                .api
                .http
                .put(self.api.url(&path)?)
                .header("content-type", "application/octet-stream")
                .body(bytes)
                .send()
                .await?;
            answer(&path, response).await
        };
        put.await.map(|_| blob).map_err(|error| blob_error(blob.hash, &error))
    }

    /// Whether the chain lets work for this channel and keeper go on.
    async fn stands(&self, assignment: &Assignment) -> Result<(), Standing> {
        let market = &self.node.market;
        let unknown = |error: &dyn std::fmt::Display| Standing::Unknown(error.to_string());
        let keeper = market.keeper(assignment.keeper).await.map_err(|error| unknown(&error))?;
        let channel = market.channel(assignment.keeper, assignment.channel).await.map_err(|error| unknown(&error))?;
        let refused = |code, text: String| Err(Standing::Refused(Refusal::new(code, text)));
        if let Err(error) = check_standing(&keeper, &channel) {
            return refused(error.code(), error.to_string());
        }
        if channel.deposit <= channel.spent {
            return refused(Code::InsufficientFunds, "the channel holds nothing at the chain's safe head".into());
        }
        Ok(())
    }

    async fn check(&self, assignment: &Assignment) -> Result<(), Standing> {
        let limits = &self.node.config.limits;
        let unknown = |error: &dyn std::fmt::Display| Standing::Unknown(error.to_string());
        let refused = |code, text: String| Err(Standing::Refused(Refusal::new(code, text)));
        if self.stands(assignment).await.is_err() {
            // What was read a moment ago may have changed since: a bond or a deposit has become safe.
            self.node.market.refresh(assignment.keeper, assignment.channel);
            self.stands(assignment).await?;
        }
        self.node.check_unaccepted(assignment).await?;
        // What runs may be accepted at any moment, so it counts as if it were.
        let (ledger, running) = (&self.node.ledger, &self.node.unaccepted);
        let owed = ledger.channel_exposure(assignment.channel).await.map_err(|error| unknown(&error))?;
        let owed = running.of_channel(assignment.channel).and_then(|sum| sum.plus(owed)).map_err(|e| unknown(&e))?;
        if owed >= limits.channel {
            let limit = limits.channel;
            return refused(Code::Limited, format!("the channel owes {owed} nano that are not final yet, of {limit}"));
        }
        let owed = ledger.keeper_exposure(assignment.keeper).await.map_err(|error| unknown(&error))?;
        let owed = running.of_keeper(assignment.keeper).and_then(|sum| sum.plus(owed)).map_err(|e| unknown(&e))?;
        if owed >= limits.keeper {
            let limit = limits.keeper;
            return refused(Code::Limited, format!("the keeper owes {owed} nano that are not final yet, of {limit}"));
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
