//! From an envelope's launches to launches that are safe to make: every kernel exists, every argument fits.

use super::super::{ExecuteError, JobInput};
use super::cache::Code;
use super::context::Facts;
use super::copy::Copier;
use super::memory::Buffer;
use super::module::{Call, Kernel, Module, Values};
use super::stream::Stream;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys;
use protocol::amount::Quantity;
use protocol::job::{Argument, Launch, Program};
use protocol::resource::Usage;
use std::collections::BTreeMap;

/// Dynamic shared memory that needs no asking.
const FREE_SHARED_MEMORY: u32 = 48 << 10;

/// Why a job cannot be prepared.
pub(super) enum Refusal {
    /// The author's mistake.
    Program(String),
    /// The device's.
    Device(DriverError),
}

impl From<DriverError> for Refusal {
    fn from(error: DriverError) -> Self {
        Self::Device(error)
    }
}

/// All buffers of a job, on the device.
pub(super) struct Buffers {
    inputs: Vec<Buffer>,
    pub(super) outputs: Vec<Buffer>,
    scratch: Vec<Buffer>,
    rank: u32,
}

impl Buffers {
    /// Fills the inputs, clears the rest. All together, and the code's variables, must fit into `limits.memory`.
    pub(super) fn new(stream: &Stream, copier: &mut Copier, job: &JobInput, code: &Code) -> Result<Self, Refusal> {
        let needed = needed(job).saturating_add(u128::from(code.image.variables));
        within(job, needed).map_err(Refusal::Program)?;
        let outputs: Vec<Quantity> = job.output_lengths().map(|length| Quantity(length as u64)).collect();
        // No length is above the limit, which is not above the device's memory.
        let zeroed = |length: &Quantity| Buffer::zeroed(stream, length.get() as usize);
        Ok(Self {
            inputs: job.inputs().iter().map(|bytes| copier.upload(stream, bytes)).collect::<Result<_, _>>()?,
            outputs: outputs.iter().map(zeroed).collect::<Result<_, _>>()?,
            scratch: scratch(job).iter().map(zeroed).collect::<Result<_, _>>()?,
            rank: job.rank,
        })
    }

    /// What the driver copies for an argument, and its size. A buffer that is not declared has no value.
    fn value(&self, argument: &Argument) -> Option<(u64, usize)> {
        let address = |buffers: &[Buffer], index: u32| Some((buffers.get(index as usize)?.address(), 8));
        match argument {
            Argument::Input(index) => address(&self.inputs, *index),
            Argument::Output(index) => address(&self.outputs, *index),
            Argument::Scratch(index) => address(&self.scratch, *index),
            Argument::Rank => Some((u64::from(self.rank), 4)),
            Argument::U32(value) | Argument::F32Bits(value) => Some((u64::from(*value), 4)),
            Argument::U64(value) | Argument::F64Bits(value) => Some((value.get(), 8)),
        }
    }
}

/// Refuses a job whose buffers do not fit into its `limits.memory`, before anything is taken for them.
pub(super) fn check_memory(job: &JobInput) -> Result<(), ExecuteError> {
    within(job, needed(job)).map_err(|detail| ExecuteError::Program { detail, usage: Usage::default() })
}

fn within(job: &JobInput, needed: u128) -> Result<(), String> {
    let limit = job.envelope.limits.memory.get();
    if needed <= u128::from(limit) {
        return Ok(());
    }
    Err(format!("its buffers need {needed} bytes, limits.memory is {limit}"))
}

/// How much device memory the buffers take.
fn needed(job: &JobInput) -> u128 {
    let lengths = job.envelope.inputs.iter().map(|input| input.length.get());
    let sum =
        lengths.chain(job.output_lengths().map(|length| length as u64)).chain(scratch(job).iter().map(|s| s.get()));
    sum.fold(0u128, |sum, length| sum + u128::from(length))
}

fn scratch(job: &JobInput) -> &[Quantity] {
    match &job.envelope.program {
        Program::Cuda { scratch, .. } => scratch,
        Program::Wasm { .. } | Program::Builtin { .. } | Program::Oci { .. } => &[],
    }
}

/// The kernels of a job by name.
pub(super) type Kernels<'m> = BTreeMap<String, Kernel<'m>>;

/// Finds every kernel that the launches name, and lets it have the shared memory that they ask for.
pub(super) fn kernels<'m>(module: &'m Module, job: &JobInput) -> Result<Kernels<'m>, Refusal> {
    let Program::Cuda { stages, .. } = &job.envelope.program else { return Ok(Kernels::new()) };
    let mut kernels = Kernels::new();
    for launch in stages.iter().flat_map(|stage| &stage.launches) {
        if kernels.contains_key(&launch.kernel) {
            continue;
        }
        let kernel = module.kernel(&launch.kernel).map_err(|error| match error {
            DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND) => Refusal::Program(format!(
                "the source has no kernel {}: declare it extern \"C\" __global__ (in PTX, .visible .entry)",
                launch.kernel
            )),
            error => Refusal::Device(error),
        })?;
        let same = stages.iter().flat_map(|stage| &stage.launches).filter(|other| other.kernel == launch.kernel);
        let shared = same.map(|launch| launch.shared_memory).max().unwrap_or(0);
        if shared > FREE_SHARED_MEMORY && kernel.allow_shared_memory(shared).is_err() {
            let detail = format!("kernel {}: {shared} bytes of shared memory are more than there are", launch.kernel);
            return Err(Refusal::Program(detail));
        }
        kernels.insert(launch.kernel.clone(), kernel);
    }
    Ok(kernels)
}

/// Checks a launch against its kernel and the device, and puts its arguments in place. What comes back is safe to
/// launch for as long as the buffers live: number and sizes of the values are those of the kernel's parameters.
pub(super) fn call<'k>(
    launch: &Launch,
    kernels: &'k Kernels<'k>,
    buffers: &Buffers,
    facts: &Facts,
) -> Result<Call<'k>, Refusal> {
    let refuse = |detail: String| Err(Refusal::Program(format!("kernel {}: {detail}", launch.kernel)));
    let Some(kernel) = kernels.get(&launch.kernel) else { return refuse("it does not exist".into()) };
    let exceeds = |size: &[u32; 3], most: &[u32; 3]| size.iter().zip(most).any(|(size, most)| size > most);
    let threads = launch.block.iter().fold(1u64, |threads, size| threads.saturating_mul(u64::from(*size)));
    let max_threads = kernel.max_threads()?;
    if exceeds(&launch.grid, &facts.max_grid) || exceeds(&launch.block, &facts.max_block) {
        return refuse(format!("a grid is at most {:?}, a block {:?}", facts.max_grid, facts.max_block));
    }
    if threads > u64::from(max_threads) {
        return refuse(format!("a block of {threads} threads is more than the {max_threads} it can have"));
    }
    let Some(cells) = launch.arguments.iter().map(|a| buffers.value(a)).collect::<Option<Vec<_>>>() else {
        return refuse("it names a buffer that is not declared".into());
    };
    let (values, sizes): (Vec<u64>, Vec<usize>) = cells.into_iter().unzip();
    if sizes != kernel.parameters {
        let wanted = &kernel.parameters;
        return refuse(format!("its parameters are {wanted:?} bytes long, the arguments given {sizes:?}"));
    }
    let (grid, block, shared_memory) = (launch.grid, launch.block, launch.shared_memory);
    Ok(Call { kernel, grid, block, shared_memory, values: Values::new(values) })
}
