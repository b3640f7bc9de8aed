//! GPUs in containers, by the Container Device Interface: files that the driver's tools write say which device nodes,
//! libraries and hooks each device needs.
//!
//! Such a file can bring any file of the host into a container, and its hooks run on the host: only those are read
//! that belong to root and that nobody else can change.

use oci_spec::runtime::{
    Hook, HookBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, Mount, MountBuilder,
};
use serde::Deserialize;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Vendor and class of the devices that jobs get.
const KIND: &str = "nvidia.com/gpu";
/// Largest specification.
const MAX_FILE: u64 = 8 << 20;
/// How long a hook may take, in seconds.
const HOOK_TIMEOUT: i64 = 30;

/// All that containers with some devices need.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Edits {
    pub(super) environment: Vec<String>,
    /// Which device numbers may be used; their nodes are among the mounts.
    pub(super) devices: Vec<LinuxDeviceCgroup>,
    pub(super) mounts: Vec<Mount>,
    pub(super) create_runtime: Vec<Hook>,
    pub(super) create_container: Vec<Hook>,
    pub(super) start_container: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Specification {
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: ContainerEdits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: ContainerEdits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerEdits {
    env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    mounts: Vec<HostMount>,
    hooks: Vec<HostHook>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceNode {
    path: PathBuf,
    host_path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostMount {
    host_path: PathBuf,
    container_path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostHook {
    hook_name: String,
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
}

/// What a container with the GPUs of these numbers needs, or a sentence that says why it cannot be found.
pub(super) fn find(folders: &[PathBuf], numbers: &[u32]) -> Result<Edits, String> {
    let mut edits = Edits::default();
    if numbers.is_empty() {
        return Ok(edits);
    }
    let (specifications, remarks) = read_all(folders);
    for number in numbers {
        let name = number.to_string();
        let named = |specification: &&Specification| specification.devices.iter().any(|device| device.name == name);
        let Some(specification) = specifications.iter().find(named) else {
            return Err(format!("no CDI specification describes {KIND}={name}: {}", hint(folders, &remarks)));
        };
        for device in specification.devices.iter().filter(|device| device.name == name) {
            edits.add(&device.container_edits)?;
        }
        edits.add(&specification.container_edits)?;
    }
    Ok(edits)
}

fn hint(folders: &[PathBuf], remarks: &[String]) -> String {
    let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let remarks = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join("; ")) };
    format!(
        "run `nvidia-ctk cdi generate --format=json --output=/etc/cdi/nvidia.json`; looked in {}{remarks}",
        folders.join(", ")
    )
}

/// The specifications of our kind, and remarks on files that were passed over.
fn read_all(folders: &[PathBuf]) -> (Vec<Specification>, Vec<String>) {
    let (mut specifications, mut remarks) = (Vec::new(), Vec::new());
    for folder in folders {
        let mut files: Vec<PathBuf> = match folder.read_dir() {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(_) => continue,
        };
        files.sort();
        for file in files {
            match read(&file) {
                Ok(Some(specification)) => specifications.push(specification),
                Ok(None) => {}
                Err(remark) => remarks.push(format!("{}: {remark}", file.display())),
            }
        }
    }
    (specifications, remarks)
}

fn read(path: &Path) -> Result<Option<Specification>, String> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => {}
        Some("yaml" | "yml") => return Err("YAML is not read, write it with --format=json".into()),
        _ => return Ok(None),
    }
    let facts = path.metadata().map_err(|error| error.to_string())?;
    if !facts.is_file() || facts.len() > MAX_FILE {
        return Err("it is not a file of less than 8 MiB".into());
    }
    if facts.uid() != 0 || facts.mode() & 0o022 != 0 {
        return Err("others than root can change it, so its mounts and hooks are not trusted".into());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let specification: Specification = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    Ok(Some(specification).filter(|specification| specification.kind == KIND))
}

impl Edits {
    /// Adds what is not there yet: two devices share most of what they need.
    fn add(&mut self, edits: &ContainerEdits) -> Result<(), String> {
        merge(&mut self.environment, edits.env.clone());
        for node in &edits.device_nodes {
            merge(&mut self.devices, [node.rule()?]);
            // In a namespace of users nobody can make a device, but the host's own node can be shown.
            merge(&mut self.mounts, [bind(node.host(), &node.path, "rw")?]);
        }
        for mount in &edits.mounts {
            merge(&mut self.mounts, [bind(&mount.host_path, &mount.container_path, "ro")?]);
        }
        for hook in &edits.hooks {
            let list = match hook.hook_name.as_str() {
                "createRuntime" | "prestart" => &mut self.create_runtime,
                "createContainer" => &mut self.create_container,
                "startContainer" => &mut self.start_container,
                other => return Err(format!("the CDI hook {other} is not one that a job's container runs")),
            };
            merge(list, [hook.describe()?]);
        }
        Ok(())
    }
}

fn merge<T: PartialEq>(list: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

impl DeviceNode {
    fn host(&self) -> &Path {
        self.host_path.as_ref().unwrap_or(&self.path)
    }

    fn rule(&self) -> Result<LinuxDeviceCgroup, String> {
        let host = self.host();
        let facts = host.metadata().map_err(|error| format!("the device {} is not there: {error}", host.display()))?;
        let kind = match facts.file_type() {
            kind if kind.is_char_device() => LinuxDeviceType::C,
            kind if kind.is_block_device() => LinuxDeviceType::B,
            _ => return Err(format!("{} is not a device", host.display())),
        };
        let rule = LinuxDeviceCgroupBuilder::default()
            .allow(true)
            .typ(kind)
            .major(i64::from(rustix::fs::major(facts.rdev())))
            .minor(i64::from(rustix::fs::minor(facts.rdev())))
            .access("rw");
        rule.build().map_err(|error| error.to_string())
    }
}

/// Shows something of the host, without the privileges that its mode may give.
fn bind(host: &Path, container: &Path, access: &str) -> Result<Mount, String> {
    let mut options = vec!["rbind", access, "nosuid", "rprivate"];
    if access == "ro" {
        options.push("nodev");
    }
    let options: Vec<String> = options.into_iter().map(str::to_owned).collect();
    let mount = MountBuilder::default().destination(container).source(host).typ("bind").options(options);
    mount.build().map_err(|error| error.to_string())
}

impl HostHook {
    fn describe(&self) -> Result<Hook, String> {
        let hook = HookBuilder::default().path(&self.path).args(self.args.clone()).env(self.env.clone());
        hook.timeout(HOOK_TIMEOUT).build().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SPECIFICATION: &str = r#"{
        "cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
        "devices": [
            {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "hostPath": "/dev/null"}]}},
            {"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia1", "hostPath": "/dev/zero"}]}}
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "mounts": [{"hostPath": "/usr/lib/libcuda.so.1", "containerPath": "/usr/lib/libcuda.so.1",
                "options": ["rw", "suid", "bind"]}],
            "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
                "args": ["nvidia-cdi-hook", "update-ldcache"]}]
        }}"#;

    /// The specification as a file of root, or `None` where the tests do not run as root.
    fn folder(text: &str, mode: u32) -> (tempfile::TempDir, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nvidia.json");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let owned = path.metadata().unwrap().uid() == 0;
        (folder, owned)
    }

    #[test]
    fn devices_are_merged_once_and_read_only() {
        let (folder, owned) = folder(SPECIFICATION, 0o644);
        let found = find(&[folder.path().into()], &[1, 0]);
        if !owned {
            assert!(found.unwrap_err().contains("others than root"));
            return;
        }
        let edits = found.unwrap();
        assert_eq!(edits.environment, ["NVIDIA_VISIBLE_DEVICES=void"]);
        let numbers: Vec<_> = edits.devices.iter().map(|rule| (rule.major(), rule.minor())).collect();
        assert_eq!(numbers, [(Some(1), Some(5)), (Some(1), Some(3))], "in the order that they were asked for");
        let places: Vec<_> = edits.mounts.iter().map(|mount| mount.destination().display().to_string()).collect();
        assert_eq!(places, ["/dev/nvidia1", "/usr/lib/libcuda.so.1", "/dev/nvidia0"]);
        let options = edits.mounts[1].options().clone().unwrap();
        assert!(options.contains(&"ro".to_owned()) && !options.contains(&"suid".to_owned()), "{options:?}");
        assert_eq!(edits.create_container.len(), 1);
        assert_eq!(edits.create_container[0].timeout(), Some(HOOK_TIMEOUT));
    }

    #[test]
    fn what_cannot_be_trusted_or_read_is_named() {
        let (writable, _) = folder(SPECIFICATION, 0o666);
        let reason = find(&[writable.path().into()], &[0]).unwrap_err();
        assert!(reason.contains("others than root") && reason.contains("nvidia-ctk"), "{reason}");
        let (yaml, _) = folder(SPECIFICATION, 0o644);
        std::fs::rename(yaml.path().join("nvidia.json"), yaml.path().join("nvidia.yaml")).unwrap();
        let reason = find(&[yaml.path().into()], &[0]).unwrap_err();
        assert!(reason.contains("YAML is not read"), "{reason}");
    }

    #[test]
    fn jobs_without_gpus_need_nothing() {
        assert_eq!(find(&["/nowhere".into()], &[]).unwrap(), Edits::default());
    }
}
