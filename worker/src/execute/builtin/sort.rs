//! Radix sort: `kernels/sort.cu`.

use super::pinned::Code;
use super::session::{Session, Stopped, THREADS};
use crate::execute::Region;
use crate::execute::cuda::call::{Size, Value};
use crate::execute::cuda::memory::Buffer;
use crate::execute::cuda::module::{Kernel, Module};
use crate::execute::cuda::stream::Stream;
use bytes::Bytes;
use cudarc::driver::result::DriverError;
use protocol::job::Key;

/// Keys that a block takes, and numbers that it adds up.
const TILE: u64 = 2048;
/// Values of four bits.
const DIGITS: u64 = 16;
const DIGIT_BITS: u64 = 4;

pub(super) fn run(
    session: &mut Session<'_>,
    code: &Code,
    key: Key,
    inputs: &[Bytes],
    output: &mut Region,
) -> Result<(), Stopped> {
    let (module, stream) = (Module::load(&session.context, &code.machine)?, session.stream.clone());
    let keys = session.input(inputs, 0)?;
    let sort = Sort::new(session, &module, key, keys.length() as u64 / key.size())?;
    let (sorted, other) = (session.zeroed(keys.length() as u64)?, session.zeroed(keys.length() as u64)?);
    let passes = key.size() * 8 / DIGIT_BITS;
    for pass in 0..passes {
        // There is an even number of passes, so that the last one ends in `sorted`.
        let (from, to) = match pass {
            0 => (&keys, &other),
            odd if odd % 2 == 1 => (&other, &sorted),
            _ => (&sorted, &other),
        };
        // The keys count as sorted by the passes that are over.
        let work = sort.count * (pass + 1) / passes - sort.count * pass / passes;
        session.group(work, || sort.pass(&stream, from, to, (pass * DIGIT_BITS) as u32))?;
    }
    session.read(&sorted, output)
}

/// What all passes use.
struct Sort<'m> {
    count: u64,
    count_digits: Kernel<'m>,
    scan_sums: Kernel<'m>,
    scan_tops: Kernel<'m>,
    scan_tiles: Kernel<'m>,
    scatter: Kernel<'m>,
    /// How many keys of each digit every tile has, and later where those go.
    counts: Buffer,
    /// The sum of each tile of `counts`.
    sums: Buffer,
}

impl<'m> Sort<'m> {
    fn new(session: &mut Session<'_>, module: &'m Module, key: Key, count: u64) -> Result<Self, Stopped> {
        let width = match key {
            Key::U32 => "u32",
            Key::U64 => "u64",
        };
        let numbers = count.div_ceil(TILE) * DIGITS;
        Ok(Self {
            count,
            count_digits: module.kernel(&format!("sort_count_{width}"))?,
            scan_sums: module.kernel("sort_scan_sums")?,
            scan_tops: module.kernel("sort_scan_tops")?,
            scan_tiles: module.kernel("sort_scan_tiles")?,
            scatter: module.kernel(&format!("sort_scatter_{width}"))?,
            counts: session.zeroed(4 * numbers)?,
            sums: session.zeroed(4 * numbers.div_ceil(TILE))?,
        })
    }

    /// Sorts by four bits.
    fn pass(&self, stream: &Stream, from: &Buffer, to: &Buffer, shift: u32) -> Result<(), DriverError> {
        let tiles = self.count.div_ceil(TILE);
        let numbers = tiles * DIGITS;
        // The number of keys is bounded so that all of these fit into 32 bits.
        let grid = |blocks: u64| -> Size { [blocks as u32, 1, 1] };
        let (counts, sums) = (Value::Buffer(&self.counts), Value::Buffer(&self.sums));
        let (keys, shift, numbers_32) = (Value::U64(self.count), Value::U32(shift), Value::U32(numbers as u32));
        let tops = numbers.div_ceil(TILE);
        self.count_digits.call(stream, grid(tiles), THREADS, &[Value::Buffer(from), keys, shift, counts])?;
        self.scan_sums.call(stream, grid(tops), THREADS, &[counts, numbers_32, sums])?;
        self.scan_tops.call(stream, grid(1), THREADS, &[sums, Value::U32(tops as u32)])?;
        self.scan_tiles.call(stream, grid(tops), THREADS, &[counts, numbers_32, sums])?;
        let values = [Value::Buffer(from), Value::Buffer(to), keys, shift, counts];
        self.scatter.call(stream, grid(tiles), THREADS, &values)
    }
}
