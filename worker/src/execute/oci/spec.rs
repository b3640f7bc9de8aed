//! The container's `config.json`: what holds for every job is data (`container.json`, `seccomp.json`), the rest is
//! filled in here.

use super::ImageError;
use super::cdi::Edits;
use super::config::{IDS, OciConfig};
use super::folder::JobFolder;
use super::user::Ids;
use oci_spec::OciSpecError;
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::{
    Arch, HooksBuilder, LinuxCpuBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxIdMapping,
    LinuxIdMappingBuilder, LinuxMemoryBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPidsBuilder,
    LinuxResources, LinuxResourcesBuilder, LinuxSeccomp, Mount, MountBuilder, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType, Spec,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const CONTAINER: &str = include_str!("container.json");
const SECCOMP: &str = include_str!("seccomp.json");

/// Where programs are searched for if the image does not say it.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most files that a process may have open, unless the worker itself has less.
const OPEN_FILES: u64 = 65_536;
/// Microseconds in which a container's CPU time is counted.
const CPU_PERIOD: u64 = 100_000;

/// The parts of a configuration that no job changes.
#[derive(Debug, Clone)]
pub(super) struct Template {
    spec: Spec,
    seccomp: LinuxSeccomp,
    open_files: u64,
    limits_swap: bool,
    /// Version of the control groups.
    pub(super) cgroup: u8,
}

/// What one job changes.
pub(super) struct Job<'a> {
    pub(super) id: &'a str,
    pub(super) folder: &'a JobFolder,
    pub(super) ids: &'a Ids,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<String>,
    pub(super) working_folder: PathBuf,
    /// Most bytes for processes and `/tmp`.
    pub(super) memory: u64,
    /// Most bytes for outputs.
    pub(super) outputs: u64,
    pub(super) edits: Edits,
}

impl Template {
    /// Reads the data and looks at what this machine limits.
    pub(super) fn new() -> Result<Self, String> {
        let broken = |error: serde_json::Error| format!("the container's configuration is broken: {error}");
        let mut seccomp: LinuxSeccomp = serde_json::from_str(SECCOMP).map_err(broken)?;
        seccomp.set_architectures(Some(vec![architecture()?]));
        let groups = Path::new("/sys/fs/cgroup");
        let (cgroup, limits_swap) = match (groups.join("cgroup.controllers").exists(), groups.join("memory").is_dir()) {
            (true, _) => (2, true),
            (false, true) => (1, groups.join("memory/memory.memsw.limit_in_bytes").exists()),
            (false, false) => return Err("this machine has no control group that limits memory".into()),
        };
        let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let open_files = hard.unwrap_or(OPEN_FILES).min(OPEN_FILES);
        Ok(Self { spec: serde_json::from_str(CONTAINER).map_err(broken)?, seccomp, open_files, limits_swap, cgroup })
    }

    /// The whole configuration of a job's container.
    pub(super) fn fill(&self, config: &OciConfig, job: Job<'_>) -> Result<Spec, OciSpecError> {
        let mut spec = self.spec.clone();
        let mut mounts = self.mounts(config, &job)?;
        spec.mounts_mut().get_or_insert_default().append(&mut mounts);
        let hooks = HooksBuilder::default()
            .create_runtime(job.edits.create_runtime.clone())
            .create_container(job.edits.create_container.clone())
            .start_container(job.edits.start_container.clone());
        spec.set_hooks(Some(hooks.build()?));
        let process = spec.process_mut().get_or_insert_default();
        process.user_mut().set_uid(job.ids.user).set_gid(job.ids.group);
        process.user_mut().set_additional_gids(Some(job.ids.groups.clone()));
        process.set_args(Some(job.command)).set_env(Some(job.environment)).set_cwd(job.working_folder);
        process.set_rlimits(Some(vec![
            limit(PosixRlimitType::RlimitNofile, self.open_files)?,
            limit(PosixRlimitType::RlimitCore, 0)?,
        ]));
        let linux = spec.linux_mut().get_or_insert_default();
        if !config.network {
            let network = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).build()?;
            linux.namespaces_mut().get_or_insert_default().push(network);
        }
        let ids = vec![ids(config.user)?];
        linux.set_uid_mappings(Some(ids.clone())).set_gid_mappings(Some(ids));
        // Not absolute: below the worker's own group, so that whoever ends the worker's service ends its containers.
        linux.set_cgroups_path(Some(PathBuf::from(job.id)));
        let memory = job.memory.saturating_add(job.outputs);
        linux.set_resources(Some(self.resources(config, memory, &job.edits)?));
        linux.set_seccomp(Some(self.seccomp.clone()));
        Ok(spec)
    }

    fn mounts(&self, config: &OciConfig, job: &Job<'_>) -> Result<Vec<Mount>, OciSpecError> {
        // Memory in these counts as the container's own, so its limit bounds them too.
        let scratch = |size: u64| vec!["nosuid".into(), "nodev".into(), "mode=1777".into(), format!("size={size}")];
        let shared = [scratch(job.memory), vec!["noexec".to_owned()]].concat();
        let given = ["bind", "nosuid", "nodev", "noexec", "rprivate"].map(str::to_owned).to_vec();
        let read_only = [given.clone(), vec!["ro".to_owned()]].concat();
        let mut mounts = vec![
            mount("/dev/shm", "tmpfs", Path::new("shm"), shared)?,
            mount("/tmp", "tmpfs", Path::new("tmpfs"), scratch(job.memory))?,
            mount("/capa/inputs", "bind", &job.folder.inputs(), read_only.clone())?,
            mount("/capa/outputs", "bind", &job.folder.outputs(), given)?,
        ];
        if config.network {
            // The kernel lets nobody mount a view of a network that is not its own.
            let tree = ["rbind", "ro", "nosuid", "nodev", "noexec", "rprivate"].map(str::to_owned).to_vec();
            mounts.push(mount("/sys", "bind", Path::new("/sys"), tree)?);
            for file in ["/etc/hosts", "/etc/resolv.conf"].map(Path::new).into_iter().filter(|file| file.exists()) {
                mounts.push(mount(&file.to_string_lossy(), "bind", file, read_only.clone())?);
            }
        } else {
            let options = ["nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
            mounts.push(mount("/sys", "sysfs", Path::new("sysfs"), options)?);
            mounts.push(mount("/etc/hosts", "bind", &job.folder.hosts(), read_only)?);
        }
        mounts.extend(job.edits.mounts.iter().cloned());
        Ok(mounts)
    }

    fn resources(&self, config: &OciConfig, memory: u64, edits: &Edits) -> Result<LinuxResources, OciSpecError> {
        let limit = i64::try_from(memory).unwrap_or(i64::MAX);
        let mut memory = LinuxMemoryBuilder::default().limit(limit);
        if self.limits_swap {
            // Together with swap, so that there is none of it.
            memory = memory.swap(limit);
        }
        let period = i64::try_from(CPU_PERIOD).unwrap_or(i64::MAX);
        let cpu = LinuxCpuBuilder::default().quota(period * i64::from(config.cpus)).period(CPU_PERIOD);
        let mut resources = LinuxResourcesBuilder::default()
            .devices(devices(edits)?)
            .memory(memory.build()?)
            .cpu(cpu.build()?)
            .pids(LinuxPidsBuilder::default().limit(i64::from(config.processes)).build()?);
        if self.cgroup == 2 {
            // One process that is killed for memory takes the job with it, instead of leaving it half alive.
            resources = resources.unified(HashMap::from([("memory.oom.group".to_owned(), "1".to_owned())]));
        }
        resources.build()
    }
}

/// The command, environment and folder that a container starts with.
pub(super) struct Start {
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<String>,
    pub(super) working_folder: PathBuf,
}

impl Start {
    /// What the job asks for, and the image's own where it asks for nothing.
    pub(super) fn of(command: &[String], image: Option<&ImageConfig>, edits: &Edits) -> Result<Self, ImageError> {
        let own = |words: &dyn Fn(&ImageConfig) -> Option<Vec<String>>| image.and_then(words).unwrap_or_default();
        let mut words = command.to_vec();
        if words.is_empty() {
            words = own(&|image| image.entrypoint().clone());
            words.extend(own(&|image| image.cmd().clone()));
        }
        let mut environment = own(&|image| image.env().clone());
        if !environment.iter().any(|variable| variable.starts_with("PATH=")) {
            environment.push(PATH.to_owned());
        }
        environment.extend(edits.environment.iter().cloned());
        let folder = image.and_then(|image| image.working_dir().clone()).filter(|folder| !folder.is_empty());
        let working_folder = PathBuf::from(folder.unwrap_or_else(|| "/".into()));
        // A file descriptor below /proc can be a door to the host that runc has forgotten to close.
        if !working_folder.is_absolute() || working_folder.starts_with("/proc") || working_folder.starts_with("/sys") {
            return Err(ImageError::Malformed(format!("no job can start in {}", working_folder.display())));
        }
        Ok(Self { command: words, environment, working_folder })
    }
}

fn architecture() -> Result<Arch, String> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(Arch::ScmpArchX86_64),
        "aarch64" => Ok(Arch::ScmpArchAarch64),
        other => Err(format!("there is no list of system calls for {other}")),
    }
}

fn mount(at: &str, kind: &str, source: &Path, options: Vec<String>) -> Result<Mount, OciSpecError> {
    MountBuilder::default().destination(at).typ(kind).source(source).options(options).build()
}

fn limit(kind: PosixRlimitType, value: u64) -> Result<PosixRlimit, OciSpecError> {
    PosixRlimitBuilder::default().typ(kind).hard(value).soft(value).build()
}

fn ids(first: u32) -> Result<LinuxIdMapping, OciSpecError> {
    LinuxIdMappingBuilder::default().container_id(0u32).host_id(first).size(IDS).build()
}

/// Nothing but the devices that were asked for, and those that every container has.
fn devices(edits: &Edits) -> Result<Vec<LinuxDeviceCgroup>, OciSpecError> {
    let all = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()?;
    let mut rules = vec![all];
    rules.extend(edits.devices.iter().cloned());
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxSeccompAction;

    #[test]
    fn the_data_is_what_it_claims() {
        let spec: Spec = serde_json::from_str(CONTAINER).unwrap();
        let process = spec.process().clone().unwrap();
        assert_eq!(process.no_new_privileges(), Some(true));
        let capabilities = serde_json::to_value(process.capabilities()).unwrap();
        assert!(capabilities.as_object().unwrap().values().all(|set| set.as_array().unwrap().is_empty()));
        let linux = spec.linux().clone().unwrap();
        let namespaces: Vec<_> = linux.namespaces().iter().flatten().map(|namespace| namespace.typ()).collect();
        assert!(namespaces.contains(&LinuxNamespaceType::User) && namespaces.contains(&LinuxNamespaceType::Pid));
        assert!(linux.masked_paths().iter().flatten().any(|path| path == "/proc/kcore"));
    }

    #[test]
    fn system_calls_that_reach_the_host_are_not_allowed() {
        let seccomp: LinuxSeccomp = serde_json::from_str(SECCOMP).unwrap();
        let calls = seccomp.syscalls().clone().unwrap();
        let always: Vec<&String> = calls
            .iter()
            .filter(|call| call.action() == LinuxSeccompAction::ScmpActAllow && call.args().is_none())
            .flat_map(|call| call.names())
            .collect();
        let allowed = |name: &str| always.iter().any(|allowed| *allowed == name);
        assert!(allowed("read") && allowed("execve") && allowed("futex"));
        for name in [
            "mount",
            "umount2",
            "pivot_root",
            "unshare",
            "setns",
            "bpf",
            "perf_event_open",
            "ptrace",
            "keyctl",
            "add_key",
            "request_key",
            "userfaultfd",
            "io_uring_setup",
            "kexec_load",
            "init_module",
            "open_by_handle_at",
            "clone3",
            "clone",
            "socket",
            "process_vm_readv",
            "fsopen",
            "move_mount",
            "swapon",
            "reboot",
            "settimeofday",
        ] {
            assert!(!allowed(name), "{name}");
        }
    }

    #[test]
    fn a_job_starts_as_it_asks_and_else_as_its_image_does() {
        let image: ImageConfig =
            serde_json::from_str(r#"{"Entrypoint": ["/run"], "Cmd": ["-x"], "Env": ["A=1"], "WorkingDir": "/work"}"#)
                .unwrap();
        let none = Edits::default();
        let start = Start::of(&[], Some(&image), &none).unwrap();
        assert_eq!((start.command, start.working_folder), (vec!["/run".into(), "-x".into()], PathBuf::from("/work")));
        assert_eq!(start.environment, ["A=1", PATH]);
        assert_eq!(Start::of(&["id".into()], Some(&image), &none).unwrap().command, ["id"]);
        assert!(Start::of(&[], None, &none).unwrap().command.is_empty());
        let hostile: ImageConfig = serde_json::from_str(r#"{"WorkingDir": "/proc/self/fd/7"}"#).unwrap();
        assert!(Start::of(&[], Some(&hostile), &none).is_err());
    }
}
