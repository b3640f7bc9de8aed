//! Option prices by Monte Carlo: `kernels/montecarlo.cu`.

use super::pinned::Code;
use super::session::{Session, Stopped, THREADS, blocks};
use super::walk::{self, Walk};
use crate::execute::Region;
use crate::execute::cuda::call::Value;
use crate::execute::cuda::module::Module;
use protocol::job::{Exercise, OptionPricing};

/// Most blocks of a launch: enough for every device, and few enough that adding up their sums costs nothing.
const BLOCKS: u32 = 2048;
/// Sums of payoffs and of squares, each in two halves of 32 bits.
const SUMS: usize = 4;

pub(super) fn run(
    session: &mut Session<'_>,
    code: &Code,
    pricing: &OptionPricing,
    output: &mut Region,
) -> Result<(), Stopped> {
    let (module, stream) = (Module::load(&session.context, &code.machine)?, session.stream.clone());
    let kernel = module.kernel(match pricing.exercise {
        Exercise::European => "montecarlo_european",
        Exercise::Asian => "montecarlo_asian",
    })?;
    let walk = session.holding(&Walk::new(pricing).to_bytes())?;
    let sums = session.zeroed(8 * SUMS as u64)?;
    let first = pricing.first.get();
    session.groups(pricing.paths.get(), u64::from(pricing.steps), |from, count| {
        let values = [Value::Buffer(&walk), Value::U64(first + from), Value::U64(count), Value::Buffer(&sums)];
        kernel.call(&stream, blocks(count, BLOCKS), THREADS, &values)
    })?;
    let mut bytes = [0u8; 8 * SUMS];
    session.read(&sums, &mut bytes)?;
    let half =
        |index: usize| bytes[8 * index..8 * index + 8].iter().rev().fold(0u128, |n, byte| n << 8 | u128::from(*byte));
    let result = walk::result(pricing, half(0) + (half(1) << 32), half(2) + (half(3) << 32));
    output.copy_from_slice(&result);
    Ok(())
}
