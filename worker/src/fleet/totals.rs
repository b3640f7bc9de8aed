//! What the shares of a job have used together, and what they add up to.

use super::bounds::sum;
use super::share::with_usage;
use super::work::{Work, join};
use crate::execute::{Delivered, ExecuteError};
use crate::node::lock;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::resource::{Unit, Usage};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the shares of a job have used together.
pub(super) struct Totals {
    shares: Mutex<Vec<Usage>>,
    unit: Unit,
    max_units: Quantity,
    progress: watch::Sender<Usage>,
    stop: CancellationToken,
    /// Whether several devices together reached the order's limit, which each has for itself.
    full: AtomicBool,
}

impl Totals {
    pub(super) fn new(count: usize, work: &Work, progress: watch::Sender<Usage>, stop: CancellationToken) -> Self {
        Self {
            shares: Mutex::new(vec![Usage::default(); count]),
            unit: work.unit,
            max_units: work.max_units,
            progress,
            stop,
            full: AtomicBool::new(false),
        }
    }

    pub(super) fn tell(&self, rank: u32, usage: Usage) {
        let mut shares = lock(&self.shares);
        if let Some(share) = shares.get_mut(rank as usize) {
            *share = usage;
        }
        let total = shares.iter().fold(Usage::default(), |total, share| sum(&total, share));
        if shares.len() > 1 && total.quantity(self.unit) >= self.max_units {
            self.full.store(true, Ordering::Relaxed);
            self.stop.cancel();
        }
        // Outputs count once they are delivered.
        self.progress.send_replace(Usage { bytes_out: Quantity::ZERO, ..total });
    }

    /// The job's result from those of its shares, in order of rank.
    pub(super) fn settle(self, results: Vec<Result<Vec<Bytes>, ExecuteError>>) -> Result<Delivered, ExecuteError> {
        let shares = self.shares.into_inner().unwrap_or_else(PoisonError::into_inner);
        let usage = shares.iter().fold(Usage::default(), |total, share| sum(&total, share));
        let mut parts = Vec::new();
        let mut failure: Option<ExecuteError> = None;
        for result in results {
            match result {
                Ok(part) => parts.push(part),
                // Shares are cancelled because another one failed: that one tells why.
                Err(error) if failure.as_ref().is_none_or(|first| matches!(first, ExecuteError::Cancelled { .. })) => {
                    failure = Some(error);
                }
                Err(_) => {}
            }
        }
        let failed = Usage { bytes_out: Quantity::ZERO, ..usage };
        match failure {
            None => Ok(Delivered { usage, outputs: join(parts) }),
            Some(ExecuteError::Cancelled { .. }) if self.full.load(Ordering::Relaxed) => {
                let (most, unit) = (self.max_units, self.unit);
                let detail = format!("its devices together used all of its {most} {unit} (maxUnits of the order)");
                Err(ExecuteError::Limit { detail, usage: failed })
            }
            Some(error) => Err(with_usage(error, failed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(max_units: u64) -> (Totals, watch::Receiver<Usage>) {
        let (progress, receiver) = watch::channel(Usage::default());
        let totals = Totals {
            shares: Mutex::new(vec![Usage::default(); 2]),
            unit: Unit::GpuMs,
            max_units: Quantity(max_units),
            progress,
            stop: CancellationToken::new(),
            full: AtomicBool::new(false),
        };
        (totals, receiver)
    }

    fn gpu(ms: u64) -> Usage {
        Usage { gpu_ms: Quantity(ms), ..Usage::default() }
    }

    #[test]
    fn shares_add_up() {
        let (totals, progress) = totals(100);
        totals.tell(0, gpu(10));
        totals.tell(1, gpu(20));
        totals.tell(0, gpu(15));
        assert_eq!(progress.borrow().gpu_ms, Quantity(35));
        let done = totals.settle(vec![Ok(vec![Bytes::from("a")]), Ok(vec![Bytes::from("b")])]).unwrap();
        assert_eq!((done.usage, done.outputs), (gpu(35), vec![Bytes::from("ab")]));
    }

    #[test]
    fn the_share_that_failed_tells_why() {
        let (totals, _progress) = totals(100);
        totals.tell(0, gpu(1));
        totals.tell(1, gpu(2));
        let cancelled = Err(ExecuteError::Cancelled { usage: gpu(1) });
        let trap = Err(ExecuteError::Program { detail: "a trap".into(), usage: gpu(2) });
        let error = totals.settle(vec![cancelled, trap]).unwrap_err();
        assert_eq!(error, ExecuteError::Program { detail: "a trap".into(), usage: gpu(3) });
    }

    #[test]
    fn devices_together_keep_to_the_limit_of_the_order() {
        let (totals, _progress) = totals(30);
        totals.tell(0, gpu(20));
        assert!(!totals.stop.is_cancelled());
        totals.tell(1, gpu(15));
        assert!(totals.stop.is_cancelled());
        let cancelled = || Err(ExecuteError::Cancelled { usage: Usage::default() });
        let error = totals.settle(vec![cancelled(), cancelled()]).unwrap_err();
        assert!(matches!(error, ExecuteError::Limit { usage, .. } if usage == gpu(35)), "{error}");
    }
}
