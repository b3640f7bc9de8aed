//! The session's task: one loop over frames, commands and retries, and one over connections.

use crate::anchor::Anchor;
use crate::keeper::Keeper;
use crate::session::pay::Checked;
use crate::session::rules::Claimed;
use crate::session::socket::{Socket, SocketError};
use crate::session::state::{JobRecord, State, StateFile};
use crate::session::{Command, Event, JobStatus, Jobs, SessionConfig, SessionError};
use alloy::primitives::{Address, B256};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::resource::{Resource, ResourceId};
use protocol::signature::Domain;
use protocol::voucher::BatchNumber;
use protocol::wire::{FromClient, Info, JobView, ToClient};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How often the connection and the open jobs are looked at.
const BEAT: Duration = Duration::from_secs(5);
/// A connection on which nothing came for so long, not even a pong, is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a connection is left.
pub(super) enum Exit {
    /// It is broken, or both sides have to compare accounts again.
    Reconnect(String),
    /// The session is to end.
    Stop,
    /// The session cannot go on.
    Failed(Box<SessionError>),
}

impl From<SocketError> for Exit {
    fn from(error: SocketError) -> Self {
        Self::Reconnect(error.to_string())
    }
}

impl<E: Into<SessionError>> From<E> for Exit
where
    E: std::error::Error,
{
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

/// All that the session's task owns.
pub(super) struct Runner<A> {
    pub(super) config: Arc<SessionConfig>,
    pub(super) keeper: Keeper,
    pub(super) anchor: A,
    pub(super) domain: Domain,
    pub(super) resources: BTreeMap<ResourceId, Resource>,
    pub(super) state: State,
    pub(super) info: Option<Info>,
    /// Receipts that wait for a voucher, at most one of each job.
    pub(super) waiting: VecDeque<Claimed>,
    /// The voucher sent on this connection and not answered yet, and when.
    pub(super) sent: Option<(B256, Instant)>,
    /// Newest batch that the keeper has said is closed.
    pub(super) closed: BatchNumber,
    /// Final refusals of the voucher in flight, one after another.
    pub(super) refusals: u32,
    pub(super) retry_at: Option<Instant>,
    /// The obstacle last told of, so that a wait is told once and not at every look.
    pub(super) obstacle: Option<String>,
    pub(super) checked: Checked,
    pub(super) deposit: Amount,
    pub(super) workers: BTreeMap<Address, (Address, Instant)>,
    file: Arc<StateFile>,
    views: BTreeMap<JobId, JobView>,
    pub(super) inbox: mpsc::Receiver<Command>,
    events: broadcast::Sender<Event>,
    jobs: watch::Sender<Jobs>,
}

#[expect(clippy::large_enum_variant, reason = "it is made and taken apart once per turn of the loop")]
enum Wake {
    Stop,
    Command(Option<Command>),
    Frame(Result<ToClient, SocketError>),
    Retry,
    Beat,
}

impl<A: Anchor> Runner<A> {
    /// Takes the state file and learns what the chain says about the channel.
    pub(super) async fn new(
        config: Arc<SessionConfig>,
        keeper: Keeper,
        anchor: A,
        inbox: mpsc::Receiver<Command>,
        events: broadcast::Sender<Event>,
    ) -> Result<Self, SessionError> {
        let identity = config.identity();
        let (file, found) = StateFile::open(&config.folder, &identity)?;
        let fresh = State::new(&identity, Amount::ZERO);
        let channel = anchor.channel(fresh.channel()).await?;
        if channel.deposit == Amount::ZERO {
            return Err(SessionError::NoChannel(fresh.channel()));
        }
        if channel.thaw_at.is_some() {
            return Err(SessionError::Closing(fresh.channel()));
        }
        let mut state = found.unwrap_or(fresh);
        if state.is_fresh() {
            state = State { jobs: state.jobs, ..State::new(&identity, channel.spent) };
        }
        let resources = anchor.resources().await?.into_iter().map(|resource| (resource.id, resource)).collect();
        let domain = config.book.domain();
        let runner = Self {
            config,
            keeper,
            anchor,
            domain,
            resources,
            state,
            info: None,
            waiting: VecDeque::new(),
            sent: None,
            closed: 0,
            refusals: 0,
            retry_at: None,
            obstacle: None,
            checked: Checked::default(),
            deposit: channel.deposit,
            workers: BTreeMap::new(),
            file: Arc::new(file),
            views: BTreeMap::new(),
            inbox,
            events,
            jobs: watch::Sender::new(Jobs::new()),
        };
        runner.publish();
        Ok(runner)
    }

    /// All jobs, for the outside.
    pub(super) fn jobs(&self) -> watch::Receiver<Jobs> {
        self.jobs.subscribe()
    }

    /// Runs until it is told to stop or cannot go on.
    pub(super) async fn run(mut self, mut socket: Socket, stop: CancellationToken) -> Result<(), SessionError> {
        loop {
            let exit = self.serve(&mut socket, &stop).await;
            socket.close().await;
            match exit {
                Exit::Stop => return Ok(()),
                Exit::Failed(error) => return Err(*error),
                Exit::Reconnect(reason) => self.tell(Event::Disconnected(reason)),
            }
            socket = match self.reconnect(&stop).await {
                Ok(socket) => socket,
                Err(Exit::Failed(error)) => return Err(*error),
                Err(Exit::Stop | Exit::Reconnect(_)) => return Ok(()),
            };
        }
    }

    async fn serve(&mut self, socket: &mut Socket, stop: &CancellationToken) -> Exit {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let far = Instant::now() + Duration::from_secs(3600);
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => Wake::Stop,
                command = self.inbox.recv() => Wake::Command(command),
                frame = socket.next() => Wake::Frame(frame),
                () = sleep_until(self.retry_at.unwrap_or(far)) => Wake::Retry,
                _ = beat.tick() => Wake::Beat,
            };
            let step = match wake {
                Wake::Stop | Wake::Command(None) => Err(Exit::Stop),
                Wake::Command(Some(command)) => self.obey(command, Some(&mut *socket)).await,
                Wake::Frame(Ok(frame)) => self.hear(frame, socket).await,
                Wake::Frame(Err(error)) => Err(error.into()),
                Wake::Retry => self.pay(socket).await,
                Wake::Beat => self.beat(socket).await,
            };
            if let Err(exit) = step {
                return exit;
            }
        }
    }

    async fn hear(&mut self, frame: ToClient, socket: &mut Socket) -> Result<(), Exit> {
        match frame {
            ToClient::Challenge { .. } | ToClient::Welcome { .. } => {
                Err(Exit::Reconnect("the keeper sent a login frame after the login".into()))
            }
            ToClient::Job { job } => self.take_view(*job).await,
            ToClient::Info { info } => {
                self.take_info(info)?;
                self.pay(socket).await
            }
            ToClient::Receipt { receipt, price, worker } => {
                self.queue(Claimed { receipt, price, worker });
                self.pay(socket).await
            }
            ToClient::Accepted { job: _, voucher, acceptance } => self.accepted(voucher, acceptance, socket).await,
            ToClient::Refused { job, voucher, refusal } => self.refused(job, voucher, refusal, socket).await,
        }
    }

    async fn beat(&mut self, socket: &mut Socket) -> Result<(), Exit> {
        if socket.silent_for() > SILENCE || self.sent.is_some_and(|(_, at)| at.elapsed() > SILENCE) {
            return Err(Exit::Reconnect("the keeper fell silent".into()));
        }
        socket.ping().await?;
        self.look_at_jobs().await
    }

    pub(super) async fn obey(&mut self, command: Command, socket: Option<&mut Socket>) -> Result<(), Exit> {
        match command {
            Command::Register(record, reply) => {
                let answer = self.register(*record).await;
                // Whoever asked may be gone; an order that was not stored is not sent, so nothing else has to end.
                reply.send(answer).ok();
                Ok(())
            }
            Command::Forget(job) => {
                let mut state = self.state.clone();
                if let Some(record) = state.jobs.get_mut(&job) {
                    record.stopped = Some("the keeper did not take the order".into());
                    record.ended = true;
                }
                self.save(state).await
            }
            Command::Cancel(job) => match socket {
                Some(socket) => Ok(socket.send(&FromClient::Cancel { job }).await?),
                None => {
                    self.tell(Event::Waiting("not connected: cancel the job again in a moment".into()));
                    Ok(())
                }
            },
        }
    }

    async fn register(&mut self, record: JobRecord) -> Result<(), SessionError> {
        if !self.resources.contains_key(&record.order.order.resource) {
            return Err(SessionError::UnknownResource(record.order.order.resource));
        }
        let mut state = self.state.clone();
        state.jobs.insert(record.order.order.id(), record);
        state.prune();
        match self.save(state).await {
            Err(Exit::Failed(error)) => Err(*error),
            Err(Exit::Reconnect(_) | Exit::Stop) | Ok(()) => Ok(()),
        }
    }

    async fn take_view(&mut self, view: JobView) -> Result<(), Exit> {
        let Some(record) = self.state.jobs.get(&view.id) else { return Ok(()) };
        if self.views.get(&view.id) == Some(&view) {
            return Ok(());
        }
        let status = JobStatus { view: Some(view.clone()), record: record.clone(), direct: self.is_direct() };
        self.views.insert(view.id, view.clone());
        if status.is_over() && !record.ended {
            let mut state = self.state.clone();
            if let Some(record) = state.jobs.get_mut(&view.id) {
                record.ended = true;
            }
            self.save(state).await?;
        }
        self.publish();
        self.tell(Event::Job(Box::new(view)));
        Ok(())
    }

    /// Asks for the jobs that are still open: the socket tells of changes, but not of those while it was away.
    pub(super) async fn look_at_jobs(&mut self) -> Result<(), Exit> {
        let open: Vec<_> = self.state.jobs.iter().filter(|(_, job)| !job.ended).map(|(id, _)| *id).collect();
        for id in open {
            match timeout(Duration::from_secs(3), self.keeper.job(id)).await {
                Ok(Ok(view)) if view.id == id => self.take_view(view).await?,
                Ok(Ok(_)) => tracing::warn!(job = %id, "the keeper answers with another job"),
                Ok(Err(error)) => tracing::debug!(%error, job = %id, "the job's state is not known"),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Makes a new state durable, and only then the one to work with.
    pub(super) async fn save(&mut self, state: State) -> Result<(), Exit> {
        let (file, copy) = (self.file.clone(), state.clone());
        match tokio::task::spawn_blocking(move || file.save(&copy)).await {
            Ok(saved) => saved?,
            Err(error) => return Err(SessionError::Ended(format!(": {error}")).into()),
        }
        self.state = state;
        self.publish();
        Ok(())
    }

    /// Whether the other side is a provider of its own.
    pub(super) fn is_direct(&self) -> bool {
        self.info.as_ref().is_some_and(Info::is_direct)
    }

    fn publish(&self) {
        let direct = self.is_direct();
        let status = |(id, record): (&JobId, &JobRecord)| {
            (*id, JobStatus { view: self.views.get(id).cloned(), record: record.clone(), direct })
        };
        self.jobs.send_replace(self.state.jobs.iter().map(status).collect());
    }

    /// Tells whoever listens; nobody has to.
    pub(super) fn tell(&self, event: Event) {
        self.events.send(event).ok();
    }
}
