//! Unpacking a layer: a tar archive whose entries add to, replace and remove what the layers below it made.
//!
//! The archive was checked against its digest, but its author is not trusted with this machine: paths that climb are
//! refused, links are followed inside the tree only, devices are left out, and bytes, entries and headers are counted.

use super::ImageError;
use super::layout::Layer;
use super::tree::{Attributes, Place, Tree, inside, set_time};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tar::{Archive, Entry, EntryType};

/// Most entries of one image.
const MAX_ENTRIES: u64 = 4_000_000;
/// Most bytes of headers before an entry: long names and extended attributes.
const MAX_HEADERS: u64 = 1 << 20;
/// Longest path, in bytes and in folders.
const MAX_PATH: usize = 4096;
const MAX_DEPTH: usize = 256;
/// Names that begin so remove something.
const WHITEOUT: &[u8] = b".wh.";
/// Removes all that lower layers have in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What is left for the rest of an image.
pub(super) struct Budget {
    bytes: u64,
    entries: u64,
    most: u64,
}

impl Budget {
    /// An image of at most `most` bytes.
    pub(super) const fn new(most: u64) -> Self {
        Self { bytes: most, entries: MAX_ENTRIES, most }
    }

    fn take(&mut self, bytes: u64) -> io::Result<()> {
        let left = self.bytes.checked_sub(bytes).zip(self.entries.checked_sub(1));
        let (bytes, entries) = left.ok_or_else(|| {
            let text =
                format!("unpacked it has more than {} bytes (execute.oci.max_image) or too many files", self.most);
            io::Error::other(text)
        })?;
        (self.bytes, self.entries) = (bytes, entries);
        Ok(())
    }
}

/// Unpacks a layer over the tree. `stop` is asked before each entry.
pub(super) fn unpack(
    tree: &Tree,
    layer: &Layer,
    file: File,
    budget: &mut Budget,
    stop: &dyn Fn() -> bool,
) -> Result<(), ImageError> {
    let file = BufReader::with_capacity(1 << 17, file);
    let reader: Box<dyn Read> = if layer.gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let allowance = Rc::new(Cell::new(MAX_HEADERS));
    let mut archive = Archive::new(Counted { reader, hash: Sha256::new(), allowance: allowance.clone() });
    let refuse = |entry: String, source| ImageError::Layer { layer: layer.digest.to_string(), entry, source };
    let mut made = HashSet::new();
    let entries = archive.entries().map_err(|source| refuse(String::new(), source))?;
    for entry in entries {
        if stop() {
            return Err(ImageError::Stopped);
        }
        let mut entry = entry.map_err(|source| refuse(String::new(), source))?;
        let size = entry.size().max(entry.header().entry_size().unwrap_or(0));
        allowance.set(size.saturating_add(MAX_HEADERS));
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        apply(tree, &mut entry, budget, &mut made).map_err(|source| refuse(name, source))?;
    }
    let mut rest = archive.into_inner();
    rest.allowance.set(MAX_HEADERS);
    io::copy(&mut rest, &mut io::sink()).map_err(|source| refuse(String::new(), source))?;
    if rest.hash.finalize().as_slice() == layer.content {
        return Ok(());
    }
    Err(ImageError::Corrupted(format!("the content of {}", layer.digest)))
}

/// Hashes the archive, and bounds what is read of it without an entry to show for.
struct Counted {
    reader: Box<dyn Read>,
    hash: Sha256,
    allowance: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let left = self.allowance.get().checked_sub(count as u64);
        self.allowance.set(left.ok_or_else(|| io::Error::other("its headers are too long"))?);
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// What a layer has made, with all folders on the way.
type Paths = HashSet<PathBuf>;

fn apply(tree: &Tree, entry: &mut Entry<'_, Counted>, budget: &mut Budget, made: &mut Paths) -> io::Result<()> {
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(());
    }
    let path = path_of(&entry.path_bytes())?;
    let path = inside(&path)?;
    budget.take(entry.size())?;
    if let Some(removed) = path.file_name().and_then(|name| name.as_bytes().strip_prefix(WHITEOUT)) {
        return white_out(tree, &path, OsStr::from_bytes(removed), made);
    }
    let attributes = attributes(entry)?;
    let Some(place) = tree.place(&path)? else { return tree.set_root(attributes) };
    match kind {
        EntryType::Directory => tree.make_folder(&place, attributes)?,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut file = tree.make_file(&place, attributes)?;
            let expected = entry.size();
            if io::copy(entry, &mut file)? != expected {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            set_time(&file, attributes)?;
        }
        EntryType::Symlink => tree.make_link(&place, &target_of(entry)?, attributes)?,
        EntryType::Link => {
            let target = tree.existing(&target_of(entry)?)?;
            target.ok_or_else(|| io::Error::other("it is a hard link to nothing"))?.hard_link(&place)?;
        }
        // The container brings its own devices, and pipes and sockets are made by those who use them.
        EntryType::Char | EntryType::Block | EntryType::Fifo => return Ok(()),
        other => return Err(io::Error::other(format!("its type {:?} is unknown", other.as_byte()))),
    }
    made.extend(path.ancestors().map(Path::to_path_buf));
    Ok(())
}

fn path_of(bytes: &[u8]) -> io::Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(bytes));
    if bytes.len() > MAX_PATH || path.components().count() > MAX_DEPTH || bytes.contains(&0) {
        return Err(io::Error::other("its path is too long, too deep or contains a zero byte"));
    }
    Ok(path.into())
}

fn target_of(entry: &Entry<'_, Counted>) -> io::Result<PathBuf> {
    let target = entry.link_name_bytes().ok_or_else(|| io::Error::other("it is a link to nothing"))?;
    path_of(&target)
}

fn attributes(entry: &Entry<'_, Counted>) -> io::Result<Attributes> {
    let header = entry.header();
    Ok(Attributes { mode: header.mode()?, user: header.uid()?, group: header.gid()?, modified: header.mtime()? })
}

/// Removes what lower layers have, and nothing that this layer has made already, in whatever order it tells.
fn white_out(tree: &Tree, marker: &Path, removed: &OsStr, made: &Paths) -> io::Result<()> {
    let parent = marker.parent().unwrap_or(Path::new(""));
    if marker.file_name().is_some_and(|name| name.as_bytes() == OPAQUE) {
        return clear(tree, parent, made);
    }
    if matches!(removed.as_bytes(), b"" | b"." | b"..") {
        return Err(io::Error::other("it removes nothing that has a name"));
    }
    let path = parent.join(removed);
    match tree.existing(&path)? {
        Some(place) => remove(tree, &path, &place, made),
        None => Ok(()),
    }
}

/// Removes from a folder all that this layer has not made.
fn clear(tree: &Tree, folder: &Path, made: &Paths) -> io::Result<()> {
    for name in tree.names(folder)? {
        let path = folder.join(name);
        if let Some(place) = tree.existing(&path)? {
            remove(tree, &path, &place, made)?;
        }
    }
    Ok(())
}

/// Removes what lower layers have in a place. Only folders are descended into: a link of this layer stays as it is.
fn remove(tree: &Tree, path: &Path, place: &Place, made: &Paths) -> io::Result<()> {
    match (made.contains(path), place.is_folder()?) {
        (false, _) => place.remove(),
        (true, true) => clear(tree, path, made),
        (true, false) => Ok(()),
    }
}
