//! What a guest sees of the worker: its inputs, its outputs, and nothing else.

use super::super::JobInput;
use super::meter::Meter;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wasmtime::{Caller, Extern, Linker, ResourceLimiter, Trap};

/// Fuel of any call to an import, besides one per byte copied: about what the call costs the worker.
const CALL_FUEL: u64 = 100;
/// Largest table of function references: far above what compilers emit.
const MAX_TABLE_ELEMENTS: usize = 1 << 17;

/// Why the worker stops a guest, or refuses what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Halt {
    #[error("it was cancelled")]
    Cancelled,
    #[error("it ran longer than its wall time (limits.wallMs of the envelope)")]
    WallTime,
    #[error("it asked for {wanted} bytes of memory, limits.memory of the envelope is {limit}")]
    Memory { wanted: usize, limit: usize },
    #[error("it asked for a table of {0} elements, at most {MAX_TABLE_ELEMENTS} are given")]
    Table(usize),
    #[error("it delivers more than {0} bytes (maxUnits of the order)")]
    Delivery(u64),
    #[error("input {0} does not exist")]
    NoInput(i32),
    #[error("output {0} does not exist")]
    NoOutput(i32),
    #[error("it wrote output {index} up to byte {end}, beyond its declared length of {declared}")]
    OutputLength { index: i32, end: u128, declared: u64 },
    #[error("it named {length} bytes at {at}, which are not inside its memory")]
    Pointer { at: u32, length: u32 },
    #[error("it named the negative offset {0}")]
    Offset(i64),
}

impl Halt {
    /// Whether a limit of the order or the envelope was reached, rather than a mistake made.
    pub(super) const fn is_limit(&self) -> bool {
        matches!(self, Self::WallTime | Self::Memory { .. } | Self::Table(_) | Self::Delivery(_))
    }
}

/// When a guest must stop, whatever it does.
#[derive(Clone)]
pub(super) struct Stop {
    deadline: Instant,
    cancel: CancellationToken,
}

impl Stop {
    pub(super) fn new(wall_ms: u64, cancel: CancellationToken) -> Self {
        Self { deadline: Instant::now() + Duration::from_millis(wall_ms), cancel }
    }

    pub(super) fn check(&self) -> Result<(), Halt> {
        if self.cancel.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        if Instant::now() >= self.deadline {
            return Err(Halt::WallTime);
        }
        Ok(())
    }
}

/// The state behind a guest's imports.
pub(super) struct Guest {
    pub(super) stop: Stop,
    inputs: Vec<Bytes>,
    outputs: Vec<Output>,
    memory: usize,
    meter: Arc<Meter>,
}

struct Output {
    declared: u64,
    written: Vec<u8>,
}

impl Guest {
    pub(super) fn new(job: &JobInput, memory: u64, meter: Arc<Meter>, stop: Stop) -> Self {
        let output = |declared: u64| Output { declared, written: Vec::new() };
        Self {
            stop,
            inputs: job.inputs().to_vec(),
            outputs: job.envelope.outputs.iter().map(|buffer| output(buffer.length.get())).collect(),
            memory: usize::try_from(memory).unwrap_or(usize::MAX),
            meter,
        }
    }

    pub(super) fn into_outputs(self) -> impl Iterator<Item = Vec<u8>> {
        self.outputs.into_iter().map(|output| output.written)
    }

    fn input(&self, index: i32) -> Option<&Bytes> {
        usize::try_from(index).ok().and_then(|index| self.inputs.get(index))
    }

    /// Makes room for `length` bytes at `offset` of an output, and returns that room.
    fn room(&mut self, index: i32, offset: u64, length: u32) -> Result<&mut [u8], Halt> {
        let end = u128::from(offset) + u128::from(length);
        let delivered: u64 = self.outputs.iter().map(|output| output.written.len() as u64).sum();
        let most = self.meter.max_bytes_out();
        let output = usize::try_from(index).ok().and_then(|index| self.outputs.get_mut(index));
        let output = output.ok_or(Halt::NoOutput(index))?;
        if end > u128::from(output.declared) {
            return Err(Halt::OutputLength { index, end, declared: output.declared });
        }
        // Declared lengths are bounded by the worker's configuration, far below the address space.
        let (start, end) = (offset as usize, end as usize);
        let growth = end.saturating_sub(output.written.len()) as u64;
        if let Some(most) = most.filter(|most| delivered + growth > *most) {
            return Err(Halt::Delivery(most));
        }
        if growth > 0 {
            output.written.resize(end, 0);
        }
        Ok(&mut output.written[start..end])
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.memory {
            return Err(Halt::Memory { wanted: desired, limit: self.memory }.into());
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            return Err(Halt::Table(desired).into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        4
    }

    fn memories(&self) -> usize {
        1
    }
}

/// The functions of module `capa`.
pub(super) fn define_imports(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap("capa", "input_length", input_length)?;
    linker.func_wrap("capa", "input_read", input_read)?;
    linker.func_wrap("capa", "output_write", output_write)?;
    Ok(())
}

fn input_length(mut caller: Caller<'_, Guest>, index: i32) -> wasmtime::Result<i64> {
    charge(&mut caller, 0)?;
    Ok(caller.data().input(index).map_or(-1, |input| input.len() as i64))
}

fn input_read(mut caller: Caller<'_, Guest>, index: i32, offset: i64, to: u32, length: u32) -> wasmtime::Result<i32> {
    let offset = u64::try_from(offset).map_err(|_| Halt::Offset(offset))?;
    let input = caller.data().input(index).ok_or(Halt::NoInput(index))?.clone();
    let from = usize::try_from(offset).map_or(input.len(), |offset| offset.min(input.len()));
    // A count is returned as an i32, so one call copies at most as much as fits.
    let count = (input.len() - from).min(length as usize).min(i32::MAX as usize);
    charge(&mut caller, count as u64)?;
    let memory = memory(&mut caller)?;
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let target = (to as usize).checked_add(count).and_then(|end| bytes.get_mut(to as usize..end));
    target.ok_or(Halt::Pointer { at: to, length })?.copy_from_slice(&input[from..from + count]);
    guest.meter.read(count as u64);
    Ok(count as i32)
}

fn output_write(
    mut caller: Caller<'_, Guest>,
    index: i32,
    offset: i64,
    from: u32,
    length: u32,
) -> wasmtime::Result<i32> {
    let offset = u64::try_from(offset).map_err(|_| Halt::Offset(offset))?;
    charge(&mut caller, u64::from(length))?;
    let memory = memory(&mut caller)?;
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let source = (from as usize).checked_add(length as usize).and_then(|end| bytes.get(from as usize..end));
    let source = source.ok_or(Halt::Pointer { at: from, length })?;
    guest.room(index, offset, length)?.copy_from_slice(source);
    Ok(0)
}

/// Burns the fuel of an import, so that a guest cannot have the worker copy for free, and checks when to stop.
///
/// Setting the fuel starts a new slice, so the meter takes the runtime's exact count here.
fn charge(caller: &mut Caller<'_, Guest>, bytes: u64) -> wasmtime::Result<()> {
    let left = caller.get_fuel()?.checked_sub(CALL_FUEL + bytes);
    caller.set_fuel(left.unwrap_or(0))?;
    let guest = caller.data();
    guest.meter.burned_all_but(left.unwrap_or(0));
    guest.stop.check()?;
    left.map(|_| ()).ok_or_else(|| Trap::OutOfFuel.into())
}

fn memory(caller: &mut Caller<'_, Guest>) -> wasmtime::Result<wasmtime::Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        // A start function may call imports; the export was checked when the module was compiled.
        _ => Err(wasmtime::format_err!("the module does not export its memory as `memory`")),
    }
}
