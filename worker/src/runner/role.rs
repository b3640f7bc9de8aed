//! Building what a runner is there for, and trying it before strangers do.

use super::message::Role;
use crate::execute::{BuiltinExecutor, CudaExecutor, ExecuteError, Executor, JobInput, WasmExecutor, run_here};
use alloy::primitives::keccak256;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Blob, Envelope, Kind, Limits, OutputBuffer, Program, Verify};
use protocol::resource::{Unit, Usage};
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
        Role::Probe(_) => Ok(Vec::new()),
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

/// Runs a tiny job behind the locks: a process that they would break is found out before it takes a real one, and
/// what is set up on the first use is set up now.
pub(super) fn rehearse(executors: &[Arc<dyn Executor>]) -> Result<(), String> {
    for executor in executors.iter().filter(|executor| executor.kind() == Kind::Wasm) {
        let nobody = watch::channel(Usage::default()).0;
        let done = run_here(&**executor, rehearsal(executor.memory()), nobody, CancellationToken::new());
        match done {
            Ok(_) | Err(ExecuteError::Unsupported(_)) => {}
            Err(error) => return Err(format!("a {} job fails behind the locks: {error}", executor.kind())),
        }
    }
    Ok(())
}

fn rehearsal(memory: u64) -> JobInput {
    let module = Blob { hash: keccak256(REHEARSAL), length: Quantity(REHEARSAL.len() as u64) };
    let envelope = Envelope {
        version: 1,
        program: Program::Wasm { module, toolchain: String::new() },
        inputs: vec![],
        outputs: vec![OutputBuffer { length: Quantity(0) }],
        limits: Limits { memory: Quantity(memory.min(1 << 20)), wall_ms: Quantity(60_000) },
        verify: Verify::Reexecute,
    };
    let blobs = vec![Bytes::from_static(REHEARSAL)];
    JobInput { envelope, blobs, rank: 0, devices: vec![], unit: Unit::CpuMs, max_units: Quantity(1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::WasmConfig;

    #[test]
    fn the_rehearsal_is_a_job() {
        let executors = executors(Role::Cpu(WasmConfig::default())).unwrap();
        rehearse(&executors).unwrap();
        let nobody = watch::channel(Usage::default()).0;
        let done = run_here(&*executors[0], rehearsal(1 << 20), nobody, CancellationToken::new()).unwrap();
        assert!(done.usage.fuel > Quantity::ZERO);
    }

    #[test]
    fn an_operator_may_allow_no_memory_at_all() {
        let executors = executors(Role::Cpu(WasmConfig { max_memory: 0, ..WasmConfig::default() })).unwrap();
        assert!(rehearse(&executors).unwrap_err().contains("memory"));
    }
}
