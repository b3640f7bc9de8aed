//! What metering and determinism cost a WebAssembly job: the worker's executor against plain wasmtime.

use super::super::MeasureError;
use super::super::timing::{by_turns, nanoseconds};
use super::{Measured, Outcome, Selection, Sheet};
use crate::doctor::samples::wasm_sample;
use crate::execute::{JobInput, WasmConfig, WasmExecutor, run_here};
use alloy::primitives::keccak256;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Blob, Envelope, Limits, Program, Verify};
use protocol::resource::{Unit, Usage};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wasmtime::{Caller, Engine, Extern, Linker, Memory, Module, Store};

/// How often each side is run.
const ROUNDS: usize = 11;
/// `loop.wat` in binary form.
const LOOP: &[u8] = include_bytes!("loop.wasm");

/// Measures every wanted row of WebAssembly.
pub(super) fn measure(sheet: &mut Sheet, selection: &Selection) {
    if selection.wants("wasm_loop") {
        sheet.enter("wasm_loop", overhead(&loop_job()));
    }
    for (key, name) in [
        ("wasm_sha256", "sha256"),
        ("wasm_asian_option", "asian-option"),
        ("wasm_n_body", "n-body"),
        ("wasm_heat_equation", "heat-equation"),
    ] {
        if selection.wants(key) {
            let exercise = wasm_sample(name).map_err(|error| MeasureError::new("a sample", error).into());
            sheet.enter(key, exercise.and_then(|exercise| overhead(&exercise.job)));
        }
    }
}

/// A whole job of a compiled module, from its inputs to its outputs, on both sides.
fn overhead(job: &JobInput) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| MeasureError::new("a WebAssembly job", error);
    let executor = WasmExecutor::new(WasmConfig::default()).map_err(|error| failed(&error))?;
    let engine = Engine::default();
    let worker = || {
        let progress = watch::channel(Usage::default()).0;
        let (time, done) = nanoseconds(|| run_here(&executor, job.clone(), progress, CancellationToken::new()));
        done.map(|delivered| (time, delivered.outputs)).map_err(|error| failed(&error))
    };
    // The worker keeps compiled modules, so neither side compiles while it is timed.
    let module = Module::from_binary(&engine, &job.blobs[0]).map_err(|error| failed(&error))?;
    let plain = || {
        let (time, done) = nanoseconds(|| plainly(&engine, &module, job));
        done.map(|outputs| (time, outputs)).map_err(|error| failed(&error))
    };
    let same = worker()?.1.iter().map(Bytes::as_ref).eq(plain()?.1.iter().map(Vec::as_slice));
    if !same {
        return Err(failed(&"plain wasmtime gives another answer").into());
    }
    let (measured, reference) = by_turns(ROUNDS, || Ok(worker()?.0), || Ok::<_, MeasureError>(plain()?.0))?;
    Ok(Measured { measured, reference: Some(reference) })
}

/// The loop as a job.
fn loop_job() -> JobInput {
    let module = Blob { hash: keccak256(LOOP), length: Quantity(LOOP.len() as u64) };
    let envelope = Envelope {
        version: 1,
        program: Program::Wasm { module, toolchain: String::new() },
        inputs: vec![],
        outputs: vec![],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(600_000) },
        verify: Verify::Reexecute,
    };
    let blobs = vec![Bytes::from_static(LOOP)];
    JobInput { envelope, blobs, rank: 0, devices: vec![], unit: Unit::CpuMs, max_units: Quantity(600_000) }
}

/// What the functions that a job imports work on.
struct Files {
    inputs: Vec<Bytes>,
    outputs: Vec<Vec<u8>>,
}

/// The job by wasmtime as it comes: nothing is metered, limited or made deterministic.
fn plainly(engine: &Engine, module: &Module, job: &JobInput) -> wasmtime::Result<Vec<Vec<u8>>> {
    let mut linker: Linker<Files> = Linker::new(engine);
    linker.func_wrap("capa", "input_length", |caller: Caller<'_, Files>, index: u32| -> i64 {
        caller.data().inputs.get(index as usize).map_or(-1, |input| input.len() as i64)
    })?;
    linker.func_wrap("capa", "input_read", input_read)?;
    linker.func_wrap("capa", "output_write", output_write)?;
    let outputs = vec![Vec::new(); job.envelope.outputs.len()];
    let mut store = Store::new(engine, Files { inputs: job.blobs[1..].to_vec(), outputs });
    let instance = linker.instantiate(&mut store, module)?;
    let code = instance.get_typed_func::<(), i32>(&mut store, "run")?.call(&mut store, ())?;
    if code != 0 {
        return Err(wasmtime::format_err!("`run` returned {code}"));
    }
    Ok(store.into_data().outputs)
}

fn input_read(mut caller: Caller<'_, Files>, index: u32, from: u64, to: u32, length: u32) -> wasmtime::Result<i32> {
    let memory = memory(&mut caller)?;
    let (memory, files) = memory.data_and_store_mut(&mut caller);
    let source = files.inputs.get(index as usize).and_then(|input| input.get(from as usize..)).unwrap_or_default();
    let count = source.len().min(length as usize);
    let target = memory.get_mut(to as usize..to as usize + count);
    target.ok_or_else(|| wasmtime::format_err!("outside of the memory"))?.copy_from_slice(&source[..count]);
    Ok(count as i32)
}

fn output_write(mut caller: Caller<'_, Files>, index: u32, to: u64, from: u32, length: u32) -> wasmtime::Result<i32> {
    let memory = memory(&mut caller)?;
    let (memory, files) = memory.data_and_store_mut(&mut caller);
    let source = memory.get(from as usize..from as usize + length as usize);
    let source = source.ok_or_else(|| wasmtime::format_err!("outside of the memory"))?;
    let output = files.outputs.get_mut(index as usize).ok_or_else(|| wasmtime::format_err!("no such output"))?;
    let end = to as usize + source.len();
    output.resize(output.len().max(end), 0);
    output[to as usize..end].copy_from_slice(source);
    Ok(0)
}

fn memory(caller: &mut Caller<'_, Files>) -> wasmtime::Result<Memory> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| wasmtime::format_err!("the module does not export its memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_is_its_text() {
        // The text's names follow in a section that no program needs.
        assert!(wat::parse_str(include_str!("loop.wat")).unwrap().starts_with(LOOP));
    }

    #[test]
    fn plain_wasmtime_gives_the_same_answer() {
        let exercise = wasm_sample("asian-option").unwrap();
        let engine = Engine::default();
        let module = Module::from_binary(&engine, &exercise.job.blobs[0]).unwrap();
        let outputs = plainly(&engine, &module, &exercise.job).unwrap();
        let outputs: Vec<Bytes> = outputs.into_iter().map(Bytes::from).collect();
        assert!(exercise.is_solved_by(&outputs));
    }
}
