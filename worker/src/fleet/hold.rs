//! Which job holds which GPU, so that a GPU that is found to be broken ends its job.

use super::Shared;
use super::board::{Lost, Seat};
use super::device::Device;
use crate::node::lock;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A job that holds a GPU.
pub(super) struct Holder {
    stop: CancellationToken,
    /// Why the GPU must not be used after it.
    condemned: Option<String>,
}

impl Shared {
    /// Remembers which job to end if one of its GPUs is found to be broken.
    pub(super) fn hold(self: &Arc<Self>, gpus: &[u32], stop: &CancellationToken) -> Held {
        let mut holders = lock(&self.holders);
        for number in gpus {
            // It may have been condemned while a process was being made for the job.
            let condemned = self.board.take_condemned(Device::Gpu(*number));
            if condemned.is_some() {
                stop.cancel();
            }
            holders.insert(*number, Holder { stop: stop.clone(), condemned });
        }
        Held { shared: self.clone(), gpus: gpus.to_vec() }
    }

    /// Takes a GPU out of use, with the job that has it.
    pub(super) fn quarantine(self: &Arc<Self>, gpu: u32, reason: &str) {
        let device = Device::Gpu(gpu);
        {
            let mut holders = lock(&self.holders);
            if let Some(holder) = holders.get_mut(&gpu) {
                holder.condemned = Some(reason.to_owned());
                holder.stop.cancel();
                return;
            }
            // Whoever has it finds that when its job begins, or when it gives it back.
            if self.board.condemn(device, reason) {
                return;
            }
        }
        self.lose(device, Lost::new(reason.to_owned(), None));
    }

    /// Takes a device out of use with the lease of the job that had it.
    pub(super) async fn condemn(&self, seat: Option<&mut Seat>, reason: String) {
        let Some(seat) = seat else { return };
        let undead = match seat.warm.take() {
            Some(warm) => self.nursery.retire(warm.child).await.err(),
            None => None,
        };
        let before = seat.lost.take().and_then(|lost| lost.undead);
        seat.lost = Some(Lost::new(reason, undead.or(before)));
    }
}

/// GPUs that a job holds.
pub(super) struct Held {
    shared: Arc<Shared>,
    gpus: Vec<u32>,
}

impl Held {
    /// What was found to be wrong with them meanwhile.
    pub(super) fn release(self) -> Vec<(u32, String)> {
        let mut holders = lock(&self.shared.holders);
        self.gpus.iter().filter_map(|number| Some((*number, holders.remove(number)?.condemned?))).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = lock(&self.shared.holders);
        for number in &self.gpus {
            holders.remove(number);
        }
    }
}
