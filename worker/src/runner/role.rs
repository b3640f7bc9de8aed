//! Building what a runner is there for, and trying it before strangers do.

use super::message::Role;
use crate::execute::{
    BuiltinExecutor, CudaExecutor, ExecuteError, Executor, JobInput, WasmExecutor, reference, run_here,
};
use alloy::primitives::keccak256;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Blob, Builtin, Envelope, Fold, Key, Kind, Limits, OutputBuffer, Program, Verify};
use protocol::resource::Usage;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A WebAssembly module whose `run` returns 0: its header, the type of `run`, one function of it, a page of memory,
/// both exported, and the code.
const REHEARSAL: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x05\x01\x60\0\x01\x7f\
    \x03\x02\x01\0\
    \x05\x03\x01\0\x01\
    \x07\x10\x02\x06memory\x02\0\x03run\0\0\
    \x0a\x06\x01\x04\0\x41\0\x0b";

/// The executors of a role, ready to run. Those of a GPU open it.
pub(super) fn executors(role: Role) -> Result<Vec<Arc<dyn Executor>>, String> {
    match role {
        Role::Probe(_) | Role::Scrub(_) => Ok(Vec::new()),
        Role::Cpu(config) => {
            let wasm = WasmExecutor::new(config).map_err(|error| error.to_string())?;
            Ok(vec![Arc::new(wasm)])
        }
        Role::Gpu(config) => {
            let cuda = Arc::new(CudaExecutor::find(&config)?);
            Ok(vec![cuda.clone(), Arc::new(BuiltinExecutor::new(cuda))])
        }
    }
}

/// Runs tiny jobs behind the locks: a process that they would break, or a GPU that gives wrong answers, is found out
/// before it takes a real job, and what is set up on the first use is set up now.
pub(super) fn rehearse(executors: &[Arc<dyn Executor>]) -> Result<(), String> {
    for executor in executors {
        let Some((job, expected)) = rehearsal(executor.kind(), executor.memory()) else { continue };
        let nobody = watch::channel(Usage::default()).0;
        match run_here(&**executor, job, nobody, CancellationToken::new()) {
            Ok(done) if done.outputs == expected => {}
            Ok(_) => return Err(format!("a {} job with a known answer gives another one", executor.kind())),
            // The executor told already why it does not take such jobs.
            Err(ExecuteError::Unsupported(_)) => {}
            Err(error) => return Err(format!("a {} job fails behind the locks: {error}", executor.kind())),
        }
    }
    Ok(())
}

/// A tiny job of a kind, and its outputs. Programs for CUDA need a compiler first; a builtin kernel shows the same.
fn rehearsal(kind: Kind, memory: u64) -> Option<(JobInput, Vec<Bytes>)> {
    match kind {
        Kind::Wasm => {
            let module = Blob { hash: keccak256(REHEARSAL), length: Quantity(REHEARSAL.len() as u64) };
            let program = Program::Wasm { module, toolchain: String::new() };
            Some((
                tiny(program, vec![Bytes::from_static(REHEARSAL)], 0, memory.min(1 << 20), 1_000),
                vec![Bytes::new()],
            ))
        }
        Kind::Builtin => {
            let keys = Bytes::from_static(&[1, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0]);
            let call = Builtin::Reduce { key: Key::U32, fold: Fold::Sum, count: Quantity(4) };
            let expected = reference::outputs(&call, std::slice::from_ref(&keys)).into_iter().map(Bytes::from);
            let memory = memory.min(call.scratch() + keys.len() as u64 + 8);
            let job = tiny(Program::Builtin { call, cubin: None }, vec![keys], 8, memory, 4);
            Some((job, expected.collect()))
        }
        Kind::Cuda | Kind::Oci => None,
    }
}

/// A job of a program, whose blobs are its code or its only input.
fn tiny(program: Program, blobs: Vec<Bytes>, output: u64, memory: u64, max_units: u64) -> JobInput {
    let blob = |bytes: &Bytes| Blob { hash: keccak256(bytes), length: Quantity(bytes.len() as u64) };
    let inputs = if program.code().is_some() { Vec::new() } else { blobs.iter().map(blob).collect() };
    let (unit, max_units) = (program.unit(), Quantity(max_units));
    let envelope = Envelope {
        version: 1,
        program,
        inputs,
        outputs: vec![OutputBuffer { length: Quantity(output) }],
        limits: Limits { memory: Quantity(memory), wall_ms: Quantity(60_000) },
        verify: Verify::Reexecute,
    };
    JobInput { envelope, blobs, rank: 0, devices: vec![], unit, max_units }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::WasmConfig;

    #[test]
    fn the_rehearsal_is_a_job() {
        let executors = executors(Role::Cpu(WasmConfig::default())).unwrap();
        rehearse(&executors).unwrap();
        let (job, expected) = rehearsal(Kind::Wasm, 1 << 20).unwrap();
        let nobody = watch::channel(Usage::default()).0;
        let done = run_here(&*executors[0], job, nobody, CancellationToken::new()).unwrap();
        assert_eq!(done.outputs, expected);
        assert!(done.usage.fuel > Quantity::ZERO);
    }

    #[test]
    fn every_rehearsal_is_a_valid_job() {
        for kind in [Kind::Wasm, Kind::Builtin] {
            let (job, expected) = rehearsal(kind, 1 << 30).unwrap();
            job.envelope.validate().unwrap();
            assert_eq!((job.envelope.program.kind(), expected.len()), (kind, 1));
        }
        assert_eq!(rehearsal(Kind::Builtin, 1 << 30).unwrap().1, [Bytes::copy_from_slice(&15u64.to_le_bytes())]);
    }

    #[test]
    fn an_operator_may_allow_no_memory_at_all() {
        let executors = executors(Role::Cpu(WasmConfig { max_memory: 0, ..WasmConfig::default() })).unwrap();
        assert!(rehearse(&executors).unwrap_err().contains("memory"));
    }
}
