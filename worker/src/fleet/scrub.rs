//! Writing zeros over all of a GPU's memory, before somebody else is handed what a payer may have left there.

use super::Shared;
use super::child::{self, Child};
use super::device::{Device, Site};
use super::gpu;
use super::nursery::{NoChild, Nursery};
use crate::runner::Role;
use crate::sandbox::Profile;

impl Nursery {
    /// Clears a GPU's memory by a process of its own, which sees that GPU alone, runs nothing of any job and ends with
    /// that. An error, which puts the GPU out of use, if nearly all that was free is not zero in the end.
    pub(super) async fn scrub(&self, number: u32) -> Result<(), NoChild> {
        if !self.config.clears_gpus {
            return Ok(());
        }
        let (shown, site) = (&self.config.environment, Site::Gpu(number));
        let role = Role::Scrub(self.config.execute.cuda.clone());
        let plan = self.plan(role, Profile::Gpu, gpu::files(shown, number), gpu::only(shown, number), None);
        let newborn = child::start(plan, None).await.map_err(NoChild::Start)?;
        // As any child it would hold its GPU if this process were gone.
        let identity = newborn.process.identity().clone();
        self.roster.add(&identity, site);
        let scrubbed = newborn.scrubbed().await.map_err(|error| super::nursery::give_up(error, None));
        if !matches!(scrubbed, Err(NoChild::Undead(_))) {
            self.roster.remove(&identity);
        }
        let (bytes, milliseconds) = scrubbed?;
        crate::observe::scrubbed(&site, bytes, milliseconds);
        Ok(())
    }
}

impl Shared {
    /// A child on a device that no job has, whose memory is cleared first unless it is known to be zero.
    pub(super) async fn scrub_and_make(&self, device: Device) -> Result<Child, NoChild> {
        if let Device::Gpu(number) = device
            && !self.board.is_clean(device)
        {
            self.nursery.scrub(number).await?;
            self.board.cleaned(device);
        }
        self.nursery.make(device.site()).await
    }
}
