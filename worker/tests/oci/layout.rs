//! OCI image layouts made on the fly.

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Programs of busybox that the tests call.
const APPLETS: [&str; 22] = [
    "sh", "cat", "id", "echo", "sleep", "tr", "dd", "ls", "mount", "nc", "tail", "head", "wc", "rm", "ln", "mkfifo",
    "unshare", "chroot", "mknod", "grep", "env", "pwd",
];

/// A folder that is filled as skopeo would.
pub(crate) struct Layout {
    folder: PathBuf,
}

/// A layer.
pub(crate) struct Archive(Builder<Vec<u8>>);

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Layout {
    pub(crate) fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        std::fs::write(folder.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
        Self { folder: folder.into() }
    }

    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    }

    /// Adds a blob and describes it.
    pub(crate) fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        std::fs::write(self.path(&digest), bytes).unwrap();
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }

    /// Adds an image of these layers, every second one compressed.
    pub(crate) fn image(&self, layers: Vec<Archive>, config: Value) -> String {
        let layers: Vec<Vec<u8>> = layers.into_iter().map(Archive::finish).collect();
        let contents: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let blobs = layers.iter().enumerate().map(|(index, layer)| match index % 2 {
            0 => self.blob(GZIP, &gzip(layer)),
            _ => self.blob(TAR, layer),
        });
        self.manifest(blobs.collect(), &contents, config, "amd64")
    }

    /// Adds a manifest and its configuration.
    pub(crate) fn manifest(&self, layers: Vec<Value>, contents: &[String], config: Value, machine: &str) -> String {
        let config = json!({
            "architecture": machine, "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": contents }
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let blob = self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        blob["digest"].as_str().unwrap().to_owned()
    }
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Busybox and its names.
    pub(crate) fn busybox() -> Self {
        let program = std::fs::read("/bin/busybox").unwrap();
        let archive = Self::new().folder("bin/").file("bin/busybox", 0o755, &program);
        APPLETS.iter().fold(archive, |archive, name| archive.link(&format!("bin/{name}"), "busybox"))
    }

    pub(crate) fn folder(self, path: &str) -> Self {
        self.entry(path, EntryType::Directory, 0o755, "", &[])
    }

    pub(crate) fn file(self, path: &str, mode: u32, bytes: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, mode, "", bytes)
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, 0o777, target, &[])
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Link, 0o644, target, &[])
    }

    pub(crate) fn device(self, path: &str) -> Self {
        self.entry(path, EntryType::Char, 0o666, "", &[])
    }

    /// An entry whose path and target are written as they are, however hostile.
    fn entry(mut self, path: &str, kind: EntryType, mode: u32, target: &str, bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
