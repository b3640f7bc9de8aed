//! What happens while nothing is asked for: idle children are released, blank ones prepared, lost devices tried again.

use super::Shared;
use super::board::{Lease, Lost};
use super::device::{Device, Site};
use crate::observe;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the children are looked at.
const ROUND: Duration = Duration::from_secs(1);
/// How long what failed is left alone before it is tried again.
pub(super) const REST: Duration = Duration::from_secs(5);
/// The longest such time: it doubles whenever the try fails.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(300);

/// Tends the children until the fleet is closed or gone.
pub(super) async fn run(shared: Weak<Shared>, closing: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = closing.cancelled() => return,
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.tend().await;
    }
}

impl Shared {
    async fn tend(self: &Arc<Self>) {
        let idle = Duration::from_secs(self.config.sandbox.idle_s);
        while let Some(lease) = self.board.lease_idle(idle) {
            self.release(lease).await;
        }
        for child in self.nursery.stale(idle) {
            let site = child.site;
            if let Err(undead) = self.nursery.retire(child).await {
                self.lose_site(site, undead);
            }
        }
        if self.config.slots > 0 {
            self.prepare(Site::Cpu);
        }
        for device in self.board.recoverable() {
            if self.blanks.begin(device.site()) {
                self.making.spawn(self.clone().revive(device));
            }
        }
    }

    /// Ends the children of devices that nobody asks for.
    async fn release(self: &Arc<Self>, mut lease: Lease) {
        for seat in &mut lease.seats {
            let Some(warm) = seat.warm.take() else { continue };
            if let Err(undead) = self.nursery.retire(warm.child).await {
                seat.lost = Some(Lost::new(undead.reason.clone(), Some(undead)));
            }
        }
        self.give_back(lease);
    }

    /// Gives a lost device back to the jobs once a fresh child works on it.
    async fn revive(self: Arc<Self>, device: Device) {
        if let Some(undead) = self.board.take_undead(device) {
            self.nursery.bury(&undead);
        }
        // What was known before this trial is what it is about.
        self.board.take_condemned(device);
        match self.scrub_and_make(device).await {
            Ok(child) => {
                self.admit(child);
                if self.board.recover(device) {
                    observe::device_recovered(&device);
                } else {
                    self.discard(device.site());
                }
            }
            Err(error) => self.board.postpone(device, Lost::by(error)),
        }
        self.blanks.end(device.site());
        self.publish();
    }
}
