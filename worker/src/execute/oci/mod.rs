//! Container jobs: an image that the operator allows, run by runc, alone with its inputs and outputs.
//!
//! The steps of a job, in order:
//! 1. `layout` finds the image by its digest and hashes all of it; `layer` unpacks it into a `tree`; `store` keeps it.
//! 2. `folder` mounts memory for the inputs and the outputs, and the image read-only with a thin layer over it.
//! 3. `spec` writes the container's configuration: namespaces of its own for users, processes, files, network and the
//!    rest, no capabilities, an allow-list of system calls, a control group; `cdi` adds the GPUs.
//! 4. `runc` starts it, and ends it at a limit; what a killed worker left running is ended by its `warden`, or else at
//!    the next start.
//! 5. The outputs are read, and the folder is unmounted with all that the job wrote.
//!
//! Metering: `lease_s` is the time from the container's start to its end, rounded up to seconds, times its GPUs where it
//! holds several. `cpu_ms` is the CPU time of its control group, `memory_mib_s` the memory that the job reserves
//! (`limits.memory`) over that time, `bytes_in` the inputs and `bytes_out` the outputs. Preparing the image and the folder
//! is not billed.

mod config;
mod layout;
mod tree;
mod layer;
mod store;
mod user;
mod cdi;
mod spec;
mod folder;
mod meter;
mod runc;
mod warden;
mod container;

pub use config::{IDS as OCI_IDS, OciConfig};
pub use store::{ImageError, ImageStore};
pub use warden::watch as keep_watch;

use super::{ExecuteError, Executor, JobInput, Produced, Region};
use cdi::Edits;
use container::{Container, Failure};
use folder::{JobFolder, Parts, make_folder};
use meter::Meter;
use protocol::job::{Kind, Program};
use protocol::resource::{Unit, Usage};
use protocol::wire::Isolation;
use runc::Runc;
use spec::{Job, Start, Template};
use std::fs::File;
use std::mem;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::Unpacked;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use user::Ids;
use warden::Warden;

/// Where runc keeps its state, and what a worker locks, in the state folder.
const RUNC: &str = "runc";
const LOCK: &str = "lock";
/// Begins the names of containers.
const PREFIX: &str = "capa-";
/// How often a running job is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a worker waits for the one that it replaces to let go of the state folder.
const HANDOVER: Duration = Duration::from_secs(5);
/// runc itself starts inside the container's memory, and needs about that much.
const LEAST_MEMORY: u64 = 32 << 20;

/// Runs container jobs.
#[derive(Debug)]
pub struct OciExecutor {
    config: OciConfig,
    store: ImageStore,
    template: Template,
    runc: Runc,
    jobs: PathBuf,
    stuck: Mutex<Vec<Stuck>>,
    /// Ends the containers if this process is gone.
    _warden: Warden,
    /// Held as long as the state folder is ours.
    _lock: File,
}

/// A container that could not be ended, and the GPUs that it may still hold.
#[derive(Debug)]
struct Stuck {
    id: String,
    devices: Vec<u32>,
}

impl OciExecutor {
    /// Checks all that containers need, and ends those that an earlier run left. The reason says what is missing.
    /// `program` is `capa-worker`, of which a process ends the containers that this one cannot end any more.
    pub fn find(config: &OciConfig, program: &Path) -> Result<Self, String> {
        if !config.enabled {
            return Err("they are turned off in the configuration (execute.oci.enabled)".into());
        }
        config.check()?;
        if !rustix::process::geteuid().is_root() {
            return Err("the worker must run as root to make containers that are not root outside".into());
        }
        let template = Template::new()?;
        let store = ImageStore::open(config).map_err(|error| error.to_string())?;
        let (state, lock) = claim(&config.state)?;
        let runc = Runc::find(&config.runc, state.join(RUNC))?;
        let jobs = state.join("jobs");
        let warden = Warden::start(program, &config.runc, &state)?;
        let executor = Self {
            config: config.clone(),
            store,
            template,
            runc,
            jobs,
            stuck: Mutex::default(),
            _warden: warden,
            _lock: lock,
        };
        executor.sweep()?;
        Ok(executor)
    }

    /// Ends what an earlier run of this worker left, and makes the folder for jobs.
    fn sweep(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{} cannot be cleared: {error}", self.jobs.display());
        for id in self.runc.containers().map_err(failed)? {
            tracing::warn!(container = id, "ending a container that an earlier run left");
            self.runc.delete(&id)?;
        }
        folder::unmount_below(&self.jobs).map_err(failed)?;
        if self.jobs.exists() {
            std::fs::remove_dir_all(&self.jobs).map_err(failed)?;
        }
        make_folder(&self.jobs, 0o711).map_err(failed)
    }

    /// Tries again to end what could not be ended, and refuses a job whose GPUs are still held.
    fn require_free(&self, devices: &[u32]) -> Result<(), ExecuteError> {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        stuck.retain(|container| self.runc.delete(&container.id).is_err());
        match stuck.iter().find(|container| container.devices.iter().any(|held| devices.contains(held))) {
            Some(Stuck { id, .. }) => {
                Err(ExecuteError::Node(format!("a GPU is still held by {id}, which does not end")))
            }
            None => Ok(()),
        }
    }

    fn run(
        &self,
        container: &Container<'_>,
        devices: Vec<u32>,
        progress: &watch::Sender<Usage>,
        cancel: &CancellationToken,
    ) -> Result<Usage, ExecuteError> {
        let ended = container.run(progress, cancel).map_err(|failure| {
            if matches!(failure, Failure::Stuck(_)) {
                tracing::error!(container = container.id, %failure, "a container could not be ended");
                let stuck = Stuck { id: container.id.to_owned(), devices };
                self.stuck.lock().unwrap_or_else(PoisonError::into_inner).push(stuck);
            }
            ExecuteError::Node(failure.to_string())
        });
        ended?.judge()
    }

    /// Everything up to the container's start. Nothing of it is billed.
    fn prepare(
        &self,
        id: &str,
        job: &JobInput,
        image: &str,
        command: &[String],
        cancel: &CancellationToken,
    ) -> Result<JobFolder, ExecuteError> {
        let Unpacked { image, rootfs } = self.store.prepare(image, &|| cancel.is_cancelled())?;
        let edits = cdi::find(&self.config.cdi, &job.devices).map_err(ExecuteError::Node)?;
        let settings = image.config.config().as_ref();
        let user = settings.and_then(|settings| settings.user().clone()).unwrap_or_default();
        let ids = Ids::of(&user, &rootfs)?;
        let start = Start::of(command, settings, &edits)?;
        if start.command.is_empty() {
            let detail = "the job names no command and the image has none of its own".into();
            return Err(ExecuteError::Program { detail, usage: Usage::default() });
        }
        let lengths: Vec<u64> = job.envelope.outputs.iter().map(|output| output.length.get()).collect();
        let parts =
            Parts { inputs: job.inputs(), outputs: &lengths, rootfs: &rootfs, user: self.config.user, ids: &ids };
        let failed = |error: std::io::Error| ExecuteError::Node(format!("the job's folder cannot be made: {error}"));
        let folder = JobFolder::create(self.jobs.join(id), &parts).map_err(failed)?;
        self.configure(id, job, &folder, &ids, start, edits)?;
        Ok(folder)
    }

    fn configure(
        &self,
        id: &str,
        job: &JobInput,
        folder: &JobFolder,
        ids: &Ids,
        start: Start,
        edits: Edits,
    ) -> Result<(), ExecuteError> {
        let node = |error: &dyn std::fmt::Display| {
            ExecuteError::Node(format!("the container's configuration cannot be written: {error}"))
        };
        let outputs = folder.output_room();
        let memory = job.envelope.limits.memory.get();
        let Start { command, environment, working_folder } = start;
        let job = Job { id, folder, ids, command, environment, working_folder, memory, outputs, edits };
        let spec = self.template.fill(&self.config, job).map_err(|error| node(&error))?;
        let bytes = serde_json::to_vec(&spec).map_err(|error| node(&error))?;
        folder.configure(&bytes).map_err(|error| node(&error))
    }
}

impl Executor for OciExecutor {
    fn kind(&self) -> Kind {
        Kind::Oci
    }

    fn toolchain(&self) -> String {
        format!("runc-{}", self.runc.version())
    }

    fn device(&self) -> Option<String> {
        None
    }

    fn memory(&self) -> u64 {
        self.config.max_memory
    }

    fn isolation(&self) -> Option<Isolation> {
        Some(Isolation {
            rlimits: true,
            landlock: true,
            seccomp: true,
            user: true,
            network: !self.config.network,
            cgroup: self.template.cgroup,
        })
    }

    fn check(&self, job: &JobInput) -> Result<(), ExecuteError> {
        let unsupported = |text: String| Err(ExecuteError::Unsupported(text));
        if job.unit != Unit::LeaseS {
            return unsupported(format!("a container job cannot be billed in {}", job.unit));
        }
        let devices = job.envelope.program.devices();
        if job.max_units.get() < u64::from(devices) {
            let units = job.max_units;
            return unsupported(format!("maxUnits is {units}, which pays for no second of its {devices} GPUs"));
        }
        let memory = job.require_memory(self.config.max_memory)?;
        if memory < LEAST_MEMORY {
            return unsupported(format!("limits.memory is {memory} bytes, a container needs {LEAST_MEMORY}"));
        }
        let outputs = job.envelope.outputs.iter().try_fold(0u64, |sum, output| sum.checked_add(output.length.get()));
        if outputs.is_none_or(|outputs| outputs > self.config.max_outputs) {
            return unsupported(format!(
                "the outputs exceed the {} bytes that this worker allows",
                self.config.max_outputs
            ));
        }
        if job.devices.len() != devices as usize {
            return Err(ExecuteError::Node("the job was not given the devices that it asks for".into()));
        }
        job.check_blobs()
    }

    fn execute(
        &self,
        mut job: JobInput,
        outputs: &mut [Region],
        progress: watch::Sender<Usage>,
        cancel: CancellationToken,
    ) -> Result<Produced, ExecuteError> {
        let Program::Oci { image, command, .. } = &job.envelope.program else {
            return Err(ExecuteError::Node("a job of another kind was handed to the container executor".into()));
        };
        self.check(&job)?;
        self.require_free(&job.devices)?;
        let id = format!("{PREFIX}{:016x}", rand::random::<u64>());
        let folder = self.prepare(&id, &job, image, command, &cancel)?;
        let meter = Meter::start(&job);
        // The inputs lie in the folder now; they need not lie in memory twice.
        job.blobs.clear();
        let container = Container { runc: &self.runc, id: &id, folder: &folder, meter: &meter };
        let usage = self.run(&container, mem::take(&mut job.devices), &progress, &cancel)?;
        let mut lengths = Vec::with_capacity(outputs.len());
        for (index, region) in outputs.iter_mut().enumerate() {
            let read = folder.read_output(index, region);
            lengths.push(read.map_err(|detail| ExecuteError::Program { detail, usage })?);
        }
        let bytes_out = lengths.iter().sum::<u64>().into();
        Ok(Produced { usage: Usage { bytes_out, ..usage }, lengths })
    }
}

impl From<ImageError> for ExecuteError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NotAllowed(_) => Self::Unsupported(error.to_string()),
            ImageError::Stopped => Self::Cancelled { usage: Usage::default() },
            _ => Self::Node(error.to_string()),
        }
    }
}

/// Makes the state folder ours alone.
fn claim(folder: &Path) -> Result<(PathBuf, File), String> {
    let failed = |error: std::io::Error| format!("execute.oci.state {}: {error}", folder.display());
    let missing: Vec<&Path> = folder.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    for ancestor in missing.into_iter().rev().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        make_folder(ancestor, 0o711).map_err(failed)?;
    }
    let folder = folder.canonicalize().map_err(failed)?;
    for ancestor in folder.ancestors() {
        // A container's root is not root outside, and has to get to its own files.
        if ancestor.metadata().map_err(failed)?.permissions().mode() & 0o001 == 0 {
            return Err(format!(
                "containers cannot pass through {}: run chmod o+x on it, or choose another execute.oci.state",
                ancestor.display()
            ));
        }
    }
    let lock = File::create(folder.join(LOCK)).map_err(failed)?;
    let deadline = Instant::now() + HANDOVER;
    while lock.try_lock().is_err() {
        if Instant::now() >= deadline {
            let folder = folder.display();
            return Err(format!("another worker runs containers in {folder}: give this one its own execute.oci.state"));
        }
        std::thread::sleep(LOOK);
    }
    Ok((folder, lock))
}
