//! What the way to a job's process and back costs, and what its locks cost.

use super::super::MeasureError;
use super::super::timing::{by_turns, median, nanos, percentile, rate};
use super::{EMULATED, Measured, Missing, Outcome, Selection, Sheet};
use crate::doctor::samples::wasm_sample;
use crate::doctor::trial::Trial;
use crate::execute::{Executor, JobInput, WasmConfig, WasmExecutor, run_here};
use alloy::primitives::{Address, B256, keccak256};
use bytes::Bytes;
use protocol::amount::{Amount, Quantity, Timestamp};
use protocol::job::{
    Argument, Blob, Envelope, Kind, Language, Launch, Limits, OutputBuffer, Program, Stage, Verify, result_hash,
};
use protocol::order::JobId;
use protocol::receipt::{Receipt, Statement};
use protocol::resource::Usage;
use protocol::signature::{Domain, SigningKey};
use std::time::Instant;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many empty jobs are timed.
const JOBS: usize = 2_000;
/// As many before, that are not: the process is started and everything that is cached is there.
const WARM_UP: usize = 100;
/// How often each side of the comparison is run.
const ROUNDS: usize = 31;
/// A module whose `run` writes one byte and returns 0.
const NOOP: &[u8] = include_bytes!("noop.wasm");
/// A kernel that does next to nothing.
const TICK: &[u8] = include_bytes!("../../../kernels/anchor.cu");
/// Median, 99th percentile and rate of empty jobs on a GPU, and as WebAssembly.
const NOOP_CUDA: [&str; 3] = ["warm_noop_p50", "warm_noop_p99", "warm_noop_rate"];
const NOOP_WASM: [&str; 3] = ["warm_noop_wasm_p50", "warm_noop_wasm_p99", "warm_noop_wasm_rate"];
/// The tenant of all these jobs.
const TENANT: Address = Address::repeat_byte(0xbe);

/// Measures every wanted row that runs jobs in their own processes.
pub(super) async fn measure(sheet: &mut Sheet, selection: &Selection, trial: &Trial) {
    for (keys, job) in [(NOOP_CUDA, cuda_noop(trial)), (NOOP_WASM, Ok(noop_job()))] {
        if !keys.iter().any(|key| selection.wants(key)) {
            continue;
        }
        let times = match job {
            Ok(job) => noop_times(trial, &job).await.map_err(Missing::from),
            Err(why) => Err(Missing::Skipped(why)),
        };
        let picks: [fn(&Times) -> u64; 3] = [|times| times.p50, |times| times.p99, |times| times.rate];
        for (key, pick) in keys.into_iter().zip(picks) {
            let outcome = times.as_ref().map(|times| Measured { measured: pick(times), reference: None });
            sheet.enter(key, outcome.map_err(Clone::clone));
        }
    }
    if selection.wants("sandbox_tax") {
        sheet.enter("sandbox_tax", sandbox_tax(trial).await);
    }
}

/// How long empty jobs take.
struct Times {
    p50: u64,
    p99: u64,
    rate: u64,
}

/// Times a job from the request to the signed receipt, many times one after the other.
async fn noop_times(trial: &Trial, job: &JobInput) -> Result<Times, MeasureError> {
    let signer = Signer::new()?;
    for _ in 0..WARM_UP {
        once(trial, job, &signer).await?;
    }
    let started = Instant::now();
    let mut times = Vec::with_capacity(JOBS);
    for _ in 0..JOBS {
        let one = Instant::now();
        once(trial, job, &signer).await?;
        times.push(nanos(one.elapsed()));
    }
    let rate = rate(JOBS as u64, started.elapsed());
    Ok(Times { p50: median(&mut times), p99: percentile(&mut times, 990), rate })
}

async fn once(trial: &Trial, job: &JobInput, signer: &Signer) -> Result<Receipt, MeasureError> {
    let progress = watch::channel(Usage::default()).0;
    let running = trial.fleet.execute(TENANT, job.clone(), progress, CancellationToken::new());
    let delivered = running.await.map_err(|error| MeasureError::new("an empty job", error))?;
    let blob = |bytes: &Bytes| Blob { hash: keccak256(bytes), length: Quantity(bytes.len() as u64) };
    let outputs: Vec<Blob> = delivered.outputs.iter().map(blob).collect();
    Ok(signer.receipt(delivered.usage, result_hash(&outputs)))
}

/// Signs receipts as a worker does.
struct Signer {
    domain: Domain,
    key: SigningKey,
}

impl Signer {
    fn new() -> Result<Self, MeasureError> {
        let key = SigningKey::from_bytes(&[7; 32]).ok_or_else(|| MeasureError::new("a receipt", "no key"))?;
        Ok(Self { domain: Domain::new(51_866, Address::repeat_byte(0x5e)), key })
    }

    fn receipt(&self, usage: Usage, result: B256) -> Receipt {
        let statement = Statement {
            job: JobId(result),
            provider: TENANT,
            sequence: 1,
            usage,
            amount: Amount(1),
            result,
            at: Timestamp(1),
        };
        Receipt::sign(statement, &self.domain, &self.key)
    }
}

/// How long one signature of a receipt takes.
pub(super) fn sign_receipt() -> Outcome {
    let signer = Signer::new()?;
    let mut times: Vec<u64> = (0..1_001u64)
        .map(|round| {
            let usage = Usage { cpu_ms: Quantity(round), ..Usage::default() };
            let started = Instant::now();
            std::hint::black_box(signer.receipt(usage, B256::repeat_byte(1)));
            nanos(started.elapsed())
        })
        .collect();
    Ok(Measured { measured: median(&mut times), reference: None })
}

/// The same job by the same executor: in a locked process by its socket, and in this process by a call.
async fn sandbox_tax(trial: &Trial) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| MeasureError::new("the tax of the sandbox", error);
    let exercise = wasm_sample("asian-option").map_err(|error| failed(&error))?;
    let executor = WasmExecutor::new(WasmConfig::default()).map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Handle::current();
    let locked = || {
        let started = Instant::now();
        let progress = watch::channel(Usage::default()).0;
        let running = trial.fleet.execute(TENANT, exercise.job.clone(), progress, CancellationToken::new());
        let done = runtime.block_on(running).map_err(|error| failed(&error));
        done.map(|_| nanos(started.elapsed()))
    };
    let open = || run_open(&executor, &exercise.job);
    // Both are called from a thread that may wait, so that neither has the runtime's own in its way.
    let measured = tokio::task::block_in_place(|| {
        locked()?;
        open()?;
        by_turns(ROUNDS, locked, open)
    });
    let (measured, reference) = measured?;
    Ok(Measured { measured, reference: Some(reference) })
}

fn run_open(executor: &dyn Executor, job: &JobInput) -> Result<u64, MeasureError> {
    let started = Instant::now();
    let progress = watch::channel(Usage::default()).0;
    let done = run_here(executor, job.clone(), progress, CancellationToken::new());
    done.map(|_| nanos(started.elapsed())).map_err(|error| MeasureError::new("a job", error))
}

/// The empty job.
fn noop_job() -> JobInput {
    let module = Blob { hash: keccak256(NOOP), length: Quantity(NOOP.len() as u64) };
    empty(Program::Wasm { module, toolchain: String::new() }, NOOP, 1)
}

/// The empty job of a GPU, or why there is none.
fn cuda_noop(trial: &Trial) -> Result<JobInput, String> {
    let inventory = trial.fleet.inventory();
    match inventory.device {
        Some(name) if name != EMULATED && inventory.kinds.contains(&Kind::Cuda) => {}
        Some(name) if name == EMULATED => return Err("the device is an emulated one".into()),
        _ => return Err("there is no GPU that the worker can use".into()),
    }
    let launch = Launch {
        kernel: "tick".into(),
        grid: [1, 1, 1],
        block: [1, 1, 1],
        shared_memory: 0,
        arguments: vec![Argument::Output(0)],
    };
    let program = Program::Cuda {
        source: Blob { hash: keccak256(TICK), length: Quantity(TICK.len() as u64) },
        language: Language::Cuda,
        toolchain: String::new(),
        devices: 1,
        scratch: vec![],
        stages: vec![Stage { repeat: 1, graph: false, launches: vec![launch] }],
    };
    Ok(empty(program, TICK, 4))
}

fn empty(program: Program, code: &'static [u8], output: u64) -> JobInput {
    let unit = program.unit();
    let envelope = Envelope {
        version: 1,
        program,
        inputs: vec![],
        outputs: vec![OutputBuffer { length: Quantity(output) }],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(60_000) },
        verify: Verify::Reexecute,
    };
    let blobs = vec![Bytes::from_static(code)];
    JobInput { envelope, blobs, rank: 0, devices: vec![], unit, max_units: Quantity(1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_job_is_its_text_and_runs() {
        // The text's names follow in a section that no program needs.
        assert!(wat::parse_str(include_str!("noop.wat")).unwrap().starts_with(NOOP));
        let executor = WasmExecutor::new(WasmConfig::default()).unwrap();
        let progress = watch::channel(Usage::default()).0;
        let done = run_here(&executor, noop_job(), progress, CancellationToken::new()).unwrap();
        assert_eq!(done.outputs, [Bytes::from_static(&[42])]);
    }

    #[test]
    fn receipts_are_signed_as_the_workers_are() {
        let signer = Signer::new().unwrap();
        let receipt = signer.receipt(Usage::default(), B256::repeat_byte(3));
        let digest = signer.domain.digest(receipt.statement.hash());
        receipt.signature.verify(digest, signer.key.address()).unwrap();
    }
}
