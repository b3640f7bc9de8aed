//! Shared memory between the supervisor and a job's process: anonymous files with seals.
//!
//! Inputs are sealed against any change, so that bytes that were hashed stay as they are. Outputs keep their length, so
//! that no mapping of them can break; the supervisor copies them out before it looks at them, for their content may
//! change under it for as long as the job's process lives.

use super::SandboxError;
use crate::execute::Region;
use bytes::Bytes;
use memmap2::MmapOptions;
use rustix::buffer::spare_capacity;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What every descriptor of shared memory has: its length is final, and so are its seals.
const FIXED: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Memory with these bytes, which nobody can change any more.
pub fn sealed(bytes: &[u8]) -> Result<OwnedFd, SandboxError> {
    let file = create(c"capa-input")?;
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(SandboxError::call("write to a memfd")(error)),
        }
    }
    seal(&file, FIXED | SealFlags::WRITE)?;
    Ok(file)
}

/// Zeroed memory of this length, for an output.
pub fn writable(length: u64) -> Result<OwnedFd, SandboxError> {
    let file = create(c"capa-output")?;
    rustix::fs::ftruncate(&file, length).map_err(SandboxError::call("ftruncate of a memfd"))?;
    seal(&file, FIXED)?;
    Ok(file)
}

/// The bytes of an input, mapped. Refuses memory that somebody could still change or shorten.
pub fn map_read(file: OwnedFd) -> Result<Bytes, SandboxError> {
    let length = length_of(file.as_fd(), FIXED | SealFlags::WRITE)?;
    if length == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the seals were checked: neither the content nor the length changes while it is mapped. The mapping is
    // private because older kernels refuse a shared one of a file that is sealed against writing.
    let map = unsafe { MmapOptions::new().len(length).map_copy_read_only(&file) };
    Ok(Bytes::from_owner(map.map_err(SandboxError::io("mmap of an input"))?))
}

/// An output, mapped for writing. Refuses memory that somebody could still shorten.
pub fn map_write(file: OwnedFd) -> Result<Region, SandboxError> {
    let length = length_of(file.as_fd(), FIXED)?;
    if length == 0 {
        return Ok(Box::new(Vec::new()));
    }
    // SAFETY: the length is sealed, so that no access faults. The supervisor keeps a descriptor but writes nothing;
    // it only reads, and copies what it reads.
    let map = unsafe { MmapOptions::new().len(length).map_mut(&file) };
    Ok(Box::new(map.map_err(SandboxError::io("mmap of an output"))?))
}

/// A copy of the first `length` bytes of an output. What its writer does meanwhile can change the copy's content, but
/// neither break the read nor change the copy later.
pub fn read_back(file: BorrowedFd<'_>, length: u64) -> Result<Bytes, SandboxError> {
    let available = length_of(file, FIXED)?;
    let wanted = usize::try_from(length).ok().filter(|wanted| *wanted <= available);
    let wanted = wanted.ok_or_else(|| {
        SandboxError::Refused(format!("an output of {length} bytes was claimed in memory of {available} bytes"))
    })?;
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let position = bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), position) {
            Ok(0) => return Err(SandboxError::Refused("shared memory ended before its length".into())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(SandboxError::call("pread of a memfd")(error)),
        }
    }
    bytes.truncate(wanted);
    Ok(bytes.into())
}

fn create(name: &std::ffi::CStr) -> Result<OwnedFd, SandboxError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 do not know that memory can be barred from being a program.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }
    .map_err(SandboxError::call("memfd_create"))
}

fn seal(file: &OwnedFd, seals: SealFlags) -> Result<(), SandboxError> {
    rustix::fs::fcntl_add_seals(file, seals).map_err(SandboxError::call("sealing a memfd"))
}

/// The length of shared memory that has these seals.
fn length_of(file: BorrowedFd<'_>, seals: SealFlags) -> Result<usize, SandboxError> {
    let present = rustix::fs::fcntl_get_seals(file).map_err(SandboxError::call("reading the seals of a memfd"))?;
    if !present.contains(seals) {
        return Err(SandboxError::Refused("a descriptor is not shared memory with the seals that it needs".into()));
    }
    let length = rustix::fs::fstat(file).map_err(SandboxError::call("fstat of a memfd"))?.st_size;
    usize::try_from(length).map_err(|_| SandboxError::Refused("shared memory is larger than the address space".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_cannot_be_changed_or_cut() {
        let input = sealed(b"what was hashed").unwrap();
        assert_eq!(rustix::io::pwrite(&input, b"X", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&input, 3), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&input, SealFlags::WRITE), Err(Errno::PERM));
        assert!(map_write(input.try_clone().unwrap()).is_err());
        assert_eq!(map_read(input).unwrap(), &b"what was hashed"[..]);
        assert_eq!(map_read(sealed(b"").unwrap()).unwrap(), Bytes::new());
    }

    #[test]
    fn an_output_is_zeroed_keeps_its_length_and_is_copied_out() {
        let output = writable(5000).unwrap();
        assert_eq!(rustix::fs::ftruncate(&output, 1), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&output, 5001), Err(Errno::PERM));
        let mut region = map_write(output.try_clone().unwrap()).unwrap();
        assert_eq!((region.len(), region.iter().all(|byte| *byte == 0)), (5000, true));
        region[4999] = 9;
        let copy = read_back(output.as_fd(), 5000).unwrap();
        region[4999] = 8;
        assert_eq!((copy.len(), copy[4999]), (5000, 9));
        assert_eq!(read_back(output.as_fd(), 2).unwrap(), &[0, 0][..]);
        assert!(matches!(read_back(output.as_fd(), 5001), Err(SandboxError::Refused(_))));
        assert!(read_back(output.as_fd(), u64::MAX).is_err());
        assert_eq!(map_write(writable(0).unwrap()).unwrap().len(), 0);
    }

    #[test]
    fn memory_that_could_change_is_refused() {
        let open = rustix::fs::memfd_create(c"open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::io::write(&open, b"abc").unwrap();
        assert!(matches!(map_read(open.try_clone().unwrap()), Err(SandboxError::Refused(_))));
        assert!(matches!(map_write(open.try_clone().unwrap()), Err(SandboxError::Refused(_))));
        assert!(read_back(open.as_fd(), 3).is_err());
        // An output must not be taken for an input: its writer could still change it.
        assert!(map_read(writable(3).unwrap()).is_err());
        let file = tempfile::tempfile().unwrap();
        assert!(map_read(file.into()).is_err());
    }
}
