//! Sum, minimum or maximum of keys: `kernels/reduce.cu`.

use super::pinned::Code;
use super::session::{Session, Stopped, THREADS, blocks};
use crate::execute::Region;
use crate::execute::cuda::call::Value;
use crate::execute::cuda::module::Module;
use bytes::Bytes;
use protocol::job::{Fold, Key};

/// Most blocks of a launch: each adds its part to the result once.
const BLOCKS: u32 = 1024;

pub(super) fn run(
    session: &mut Session<'_>,
    code: &Code,
    key: Key,
    fold: Fold,
    inputs: &[Bytes],
    output: &mut Region,
) -> Result<(), Stopped> {
    let (module, stream) = (Module::load(&session.context, &code.machine)?, session.stream.clone());
    let kernel = module.kernel(match key {
        Key::U32 => "reduce_u32",
        Key::U64 => "reduce_u64",
    })?;
    // As the kernel numbers them, each with what leaves every key as it is.
    let (how, neutral) = match fold {
        Fold::Sum => (0, 0),
        Fold::Min => (1, u64::MAX),
        Fold::Max => (2, 0),
    };
    let keys = session.input(inputs, 0)?;
    let result = session.holding(&neutral.to_le_bytes())?;
    session.groups(keys.length() as u64 / key.size(), 1, |from, count| {
        let values =
            [Value::U32(how), Value::Buffer(&keys), Value::U64(from), Value::U64(count), Value::Buffer(&result)];
        kernel.call(&stream, blocks(count, BLOCKS), THREADS, &values)
    })?;
    session.read(&result, output)
}
