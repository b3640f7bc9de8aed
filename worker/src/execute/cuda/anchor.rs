//! What the device does by itself, and what it does through the worker: each figure is measured both ways, in turns, in
//! one process, so that the worker's own cost shows.
//!
//! The raw side is the plain driver (and cuBLASLt) with everything prepared before the clock starts: a loop of
//! `cuLaunchKernel`, launches of a graph, one copy of pinned memory, one matrix product. The worker's side is a job, from
//! the call of its executor to its output, save for matrix products, where both sides are timed by events on the device.

use super::CudaExecutor;
use super::blas::{Blas, BlasError, Shape};
use super::compile::{CompileError, machine_code};
use super::memory::{Buffer, Pinned};
use super::module::{Call, Graph, Module, Values};
use super::run::{Outcome, Session};
use super::stream::Event;
use crate::execute::{BuiltinExecutor, CudaConfig, ExecuteError, JobInput, Produced, Region, run_here};
use alloy::primitives::keccak256;
use bytes::Bytes;
use cudarc::driver::result::DriverError;
use protocol::amount::Quantity;
use protocol::job::{
    Argument, Blob, Builtin, Element, Envelope, GEMM_WORKSPACE, Language, Launch, Limits, OutputBuffer, Program, Stage,
    Verify,
};
use protocol::resource::{Unit, Usage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A kernel that counts its calls, so that each depends on the one before.
const TICK: &[u8] = include_bytes!("../../../kernels/anchor.cu");
/// Launches of the raw graph.
const GRAPH_LAUNCHES: u32 = 100;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Launches of a loop.
    pub launches: u32,
    /// Bytes of a copy.
    pub copy: usize,
    /// Rows and columns of the matrices.
    pub side: u32,
    /// How often each side is measured; the median counts.
    pub rounds: usize,
}

impl Sizes {
    /// What the bars are about.
    pub const FULL: Self = Self { launches: 10_000, copy: 1 << 30, side: 8192, rounds: 9 };
}

/// A figure in nanoseconds, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pair {
    /// Through the worker.
    pub measured: u64,
    /// Without it.
    pub reference: u64,
}

/// Everything that was measured on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anchors {
    /// The device's name.
    pub device: String,
    /// By name, each with its figure or why there is none.
    pub figures: BTreeMap<String, Result<Pair, String>>,
}

/// Measures all of it on the first device that this process sees. It loads the driver: call it in a process of its own.
pub fn measure(config: &CudaConfig, sizes: &Sizes) -> Result<Anchors, String> {
    let cuda = Arc::new(CudaExecutor::find(config)?);
    let bench = Bench { builtin: BuiltinExecutor::new(cuda.clone()), cuda, sizes: *sizes };
    let figures = [
        ("launch_loop", bench.launches(false)),
        ("launch_graph", bench.launches(true)),
        ("graph_loop", bench.graphs()),
        ("noop", bench.noop()),
        ("compile_cached", bench.compile()),
        ("copy_to_device", bench.copy_to_device()),
        ("copy_from_device", bench.copy_from_device()),
        ("gemm_bf16", bench.gemm()),
    ];
    let device = bench.cuda.facts.name.clone();
    Ok(Anchors { device, figures: figures.map(|(name, figure)| (name.to_owned(), figure)).into() })
}

struct Bench {
    cuda: Arc<CudaExecutor>,
    builtin: BuiltinExecutor,
    sizes: Sizes,
}

impl Bench {
    /// Dependent launches: a job of them, or of a graph of them, against a raw loop.
    fn launches(&self, graph: bool) -> Result<Pair, String> {
        let count = self.sizes.launches;
        let job = tick_job(count, 1, graph);
        let raw = |session: &Session, call: &Call<'_>, (): &()| {
            for _ in 0..count {
                // SAFETY: `tick` made the call for a buffer that lives until the device is done.
                unsafe { call.launch(&session.stream) }?;
            }
            Ok(())
        };
        self.turns(|| self.time_job(&job), || self.tick(|_| Ok(()), raw))
    }

    /// The same launches as graphs, both ways.
    fn graphs(&self) -> Result<Pair, String> {
        let times = self.sizes.launches.div_ceil(GRAPH_LAUNCHES);
        let job = tick_job(times, GRAPH_LAUNCHES as usize, true);
        // SAFETY: as in `launches`; the module is kept as well.
        let record = |call: &Call<'_>| unsafe { Graph::record(std::slice::from_ref(call), GRAPH_LAUNCHES as usize) };
        let raw =
            |session: &Session, _: &Call<'_>, graph: &Graph| (0..times).try_for_each(|_| graph.launch(&session.stream));
        self.turns(|| self.time_job(&job), || self.tick(record, raw))
    }

    /// A job of one launch, against a launch and the wait for it.
    fn noop(&self) -> Result<Pair, String> {
        let job = tick_job(1, 1, false);
        // SAFETY: as in `launches`.
        let raw = |session: &Session, call: &Call<'_>, (): &()| unsafe { call.launch(&session.stream) };
        self.turns(|| self.time_job(&job), || self.tick(|_| Ok(()), raw))
    }

    /// Machine code of a source that was compiled before, against the compilation.
    fn compile(&self) -> Result<Pair, String> {
        let job = tick_job(1, 1, false);
        self.time_job(&job)?;
        let cached = || {
            let mut state = self.cuda.state.lock().map_err(|_| "a measurement panicked")?;
            let context = state.session().map_err(|error| error.to_string())?.context.clone();
            let begin = Instant::now();
            let code = self.cuda.compiler.compile(&context, Language::Cuda, &job, || false);
            let took = begin.elapsed();
            code.map(|_| nanoseconds(took)).map_err(CompileError::into_detail)
        };
        let compiled = || {
            let begin = Instant::now();
            machine_code(TICK, self.cuda.facts.capability).map(|_| nanoseconds(begin.elapsed()))
        };
        self.turns(cached, compiled)
    }

    /// Ordinary memory to the device by the worker's copier, against one copy of pinned memory.
    fn copy_to_device(&self) -> Result<Pair, String> {
        let length = self.sizes.copy;
        let from = vec![0x5a; length];
        let ours = || {
            self.on_device(|session| -> Result<u64, DriverError> {
                let begin = Instant::now();
                let buffer = session.copier.upload(&session.stream, &from)?;
                session.stream.synchronize()?;
                let took = begin.elapsed();
                drop(buffer);
                Ok(nanoseconds(took))
            })
        };
        self.turns(ours, || {
            self.raw_copy(|buffer, pinned| {
                // SAFETY: `raw_copy` keeps the memory until the device is done.
                unsafe { buffer.queue_write(0, pinned, length) }
            })
        })
    }

    /// And back.
    fn copy_from_device(&self) -> Result<Pair, String> {
        let length = self.sizes.copy;
        let mut to = vec![0x5a; length];
        let ours = || {
            self.on_device(|session| -> Result<u64, DriverError> {
                let buffer = Buffer::zeroed(&session.stream, length)?;
                session.stream.synchronize()?;
                let begin = Instant::now();
                session.copier.download(&session.stream, &buffer, &mut to)?;
                Ok(nanoseconds(begin.elapsed()))
            })
        };
        self.turns(ours, || {
            self.raw_copy(|buffer, pinned| {
                // SAFETY: as in `copy_to_device`.
                unsafe { buffer.queue_read(0, pinned, length) }
            })
        })
    }

    /// Times one copy between a buffer and pinned memory.
    fn raw_copy(&self, copy: impl FnOnce(&Buffer, &mut Pinned) -> Result<(), DriverError>) -> Result<u64, String> {
        self.on_device(|session| -> Result<u64, DriverError> {
            let mut pinned = Pinned::new(self.sizes.copy)?;
            let buffer = Buffer::zeroed(&session.stream, self.sizes.copy)?;
            session.stream.synchronize()?;
            let begin = Instant::now();
            copy(&buffer, &mut pinned)?;
            session.stream.synchronize()?;
            Ok(nanoseconds(begin.elapsed()))
        })
    }

    /// A product of random matrices, on the device's clock: the worker's builtin against cuBLASLt alone.
    fn gemm(&self) -> Result<Pair, String> {
        let side = self.sizes.side;
        let (a, b) = (Bytes::from(random_bf16(side, 1)), Bytes::from(random_bf16(side, 2)));
        let job = gemm_job(side, &a, &b);
        let ours = || {
            let mut outputs: [Region; 1] = [Box::new(vec![0u8; side as usize * side as usize * 4])];
            let (nobody, never) = (watch::channel(Usage::default()).0, CancellationToken::new());
            let done = self.builtin.timed(job.clone(), &mut outputs, nobody, never);
            done.map(|(_, microseconds)| microseconds * 1000).map_err(|error| error.to_string())
        };
        self.turns(ours, || self.raw_gemm(side, &a, &b))
    }

    fn raw_gemm(&self, side: u32, a: &[u8], b: &[u8]) -> Result<u64, String> {
        let multiply = |session: &mut Session| -> Result<f32, BlasError> {
            let stream = session.stream.clone();
            let (left, right) = (session.copier.upload(&stream, a)?, session.copier.upload(&stream, b)?);
            let product = Buffer::zeroed(&stream, side as usize * side as usize * 4)?;
            let workspace = Buffer::zeroed(&stream, GEMM_WORKSPACE as usize)?;
            let blas = Blas::open(&stream)?;
            let plan =
                blas.plan(Shape { element: Element::Bf16, rows: side, k: side, n: side }, GEMM_WORKSPACE, None)?;
            let (begin, end) = (Event::new()?, Event::new()?);
            begin.record(&stream)?;
            blas.multiply(&plan, (&left, 0), &right, (&product, 0), &workspace)?;
            end.record(&stream)?;
            stream.synchronize()?;
            Ok(begin.until(&end)?)
        };
        let milliseconds = self.on_device(multiply)?;
        Ok((f64::from(milliseconds) * 1e6) as u64)
    }

    /// Times raw work with a call of the counting kernel, from the first launch until the device is done. What `prepare`
    /// makes does not count.
    fn tick<P>(
        &self,
        prepare: impl FnOnce(&Call<'_>) -> Result<P, DriverError>,
        work: impl FnOnce(&Session, &Call<'_>, &P) -> Result<(), DriverError>,
    ) -> Result<u64, String> {
        let code = machine_code(TICK, self.cuda.facts.capability)?;
        self.on_device(|session| -> Result<u64, DriverError> {
            let module = Module::load(&session.context, &code)?;
            let kernel = module.kernel("tick")?;
            let buffer = Buffer::zeroed(&session.stream, 4)?;
            let values = Values::new(vec![buffer.address()]);
            let call = Call { kernel: &kernel, grid: [1; 3], block: [1; 3], shared_memory: 0, values };
            let prepared = prepare(&call)?;
            session.stream.synchronize()?;
            let begin = Instant::now();
            work(session, &call, &prepared)?;
            session.stream.synchronize()?;
            Ok(nanoseconds(begin.elapsed()))
        })
    }

    /// Has the device for work that no client brought.
    fn on_device<T, E: std::fmt::Display>(&self, work: impl FnOnce(&mut Session) -> Result<T, E>) -> Result<T, String> {
        let mut told = Err("the device was not reached".to_owned());
        let ended = self.cuda.on_device(|session| match work(session) {
            Ok(value) => {
                told = Ok(value);
                Outcome::Ended(Ok(Produced { usage: Usage::default(), lengths: vec![] }))
            }
            Err(error) => Outcome::Faulted(ExecuteError::Node(error.to_string())),
        });
        ended.map_err(|error| error.to_string()).and(told)
    }

    /// Times a job from the call of its executor to its output.
    fn time_job(&self, job: &JobInput) -> Result<u64, String> {
        let (job, nobody) = (job.clone(), watch::channel(Usage::default()).0);
        let begin = Instant::now();
        let done = run_here(&*self.cuda, job, nobody, CancellationToken::new());
        done.map(|_| nanoseconds(begin.elapsed())).map_err(|error| error.to_string())
    }

    /// The medians of both sides, which take turns after one that does not count.
    fn turns(
        &self,
        mut measured: impl FnMut() -> Result<u64, String>,
        mut reference: impl FnMut() -> Result<u64, String>,
    ) -> Result<Pair, String> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=self.sizes.rounds {
            let (mine, other) = (measured()?, reference()?);
            if round > 0 {
                ours.push(mine);
                theirs.push(other);
            }
        }
        let median = |mut values: Vec<u64>| {
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        };
        Ok(Pair { measured: median(ours), reference: median(theirs) })
    }
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn blob(bytes: &[u8]) -> Blob {
    Blob { hash: keccak256(bytes), length: Quantity(bytes.len() as u64) }
}

fn job(program: Program, inputs: &[&Bytes], output: u64, unit: Unit, memory: u64) -> JobInput {
    let code = program.code().map(|_| Bytes::from_static(TICK));
    let envelope = Envelope {
        version: 1,
        program,
        inputs: inputs.iter().map(|input| blob(input)).collect(),
        outputs: vec![OutputBuffer { length: Quantity(output) }],
        limits: Limits { memory: Quantity(memory), wall_ms: Quantity(600_000) },
        verify: Verify::None,
    };
    let blobs = code.into_iter().chain(inputs.iter().copied().cloned()).collect();
    JobInput { envelope, blobs, rank: 0, devices: vec![], unit, max_units: Quantity(u64::MAX) }
}

/// A job that counts: so many rounds of so many launches.
fn tick_job(repeat: u32, launches: usize, graph: bool) -> JobInput {
    let arguments = vec![Argument::Output(0)];
    let launch = Launch { kernel: "tick".into(), grid: [1; 3], block: [1; 3], shared_memory: 0, arguments };
    let stages = vec![Stage { repeat, graph, launches: vec![launch; launches] }];
    let (source, language, toolchain) = (blob(TICK), Language::Cuda, String::new());
    job(
        Program::Cuda { source, language, toolchain, devices: 1, scratch: vec![], stages },
        &[],
        4,
        Unit::GpuMs,
        1 << 20,
    )
}

fn gemm_job(side: u32, a: &Bytes, b: &Bytes) -> JobInput {
    let call = Builtin::Gemm { element: Element::Bf16, m: side, k: side, n: side, toolchain: String::new() };
    let (unit, output) = (call.unit(), u64::from(side) * u64::from(side) * 4);
    let memory = 2 * a.len() as u64 + output + GEMM_WORKSPACE + (1 << 20);
    job(Program::Builtin { call, cubin: None }, &[a, b], output, unit, memory)
}

/// A square matrix of numbers between -1 and 1 (SplitMix64): a product of zeros would take less power, and less time.
fn random_bf16(side: u32, seed: u64) -> Vec<u8> {
    let number = |counter: u64| {
        let mut z = seed.wrapping_add((counter + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let real = ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
        // The upper half of a float is the bfloat16 next to it.
        ((real.to_bits() >> 16) as u16).to_le_bytes()
    };
    (0..u64::from(side) * u64::from(side)).flat_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_lie_between_minus_one_and_one() {
        let bytes = random_bf16(64, 7);
        let real = |pair: &[u8]| f32::from_bits(u32::from(u16::from_le_bytes([pair[0], pair[1]])) << 16);
        let numbers: Vec<f32> = bytes.chunks_exact(2).map(real).collect();
        assert!(numbers.iter().all(|number| (-1.0..=1.0).contains(number)));
        let negative = numbers.iter().filter(|number| **number < 0.0).count();
        assert!((1800..2300).contains(&negative), "{negative} of 4096 are negative");
    }

    #[test]
    fn the_jobs_are_valid() {
        let matrix = Bytes::from(random_bf16(64, 1));
        for job in [tick_job(10, 3, true), gemm_job(64, &matrix, &matrix)] {
            job.envelope.validate().unwrap();
        }
    }
}
