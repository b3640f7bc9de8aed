//! How much a job has used, and when it must stop.

use super::super::{ExecuteError, JobInput};
use protocol::amount::Quantity;
use protocol::resource::Usage;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a kernel or the compiler may run on past the job's end before it is left behind.
const GRACE: Duration = Duration::from_secs(1);

/// When a job must stop.
pub(in crate::execute) struct Stop {
    deadline: Instant,
    cancel: CancellationToken,
    cancelled_at: Option<Instant>,
}

impl Stop {
    pub(in crate::execute) fn new(job: &JobInput, cancel: CancellationToken) -> Self {
        let wall = Duration::from_millis(job.envelope.limits.wall_ms.get());
        // A wall time past the clock's end is none.
        let far = Duration::from_secs(u64::from(u32::MAX));
        Self { deadline: Instant::now() + wall.min(far), cancel, cancelled_at: None }
    }

    /// An error with this usage if the job is over.
    pub(in crate::execute) fn check(&self, usage: Usage) -> Result<(), ExecuteError> {
        if self.cancel.is_cancelled() {
            return Err(ExecuteError::Cancelled { usage });
        }
        if Instant::now() >= self.deadline {
            let detail = "it ran longer than its wall time (limits.wallMs of the envelope)".into();
            return Err(ExecuteError::Limit { detail, usage });
        }
        Ok(())
    }

    /// Whether the job is over for so long that what still runs must be left behind.
    pub(in crate::execute) fn is_past_grace(&mut self) -> bool {
        let now = Instant::now();
        if self.cancel.is_cancelled() {
            return now >= *self.cancelled_at.get_or_insert(now) + GRACE;
        }
        now >= self.deadline + GRACE
    }
}

/// Counts device time and tells it.
///
/// Events on the device tell how long launches took; their sum can never be more than the time that passed here since
/// the first was asked for. Where it is, the device's clock is wrong and the time that passed is what counts.
pub(in crate::execute) struct Meter {
    max_units: u64,
    memory_mib: u64,
    microseconds: u64,
    /// What was told while launches were not over: usage never falls.
    told: u64,
    clamped: bool,
    begin: Option<Instant>,
    bytes_in: u64,
    progress: watch::Sender<Usage>,
}

impl Meter {
    pub(in crate::execute) fn new(job: &JobInput, progress: watch::Sender<Usage>) -> Self {
        let memory_mib = job.envelope.limits.memory.get().div_ceil(1 << 20).max(1);
        let max_units = job.max_units.get();
        Self { max_units, memory_mib, microseconds: 0, told: 0, clamped: false, begin: None, bytes_in: 0, progress }
    }

    /// What can be billed: never more than the order's `maxUnits`.
    pub(in crate::execute) fn usage(&self) -> Usage {
        let gpu_ms = self.microseconds.max(self.told).div_ceil(1000).min(self.max_units);
        let memory = (u128::from(self.memory_mib) * u128::from(gpu_ms)).div_ceil(1000);
        Usage {
            gpu_ms: Quantity(gpu_ms),
            memory_mib_s: Quantity(u64::try_from(memory).unwrap_or(u64::MAX)),
            bytes_in: Quantity(self.bytes_in),
            ..Usage::default()
        }
    }

    /// Says that the first launch is about to be asked for.
    pub(in crate::execute) fn begin(&mut self) {
        self.begin.get_or_insert_with(Instant::now);
    }

    /// Adds what events told of a group of launches that is over.
    pub(in crate::execute) fn add_milliseconds(&mut self, milliseconds: f32) {
        let passed = self.begin.map_or(Duration::ZERO, |begin| begin.elapsed());
        self.add(microseconds(milliseconds), u64::try_from(passed.as_micros()).unwrap_or(u64::MAX));
    }

    /// Tells what launches have used at the least that the device was seen to work on since a moment, and still does:
    /// a kernel that runs for minutes is billed meanwhile.
    pub(in crate::execute) fn tell_running(&mut self, since: Instant) {
        let passed = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        // The two clocks need not agree to the last digit.
        let least = self.microseconds.saturating_add(passed - passed / 100);
        if least / 1000 > self.microseconds.max(self.told) / 1000 {
            self.told = least;
            self.progress.send_replace(self.usage());
        }
    }

    /// Counts the time until now for launches that are not over, and whose events tell nothing yet.
    pub(in crate::execute) fn add_unfinished(&mut self, since: Instant) {
        self.microseconds =
            self.microseconds.saturating_add(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.progress.send_replace(self.usage());
    }

    fn add(&mut self, told: u64, passed: u64) {
        let sum = self.microseconds.saturating_add(told);
        if sum > passed && !self.clamped {
            self.clamped = true;
            tracing::warn!(told = sum, passed, "the device tells more microseconds than passed: the lesser is billed");
        }
        self.microseconds = self.microseconds.max(sum.min(passed)).max(self.told);
        self.progress.send_replace(self.usage());
    }

    pub(in crate::execute) fn add_input(&mut self, bytes: u64) {
        self.bytes_in += bytes;
        self.progress.send_replace(self.usage());
    }

    /// An error if nothing may be launched any more.
    pub(in crate::execute) fn check(&self) -> Result<(), ExecuteError> {
        if self.microseconds / 1000 < self.max_units {
            return Ok(());
        }
        let detail = format!("it used all of its {} GPU-ms (maxUnits of the order)", self.max_units);
        Err(ExecuteError::Limit { detail, usage: self.usage() })
    }
}

/// Rounded up; the driver's clock has a resolution of about half a microsecond.
fn microseconds(milliseconds: f32) -> u64 {
    (f64::from(milliseconds.max(0.0)) * 1000.0).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter {
            max_units: 5,
            memory_mib: 2048,
            microseconds: 0,
            told: 0,
            clamped: false,
            begin: None,
            bytes_in: 0,
            progress: watch::channel(Usage::default()).0,
        }
    }

    #[test]
    fn device_time_is_rounded_up_to_whole_microseconds() {
        assert_eq!(microseconds(0.0), 0);
        assert_eq!(microseconds(-1.0), 0);
        assert_eq!(microseconds(f32::NAN), 0);
        assert_eq!(microseconds(0.0005), 1);
        assert_eq!(microseconds(2.5), 2500);
    }

    #[test]
    fn usage_is_rounded_up_once_and_bounded_by_the_order() {
        let mut meter = meter();
        for passed in 1..=3 {
            meter.add(400, passed * 400);
        }
        assert_eq!(meter.usage().gpu_ms, Quantity(2));
        assert_eq!(meter.usage().memory_mib_s, Quantity(5), "2048 MiB for 2 ms are 4.096 MiB-s");
        assert!(meter.check().is_ok());
        meter.add(1_000_000, 2_000_000);
        assert_eq!(meter.usage().gpu_ms, Quantity(5));
        assert!(meter.check().unwrap_err().to_string().contains("all of its 5 GPU-ms"));
    }

    #[test]
    fn what_runs_is_told_before_it_is_over_and_never_taken_back() {
        let mut meter = Meter { max_units: 1_000, ..meter() };
        let Some(before) = Instant::now().checked_sub(std::time::Duration::from_millis(200)) else { return };
        meter.add(10_000, 10_000);
        meter.tell_running(before);
        let told = meter.usage().gpu_ms;
        assert!((Quantity(208)..Quantity(1_000)).contains(&told), "{told}");
        meter.add(1_000, 500_000);
        assert_eq!(meter.usage().gpu_ms, told, "the device tells less than was seen");
        meter.add(400_000, 900_000);
        assert!(meter.usage().gpu_ms.get() + 1 >= told.get() + 400, "{}", meter.usage().gpu_ms);
    }

    #[test]
    fn a_device_cannot_tell_more_time_than_passed() {
        let mut meter = meter();
        meter.add(10_000, 3_000);
        assert_eq!((meter.usage().gpu_ms, meter.clamped), (Quantity(3), true));
        // Nor can its usage fall.
        meter.add(0, 1_000);
        assert_eq!(meter.usage().gpu_ms, Quantity(3));
    }
}
