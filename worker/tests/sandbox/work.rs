//! Locked as strangers' jobs are, the real executors still do their work.

use crate::harness::Case;
use crate::scene::{Act, Scene};
use crate::stage::{Actor, block_on, lockdown};
use protocol::job::Kind;
use protocol::resource::Usage;
use std::time::Instant;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{CudaConfig, CudaExecutor, Executor, JobInput, WasmConfig, WasmExecutor, run_here};
use worker::sandbox::{Lockdown, Profile};

#[path = "../execute/sample.rs"]
#[allow(dead_code)]
mod sample;

pub(crate) const CASES: &[Case] = &[
    ("webassembly_runs_in_a_locked_process", wasm),
    ("a_driver_can_name_its_threads_in_a_locked_process", names),
    ("cuda_compiles_and_runs_in_a_locked_process", cuda),
];

/// The shortest of the samples.
const SAMPLE: &str = "asian-option";

pub(crate) type Prepared = (JobInput, Box<dyn Executor>);

/// What has to be read from files before they are barred.
pub(crate) fn prepare(act: &Act) -> Option<JobInput> {
    match act {
        Act::RunWasm => Some(sample::load(SAMPLE, Kind::Wasm).0),
        Act::RunCuda(_) => Some(sample::load(SAMPLE, Kind::Cuda).0),
        _ => None,
    }
}

/// What is set up between the two halves of a lockdown.
pub(crate) fn executor(act: &Act) -> Option<Box<dyn Executor>> {
    match act {
        Act::RunWasm => Some(Box::new(WasmExecutor::new(WasmConfig::default()).unwrap())),
        Act::RunCuda(libraries) => {
            let libraries = libraries.clone();
            let config = CudaConfig { libraries, allow_emulated: true, ..CudaConfig::default() };
            Some(Box::new(CudaExecutor::find(&config).unwrap()))
        }
        _ => None,
    }
}

/// Runs the job; tells its result, or why there is none.
pub(crate) fn run((job, executor): Prepared) -> String {
    match run_here(&*executor, job, watch::channel(Usage::default()).0, CancellationToken::new()) {
        Ok(delivered) => format!("{:?}", sample::result_of(&delivered.outputs)),
        Err(error) => error.to_string(),
    }
}

fn check(lockdown: Lockdown, act: Act, kind: Kind) {
    block_on(async {
        let begin = Instant::now();
        let actor = Actor::start(Some(lockdown), act, &Scene::default(), None).await;
        println!("    locked after {:?}: {:?}", begin.elapsed(), actor.isolation);
        let expected = sample::load(SAMPLE, kind).1;
        assert_eq!(actor.hear_note().await, format!("{expected:?}"), "{}", actor.process.log());
    });
}

fn wasm() {
    // The engine reserves 4 GiB of addresses for a guest's memory, however much of it the guest may use.
    let lockdown = Lockdown { address_space: Some(6 << 30), ..lockdown(Profile::Cpu) };
    check(lockdown, Act::RunWasm, Kind::Wasm);
}

fn names() {
    block_on(async {
        let actor = Actor::start(Some(lockdown(Profile::Gpu)), Act::NameThreads, &Scene::default(), None).await;
        // The first, the one of before the lockdown, the watchdog, and the one of after.
        assert_eq!(actor.hear_note().await, "4 threads, failed: []");
    });
}

fn cuda() {
    let libraries = emulated_cuda::libraries().unwrap();
    let lockdown = Lockdown { read: libraries.clone(), ..lockdown(Profile::Gpu) };
    check(lockdown, Act::RunCuda(libraries), Kind::Cuda);
}
