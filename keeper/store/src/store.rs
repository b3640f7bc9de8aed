//! The operations.

use crate::{Batch, Channel, Entry, Identity, Job, JobFilter, StoreError, StoredOffer};
use alloy::primitives::{Address, B256};
use protocol::amount::{Amount, Quantity, Timestamp};
use protocol::batch::Line;
use protocol::order::JobId;
use protocol::receipt::Receipt;
use protocol::voucher::{Accepted, BatchNumber, ChannelId, SignedVoucher};
use std::collections::BTreeMap;
use std::future::Future;

type Result<T> = std::result::Result<T, StoreError>;

/// A keeper's memory. Each method is one durable transaction.
pub trait Store: Send + Sync {
    /// Writes the identity into a new database; refuses one that belongs to another keeper.
    fn claim(&self, identity: &Identity) -> impl Future<Output = Result<()>> + Send;

    /// The highest sequence given to an offer or a job.
    fn last_sequence(&self) -> impl Future<Output = Result<u64>> + Send;

    /// Writes an offer.
    fn put_offer(&self, offer: &StoredOffer) -> impl Future<Output = Result<()>> + Send;
    /// Forgets the offers that have expired.
    fn drop_offers_before(&self, now: Timestamp) -> impl Future<Output = Result<()>> + Send;
    /// All offers, oldest first.
    fn offers(&self) -> impl Future<Output = Result<Vec<StoredOffer>>> + Send;

    /// Writes a job, and what is left of an offer that it took from or gave back to.
    fn put_job(&self, job: &Job, left: Option<(B256, Quantity)>) -> impl Future<Output = Result<()>> + Send;
    /// Writes a job with a new receipt for it.
    fn put_receipt(&self, job: &Job, receipt: &Receipt) -> impl Future<Output = Result<()>> + Send;
    /// One job.
    fn job(&self, id: JobId) -> impl Future<Output = Result<Option<Job>>> + Send;
    /// All jobs that have not ended, oldest first.
    fn open_jobs(&self) -> impl Future<Output = Result<Vec<Job>>> + Send;
    /// Jobs, newest first.
    fn jobs(&self, filter: JobFilter, limit: u32) -> impl Future<Output = Result<Vec<Job>>> + Send;
    /// A receipt of a job by its struct hash.
    fn receipt(&self, job: JobId, hash: B256) -> impl Future<Output = Result<Option<Receipt>>> + Send;

    /// One channel.
    fn channel(&self, id: ChannelId) -> impl Future<Output = Result<Option<Channel>>> + Send;
    /// Writes a channel.
    fn put_channel(&self, channel: &Channel) -> impl Future<Output = Result<()>> + Send;

    /// Writes an accepted voucher and everything it changes. The acceptance may leave the keeper only after this.
    fn accept(&self, entry: &Entry) -> impl Future<Output = Result<()>> + Send;
    /// A channel's newest accepted voucher.
    fn newest_accepted(&self, channel: ChannelId) -> impl Future<Output = Result<Option<Accepted>>> + Send;
    /// The newest voucher accepted for a job.
    fn accepted_for(&self, job: JobId) -> impl Future<Output = Result<Option<Accepted>>> + Send;

    /// One batch.
    fn batch(&self, number: BatchNumber) -> impl Future<Output = Result<Option<Batch>>> + Send;
    /// Batches, newest first.
    fn batches(&self, limit: u32) -> impl Future<Output = Result<Vec<Batch>>> + Send;
    /// Writes a batch.
    fn put_batch(&self, batch: &Batch) -> impl Future<Output = Result<()>> + Send;
    /// Closes a batch and opens the next, for all channels at once.
    fn close_batch(&self, closed: &Batch, next: &Batch) -> impl Future<Output = Result<()>> + Send;
    /// The newest accepted voucher of each channel in a batch, in an order that never changes once it is closed.
    fn debits(&self, number: BatchNumber) -> impl Future<Output = Result<Vec<(ChannelId, SignedVoucher)>>> + Send;
    /// What each provider is owed in a batch.
    fn owed(&self, number: BatchNumber) -> impl Future<Output = Result<BTreeMap<Address, Amount>>> + Send;
    /// A batch's usage lines, in an order that never changes once it is closed.
    fn lines(&self, number: BatchNumber) -> impl Future<Output = Result<Vec<Line>>> + Send;
}
