//! The session: it holds a channel's session key, checks every receipt, and pays it.
//!
//! One task owns the state file, the socket and the key. For each [`protocol::wire::ToClient::Receipt`] it
//! 1. asks the chain whether the worker signs for that provider, and what the keeper may charge ([`crate::anchor`]);
//! 2. checks the receipt against its own signed order ([`rules`]); one that breaks a rule stops its job;
//! 3. signs the voucher over its own [`protocol::voucher::Account`], writes it to disk ([`state`]), and only then
//!    sends it, one at a time for the channel;
//! 4. takes the keeper's acceptance only with the keeper's signature under it.
//!
//! After a reconnect both sides compare accounts ([`reconcile`]). A direct channel works the same, with the provider in
//! the keeper's place and no acceptances.

pub mod reconcile;
pub mod rules;
pub mod state;

mod connect;
#[cfg(test)]
mod fixture;
mod pay;
mod run;
mod socket;

use crate::anchor::{Anchor, AnchorError};
use crate::keeper::{Keeper, KeeperError};
use crate::manifest::Prepared;
use alloy::primitives::{Address, B256, U256};
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::order::{JobId, Order, SignedOrder};
use protocol::receipt::Statement;
use protocol::resource::ResourceId;
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{BatchNumber, ChannelId};
use protocol::wire::{Info, JobState, JobView, OrderTaken, Refusal};
use rules::Policy;
use state::{Identity, JobRecord, StateError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Events that a slow listener may be behind before it misses some.
const EVENTS: usize = 1024;

/// Which channel a session pays from, and on which terms.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Where the keeper, or the provider's direct endpoint, is.
    pub endpoint: url::Url,
    /// The deployment.
    pub book: AddressBook,
    /// Who funded the channel.
    pub payer: Address,
    /// The keeper of the channel; of a direct channel its provider.
    pub keeper: Address,
    /// The session key.
    pub key: SigningKey,
    /// Folder of state files.
    pub folder: PathBuf,
    /// Limits for every job.
    pub policy: Policy,
}

/// What a client is willing to pay for one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What is bought.
    pub resource: ResourceId,
    /// Most per human unit.
    pub max_price: Price,
    /// Most base units.
    pub max_units: Quantity,
    /// Most in all, fees included.
    pub max_total: Amount,
    /// Last second at which the order may be matched.
    pub expiry: Timestamp,
}

/// Something that a person may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Logged in.
    Connected(Box<Info>),
    /// The connection is gone; the session keeps trying.
    Disconnected(String),
    /// A job changed.
    Job(Box<JobView>),
    /// A receipt is paid.
    Paid {
        /// The job.
        job: JobId,
        /// Counts its receipts.
        sequence: u64,
        /// What the provider has earned by it so far.
        amount: Amount,
        /// What the channel was debited for it so far, fees included.
        debited: Amount,
        /// In which batch.
        batch: BatchNumber,
    },
    /// A receipt broke a rule: it is not paid and its job is stopped.
    Rejected {
        /// The job.
        job: JobId,
        /// Which rule.
        reason: String,
    },
    /// The keeper did not take a voucher.
    VoucherRefused {
        /// The job.
        job: JobId,
        /// Why.
        refusal: Refusal,
    },
    /// Something is in the way that may pass.
    Waiting(String),
}

/// A session cannot go on, or cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// The chain.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The keeper's answers.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// Its terms.
    #[error(transparent)]
    Terms(#[from] rules::TermsError),
    /// Its account of the channel.
    #[error(transparent)]
    Reconcile(#[from] reconcile::ReconcileError),
    /// Its acceptances.
    #[error("{0}. The keeper breaks the protocol: close this channel and use another keeper")]
    Acceptance(#[from] rules::AcceptanceError),
    /// It refuses a voucher that follows every rule.
    #[error("the keeper does not take a voucher for job {job}: {refusal}")]
    VoucherRefused {
        /// The job.
        job: JobId,
        /// Why.
        refusal: Refusal,
    },
    /// The channel has no money, or was never opened.
    #[error("channel {0} holds nothing: open it with `capa channel open`")]
    NoChannel(ChannelId),
    /// The channel is closing.
    #[error("channel {0} is closing and takes no new debits: open it again with `capa channel open`")]
    Closing(ChannelId),
    /// The keeper does not answer.
    #[error("the keeper at {endpoint} does not answer: {reason}")]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// The last attempt's failure.
        reason: String,
    },
    /// The catalog has no such resource.
    #[error("resource {0} is not in the catalog, or metered in a unit that this version does not know")]
    UnknownResource(ResourceId),
    /// The session ended before; its error was reported then.
    #[error("the session has ended{0}")]
    Ended(String),
}

impl SessionError {
    /// Whether the same may work later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Anchor(error) => error.is_retryable(),
            Self::Keeper(error) => error.is_retryable(),
            Self::Terms(error) => error.is_retryable(),
            Self::Unreachable { .. } | Self::State(StateError::Locked { .. }) => true,
            Self::State(_)
            | Self::Reconcile(_)
            | Self::Acceptance(_)
            | Self::VoucherRefused { .. }
            | Self::NoChannel(_)
            | Self::Closing(_)
            | Self::UnknownResource(_)
            | Self::Ended(_) => false,
        }
    }
}

/// What the rest of the program asks of the session's task.
enum Command {
    /// Remember an order before it leaves.
    Register(Box<JobRecord>, oneshot::Sender<Result<(), SessionError>>),
    /// The keeper did not take the order.
    Forget(JobId),
    /// Stop a job; what was delivered is still paid.
    Cancel(JobId),
}

/// All jobs of the session, as last seen.
pub type Jobs = BTreeMap<JobId, JobStatus>;

/// A job from both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// As its keeper sees it.
    pub view: Option<JobView>,
    /// As this session remembers it.
    pub record: JobRecord,
    /// Whether its provider is paid directly.
    pub direct: bool,
}

impl JobStatus {
    /// Whether nothing more will happen: the keeper says so and, of a job that is done, everything is paid.
    pub fn is_over(&self) -> bool {
        let over =
            |view: &JobView| view.state.is_terminal() && (view.state != JobState::Done || self.is_settled(view.amount));
        self.record.ended || self.view.as_ref().is_some_and(over)
    }

    /// A provider that is paid directly asks for no voucher for a last receipt that costs nothing more.
    fn is_settled(&self, amount: Amount) -> bool {
        let paid = self.record.paid.as_ref();
        let covered = paid.map_or(Amount::ZERO, |paid| paid.amount) >= amount;
        self.record.stopped.is_some() || paid.is_some_and(Statement::is_final) || (self.direct && covered)
    }
}

/// A running session.
#[derive(Debug)]
pub struct Session {
    keeper: Keeper,
    config: Arc<SessionConfig>,
    domain: Domain,
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<Event>,
    jobs: watch::Receiver<Jobs>,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), SessionError>>>,
}

impl Session {
    /// Takes the channel's state file, connects, compares accounts and starts paying. Keeps trying to reach the keeper
    /// for up to `patience`, after that only while the session runs.
    pub async fn open<A: Anchor>(config: SessionConfig, anchor: A, patience: Duration) -> Result<Self, SessionError> {
        let config = Arc::new(config);
        let keeper = Keeper::new(config.endpoint.clone())?;
        let (commands, inbox) = mpsc::channel(64);
        let (events, _) = broadcast::channel(EVENTS);
        let stop = CancellationToken::new();
        let mut runner = run::Runner::new(config.clone(), keeper.clone(), anchor, inbox, events.clone()).await?;
        let socket = runner.connect_within(patience).await?;
        let jobs = runner.jobs();
        let task = Some(tokio::spawn(runner.run(socket, stop.clone())));
        let domain = config.book.domain();
        Ok(Self { keeper, config, domain, commands, events, jobs, stop, task })
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// All jobs, and a signal whenever one changes.
    pub fn jobs(&self) -> watch::Receiver<Jobs> {
        self.jobs.clone()
    }

    /// The keeper's REST side.
    pub const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Uploads a job's blobs, signs its order, remembers it, and sends it. Sending again is safe: the order names it.
    pub async fn submit(&self, job: &Prepared, terms: &Terms) -> Result<(JobId, OrderTaken), SessionError> {
        for blob in &job.blobs {
            self.keeper.put_blob(blob.clone()).await?;
        }
        let order = Order {
            payer: self.config.payer,
            resource: terms.resource,
            max_price: terms.max_price,
            max_units: terms.max_units,
            max_total: terms.max_total,
            spec: job.spec,
            terms: B256::ZERO,
            expiry: terms.expiry,
            salt: U256::from_be_bytes(rand::random::<[u8; 32]>()),
        };
        let signed = SignedOrder::sign(order, &self.domain, &self.config.key);
        let id = signed.order.id();
        let record = JobRecord::new(signed.clone(), now(), job.expected);
        let (reply, answer) = oneshot::channel();
        self.command(Command::Register(Box::new(record), reply)).await?;
        answer.await.map_err(|_| SessionError::Ended(String::new()))??;
        match self.send_order(&signed).await {
            Ok(taken) => Ok((id, taken)),
            Err(error) => {
                if error.code().is_some() {
                    self.command(Command::Forget(id)).await?;
                }
                Err(error.into())
            }
        }
    }

    /// An order may have arrived though its answer did not, so a lost answer is asked for again.
    async fn send_order(&self, order: &SignedOrder) -> Result<OrderTaken, KeeperError> {
        let mut pause = Duration::from_millis(200);
        for _ in 0..4 {
            match self.keeper.order(order).await {
                Err(error) if error.is_retryable() => tracing::debug!(%error, "sending an order again"),
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.keeper.order(order).await
    }

    /// Asks the worker to stop; what was delivered until then is billed.
    pub async fn cancel(&self, job: JobId) -> Result<(), SessionError> {
        self.command(Command::Cancel(job)).await
    }

    /// Waits until a job has ended and all that it delivered is paid.
    pub async fn finished(&self, job: JobId) -> Result<JobStatus, SessionError> {
        let mut jobs = self.jobs.clone();
        let over = jobs.wait_for(|jobs| jobs.get(&job).is_some_and(JobStatus::is_over)).await;
        let jobs = over.map_err(|_| SessionError::Ended(": see its error".into()))?;
        jobs.get(&job).cloned().ok_or_else(|| SessionError::Ended(String::new()))
    }

    /// Waits for the end of the session, which comes only by an error or by [`Self::close`].
    pub async fn ended(&mut self) -> Result<(), SessionError> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let result = task.await.unwrap_or_else(|error| Err(SessionError::Ended(format!(": {error}"))));
        self.task = None;
        result
    }

    /// Ends the session and gives the channel free for another one.
    pub async fn close(mut self) -> Result<(), SessionError> {
        self.stop.cancel();
        self.ended().await
    }

    async fn command(&self, command: Command) -> Result<(), SessionError> {
        self.commands.send(command).await.map_err(|_| SessionError::Ended(String::new()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl SessionConfig {
    /// Which channel this is.
    pub const fn identity(&self) -> Identity {
        Identity {
            chain_id: self.book.chain_id.get(),
            settlement: self.book.settlement(),
            payer: self.payer,
            signer: self.key.address(),
            keeper: self.keeper,
        }
    }
}

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
mod tests;
