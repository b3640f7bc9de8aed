//! A job as it goes to children: its bytes in sealed memory, its outputs in memory that comes back.

use crate::execute::{ExecuteError, JobInput};
use crate::sandbox::{SandboxError, memory};
use bytes::{Bytes, BytesMut};
use protocol::amount::Quantity;
use protocol::job::{Envelope, Kind};
use protocol::resource::Unit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Shared memory is given by the page.
const PAGE: u64 = 4 << 10;
/// Copies of more than this many bytes are made on a thread of their own.
const LARGE: u64 = 1 << 20;

/// A job in sealed memory, the same for each of its devices.
pub(super) struct Work {
    pub(super) envelope: Envelope,
    pub(super) unit: Unit,
    pub(super) max_units: Quantity,
    /// Memory that it needs in its process, beside the process' own.
    pub(super) memory: u64,
    /// Bytes of shared memory that one device's child is handed.
    pub(super) handed: u64,
    /// How long one device's part of each output is.
    parts: Vec<u64>,
    sealed: Vec<OwnedFd>,
}

/// Memory for one device's part of the outputs.
pub(super) struct Outputs(Vec<OwnedFd>);

impl Work {
    pub(super) async fn new(job: JobInput) -> Result<Self, ExecuteError> {
        let size = job.blobs.iter().map(|blob| blob.len() as u64).fold(0, u64::saturating_add);
        let seal = move || Self::seal(&job);
        in_background(size, seal).await?.map_err(lost)
    }

    pub(super) fn seal(job: &JobInput) -> Result<Self, SandboxError> {
        let envelope = job.envelope.to_bytes();
        let lengths = std::iter::once(&envelope[..]).chain(job.blobs.iter().map(|blob| &blob[..]));
        let inputs_handed = lengths.map(|bytes| pages(bytes.len() as u64)).fold(0, u64::saturating_add);
        let envelope = memory::sealed(&envelope)?;
        let blobs = job.blobs.iter().map(|blob| memory::sealed(blob));
        let sealed = std::iter::once(Ok(envelope)).chain(blobs).collect::<Result<_, _>>()?;
        let parts: Vec<u64> = job.output_lengths().map(|length| length as u64).collect();
        // An output lies once in shared memory, and once where an executor may prepare it.
        let outputs = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.saturating_mul(2)));
        let inputs = job.blobs.iter().map(|blob| blob.len() as u64).fold(0, u64::saturating_add);
        let limit = match job.envelope.program.kind() {
            Kind::Wasm => job.envelope.limits.memory.get(),
            // On a GPU the job's memory is the device's; its inputs pass through the host's.
            Kind::Cuda | Kind::Builtin | Kind::Oci => inputs,
        };
        Ok(Self {
            unit: job.unit,
            max_units: job.max_units,
            memory: limit.saturating_add(outputs),
            handed: parts.iter().map(|length| pages(*length)).fold(inputs_handed, u64::saturating_add),
            parts,
            sealed,
            envelope: job.envelope.clone(),
        })
    }

    /// Fresh memory for one device's outputs.
    pub(super) fn outputs(&self) -> Result<Outputs, ExecuteError> {
        let memory = self.parts.iter().map(|length| memory::writable(*length));
        memory.collect::<Result<_, _>>().map(Outputs).map_err(lost)
    }

    /// What is attached to the task, in order.
    pub(super) fn descriptors<'a>(&'a self, outputs: &'a Outputs) -> Vec<BorrowedFd<'a>> {
        self.sealed.iter().chain(&outputs.0).map(AsFd::as_fd).collect()
    }

    /// Whether a child may have written so much into each output.
    pub(super) fn check(&self, lengths: &[u64]) -> Result<(), String> {
        if lengths.len() != self.parts.len() {
            return Err(format!("{} outputs were returned, not {}", lengths.len(), self.parts.len()));
        }
        let exact = self.envelope.program.devices() > 1;
        match lengths.iter().zip(&self.parts).find(|(length, part)| length > part || (exact && length != part)) {
            Some((length, part)) => Err(format!("an output of {length} bytes was returned in place of {part}")),
            None => Ok(()),
        }
    }
}

impl Outputs {
    /// Copies the outputs out. Whoever still maps them cannot change the copy.
    pub(super) async fn take(self, lengths: Vec<u64>) -> Result<Vec<Bytes>, ExecuteError> {
        let size = lengths.iter().copied().fold(0, u64::saturating_add);
        let read = move || {
            let parts = self.0.iter().zip(&lengths);
            parts.map(|(memory, length)| memory::read_back(memory.as_fd(), *length)).collect::<Result<_, _>>()
        };
        in_background(size, read).await?.map_err(lost)
    }
}

/// Outputs from the parts of all devices, in order of rank.
pub(super) fn join(mut parts: Vec<Vec<Bytes>>) -> Vec<Bytes> {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let count = parts.first().map_or(0, Vec::len);
    let whole = |index: usize| {
        let mut output = BytesMut::new();
        parts.iter().filter_map(|part| part.get(index)).for_each(|part| output.extend_from_slice(part));
        output.freeze()
    };
    (0..count).map(whole).collect()
}

/// What memory of this length takes.
const fn pages(length: u64) -> u64 {
    length.div_ceil(PAGE).saturating_mul(PAGE)
}

async fn in_background<T: Send + 'static>(
    size: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ExecuteError> {
    if size <= LARGE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| ExecuteError::Node(format!("copying failed: {error}")))
}

fn lost(error: SandboxError) -> ExecuteError {
    ExecuteError::Node(format!("the job's memory cannot be shared: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_order_of_rank() {
        let part = |a: &'static str, b: &'static str| vec![Bytes::from(a), Bytes::from(b)];
        let one = join(vec![part("ab", "x")]);
        assert_eq!(one, [Bytes::from("ab"), Bytes::from("x")]);
        let two = join(vec![part("ab", "x"), part("cd", "y")]);
        assert_eq!(two, [Bytes::from("abcd"), Bytes::from("xy")]);
    }
}
