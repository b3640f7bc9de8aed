//! What the operator decides about container jobs.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Container jobs: off unless the operator turns them on and lists the images that may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OciConfig {
    /// Whether container jobs are taken at all. Default: false.
    pub enabled: bool,
    /// The runc program, by name or path; 1.1 or newer. Default: `runc`.
    pub runc: PathBuf,
    /// Digests of the images that jobs may run, `sha256:…` of a manifest or of a multi-platform index. Default: none.
    pub images: Vec<String>,
    /// The OCI image layout that holds these images; unpacked images are kept in `rootfs` below it. Default: `images`.
    pub store: PathBuf,
    /// Folder of running containers, best on a file system that a reboot clears. One worker per folder; others must
    /// be able to pass through it (mode 0711). Default: `/run/capa-worker/oci`.
    pub state: PathBuf,
    /// Whether containers join the host's network: only for images that you trust as much as the host. Default: false.
    pub network: bool,
    /// Folders of the CDI specifications that say what a GPU needs. Default: `/etc/cdi` and `/var/run/cdi`.
    pub cdi: Vec<PathBuf>,
    /// Largest `limits.memory` accepted, in bytes. Default: 4 GiB.
    pub max_memory: u64,
    /// Largest sum of declared outputs accepted, in bytes. They are held in memory, on top of `limits.memory`.
    /// Default: 256 MiB.
    pub max_outputs: u64,
    /// Largest size of an unpacked image, in bytes. Default: 32 GiB.
    pub max_image: u64,
    /// How many CPUs' time one container gets. Default: 1.
    pub cpus: u32,
    /// Most processes and threads of one container. Default: 512.
    pub processes: u32,
    /// First of the 65,536 host user and group ids that containers run as. Nothing else may use them.
    /// Default: 1879048192, from where on systemd assigns none.
    pub user: u32,
}

impl Default for OciConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            runc: "runc".into(),
            images: Vec::new(),
            store: "images".into(),
            state: "/run/capa-worker/oci".into(),
            network: false,
            cdi: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
            max_memory: 4 << 30,
            max_outputs: 256 << 20,
            max_image: 32 << 30,
            cpus: 1,
            processes: 512,
            user: 0x7000_0000,
        }
    }
}

/// How many host ids a container's users are mapped to.
pub const IDS: u32 = 1 << 16;

impl OciConfig {
    /// Checks what the types cannot say; the reason names the key to correct.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.images.is_empty() {
            return Err("no image is allowed: list the digests in execute.oci.images".into());
        }
        if let Some(image) = self.images.iter().find(|image| super::layout::digest(image).is_err()) {
            return Err(format!("execute.oci.images has {image:?}, which is not sha256: and 64 hexadecimal digits"));
        }
        for (path, key) in [(&self.store, "store"), (&self.state, "state")] {
            // The kernel takes both in a comma-separated list of mount options.
            if path.to_string_lossy().contains([',', ':', '\\', '"', '\n']) {
                return Err(format!("execute.oci.{key} must not contain a comma, colon, quote or backslash"));
            }
        }
        if self.cpus == 0 || self.processes == 0 {
            return Err("execute.oci.cpus and execute.oci.processes must be above zero".into());
        }
        if self.user == 0 || self.user.checked_add(IDS).is_none_or(|end| end > u32::MAX - 1) {
            return Err(format!("execute.oci.user must leave {IDS} ids above zero and below 4294967295"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let good = OciConfig { images: vec![digest], ..OciConfig::default() };
        good.check().unwrap();
        let wrong: [(OciConfig, &str); 5] = [
            (OciConfig::default(), "execute.oci.images"),
            (OciConfig { images: vec!["alpine:3".into()], ..good.clone() }, "alpine:3"),
            (OciConfig { store: "a,b".into(), ..good.clone() }, "execute.oci.store"),
            (OciConfig { cpus: 0, ..good.clone() }, "execute.oci.cpus"),
            (OciConfig { user: 0, ..good }, "execute.oci.user"),
        ];
        for (config, word) in wrong {
            let reason = config.check().unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
    }
}
