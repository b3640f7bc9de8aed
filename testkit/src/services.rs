//! The services of a test network: in this process, or as a child that can be killed like any other program.

use crate::layout::Layout;
use crate::tools::{self, Process};
use anyhow::{Context, bail};
use service::shutdown::{Shutdown, on_signal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A service of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `capa-keeper`.
    Keeper,
    /// `capa-indexer`.
    Indexer,
    /// `capa-worker`.
    Worker,
}

impl Service {
    /// Its name in file names and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keeper => "keeper",
            Self::Indexer => "indexer",
            Self::Worker => "worker",
        }
    }

    const fn admin(self) -> usize {
        match self {
            Self::Keeper => 0,
            Self::Indexer => 1,
            Self::Worker => 2,
        }
    }
}

/// Where a service runs.
#[derive(Debug, Clone)]
pub enum Host {
    /// As a task of this process, ended gracefully.
    Task,
    /// As `PROGRAM service NAME CONFIG`, which can be killed, with these variables set.
    Child {
        /// `capa-dev`.
        program: PathBuf,
        /// Environment variables.
        variables: Vec<(String, String)>,
    },
}

/// A running service; it ends with this value.
#[derive(Debug)]
pub struct Running {
    service: Service,
    state: State,
    log: PathBuf,
}

#[derive(Debug)]
enum State {
    Task { shutdown: Shutdown, handle: JoinHandle<anyhow::Result<()>> },
    Child(Process),
    Ended,
}

/// Runs the service `name` in this process until a signal.
pub async fn run(name: &str, config: &Path) -> anyhow::Result<()> {
    let service = [Service::Keeper, Service::Indexer, Service::Worker]
        .into_iter()
        .find(|service| service.name() == name)
        .with_context(|| format!("there is no service {name}"))?;
    run_until(service, config.to_path_buf(), on_signal()).await
}

async fn run_until(service: Service, config: PathBuf, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = Some(config.as_path());
    match service {
        Service::Keeper => {
            let keeper = keeper::Keeper::bind(service::config::load(config, "CAPA_KEEPER_")?).await?;
            Ok(keeper.run(shutdown).await?)
        }
        Service::Indexer => {
            let indexer = indexer::Indexer::bind(service::config::load(config, "CAPA_INDEXER_")?).await?;
            Ok(indexer.run(shutdown).await?)
        }
        Service::Worker => {
            let mut config: worker::Config = service::config::load(config, "CAPA_WORKER_")?;
            // This process is not `capa-worker`, whose processes run the jobs.
            config.runner = tools::capa_worker()?;
            Ok(worker::run(config, shutdown).await?)
        }
    }
}

impl Running {
    /// Starts a service by its configuration in `layout` and waits until it is ready.
    pub async fn start(service: Service, layout: &Layout, host: &Host) -> anyhow::Result<Self> {
        let config = layout.file(&format!("{}.toml", service.name()));
        let log = layout.file(&format!("{}.log", service.name()));
        let state = match host {
            Host::Task => {
                let shutdown = Shutdown::new();
                let handle = tokio::spawn(run_until(service, config, shutdown.clone()));
                State::Task { shutdown, handle }
            }
            Host::Child { program, variables } => {
                let mut command: Vec<String> = Vec::new();
                if !variables.is_empty() {
                    command.push("env".into());
                    command.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
                }
                let program = program.display().to_string();
                let config = config.display().to_string();
                command.extend([program, "service".into(), service.name().into(), config]);
                State::Child(Process::spawn(service.name(), None, &command, &log)?)
            }
        };
        let mut running = Self { service, state, log };
        running.wait_until_ready(layout).await?;
        Ok(running)
    }

    async fn wait_until_ready(&mut self, layout: &Layout) -> anyhow::Result<()> {
        let port = layout.ports().admin[self.service.admin()];
        let url = format!("http://127.0.0.1:{port}/readyz");
        let start = Instant::now();
        loop {
            self.check().await?;
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(60) {
                bail!(
                    "the {} did not become ready within 60 s; its log is {}",
                    self.service.name(),
                    self.log.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// An error once the service has ended by itself.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        match &mut self.state {
            State::Child(process) => process.check(&self.log),
            State::Task { handle, .. } if handle.is_finished() => {
                let ended = handle.await;
                self.state = State::Ended;
                let error = match ended {
                    Ok(Ok(())) => anyhow::anyhow!("it ended"),
                    Ok(Err(error)) => error,
                    Err(error) => error.into(),
                };
                Err(error.context(format!("the {} is gone", self.service.name())))
            }
            State::Task { .. } | State::Ended => Ok(()),
        }
    }

    /// Kills a child outright (SIGKILL). A task cannot be killed like that.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Child(process) => {
                drop(process);
                Ok(())
            }
            State::Task { .. } | State::Ended => bail!("only a running child can be killed"),
        }
    }

    /// Ends the service gracefully.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Child(process) => process.terminate(),
            State::Task { shutdown, handle } => {
                shutdown.cancel();
                handle.await??;
            }
            State::Ended => {}
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let State::Task { shutdown, handle } = &self.state {
            shutdown.cancel();
            handle.abort();
        }
    }
}
