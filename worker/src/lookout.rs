//! What a running worker watches besides its jobs: its GPUs, its standing in the market, and what waits to be paid.
//!
//! Nothing here stands in a job's way. What is found goes into metrics, to the fleet where a device must not be used any
//! more, and to `capa-worker status`, which asks at the admin port.

use crate::fleet::{Device, DeviceState};
use crate::link::KeeperLink;
use crate::monitor::{self, DeviceSample};
use crate::node::{Node, now};
use crate::observe;
use crate::visibility;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often gauges are brought up to date.
const INTERVAL: Duration = Duration::from_secs(15);

/// What a running worker says of itself at `/status` of its admin port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Local {
    /// Version of the program.
    pub(crate) version: String,
    /// Kinds of jobs that it runs.
    pub(crate) kinds: Vec<String>,
    /// What counts and compiles.
    pub(crate) toolchains: Vec<String>,
    /// What separates jobs from the machine: `process`, `confined` or `isolated`.
    pub(crate) isolation: String,
    /// Why strangers' jobs are refused; `None` where they are not.
    pub(crate) refuses_strangers: Option<String>,
    /// Jobs at a time, and how many of these places are free.
    pub(crate) slots: u32,
    pub(crate) free_slots: u32,
    /// Every device, and what it is doing.
    pub(crate) devices: Vec<LocalDevice>,
    /// The GPUs as NVML sees them.
    pub(crate) gpus: Vec<DeviceSample>,
}

/// A device, and what it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LocalDevice {
    pub(crate) device: String,
    /// `free`, `busy` or `quarantined`.
    pub(crate) state: String,
    /// Why it is in quarantine.
    pub(crate) reason: Option<String>,
}

impl LocalDevice {
    fn of((device, state): (Device, DeviceState)) -> Self {
        let (state, reason) = match state {
            DeviceState::Free => ("free", None),
            DeviceState::Busy => ("busy", None),
            DeviceState::Quarantined(reason) => ("quarantined", Some(reason)),
        };
        Self { device: device.to_string(), state: state.into(), reason }
    }
}

/// Watches until the shutdown.
pub(crate) struct Lookout {
    node: Arc<Node>,
    link: Option<Arc<KeeperLink>>,
    samples: watch::Sender<Vec<DeviceSample>>,
}

impl Lookout {
    pub(crate) fn new(node: Arc<Node>, link: Option<Arc<KeeperLink>>) -> Self {
        Self { node, link, samples: watch::channel(Vec::new()).0 }
    }

    /// What `capa-worker status` asks for.
    pub(crate) fn routes(&self) -> Router {
        let (node, samples) = (self.node.clone(), self.samples.subscribe());
        Router::new().route(
            "/status",
            get(move || async move {
                let gpus = samples.borrow().clone();
                Json(local(&node, gpus))
            }),
        )
    }

    /// Watches everything until the shutdown.
    pub(crate) async fn run(self) {
        let mut parts = JoinSet::new();
        if let Some(link) = self.link.clone() {
            parts.spawn(visibility::run(link));
        }
        let fleet = &self.node.fleet;
        if fleet.devices().iter().any(|(device, _)| matches!(device, Device::Gpu(_))) {
            parts.spawn(guard_gpus(self.node.clone(), self.samples));
        }
        parts.spawn(refresh(self.node.clone()));
        while parts.join_next().await.is_some() {}
    }
}

/// Takes devices out of use that the driver says are broken.
async fn guard_gpus(node: Arc<Node>, samples: watch::Sender<Vec<DeviceSample>>) {
    let mut watched = monitor::watch(node.config.runner.clone(), node.shutdown.clone());
    loop {
        tokio::select! {
            Some(alarm) = watched.alarms.recv() => node.fleet.quarantine(alarm.device, &alarm.reason),
            Ok(()) = watched.devices.changed() => {
                samples.send_replace(watched.devices.borrow_and_update().clone());
            }
            // Both ends are dropped once there is nothing to watch.
            else => return,
        }
    }
}

/// Brings the gauges up to date, at once where the fleet changes and every few seconds anyway.
async fn refresh(node: Arc<Node>) {
    let mut changes = node.fleet.changes();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = changes.changed() => {}
            () = node.shutdown.cancelled() => return,
        }
        observe::isolation(&node.fleet.inventory().isolation);
        for (device, state) in node.fleet.devices() {
            observe::device(&device, &state);
        }
        match node.ledger.unsettled(now()).await {
            Ok(waiting) => observe::unsettled(&waiting),
            Err(error) => observe::failing("ledger", &error),
        }
    }
}

fn local(node: &Node, gpus: Vec<DeviceSample>) -> Local {
    let inventory = node.fleet.inventory();
    Local {
        version: env!("CARGO_PKG_VERSION").into(),
        kinds: inventory.kinds.iter().map(ToString::to_string).collect(),
        toolchains: inventory.toolchains,
        isolation: format!("{:?}", inventory.isolation.level()).to_lowercase(),
        // Nobody is the zero address, so this is what a stranger is told.
        refuses_strangers: node.fleet.admit(alloy::primitives::Address::ZERO).err(),
        slots: node.config.slots,
        free_slots: u32::try_from(node.slots.available_permits()).unwrap_or(u32::MAX),
        devices: node.fleet.devices().into_iter().map(LocalDevice::of).collect(),
        gpus,
    }
}
