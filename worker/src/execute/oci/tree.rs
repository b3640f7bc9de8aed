//! A folder that an image is unpacked into: every step is taken from its own file descriptor, so that no name in an
//! archive, and no link that an archive made before, leads out of it.

use super::config::IDS;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Symbolic links are followed as if the folder were the root; `/proc` links are not followed at all.
const WITHIN: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Permission bits that are kept. Set-user-id means nothing where no privilege can be gained, and must not lie about
/// on the host's disk.
const PERMISSIONS: u32 = 0o1777;
/// Who owns what an image gives to ids that do not fit into a container: `nobody`.
const NOBODY: u32 = 65_534;

/// The root of an unpacked image.
pub(super) struct Tree {
    root: OwnedFd,
    user: u32,
}

/// A name in a folder of the tree.
pub(super) struct Place {
    folder: OwnedFd,
    name: OsString,
}

/// What an archive says of an entry, besides its content.
#[derive(Clone, Copy)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) user: u64,
    pub(super) group: u64,
    pub(super) modified: u64,
}

impl Attributes {
    /// Those of folders that an archive leaves out.
    const IMPLIED: Self = Self { mode: 0o755, user: 0, group: 0, modified: 0 };

    fn mode(self) -> Mode {
        Mode::from_raw_mode((self.mode & PERMISSIONS) as RawMode)
    }

    fn times(self) -> Timestamps {
        let time = Timespec { tv_sec: i64::try_from(self.modified).unwrap_or(0), tv_nsec: 0 };
        Timestamps { last_access: time, last_modification: time }
    }
}

impl Tree {
    /// The tree at `path`, whose root user is the host's `user`.
    pub(super) fn open(path: &Path, user: u32) -> io::Result<Self> {
        let root = rustix::fs::open(path, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { root, user })
    }

    /// A file's bytes, at most `most` of them; `None` where there is no such file.
    pub(super) fn read(&self, path: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), WITHIN) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, most), &mut bytes)?;
        Ok(Some(bytes))
    }

    /// The place that a path in an archive means; folders on the way are made. `None` is the root itself.
    pub(super) fn place(&self, path: &Path) -> io::Result<Option<Place>> {
        let path = inside(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        Ok(Some(Place { folder: self.folder(parent)?, name: name.to_owned() }))
    }

    /// The place that a path means, where all folders on the way are there.
    pub(super) fn existing(&self, path: &Path) -> io::Result<Option<Place>> {
        let path = inside(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        match self.resolve(parent) {
            Ok(folder) => Ok(Some(Place { folder, name: name.to_owned() })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Names in a folder; none where there is no such folder.
    pub(super) fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let folder = match self.resolve(folder) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        std::fs::read_dir(through(&folder))?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Gives the root folder to the container's root user, for images that do not mention it.
    pub(super) fn own_root(&self) -> io::Result<()> {
        self.set_root(Attributes::IMPLIED)
    }

    /// Gives the root folder its owner and mode.
    pub(super) fn set_root(&self, attributes: Attributes) -> io::Result<()> {
        self.set_folder(&self.root, OsStr::new("."), attributes)
    }

    /// Makes a folder, or changes the one that is there.
    pub(super) fn make_folder(&self, place: &Place, attributes: Attributes) -> io::Result<()> {
        if !place.is_folder()? {
            place.remove()?;
            rustix::fs::mkdirat(&place.folder, &place.name, Mode::RWXU)?;
        }
        self.set_folder(&place.folder, &place.name, attributes)
    }

    /// Makes an empty file in the place of whatever was there.
    pub(super) fn make_file(&self, place: &Place, attributes: Attributes) -> io::Result<File> {
        place.remove()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.folder, &place.name, flags, Mode::empty())?;
        let (user, group) = self.owner(attributes);
        rustix::fs::fchown(&file, user, group)?;
        rustix::fs::fchmod(&file, attributes.mode())?;
        Ok(file.into())
    }

    /// Makes a symbolic link; where it leads is decided whenever it is followed, inside the container or this tree.
    pub(super) fn make_link(&self, place: &Place, target: &Path, attributes: Attributes) -> io::Result<()> {
        place.remove()?;
        rustix::fs::symlinkat(target, &place.folder, &place.name)?;
        let (user, group) = self.owner(attributes);
        rustix::fs::chownat(&place.folder, &place.name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(rustix::fs::utimensat(&place.folder, &place.name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn set_folder(&self, folder: &OwnedFd, name: &OsStr, attributes: Attributes) -> io::Result<()> {
        let (user, group) = self.owner(attributes);
        rustix::fs::chownat(folder, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        // The name is a folder of ours and nobody else writes here, so there is no link to follow.
        Ok(rustix::fs::chmodat(folder, name, attributes.mode(), AtFlags::empty())?)
    }

    fn owner(&self, attributes: Attributes) -> (Option<Uid>, Option<Gid>) {
        let shift = |id: u64| self.user + u32::try_from(id).ok().filter(|id| *id < IDS).unwrap_or(NOBODY);
        (Some(Uid::from_raw(shift(attributes.user))), Some(Gid::from_raw(shift(attributes.group))))
    }

    /// The folder of that path, made with its parents where it is missing.
    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.resolve(path) {
            Err(Errno::NOENT) => {}
            found => return Ok(found?),
        }
        let mut sofar = PathBuf::new();
        let mut folder = self.resolve(&sofar)?;
        for name in path {
            sofar.push(name);
            folder = match self.resolve(&sofar) {
                Err(Errno::NOENT) => {
                    self.make_folder(&Place { folder, name: name.to_owned() }, Attributes::IMPLIED)?;
                    self.resolve(&sofar)?
                }
                found => found?,
            };
        }
        Ok(folder)
    }

    fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        rustix::fs::openat2(&self.root, path, FOLDER, Mode::empty(), WITHIN)
    }
}

impl Place {
    /// What is there, if anything; a link is looked at, not followed.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what is there, with all that is below it.
    pub(super) fn remove(&self) -> io::Result<()> {
        match self.stat()?.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            None => Ok(()),
            // The standard library descends by file descriptors and follows no links.
            Some(FileType::Directory) => std::fs::remove_dir_all(self.path()),
            Some(_) => Ok(rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty())?),
        }
    }

    /// Whether a folder is there.
    pub(super) fn is_folder(&self) -> io::Result<bool> {
        Ok(self.stat()?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
    }

    /// Makes another name of the file that is there.
    pub(super) fn hard_link(&self, new: &Self) -> io::Result<()> {
        let kind = self.stat()?.map(|stat| FileType::from_raw_mode(stat.st_mode));
        if !matches!(kind, Some(FileType::RegularFile | FileType::Symlink)) {
            return Err(io::Error::other("it is a hard link to something that is not a file of the image"));
        }
        new.remove()?;
        Ok(rustix::fs::linkat(&self.folder, &self.name, &new.folder, &new.name, AtFlags::empty())?)
    }

    /// A path for the standard library, through the folder's descriptor.
    fn path(&self) -> PathBuf {
        through(&self.folder).join(&self.name)
    }
}

fn through(folder: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string())
}

/// Gives a written file its time.
pub(super) fn set_time(file: &File, attributes: Attributes) -> io::Result<()> {
    Ok(rustix::fs::futimens(file, &attributes.times())?)
}

/// A path without leading slashes and dots; one that climbs is refused.
pub(super) fn inside(path: &Path) -> io::Result<PathBuf> {
    let mut inner = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inner.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::other("its path climbs out of the image"));
            }
        }
    }
    Ok(inner)
}
