//! A fleet of its own for a trial: jobs run as strangers' jobs do, and nothing of a running worker is touched.

use crate::config::SandboxConfig;
use crate::execute::ExecuteConfig;
use crate::fleet::{Fleet, FleetConfig, FleetError};
use service::health::Health;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// Longest that the processes of a trial may take to be ready. Opening a GPU takes a second or two where all is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// A fleet with a folder of its own, which is removed at the end.
pub(crate) struct Trial {
    pub(crate) fleet: Fleet,
    folder: Folder,
}

/// Why there is no fleet to try.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("the processes for jobs were not ready within {} s: a driver hangs, or this machine is overloaded", PATIENCE.as_secs())]
    Silent,
    #[error("a folder for the trial cannot be made: {0}")]
    Folder(#[from] std::io::Error),
}

impl Trial {
    /// Starts the processes that a worker with this configuration would run jobs in.
    pub(crate) async fn start(
        program: &Path,
        execute: &ExecuteConfig,
        sandbox: &SandboxConfig,
    ) -> Result<Self, TrialError> {
        let folder = Folder::new()?;
        let mut execute = execute.clone();
        // The folder of containers belongs to the worker that runs beside this trial.
        execute.oci.enabled = false;
        let (program, data) = (program.to_path_buf(), folder.0.clone());
        let mut config = FleetConfig::new(program, data, 1, execute, sandbox.clone());
        // So may its GPUs, and all jobs of a trial are this program's own samples.
        config.clears_gpus = false;
        let starting = timeout(PATIENCE, Fleet::start(config, Health::new()));
        let fleet = starting.await.map_err(|_| TrialError::Silent)??;
        Ok(Self { fleet, folder })
    }

    /// Ends its processes.
    pub(crate) async fn close(self) {
        self.fleet.close().await;
        drop(self.folder);
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("capa-worker-trial-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(folder = %self.0.display(), %error, "the folder of a trial stays behind");
        }
    }
}
