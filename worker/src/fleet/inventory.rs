//! What the node can run now, as its children told.

use super::Shared;
use super::board::DeviceState;
use super::child::Child;
use super::device::Site;
use crate::node::lock;
use crate::runner::Ability;
use protocol::job::{Kind, Program};
use protocol::wire::Isolation;
use std::collections::BTreeSet;

/// What the fleet can run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Kinds of programs.
    pub kinds: Vec<Kind>,
    /// What counts and compiles.
    pub toolchains: Vec<String>,
    /// Largest `limits.memory` of a job, in bytes.
    pub memory: u64,
    /// Name of the GPUs, where there is one.
    pub device: Option<String>,
    /// How many GPUs work.
    pub devices: u32,
    /// What is in force around every job.
    pub isolation: Isolation,
    /// Why something is not, a sentence each.
    pub missing: Vec<String>,
}

impl Shared {
    /// A child that was just made becomes a blank one.
    pub(super) fn admit(&self, child: Child) {
        self.learn(&child);
        self.nursery.keep(child);
    }

    /// Remembers what a child can do and what holds it.
    pub(super) fn learn(&self, child: &Child) {
        let mut abilities = lock(&self.abilities);
        let known = abilities.entry(child.site).or_insert_with(|| child.facts.clone());
        known.abilities.clone_from(&child.facts.abilities);
        known.isolation = known.isolation.weaker(child.facts.isolation);
        let news = child.facts.missing.iter().filter(|sentence| !known.missing.contains(sentence));
        let news: Vec<String> = news.cloned().collect();
        known.missing.extend(news);
    }

    /// Works out what the node can do now, and tells whoever listens if that changed.
    pub(super) fn publish(&self) {
        let view = self.board.view();
        let abilities = lock(&self.abilities).clone();
        let lost: Vec<String> = view
            .iter()
            .filter_map(|(device, state)| match state {
                DeviceState::Quarantined(reason) => Some(format!("{device} is in quarantine: {reason}")),
                _ => None,
            })
            .collect();
        let working = |site: &Site| {
            view.iter().any(|(device, state)| device.site() == *site && !matches!(state, DeviceState::Quarantined(_)))
        };
        let useful: Vec<_> = abilities.iter().filter(|(site, _)| working(site)).map(|(_, facts)| facts).collect();
        let isolation = useful.iter().map(|facts| facts.isolation);
        let isolation = isolation.chain(self.here.iter().filter_map(|executor| executor.isolation()));
        let isolation = isolation.reduce(Isolation::weaker).unwrap_or_default();
        let own = self.here.iter().map(|executor| Ability::of(&**executor));
        let all: Vec<Ability> = useful.iter().flat_map(|facts| facts.abilities.clone()).chain(own).collect();
        let inventory = Inventory {
            kinds: all.iter().map(|ability| ability.kind).collect::<BTreeSet<_>>().into_iter().collect(),
            toolchains: all.iter().flat_map(|a| a.toolchains.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
            memory: all.iter().map(|ability| ability.memory).max().unwrap_or_default(),
            device: all.iter().find_map(|ability| ability.device.clone()),
            devices: self.board.working(true),
            isolation,
            missing: useful.iter().flat_map(|f| f.missing.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
        };
        self.health.set("devices", if lost.is_empty() { Ok(()) } else { Err(lost.join("; ")) });
        self.inventory.send_if_modified(|current| {
            let changed = *current != inventory;
            *current = inventory;
            changed
        });
    }

    /// Why a program cannot be run here, in a sentence.
    pub(super) fn check(&self, program: &Program) -> Result<(), String> {
        let inventory = self.inventory.borrow();
        let (kind, devices) = (program.kind(), program.devices());
        if !inventory.kinds.contains(&kind) {
            return Err(format!("{kind} jobs are not run here"));
        }
        if devices > inventory.devices {
            return Err(format!("it needs {devices} GPUs, this worker has {}", inventory.devices));
        }
        Ok(())
    }
}
