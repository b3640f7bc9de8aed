//! A machine with one image of busybox, and jobs for it.

use crate::layout::{Archive, Layout};
use alloy::primitives::keccak256;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Blob, Envelope, Limits, OutputBuffer, Program, Verify};
use protocol::resource::{Unit, Usage};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{Delivered, ExecuteError, JobInput, OciConfig, OciExecutor, run_here};

/// What the kernel says where a machine, such as a container itself, does not let containers be made.
const FORBIDDEN: [&str; 2] = ["EPERM", "not permitted"];

/// The program whose process ends the containers of a killed worker.
pub(crate) const WORKER: &str = env!("CARGO_BIN_EXE_capa-worker");

pub(crate) struct Machine {
    pub(crate) folder: TempDir,
    pub(crate) layout: Layout,
    pub(crate) image: String,
    pub(crate) config: OciConfig,
}

impl Machine {
    /// A folder with an image; `None`, and a reason on the screen, where containers cannot be made.
    pub(crate) fn new() -> Option<Self> {
        Self::with(json!({}))
    }

    /// The same with a configuration of the image.
    pub(crate) fn with(image: Value) -> Option<Self> {
        if let Err(reason) = usable() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let machine = Self::unchecked(image);
        let trial = machine.run(&machine.executor(), machine.job("exit 0"));
        match trial {
            Err(ExecuteError::Node(reason)) if FORBIDDEN.iter().any(|word| reason.contains(word)) => {
                eprintln!("skipped: this machine does not let containers be made: {reason}");
                None
            }
            trial => {
                trial.unwrap();
                Some(machine)
            }
        }
    }

    fn unchecked(image: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let store = folder.path().join("images");
        let layout = Layout::new(&store);
        let image = layout.image(vec![Archive::busybox()], image);
        let config = OciConfig {
            enabled: true,
            images: vec![image.clone()],
            store,
            state: folder.path().join("state"),
            processes: 64,
            ..OciConfig::default()
        };
        Self { folder, layout, image, config }
    }

    pub(crate) fn executor(&self) -> OciExecutor {
        OciExecutor::find(&self.config, WORKER.as_ref()).unwrap()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.config.state.clone()
    }

    /// A job of the shell with the input `abcdef`, an output of 8 bytes, 64 MiB of memory and 20 seconds.
    pub(crate) fn job(&self, script: &str) -> JobInput {
        self.command(&["sh", "-c", script])
    }

    pub(crate) fn command(&self, command: &[&str]) -> JobInput {
        let input = Bytes::from_static(b"abcdef");
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let envelope = Envelope {
            version: 1,
            program: Program::Oci { image: self.image.clone(), command, devices: 0 },
            inputs: vec![Blob { hash: keccak256(&input), length: Quantity(input.len() as u64) }],
            outputs: vec![OutputBuffer { length: Quantity(8) }],
            limits: Limits { memory: Quantity(64 << 20), wall_ms: Quantity(20_000) },
            verify: Verify::None,
        };
        envelope.validate().unwrap();
        let blobs = vec![input];
        JobInput { envelope, blobs, rank: 0, devices: vec![], unit: Unit::LeaseS, max_units: Quantity(1000) }
    }

    /// Runs a job with nobody listening.
    pub(crate) fn run(&self, executor: &OciExecutor, job: JobInput) -> Result<Delivered, ExecuteError> {
        run_here(executor, job, watch::channel(Usage::default()).0, CancellationToken::new())
    }

    /// Runs a script that must succeed, and returns what it wrote to output 0, which has room for 64 KiB here.
    pub(crate) fn output_of(&self, script: &str) -> String {
        let mut job = self.job(script);
        job.envelope.outputs[0].length = Quantity(64 << 10);
        let delivered = self.run(&self.executor(), job).unwrap();
        String::from_utf8_lossy(&delivered.outputs[0]).into_owned()
    }

    /// Runs a script that must fail by its own fault, and returns the reason.
    pub(crate) fn failure_of(&self, script: &str) -> String {
        match self.run(&self.executor(), self.job(script)).unwrap_err() {
            ExecuteError::Program { detail, usage } => {
                assert!(usage.lease_s.get() >= 1, "what the program used is billed: {detail}");
                detail
            }
            other => panic!("{other:?}"),
        }
    }

    /// Nothing of any job is left: no folder, no mount, no container.
    pub(crate) fn assert_clean(&self) {
        let left = |folder: &str| -> Vec<PathBuf> {
            let entries = self.state().join(folder).read_dir().into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        assert_eq!(left("jobs"), Vec::<PathBuf>::new());
        assert_eq!(left("runc"), Vec::<PathBuf>::new());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let state = self.state().to_string_lossy().into_owned();
        assert!(!mounts.contains(&state), "{mounts}");
    }
}

/// Why this machine cannot run these tests.
fn usable() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("container jobs need root".into());
    }
    if std::process::Command::new("runc").arg("--version").output().is_err() {
        return Err("runc is not installed".into());
    }
    let busybox = std::fs::read("/bin/busybox").map_err(|_| "busybox-static is not installed")?;
    if !is_static(&busybox) {
        return Err("/bin/busybox needs shared libraries: install busybox-static".into());
    }
    Ok(())
}

/// Whether a 64-bit ELF program names no loader.
fn is_static(program: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = program.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)) as usize
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    const LOADER: usize = 3;
    program.starts_with(b"\x7fELF") && (0..count).all(|index| number(table + index * size, 4) != LOADER)
}
