//! The folder of one running job: memory that is gone when the job is.
//!
//! Three file systems are mounted for a job and unmounted after it: one in memory for its inputs and what runc needs,
//! one in memory for its outputs, no larger than they may be, and the image with a thin layer over it, where mount
//! points and the hooks of GPUs go. So no job can change an image, fill a disk, or leave a byte for the next one.

use super::user::Ids;
use bytes::Bytes;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{Mode, OFlags};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Room for all that is not inputs or outputs.
const OVERHEAD: u64 = 32 << 20;
/// The largest page of the machines that containers run on.
const PAGE: u64 = 64 << 10;
/// Files besides the outputs that a program may make next to them.
const SPARE_FILES: u64 = 16;
/// Nothing in a job's folder is a program or a device for the host.
const FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const HOSTS: &str = "127.0.0.1 localhost job\n::1 localhost\n";

/// Unmounted and removed when it is dropped.
#[derive(Debug)]
pub(super) struct JobFolder {
    path: PathBuf,
    room: u64,
}

/// What a job's folder is made of.
pub(super) struct Parts<'a> {
    pub(super) inputs: &'a [Bytes],
    pub(super) outputs: &'a [u64],
    pub(super) rootfs: &'a Path,
    /// First host id of containers.
    pub(super) user: u32,
    /// Who writes the outputs.
    pub(super) ids: &'a Ids,
}

impl Parts<'_> {
    /// The host ids of the job's process.
    const fn owner(&self) -> (u32, u32) {
        (self.user + self.ids.user, self.user + self.ids.group)
    }
}

impl JobFolder {
    /// Mounts everything at `path`, which must not exist.
    pub(super) fn create(path: PathBuf, parts: &Parts<'_>) -> io::Result<Self> {
        let room = pages(parts.outputs.iter().copied())?.max(PAGE);
        make_folder(&path, 0o711)?;
        let folder = Self { path, room };
        let inputs = pages(parts.inputs.iter().map(|input| input.len() as u64))?;
        let size = inputs.checked_add(OVERHEAD).ok_or_else(too_large)?;
        let files = parts.inputs.len() + 4096;
        memory(&folder.path, &format!("size={size},nr_inodes={files},mode=0711"))?;
        for (name, mode) in
            [("inputs", 0o500), ("outputs", 0o700), ("upper", 0o755), ("work", 0o700), ("rootfs", 0o755)]
        {
            make_folder(&folder.path.join(name), mode)?;
        }
        // Readable by the job's user alone: other users of the host must not be able to look at it while it runs.
        let (user, group) = parts.owner();
        chown(folder.inputs(), Some(user), Some(group))?;
        for (index, input) in parts.inputs.iter().enumerate() {
            let path = folder.inputs().join(index.to_string());
            write(&path, input, 0o400)?;
            chown(&path, Some(user), Some(group))?;
        }
        write(&folder.hosts(), HOSTS.as_bytes(), 0o444)?;
        folder.mount_image(parts)?;
        folder.mount_outputs(parts)?;
        Ok(folder)
    }

    fn mount_image(&self, parts: &Parts<'_>) -> io::Result<()> {
        let (upper, work) = (self.path.join("upper"), self.path.join("work"));
        chown(&upper, Some(parts.user), Some(parts.user))?;
        let options =
            format!("lowerdir={},upperdir={},workdir={}", parts.rootfs.display(), upper.display(), work.display());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        Ok(mount(Some("overlay"), &self.path.join("rootfs"), Some("overlay"), flags, Some(options.as_str()))?)
    }

    fn mount_outputs(&self, parts: &Parts<'_>) -> io::Result<()> {
        let files = parts.outputs.len() as u64 + SPARE_FILES;
        let (user, group) = parts.owner();
        let options = format!("size={},nr_inodes={files},mode=0700,uid={user},gid={group}", self.room);
        memory(&self.outputs(), &options)?;
        for index in 0..parts.outputs.len() {
            let path = self.outputs().join(index.to_string());
            write(&path, &[], 0o600)?;
            chown(&path, Some(user), Some(group))?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn inputs(&self) -> PathBuf {
        self.path.join("inputs")
    }

    pub(super) fn outputs(&self) -> PathBuf {
        self.path.join("outputs")
    }

    pub(super) fn hosts(&self) -> PathBuf {
        self.path.join("hosts")
    }

    /// How many bytes all outputs together may take.
    pub(super) const fn output_room(&self) -> u64 {
        self.room
    }

    /// Writes the container's configuration where runc, and the hooks of GPUs, read it.
    pub(super) fn configure(&self, configuration: &[u8]) -> io::Result<()> {
        write(&self.path.join("config.json"), configuration, 0o444)
    }

    /// Where runc writes what went wrong.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log.json")
    }

    /// Copies an output and returns its length, or says what the program did wrong. Nothing of the job runs any more.
    pub(super) fn read_output(&self, index: usize, region: &mut [u8]) -> Result<u64, String> {
        let wrong = |text: &str| format!("/capa/outputs/{index} {text}");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = self.outputs().join(index.to_string());
        let mut file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(error) => return Err(wrong(&format!("cannot be read: {error}"))),
        };
        let facts = file.metadata().map_err(|error| wrong(&error.to_string()))?;
        if !facts.is_file() {
            return Err(wrong("is not a regular file"));
        }
        let (length, declared) = (facts.len(), region.len() as u64);
        if length > declared {
            return Err(wrong(&format!("has {length} bytes, more than the {declared} that the envelope declares")));
        }
        // It fits into the region, and so into the address space.
        file.read_exact(&mut region[..length as usize]).map_err(|error| wrong(&error.to_string()))?;
        Ok(length)
    }
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        if let Err(error) = unmount_below(&self.path).and_then(|()| std::fs::remove_dir(&self.path)) {
            tracing::error!(folder = %self.path.display(), %error, "the folder of a job could not be removed");
        }
    }
}

/// Makes a folder of exactly that mode, whatever the worker's own mask is.
pub(super) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Unmounts all that is mounted at a folder or below it, the last first.
pub(super) fn unmount_below(folder: &Path) -> io::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(folder)).collect();
    below.reverse();
    for point in below {
        umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    Ok(())
}

/// The table writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain)).into()
}

fn memory(at: &Path, options: &str) -> io::Result<()> {
    Ok(mount(Some("capa"), at, Some("tmpfs"), FLAGS, Some(options))?)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    std::fs::write(path, bytes)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// The room that files take in memory, which is given by the page.
fn pages(mut lengths: impl Iterator<Item = u64>) -> io::Result<u64> {
    let sum = lengths.try_fold(0u64, |sum, length| sum.checked_add(length.checked_next_multiple_of(PAGE)?));
    sum.ok_or_else(too_large)
}

fn too_large() -> io::Error {
    io::Error::other("inputs or outputs do not fit into the address space")
}
