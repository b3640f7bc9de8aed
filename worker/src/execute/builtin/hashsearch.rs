//! The smallest keccak-256 over a range of counters: `kernels/hashsearch.cu`.

use super::pinned::Code;
use super::session::{Session, Stopped, THREADS, blocks};
use crate::execute::Region;
use crate::execute::cuda::call::Value;
use crate::execute::cuda::module::Module;
use bytes::Bytes;
use protocol::amount::Quantity;

/// Blocks of a launch; each thread keeps the best that it has seen.
const BLOCKS: u32 = 256;
/// Threads of a launch, by which the best are folded into ever fewer.
const THREADS_ALL: u32 = BLOCKS * 256;
/// How many are left after the first fold.
const FOLDED: u32 = 256;
/// Bytes of the block that keccak-256 takes at a time.
const BLOCK_BYTES: usize = 136;
/// A hash and its counter, as the kernel keeps them.
const CANDIDATE_BYTES: usize = 40;

pub(super) fn run(
    session: &mut Session<'_>,
    code: &Code,
    start: Quantity,
    count: Quantity,
    inputs: &[Bytes],
    output: &mut Region,
) -> Result<(), Stopped> {
    let (module, stream) = (Module::load(&session.context, &code.machine)?, session.stream.clone());
    let (scan, fold) = (module.kernel("hashsearch_scan")?, module.kernel("hashsearch_fold")?);
    let prefix = inputs.first().map(Bytes::as_ref).unwrap_or_default();
    session.read_input(prefix);
    let message = session.holding(&message(prefix))?;
    // Above every hash, so that the first one takes its place.
    let best = session.holding(&vec![0xff; THREADS_ALL as usize * CANDIDATE_BYTES])?;
    let offset = prefix.len() as u32;
    session.groups(count.get(), 1, |from, count| {
        let values = [
            Value::Buffer(&message),
            Value::U32(offset),
            Value::U64(start.get() + from),
            Value::U64(count),
            Value::Buffer(&best),
        ];
        scan.call(&stream, blocks(count, BLOCKS), THREADS, &values)
    })?;
    session.group(0, || {
        let values = |count: u32, width: u32| [Value::Buffer(&best), Value::U32(count), Value::U32(width)];
        fold.call(&stream, [1, 1, 1], THREADS, &values(THREADS_ALL, FOLDED))?;
        fold.call(&stream, [1, 1, 1], THREADS, &values(FOLDED, 1))
    })?;
    let mut found = [0u8; CANDIDATE_BYTES];
    session.read(&best, &mut found)?;
    // The kernel's numbers are little-endian in memory; hash and counter are written as they were hashed.
    for (number, written) in found.chunks_exact(8).zip(output.chunks_exact_mut(8)) {
        written.iter_mut().zip(number.iter().rev()).for_each(|(to, from)| *to = *from);
    }
    Ok(())
}

/// The padded message with a counter of zero. A valid prefix leaves room for all of it.
fn message(prefix: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [0u8; BLOCK_BYTES];
    block[..prefix.len()].copy_from_slice(prefix);
    block[prefix.len() + 8] ^= 0x01;
    block[BLOCK_BYTES - 1] ^= 0x80;
    block
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn padding_stands_behind_the_counter() {
        let short = message(b"ab");
        assert_eq!((short[..2].to_vec(), short[10], short[135]), (b"ab".to_vec(), 0x01, 0x80));
        assert_eq!(message(&[0; 127])[135], 0x81);
    }
}
