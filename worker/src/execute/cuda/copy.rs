//! Copies between ordinary memory and the device, through pinned memory.
//!
//! A driver given ordinary memory copies it in one thread, bit by bit, at a fraction of the link's rate. To pin a job's
//! own memory costs more than to copy it once. So a few threads each copy a stripe through pinned pieces of their own,
//! and while one piece is under way to the device the next is filled: the link is busy all the time.

use super::context::Context;
use super::memory::{Buffer, Pinned};
use super::stream::{Event, Stream};
use cudarc::driver::result::DriverError;
use cudarc::driver::sys;

/// What is copied at a time.
const PIECE: usize = 4 << 20;
/// Most threads; a link of 64 GB/s takes about four to eight cores' copying.
const MAX_LANES: usize = 8;
/// Copies up to this length are not worth a second thread.
const SMALL: usize = 4 * PIECE;

/// The pinned memory and the threads' number of one device.
pub(in crate::execute) struct Copier {
    context: Context,
    lanes: Vec<Lane>,
}

/// What one thread copies through: one piece is filled or emptied while the other is under way.
struct Lane {
    pieces: [Piece; 2],
}

struct Piece {
    memory: Pinned,
    /// Behind the last copy that uses the memory.
    done: Event,
}

impl Copier {
    /// Pins memory in the context that is current on this thread.
    pub(in crate::execute) fn new(context: &Context) -> Result<Self, DriverError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let piece = || Ok(Piece { memory: Pinned::new(PIECE)?, done: Event::new()? });
        let lane = |_| Ok(Lane { pieces: [piece()?, piece()?] });
        let lanes = (0..(cores / 2).clamp(1, MAX_LANES)).map(lane).collect::<Result<_, DriverError>>()?;
        Ok(Self { context: context.clone(), lanes })
    }

    /// Device memory that holds these bytes.
    pub(in crate::execute) fn upload(&mut self, stream: &Stream, bytes: &[u8]) -> Result<Buffer, DriverError> {
        if bytes.is_empty() {
            return Buffer::zeroed(stream, 0);
        }
        let buffer = Buffer::dirty(stream, bytes.len())?;
        let stripes = self.stripes(bytes.len());
        let parts = bytes.chunks(stripes).enumerate();
        self.spread(parts, |lane, (number, part)| lane.write(stream, &buffer, number * stripes, part))?;
        Ok(buffer)
    }

    /// Copies a buffer, or as much of its start as fits, once all that is in its queue is done.
    pub(in crate::execute) fn download(
        &mut self,
        stream: &Stream,
        buffer: &Buffer,
        to: &mut [u8],
    ) -> Result<(), DriverError> {
        if to.len() > buffer.length() {
            return Err(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE));
        }
        if to.is_empty() {
            return Ok(());
        }
        let stripes = self.stripes(to.len());
        let parts = to.chunks_mut(stripes).enumerate();
        self.spread(parts, |lane, (number, part)| lane.read(stream, buffer, number * stripes, part))
    }

    /// How long the part of each thread is.
    fn stripes(&self, length: usize) -> usize {
        if length <= SMALL { length } else { length.div_ceil(self.lanes.len()).next_multiple_of(PIECE) }
    }

    /// Gives each part to a lane: the only one to this thread, several to a thread each.
    fn spread<P: Send>(
        &mut self,
        parts: impl Iterator<Item = P>,
        copy: impl Fn(&mut Lane, P) -> Result<(), DriverError> + Sync,
    ) -> Result<(), DriverError> {
        let (context, copy) = (&self.context, &copy);
        let mut pairs: Vec<_> = self.lanes.iter_mut().zip(parts).collect();
        if pairs.len() == 1 {
            return pairs.pop().map_or(Ok(()), |(lane, part)| copy(lane, part));
        }
        std::thread::scope(|scope| {
            let run = |(lane, part)| {
                scope.spawn(move || {
                    context.make_current()?;
                    copy(lane, part)
                })
            };
            let threads: Vec<_> = pairs.into_iter().map(run).collect();
            let unknown = Err(DriverError(sys::CUresult::CUDA_ERROR_UNKNOWN));
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(unknown))
        })
    }
}

impl Lane {
    fn write(&mut self, stream: &Stream, to: &Buffer, start: usize, from: &[u8]) -> Result<(), DriverError> {
        for (turn, part) in from.chunks(PIECE).enumerate() {
            let piece = &mut self.pieces[turn % 2];
            piece.settle()?;
            piece.memory[..part.len()].copy_from_slice(part);
            // SAFETY: `settle` waits for `done`, which is recorded behind the copy, before the memory is used again.
            unsafe { to.queue_write(start + turn * PIECE, &piece.memory, part.len()) }?;
            piece.done.record(stream)?;
        }
        // The pieces are used again by the next copy, which waits for them then.
        Ok(())
    }

    fn read(&mut self, stream: &Stream, from: &Buffer, start: usize, to: &mut [u8]) -> Result<(), DriverError> {
        let turns = to.len().div_ceil(PIECE);
        let length = to.len();
        self.fetch(stream, from, start, length, 0)?;
        for (turn, part) in to.chunks_mut(PIECE).enumerate() {
            if turn + 1 < turns {
                self.fetch(stream, from, start, length, turn + 1)?;
            }
            let piece = &mut self.pieces[turn % 2];
            piece.settle()?;
            part.copy_from_slice(&piece.memory[..part.len()]);
        }
        Ok(())
    }

    /// Asks for one piece of a range of `length` bytes.
    fn fetch(
        &mut self,
        stream: &Stream,
        from: &Buffer,
        start: usize,
        length: usize,
        turn: usize,
    ) -> Result<(), DriverError> {
        let offset = turn * PIECE;
        let piece = &mut self.pieces[turn % 2];
        piece.settle()?;
        // SAFETY: as in `write`.
        unsafe { from.queue_read(start + offset, &mut piece.memory, PIECE.min(length - offset)) }?;
        piece.done.record(stream)
    }
}

impl Piece {
    /// Waits until no copy uses the memory. What is before it in the queue was waited for with a bound.
    fn settle(&self) -> Result<(), DriverError> {
        self.done.wait(|| false).map(|_| ())
    }
}
