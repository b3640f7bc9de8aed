//! The OCI image layout: finding an image by its digest, and believing nothing that was not hashed first.

use super::ImageError;
use oci_spec::image::{Arch, Descriptor, Digest, DigestAlgorithm, ImageConfiguration, ImageIndex, ImageManifest, Os};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Largest index, manifest or configuration.
const MAX_DOCUMENT: u64 = 8 << 20;

/// A folder with `oci-layout` and `blobs/sha256/…`, as skopeo, buildx and podman write it.
#[derive(Debug)]
pub(super) struct Layout {
    folder: PathBuf,
}

/// An image whose manifest and configuration were checked.
#[derive(Debug)]
pub(super) struct Image {
    /// Digest of its manifest for this platform.
    pub(super) digest: Digest,
    /// How a container of it starts.
    pub(super) config: ImageConfiguration,
    /// Its layers, the lowest first.
    pub(super) layers: Vec<Layer>,
}

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// Digest of the file in the layout.
    pub(super) digest: Digest,
    /// Its length.
    pub(super) size: u64,
    /// Whether that file is compressed by gzip.
    pub(super) gzip: bool,
    /// SHA-256 of the uncompressed archive, which the configuration promises.
    pub(super) content: [u8; 32],
}

/// Reads a digest of the only algorithm that images use in practice.
pub(super) fn digest(text: &str) -> Result<Digest, ImageError> {
    let digest = Digest::from_str(text).ok().filter(|digest| *digest.algorithm() == DigestAlgorithm::Sha256);
    digest.ok_or_else(|| ImageError::Malformed(format!("{text:?} is not a sha256 digest")))
}

impl Layout {
    /// Opens the folder.
    pub(super) fn open(folder: &Path) -> Result<Self, ImageError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let path = folder.join("oci-layout");
        let marker = std::fs::read(&path).map_err(|source| ImageError::Unreadable { path: path.clone(), source })?;
        let marker: Marker = parse(&marker, &path.display())?;
        if marker.image_layout_version != "1.0.0" {
            return Err(ImageError::Malformed(format!(
                "{} is of version {}, this worker reads 1.0.0",
                path.display(),
                marker.image_layout_version
            )));
        }
        Ok(Self { folder: folder.into() })
    }

    /// The image of that digest: a manifest, or the one for this platform of an index.
    pub(super) fn image(&self, name: &Digest) -> Result<Image, ImageError> {
        let mut digest = name.clone();
        let mut bytes = self.document(&digest, None)?;
        if is_index(&bytes, &digest)? {
            let index: ImageIndex = parse(&bytes, &digest)?;
            let found = index.manifests().iter().find(|manifest| is_for_this_machine(manifest));
            let found = found.ok_or_else(|| ImageError::Platform(digest.to_string()))?;
            digest = checked(found)?;
            bytes = self.document(&digest, Some(found.size()))?;
            if is_index(&bytes, &digest)? {
                return Err(ImageError::Malformed(format!("{digest} is an index within an index")));
            }
        }
        let manifest: ImageManifest = parse(&bytes, &digest)?;
        let config = checked(manifest.config())?;
        let config: ImageConfiguration = parse(&self.document(&config, Some(manifest.config().size()))?, &config)?;
        if *config.os() != Os::Linux || *config.architecture() != Arch::default() {
            return Err(ImageError::Platform(digest.to_string()));
        }
        let contents = config.rootfs().diff_ids();
        if contents.len() != manifest.layers().len() {
            return Err(ImageError::Malformed(format!("{digest} and its configuration list different layers")));
        }
        let layers = manifest.layers().iter().zip(contents).map(|(layer, content)| describe(layer, content));
        Ok(Image { layers: layers.collect::<Result<_, _>>()?, digest, config })
    }

    /// A layer's file, after all of it was hashed; it stands at its start.
    pub(super) fn layer(&self, layer: &Layer) -> Result<File, ImageError> {
        let mut file = self.blob(&layer.digest)?;
        let mut hash = Sha256::new();
        let unreadable = |source| ImageError::Unreadable { path: self.path(&layer.digest), source };
        let length = std::io::copy(&mut (&file).take(layer.size.saturating_add(1)), &mut hash).map_err(unreadable)?;
        require(&layer.digest, length == layer.size && hex::encode(hash.finalize()) == layer.digest.digest())?;
        file.rewind().map_err(unreadable)?;
        Ok(file)
    }

    /// A small blob, checked against its digest and, where one is known, its length.
    fn document(&self, digest: &Digest, size: Option<u64>) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let unreadable = |source| ImageError::Unreadable { path: self.path(digest), source };
        self.blob(digest)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let length = bytes.len() as u64;
        if length > MAX_DOCUMENT {
            return Err(ImageError::Malformed(format!(
                "{digest} is longer than the {MAX_DOCUMENT} bytes of any index"
            )));
        }
        let expected = size.is_none_or(|size| size == length);
        require(digest, expected && hex::encode(Sha256::digest(&bytes)) == digest.digest())?;
        Ok(bytes)
    }

    fn blob(&self, digest: &Digest) -> Result<File, ImageError> {
        let path = self.path(digest);
        // Neither a link out of the layout nor a pipe that never ends.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(&path);
        let file = file.and_then(|file| Ok((file.metadata()?.is_file(), file)));
        match file {
            Ok((true, file)) => Ok(file),
            Ok((false, _)) => Err(ImageError::Malformed(format!("{} is not a regular file", path.display()))),
            Err(source) => Err(ImageError::Unreadable { path, source }),
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest())
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &dyn std::fmt::Display) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::Malformed(format!("{what} cannot be read: {error}")))
}

fn require(digest: &Digest, intact: bool) -> Result<(), ImageError> {
    if intact { Ok(()) } else { Err(ImageError::Corrupted(digest.to_string())) }
}

/// Whether a document lists manifests; one that could be read as both kinds is refused.
fn is_index(bytes: &[u8], digest: &Digest) -> Result<bool, ImageError> {
    #[derive(Deserialize)]
    struct Shape {
        manifests: Option<Vec<serde_json::Value>>,
        layers: Option<Vec<serde_json::Value>>,
    }
    let shape: Shape = parse(bytes, digest)?;
    match (shape.manifests, shape.layers) {
        (Some(_), None) => Ok(true),
        (None, Some(_)) => Ok(false),
        _ => Err(ImageError::Malformed(format!("{digest} is neither an image manifest nor an image index"))),
    }
}

fn is_for_this_machine(manifest: &Descriptor) -> bool {
    let fits = |os: &Os, architecture: &Arch| *os == Os::Linux && *architecture == Arch::default();
    manifest.platform().as_ref().is_some_and(|platform| fits(platform.os(), platform.architecture()))
}

/// The digest that a descriptor names, of the algorithm that this worker computes.
fn checked(descriptor: &Descriptor) -> Result<Digest, ImageError> {
    digest(descriptor.digest().as_ref())
}

fn describe(layer: &Descriptor, content: &str) -> Result<Layer, ImageError> {
    let gzip = match layer.media_type().as_ref() {
        "application/vnd.oci.image.layer.v1.tar" => false,
        "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => true,
        other => return Err(ImageError::Compression(other.to_owned())),
    };
    let mut expected = [0; 32];
    let content = digest(content)?;
    hex::decode_to_slice(content.digest(), &mut expected)
        .map_err(|error| ImageError::Malformed(format!("{content}: {error}")))?;
    Ok(Layer { digest: checked(layer)?, size: layer.size(), gzip, content: expected })
}
