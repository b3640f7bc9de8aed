//! Making a job's launches, group by group, and metering them.

use super::super::{ExecuteError, JobInput, Produced, Region};
use super::device::{Context, Event, Facts, Module};
use super::is_fault;
use super::prepare::{Buffers, Prepared, Refusal, kernels};
use cudarc::driver::result::DriverError;
use cudarc::driver::sys;
use protocol::amount::Quantity;
use protocol::job::{Program, Stage};
use protocol::resource::Usage;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Launches are grouped so that a group takes about this long: long enough to keep the device busy, short enough to
/// stop soon.
const GROUP_MS: f32 = 10.0;
/// Most launches in one group, as the queue of the device is finite.
const MAX_GROUP: usize = 512;
/// How long a group may run past the job's wall time before it is left behind.
const GRACE: Duration = Duration::from_secs(2);

/// How a job ended, as far as the device is concerned.
pub(in crate::execute) enum Outcome {
    /// The device is ready for the next job.
    Ended(Result<Produced, ExecuteError>),
    /// A kernel broke the context.
    Faulted(ExecuteError),
    /// A kernel still runs, and cannot be stopped.
    Stuck(ExecuteError),
}

/// When a job must stop.
pub(super) struct Stop {
    deadline: Instant,
    cancel: CancellationToken,
}

impl Stop {
    pub(super) fn new(job: &JobInput, cancel: CancellationToken) -> Self {
        Self { deadline: Instant::now() + Duration::from_millis(job.envelope.limits.wall_ms.get()), cancel }
    }

    fn check(&self, usage: Usage) -> Result<(), ExecuteError> {
        if self.cancel.is_cancelled() {
            return Err(ExecuteError::Cancelled { usage });
        }
        if Instant::now() >= self.deadline {
            let detail = "it ran longer than its wall time (limits.wallMs of the envelope)".into();
            return Err(ExecuteError::Limit { detail, usage });
        }
        Ok(())
    }
}

/// Counts GPU time and tells it.
pub(super) struct Meter {
    max_units: u64,
    memory_mib: u64,
    microseconds: u64,
    bytes_in: u64,
    progress: watch::Sender<Usage>,
}

impl Meter {
    pub(super) fn new(job: &JobInput, memory: u64, progress: watch::Sender<Usage>) -> Self {
        let memory_mib = memory.div_ceil(1 << 20).max(1);
        Self { max_units: job.max_units.get(), memory_mib, microseconds: 0, bytes_in: 0, progress }
    }

    /// What can be billed: never more than the order's `maxUnits`.
    pub(super) fn usage(&self) -> Usage {
        let gpu_ms = self.microseconds.div_ceil(1000).min(self.max_units);
        let memory = (u128::from(self.memory_mib) * u128::from(gpu_ms)).div_ceil(1000);
        Usage {
            gpu_ms: Quantity(gpu_ms),
            memory_mib_s: Quantity(u64::try_from(memory).unwrap_or(u64::MAX)),
            bytes_in: Quantity(self.bytes_in),
            ..Usage::default()
        }
    }

    fn add_microseconds(&mut self, microseconds: u64) {
        self.microseconds = self.microseconds.saturating_add(microseconds);
        self.progress.send_replace(self.usage());
    }

    fn add_input(&mut self, bytes: u64) {
        self.bytes_in += bytes;
        self.progress.send_replace(self.usage());
    }

    /// Whether nothing may be launched any more.
    const fn is_full(&self) -> bool {
        self.microseconds / 1000 >= self.max_units
    }
}

/// Loads the code, fills the buffers, makes all launches and reads the outputs.
pub(super) fn run(
    context: &Context,
    facts: &Facts,
    job: &JobInput,
    code: &[u8],
    outputs: &mut [Region],
    stop: &Stop,
    meter: &mut Meter,
) -> Outcome {
    let module = match Module::load(context, code) {
        Ok(module) => module,
        Err(error) => return failed(error, meter),
    };
    let buffers = match Buffers::new(context, job) {
        Ok(buffers) => buffers,
        Err(refusal) => return refused(refusal, meter),
    };
    meter.add_input(job.inputs().iter().map(|input| input.len() as u64).sum());
    match launch_all(context, facts, job, &module, &buffers, stop, meter) {
        Ok(()) => deliver(&buffers, outputs, meter),
        Err(Break::Stopped(error)) => Outcome::Ended(Err(error)),
        Err(Break::Refused(refusal)) => refused(refusal, meter),
        Err(Break::Stuck(error)) => {
            // The kernel still uses them: giving them back would block for as long as it runs.
            std::mem::forget((module, buffers));
            Outcome::Stuck(error)
        }
    }
}

/// Why the launches were not all made.
enum Break {
    Stopped(ExecuteError),
    Refused(Refusal),
    Stuck(ExecuteError),
}

impl From<DriverError> for Break {
    fn from(error: DriverError) -> Self {
        Self::Refused(Refusal::Device(error))
    }
}

fn launch_all(
    context: &Context,
    facts: &Facts,
    job: &JobInput,
    module: &Module<'_>,
    buffers: &Buffers<'_>,
    stop: &Stop,
    meter: &mut Meter,
) -> Result<(), Break> {
    let Program::Cuda { stages, .. } = &job.envelope.program else { return Ok(()) };
    let kernels = kernels(module, job).map_err(Break::Refused)?;
    let prepare = |stage: &Stage| {
        let prepared = stage.launches.iter().map(|launch| Prepared::new(launch, &kernels, buffers, facts));
        Ok((stage.repeat as usize, prepared.collect::<Result<Vec<_>, Refusal>>()?))
    };
    let stages: Vec<_> = stages.iter().map(prepare).collect::<Result<_, Refusal>>().map_err(Break::Refused)?;
    let repeated = stages.iter().flat_map(|(repeat, launches)| std::iter::repeat_n(launches, *repeat));
    let mut queue = repeated.flatten().peekable();
    let (start, end) = (Event::new(context)?, Event::new(context)?);
    let mut group = 1;
    while queue.peek().is_some() {
        stop.check(meter.usage()).map_err(Break::Stopped)?;
        if meter.is_full() {
            let detail = format!("it used all of its {} GPU-ms (maxUnits of the order)", meter.max_units);
            return Err(Break::Stopped(ExecuteError::Limit { detail, usage: meter.usage() }));
        }
        start.record()?;
        for launch in queue.by_ref().take(group) {
            launch.launch()?;
        }
        end.record()?;
        wait(&end, stop, meter)?;
        let milliseconds = start.until(&end)?;
        meter.add_microseconds(microseconds(milliseconds));
        group = if milliseconds < GROUP_MS { (group * 2).min(MAX_GROUP) } else { (group / 2).max(1) };
    }
    Ok(())
}

/// Waits for the device, at first without sleeping: most groups are short.
fn wait(end: &Event<'_>, stop: &Stop, meter: &mut Meter) -> Result<(), Break> {
    let begin = Instant::now();
    while !end.reached()? {
        let waited = begin.elapsed();
        if waited < Duration::from_micros(200) {
            std::hint::spin_loop();
            continue;
        }
        if Instant::now() >= stop.deadline + GRACE {
            meter.add_microseconds(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
            let detail = "a kernel did not return within the wall time (limits.wallMs of the envelope)".into();
            return Err(Break::Stuck(ExecuteError::Limit { detail, usage: meter.usage() }));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Rounded up; the driver's clock has a resolution of about half a microsecond.
fn microseconds(milliseconds: f32) -> u64 {
    (f64::from(milliseconds.max(0.0)) * 1000.0).ceil() as u64
}

fn deliver(buffers: &Buffers<'_>, outputs: &mut [Region], meter: &Meter) -> Outcome {
    let mut read = buffers.outputs.iter().zip(outputs.iter_mut()).map(|(buffer, region)| buffer.read(region));
    match read.try_for_each(|copied| copied) {
        Ok(()) => {
            let lengths: Vec<u64> = outputs.iter().map(|region| region.len() as u64).collect();
            let bytes_out = lengths.iter().sum::<u64>().into();
            Outcome::Ended(Ok(Produced { usage: Usage { bytes_out, ..meter.usage() }, lengths }))
        }
        Err(error) => failed(error, meter),
    }
}

fn refused(refusal: Refusal, meter: &Meter) -> Outcome {
    match refusal {
        Refusal::Program(detail) => Outcome::Ended(Err(ExecuteError::Program { detail, usage: meter.usage() })),
        Refusal::Device(error) => failed(error, meter),
    }
}

/// Sorts a driver's error by whose mistake it is.
fn failed(error: DriverError, meter: &Meter) -> Outcome {
    let usage = meter.usage();
    match error.0 {
        fault if is_fault(fault) => {
            let detail = format!("a kernel failed on the device: {error}");
            Outcome::Faulted(ExecuteError::Program { detail, usage })
        }
        sys::CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES | sys::CUresult::CUDA_ERROR_INVALID_VALUE => {
            let detail = format!("a launch asks for more registers or shared memory than there are: {error}");
            Outcome::Ended(Err(ExecuteError::Program { detail, usage }))
        }
        _ => Outcome::Ended(Err(ExecuteError::Node(format!("the CUDA device failed: {error}")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_time_is_rounded_up_to_whole_microseconds() {
        assert_eq!(microseconds(0.0), 0);
        assert_eq!(microseconds(-1.0), 0);
        assert_eq!(microseconds(0.0005), 1);
        assert_eq!(microseconds(2.5), 2500);
    }
}
