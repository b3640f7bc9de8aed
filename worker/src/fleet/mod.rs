//! The supervisor's children: one warm process for each device and tenant, in which everything of a stranger runs.
//!
//! A job [takes](board) the devices that it needs, all or none. On each it finds the child of its own tenant (the
//! payer's address), or a blank one that was never used; the child of another tenant is ended first. Each device's
//! [share](share) of the job runs in its child under the supervisor's own deadlines and [`bounds`]. A child that will
//! not die takes its device out of use until it is gone and a fresh one works; everything else goes on.
//!
//! The supervisor itself never touches a driver: which GPUs there are is found out by a child as well.

mod device;
mod gpu;
mod roster;
mod users;
mod bounds;
mod work;
mod child;
mod nursery;
mod scrub;
mod residue;
mod blanks;
mod board;
mod inventory;
mod hold;
mod seat;
mod unbilled;
mod crashes;
mod share;
mod totals;
mod dispatch;
mod tend;

pub use board::DeviceState;
pub use device::Device;
pub use inventory::Inventory;

use crate::config::SandboxConfig;
use crate::execute::{CudaConfig, Delivered, Devices, ExecuteConfig, ExecuteError, Executor, JobInput, here};
use crate::sandbox::{Exit, Process, Unkillable};
use alloy::primitives::Address;
use blanks::Blanks;
use board::{Board, Lost};
use child::StartError;
use crashes::Crashes;
use device::Site;
use futures::future::{BoxFuture, join_all};
use hold::Holder;
use nursery::{Abilities, Kernel, NoChild, Nursery, Undead};
use protocol::job::Program;
use protocol::resource::Usage;
use protocol::wire::Isolation;
use roster::{Entry, Roster};
use service::health::Health;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use unbilled::Unbilled;

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// The program of its children, `capa-worker` itself.
    pub program: PathBuf,
    /// What children for GPUs learn of the environment: where libraries are, and settings of the driver.
    pub environment: Vec<(OsString, OsString)>,
    /// Where children are written down.
    pub data: PathBuf,
    /// WebAssembly jobs at a time.
    pub slots: u32,
    /// Devices, libraries and bounds.
    pub execute: ExecuteConfig,
    /// How jobs are kept apart.
    pub sandbox: SandboxConfig,
    /// Whether the memory of GPUs is cleared before another payer has it. Not where all jobs are the operator's own: that
    /// takes all free memory for a moment, and another worker may have jobs on the same GPUs.
    pub clears_gpus: bool,
}

/// Why a fleet cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Children cannot be written down.
    #[error("the list of children in {folder} cannot be kept: {source}", folder = .folder.display())]
    Roster {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not even a process for WebAssembly starts.
    #[error("no process for WebAssembly jobs can be started: {0}; `capa-worker doctor` says more")]
    Cpu(String),
    /// An executor of the supervisor's own cannot be made.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// Waits for a killed process to be gone. Only tests put anything else in the place of the kernel's answer.
pub trait Reaper: Send + Sync {
    /// Kills it and waits until it is gone, at most until the deadline.
    fn reap(&self, process: Process, deadline: Duration) -> BoxFuture<'static, Result<Exit, Box<Unkillable>>>;
}

/// All children, and the devices that they work on. Clones are the same fleet.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
    /// Ends what goes on in the background with the last clone.
    _background: Arc<DropGuard>,
}

struct Shared {
    config: FleetConfig,
    nursery: Nursery,
    board: Arc<Board>,
    /// Executors that start processes of their own.
    here: Vec<Arc<dyn Executor>>,
    abilities: Mutex<Abilities>,
    blanks: Blanks,
    /// The jobs that hold GPUs, by number, and what was found to be wrong with a GPU meanwhile.
    holders: Mutex<BTreeMap<u32, Holder>>,
    unbilled: Unbilled,
    crashes: Crashes,
    inventory: watch::Sender<Inventory>,
    health: Health,
    closing: CancellationToken,
    /// What makes children in the background.
    making: TaskTracker,
}

impl FleetConfig {
    /// A fleet of so many slots, with the libraries that this process' environment names.
    pub fn new(program: PathBuf, data: PathBuf, slots: u32, execute: ExecuteConfig, sandbox: SandboxConfig) -> Self {
        let slots = execute.wasm.slots.unwrap_or(slots);
        Self { program, environment: gpu::passed(), data, slots, execute, sandbox, clears_gpus: true }
    }
}

impl Fleet {
    /// Kills what an earlier start left behind, finds the devices, and tries a child on each.
    pub async fn start(config: FleetConfig, health: Health) -> Result<Self, FleetError> {
        Self::start_with(config, health, Arc::new(Kernel)).await
    }

    /// The same, with something else that tells when a process is gone.
    pub async fn start_with(config: FleetConfig, health: Health, reaper: Arc<dyn Reaper>) -> Result<Self, FleetError> {
        let folder = config.data.clone();
        let opened = tokio::task::spawn_blocking(move || Roster::open(&folder)).await;
        let opened = opened.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let fail = |source| FleetError::Roster { folder: config.data.clone(), source };
        let (roster, undead) = opened.map_err(fail)?;
        let nursery = Nursery::new(config.clone(), roster, reaper);
        let gpus = find_gpus(&nursery, &config.execute.cuda).await;
        let board = Board::new(config.slots, &gpus);
        let nothing = Inventory {
            kinds: vec![],
            toolchains: vec![],
            memory: 0,
            device: None,
            devices: 0,
            isolation: Isolation::default(),
            missing: vec![],
        };
        let shared = Arc::new(Shared {
            nursery,
            board,
            here: here(&config.execute, &config.program)?,
            abilities: Mutex::default(),
            blanks: Blanks::default(),
            holders: Mutex::default(),
            unbilled: Unbilled::default(),
            crashes: Crashes::default(),
            inventory: watch::channel(nothing).0,
            health,
            closing: CancellationToken::new(),
            making: TaskTracker::new(),
            config,
        });
        shared.open(undead).await?;
        tokio::spawn(tend::run(Arc::downgrade(&shared), shared.closing.clone()));
        let background = Arc::new(shared.closing.clone().drop_guard());
        Ok(Self { shared, _background: background })
    }

    /// What it can run now.
    pub fn inventory(&self) -> Inventory {
        self.shared.inventory.borrow().clone()
    }

    /// Told whenever that changes.
    pub fn changes(&self) -> watch::Receiver<Inventory> {
        self.shared.inventory.subscribe()
    }

    /// Every device and what it is doing.
    pub fn devices(&self) -> Vec<(Device, DeviceState)> {
        self.shared.board.view()
    }

    /// Why a program cannot be run here, in a sentence.
    pub fn check(&self, program: &Program) -> Result<(), String> {
        self.shared.check(program)
    }

    /// Why jobs of this tenant are not run here, in a sentence.
    pub fn admit(&self, tenant: Address) -> Result<(), String> {
        let sandbox = &self.shared.config.sandbox;
        sandbox.admit(tenant, self.shared.inventory.borrow().isolation)?;
        if sandbox.friends.contains(&tenant) {
            return Ok(());
        }
        self.shared.unbilled.check(tenant, Duration::from_secs(sandbox.unbilled_s), Instant::now())
    }

    /// Runs a job of a tenant to its end. If the caller goes away, the job is cancelled.
    pub async fn execute(
        &self,
        tenant: Address,
        job: JobInput,
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Delivered, ExecuteError> {
        let (shared, token) = (self.shared.clone(), cancel.child_token());
        let _guard = token.clone().drop_guard();
        let run = tokio::spawn(async move { shared.run(tenant, job, progress, token).await });
        run.await.unwrap_or_else(|error| Err(ExecuteError::Node(format!("the supervision of the job ended: {error}"))))
    }

    /// Takes a GPU out of use that something else found to be broken. A job that runs on it is ended, as a failure of
    /// the node.
    pub fn quarantine(&self, gpu: u32, reason: &str) {
        self.shared.quarantine(gpu, reason);
    }

    /// Ends all children that have no job.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.making.close();
        // Children that are being made end with whoever makes them.
        let _ = tokio::time::timeout(child::REAP_DEADLINE, self.shared.making.wait()).await;
        let children = self.shared.nursery.drain_all().into_iter().chain(self.shared.board.drain());
        let ended = join_all(children.map(|child| self.shared.nursery.retire(child))).await;
        for undead in ended.into_iter().filter_map(Result::err) {
            tracing::error!(reason = undead.reason, "a child is left behind");
        }
    }
}

/// The numbers of the GPUs to be used; none where there is no driver.
async fn find_gpus(nursery: &Nursery, config: &CudaConfig) -> Vec<u32> {
    if !config.enabled {
        return Vec::new();
    }
    let found: Vec<u32> = match nursery.probe().await {
        Ok(gpus) => gpus.into_iter().map(|gpu| gpu.number).collect(),
        Err(NoChild::Start(StartError::Unfit(reason))) => {
            tracing::info!(reason, "CUDA jobs are not accepted");
            return Vec::new();
        }
        Err(reason) => {
            tracing::error!(%reason, "CUDA jobs are not accepted: the GPUs cannot be found out");
            return Vec::new();
        }
    };
    if let Devices::Listed(wanted) = &config.devices {
        for number in wanted.iter().filter(|number| !found.contains(number)) {
            tracing::warn!(number, "cuda.devices names a GPU that the driver does not show");
        }
    }
    found
}

impl Shared {
    /// Makes a first child for each site, by which it is known what this node can do.
    async fn open(self: &Arc<Self>, undead: Vec<Entry>) -> Result<(), FleetError> {
        for Entry { identity, site } in undead {
            if let Site::Gpu(number) = site {
                let undead = NoChild::Undead(Undead::of_an_earlier_start(identity));
                self.lose(Device::Gpu(number), Lost::by(undead));
            }
        }
        let cpu = async {
            if self.config.slots == 0 {
                return Ok(());
            }
            let child = self.nursery.make(Site::Cpu).await.map_err(|error| FleetError::Cpu(error.to_string()))?;
            self.admit(child);
            Ok(())
        };
        let free = self.board.view().into_iter().filter(|(_, state)| *state == DeviceState::Free);
        let gpus = free.filter(|(device, _)| matches!(device, Device::Gpu(_))).map(|(device, _)| async move {
            match self.scrub_and_make(device).await {
                Ok(child) => self.admit(child),
                Err(error) => self.lose(device, Lost::by(error)),
            }
        });
        let (cpu, _) = tokio::join!(cpu, join_all(gpus));
        self.publish();
        cpu
    }

    /// Takes a device that no job has out of use.
    fn lose(self: &Arc<Self>, device: Device, lost: Lost) {
        let Some(mut lease) = self.board.lease_device(device) else { return };
        if let Some(seat) = lease.seats.first_mut() {
            seat.lost = Some(lost);
            if let Some(warm) = seat.warm.take() {
                self.end_later(warm.child);
            }
        }
        self.give_back(lease);
    }
}
