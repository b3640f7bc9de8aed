//! The images that the operator allows, unpacked once and kept.
//!
//! An image is unpacked into a temporary folder that gets its name when it is complete, so that what has the name can
//! be used. Files belong to the host ids that containers run as; containers see them read-only, below a layer of
//! their own.

use super::config::OciConfig;
use super::layer::{self, Budget};
use super::layout::{Image, Layout, digest};
use super::tree::Tree;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Begins the names of images that are not complete.
const UNFINISHED: &str = ".unfinished-";
/// How often a wait for another unpacking looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);

/// An image cannot be used. The operator has to correct it; no job can.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The operator has not allowed it.
    #[error("this worker does not run the image {0}: its operator allows only those of execute.oci.images")]
    NotAllowed(String),
    /// A file is not there or cannot be read.
    #[error("{} cannot be read: {source}; copy the image into execute.oci.store again", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not those that the digest names.
    #[error("{0} is corrupted: its bytes do not have that digest or length; copy the image again")]
    Corrupted(String),
    /// Not what the OCI image format says.
    #[error("the image is not valid: {0}")]
    Malformed(String),
    /// For other machines only.
    #[error("{0} has no image for linux/{arch}", arch = oci_spec::image::Arch::default())]
    Platform(String),
    /// A compression that this worker does not read.
    #[error("a layer is of the type {0}: convert it by skopeo copy --dest-compress --dest-compress-format gzip")]
    Compression(String),
    /// An entry of a layer is hostile or broken.
    #[error("the layer {layer} is refused at the entry {entry:?}: {source}")]
    Layer {
        /// Digest of the layer.
        layer: String,
        /// Its path in the archive.
        entry: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The worker was told to stop while the image was unpacked.
    #[error("unpacking the image was stopped")]
    Stopped,
}

/// The layout and the unpacked images in it.
#[derive(Debug)]
pub struct ImageStore {
    layout: Layout,
    folder: PathBuf,
    allowed: Vec<String>,
    user: u32,
    most: u64,
}

/// An image that containers can be made of.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) image: Image,
    pub(super) rootfs: PathBuf,
}

impl ImageStore {
    /// Opens the operator's layout.
    pub fn open(config: &OciConfig) -> Result<Self, ImageError> {
        let unreadable = |source| ImageError::Unreadable { path: config.store.clone(), source };
        let store = config.store.canonicalize().map_err(unreadable)?;
        Ok(Self {
            layout: Layout::open(&store)?,
            folder: store.join("rootfs"),
            allowed: config.images.clone(),
            user: config.user,
            most: config.max_image,
        })
    }

    /// Digests of the images that the operator allows.
    pub fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// Checks an allowed image, unpacks it if that was not done yet, and says where it lies.
    pub fn unpack(&self, image: &str) -> Result<PathBuf, ImageError> {
        Ok(self.prepare(image, &|| false)?.rootfs)
    }

    /// The same for a job that may be stopped meanwhile.
    pub(super) fn prepare(&self, name: &str, stop: &dyn Fn() -> bool) -> Result<Unpacked, ImageError> {
        if !self.allowed.iter().any(|allowed| allowed == name) {
            return Err(ImageError::NotAllowed(name.to_owned()));
        }
        let image = self.layout.image(&digest(name)?)?;
        let rootfs = self.folder.join(format!("{}-{}", image.digest.digest(), self.user));
        if !rootfs.is_dir() {
            let _lock = self.lock(stop)?;
            if !rootfs.is_dir() {
                self.write(&image, &rootfs, stop)?;
            }
        }
        Ok(Unpacked { image, rootfs })
    }

    fn write(&self, image: &Image, rootfs: &Path, stop: &dyn Fn() -> bool) -> Result<(), ImageError> {
        self.remove_unfinished()?;
        let unfinished = self.folder.join(format!("{UNFINISHED}{}", image.digest.digest()));
        let unwritable = |source| ImageError::Unwritable { path: unfinished.clone(), source };
        tracing::info!(image = %image.digest, "unpacking an image");
        DirBuilder::new().mode(0o755).create(&unfinished).map_err(unwritable)?;
        let written = self.write_layers(image, &unfinished, stop);
        let written = written.and_then(|()| std::fs::rename(&unfinished, rootfs).map_err(unwritable));
        if written.is_err() {
            self.remove_unfinished()?;
        }
        written
    }

    fn write_layers(&self, image: &Image, folder: &Path, stop: &dyn Fn() -> bool) -> Result<(), ImageError> {
        let unwritable = |source| ImageError::Unwritable { path: folder.into(), source };
        let tree = Tree::open(folder, self.user).map_err(unwritable)?;
        tree.own_root().map_err(unwritable)?;
        let mut budget = Budget::new(self.most);
        for layer in &image.layers {
            layer::unpack(&tree, layer, self.layout.layer(layer)?, &mut budget, stop)?;
        }
        // A power cut must not leave a complete name on incomplete files.
        File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?)).map_err(unwritable)
    }

    /// What an unpacking that did not end has left. Needs the lock.
    fn remove_unfinished(&self) -> Result<(), ImageError> {
        let unwritable = |source| ImageError::Unwritable { path: self.folder.clone(), source };
        for entry in self.folder.read_dir().map_err(unwritable)? {
            let entry = entry.map_err(unwritable)?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                std::fs::remove_dir_all(entry.path()).map_err(unwritable)?;
            }
        }
        Ok(())
    }

    /// One unpacking at a time, of all jobs and processes. Released when it is dropped, or its process ends.
    fn lock(&self, stop: &dyn Fn() -> bool) -> Result<File, ImageError> {
        let unwritable = |source| ImageError::Unwritable { path: self.folder.clone(), source };
        // What lies in it belongs to the host ids of containers: no other user of the host needs to get there.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(unwritable)?;
        let lock = File::create(self.folder.join(".lock")).map_err(unwritable)?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::Error(source)) => return Err(unwritable(source)),
                Err(TryLockError::WouldBlock) if stop() => return Err(ImageError::Stopped),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            }
        }
    }
}
