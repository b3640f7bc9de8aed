//! One job on the device: its code is loaded, its buffers are filled, its launches are made, its outputs are read.

use super::super::{ExecuteError, JobInput, Produced, Region};
use super::cache::Code;
use super::context::{Context, Facts};
use super::copy::Copier;
use super::is_fault;
use super::meter::{Meter, Stop};
use super::module::Module;
use super::prepare::{Buffers, Refusal, call, kernels};
use super::queue::{Break, Queue, Stage};
use super::stream::Stream;
use alloy::primitives::B256;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys;
use protocol::job::{Program, Stage as Declared};
use protocol::resource::Usage;
use std::sync::Arc;

/// Most modules that stay loaded between jobs.
const MAX_MODULES: usize = 16;

/// What lives in the context from job to job.
pub(in crate::execute) struct Session {
    // Dropped in this order: the context outlives what is in it.
    modules: Modules,
    pub(in crate::execute) copier: Copier,
    pub(in crate::execute) stream: Stream,
    pub(in crate::execute) context: Context,
}

impl Session {
    pub(super) fn open(device: u32) -> Result<Self, DriverError> {
        let context = Context::open(device)?;
        let (stream, copier) = (Stream::new(&context)?, Copier::new(&context)?);
        Ok(Self { modules: Modules::default(), copier, stream, context })
    }

    /// Destroys the context: in this one every later call would fail.
    pub(super) fn reset(self) {
        let context = self.context.clone();
        drop(self);
        context.reset();
    }
}

/// Modules that stay loaded, the one used last at the end.
///
/// Only those without variables: a job must find those of its module as its source sets them. Code and constants stay as
/// they are, save for a kernel that writes where nothing is its own; and what that breaks is its own tenant's.
#[derive(Default)]
struct Modules(Vec<(B256, Arc<Module>)>);

impl Modules {
    fn load(&mut self, context: &Context, code: &Code) -> Result<Arc<Module>, DriverError> {
        if code.image.is_stateful() {
            return Ok(Arc::new(Module::load(context, &code.bytes)?));
        }
        let entry = match self.0.iter().position(|(key, _)| *key == code.key) {
            Some(index) => self.0.remove(index),
            None => (code.key, Arc::new(Module::load(context, &code.bytes)?)),
        };
        if self.0.len() == MAX_MODULES {
            self.0.remove(0);
        }
        let module = entry.1.clone();
        self.0.push(entry);
        Ok(module)
    }
}

/// How a job ended, as far as the device is concerned.
pub(in crate::execute) enum Outcome {
    /// The device is ready for the next job.
    Ended(Result<Produced, ExecuteError>),
    /// The context is broken.
    Faulted(ExecuteError),
    /// A kernel or a compiler still runs, and cannot be stopped.
    Lost(ExecuteError),
}

/// Runs a job whose code was made before.
pub(super) fn run(
    session: &mut Session,
    facts: &Facts,
    job: &JobInput,
    code: &Code,
    outputs: &mut [Region],
    stop: &mut Stop,
    meter: &mut Meter,
) -> Outcome {
    let module = match session.modules.load(&session.context, code) {
        Ok(module) => module,
        Err(error) => return failed(error, meter),
    };
    let buffers = match Buffers::new(&session.stream, &mut session.copier, job, code) {
        Ok(buffers) => buffers,
        Err(refusal) => return refused(refusal, meter),
    };
    meter.add_input(job.inputs().iter().map(|input| input.len() as u64).sum());
    match launch_all(&session.stream, facts, job, &module, &buffers, stop, meter) {
        Ok(()) => deliver(session, &buffers, outputs, meter),
        Err(Break::Stopped(error)) => Outcome::Ended(Err(error)),
        Err(Break::Refused(refusal)) => refused(refusal, meter),
        Err(Break::Stuck(error)) => {
            // The kernel still uses them: giving them back would block for as long as it runs.
            std::mem::forget((module, buffers));
            Outcome::Lost(error)
        }
    }
}

fn launch_all(
    stream: &Stream,
    facts: &Facts,
    job: &JobInput,
    module: &Module,
    buffers: &Buffers,
    stop: &mut Stop,
    meter: &mut Meter,
) -> Result<(), Break> {
    let Program::Cuda { stages, .. } = &job.envelope.program else { return Ok(()) };
    let kernels = kernels(module, job).map_err(Break::Refused)?;
    // All are checked before the first is launched.
    let calls = |stage: &Declared| stage.launches.iter().map(|launch| call(launch, &kernels, buffers, facts)).collect();
    let calls: Vec<Vec<_>> = stages.iter().map(calls).collect::<Result<_, Refusal>>().map_err(Break::Refused)?;
    let stage = |(stage, calls): (&Declared, _)| {
        // SAFETY: `call` checked the values. The caller keeps the buffers, for good where a kernel is stuck; else
        // `work_off` returns only when the device is done, or when a fault has ended all that it had to do.
        unsafe { Stage::new(calls, stage.repeat, stage.graph) }
    };
    let mut stages: Vec<_> = stages.iter().zip(calls).map(stage).collect::<Result<_, _>>()?;
    Queue::new(stream).work_off(&mut stages, stop, meter)
}

fn deliver(session: &mut Session, buffers: &Buffers, outputs: &mut [Region], meter: &Meter) -> Outcome {
    let (copier, stream) = (&mut session.copier, &session.stream);
    let mut pairs = buffers.outputs.iter().zip(outputs.iter_mut());
    match pairs.try_for_each(|(buffer, region)| copier.download(stream, buffer, region)) {
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
