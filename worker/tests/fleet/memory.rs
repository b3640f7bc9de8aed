//! What earlier jobs left in a GPU's memory: nobody else is handed any of it.
//!
//! The emulated device's memory is this process' own here, so that it keeps what a killed process leaves, and can be
//! looked at.

use crate::cuda::{emulated, job, serves};
use crate::machine::Machine;
use crate::setup::{ALICE, BOB, Site, blob, children, until};
use alloy::primitives::Address;
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Argument, Program};
use protocol::resource::Usage;
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::json;
use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{ExecuteError, JobInput};
use worker::fleet::{DeviceState, FleetConfig};

const SOURCE: &[u8] = include_bytes!("../../../testkit/emulated-cuda/kernels/residue.cu");
const SECRET: u32 = 0x5ec2_e75a;
/// How much room it has, in words, and how many of them together are found again.
const WRITTEN: u32 = 1 << 20;
const TRACE: usize = 256;

/// The memory of the only device.
struct Memory {
    file: Arc<File>,
    /// The device is there no more for whoever comes now.
    broken: Arc<AtomicBool>,
    folder: tempfile::TempDir,
}

impl Memory {
    fn new() -> Self {
        let file = File::from(memfd_create("device", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(emulated_cuda::MEMORY).unwrap();
        let memory = Self { file: Arc::new(file), broken: Arc::default(), folder: tempfile::tempdir().unwrap() };
        let listener = UnixListener::bind(memory.folder.path().join("memory")).unwrap();
        let (file, broken) = (memory.file.clone(), memory.broken.clone());
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for asked in listener.incoming() {
                let mut asked = asked.unwrap();
                if broken.load(Ordering::SeqCst) || asked.read_exact(&mut [0]).is_err() {
                    continue;
                }
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                let descriptors = [file.as_fd()];
                assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
                let _ = sendmsg(&asked, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL);
            }
        });
        memory
    }

    fn used_by(&self, config: &mut FleetConfig) {
        emulated(config);
        config.environment.push((emulated_cuda::MEMORY_SOCKET.into(), self.folder.path().join("memory").into()));
    }

    /// Leaves what nobody clears, as a container or a large job could.
    fn write_secret(&self) {
        self.file.write_all_at(&secret(), emulated_cuda::MEMORY / 2).unwrap();
    }

    fn holds_secret(&self) -> bool {
        let secret = secret();
        let mut start = 0;
        // Only what was ever written takes room in the file.
        while let Ok(from) = seek(&self.file, SeekFrom::Data(start)) {
            let to = seek(&self.file, SeekFrom::Hole(from)).unwrap();
            let mut bytes = vec![0; (to - from) as usize];
            self.file.read_exact_at(&mut bytes, from).unwrap();
            if bytes.windows(secret.len()).step_by(4).any(|window| window == secret) {
                return true;
            }
            start = to;
        }
        false
    }
}

fn secret() -> Vec<u8> {
    SECRET.to_le_bytes().repeat(TRACE)
}

/// Writes the secret and has to be killed.
fn leaving() -> JobInput {
    let arguments = vec![Argument::Output(0), Argument::U32(WRITTEN), Argument::U32(SECRET)];
    let mut leaving = job("write_and_stay", 1, 4 * u64::from(WRITTEN), arguments);
    if let Program::Cuda { source, .. } = &mut leaving.envelope.program {
        *source = blob(SOURCE);
    }
    leaving.blobs = vec![Bytes::from_static(SOURCE)];
    leaving.envelope.limits.memory = Quantity(8 * u64::from(WRITTEN));
    leaving
}

async fn leave_secret(site: &Site, memory: &Memory, tenant: Address) {
    let cancel = CancellationToken::new();
    let run = tokio::spawn({
        let (fleet, cancel, nobody) = (site.fleet.clone(), cancel.clone(), watch::channel(Usage::default()).0);
        async move { fleet.execute(tenant, leaving(), nobody, cancel).await }
    });
    until("the kernel", || memory.holds_secret().then_some(())).await;
    cancel.cancel();
    match run.await.unwrap() {
        Err(error) => assert!(matches!(error, ExecuteError::Cancelled { .. }), "{error}"),
        Ok(_) => panic!("the kernel returned"),
    }
    assert!(memory.holds_secret(), "the test could not fail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_leaves_is_gone_before_another_payer_comes() {
    let memory = Memory::new();
    let site = Site::start(|config| memory.used_by(config)).await;
    leave_secret(&site, &memory, ALICE).await;
    // Far behind what the next processes take for themselves.
    memory.write_secret();
    serves(&site, ALICE).await;
    assert!(memory.holds_secret(), "the same payer waits for nothing");
    serves(&site, BOB).await;
    assert!(!memory.holds_secret());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_before_the_start_is_gone() {
    let memory = Memory::new();
    memory.write_secret();
    assert!(memory.holds_secret());
    let site = Site::start(|config| memory.used_by(config)).await;
    assert!(!memory.holds_secret());
    serves(&site, ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_that_cannot_be_cleared_is_given_to_nobody_else() {
    let memory = Memory::new();
    let site = Site::start(|config| memory.used_by(config)).await;
    leave_secret(&site, &memory, ALICE).await;
    memory.broken.store(true, Ordering::SeqCst);
    let take_time = || job("take_time", 1, 4, vec![Argument::Output(0), Argument::U32(3)]);
    match site.run(BOB, take_time()).await {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("0 of this worker are in order"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
    let (_, state) = site.fleet.devices()[0].clone();
    assert!(matches!(&state, DeviceState::Quarantined(reason) if reason.contains("cannot be cleared")), "{state:?}");
    assert!(memory.holds_secret());
    memory.broken.store(false, Ordering::SeqCst);
    until("the end of the quarantine", || (site.fleet.devices()[0].1 == DeviceState::Free).then_some(())).await;
    serves(&site, BOB).await;
    assert!(!memory.holds_secret());
}

/// A container with the only GPU, which is a device that every machine has.
fn leased(machine: &Machine, script: &str) -> JobInput {
    let mut job = machine.job(script);
    if let Program::Oci { devices, .. } = &mut job.envelope.program {
        *devices = 1;
    }
    job
}

fn describe_device(machine: &mut Machine) {
    let folder = machine.folder.path().join("cdi");
    std::fs::create_dir(&folder).unwrap();
    let nodes = json!([{ "path": "/dev/nvidia0", "hostPath": "/dev/zero" }]);
    let devices = json!([{ "name": "0", "containerEdits": { "deviceNodes": nodes } }]);
    let text = json!({ "cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices });
    std::fs::write(folder.join("nvidia.json"), text.to_string()).unwrap();
    machine.config.cdi = vec![folder];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_finds_nothing_of_others_and_leaves_nothing_to_them() {
    let Some(mut machine) = Machine::new() else { return };
    describe_device(&mut machine);
    let memory = Memory::new();
    let site = Site::start(|config| {
        memory.used_by(config);
        config.execute.oci = machine.config.clone();
    })
    .await;
    leave_secret(&site, &memory, BOB).await;
    site.run(ALICE, leased(&machine, "exit 0")).await.unwrap();
    assert!(!memory.holds_secret(), "the container had another payer's memory");
    memory.write_secret();
    site.run(ALICE, leased(&machine, "exit 0")).await.unwrap();
    serves(&site, ALICE).await;
    assert!(memory.holds_secret(), "the same payer waits for nothing");
    serves(&site, BOB).await;
    assert!(!memory.holds_secret());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_of_the_workers_own_is_on_a_gpu_that_a_container_has() {
    let Some(mut machine) = Machine::new() else { return };
    describe_device(&mut machine);
    let site = Site::start(|config| {
        emulated(config);
        config.execute.oci = machine.config.clone();
    })
    .await;
    let on_gpu = |folder: &Path| children(folder).len();
    // Another payer's job takes the blank process, so that the next one is being made when the container comes.
    serves(&site, BOB).await;
    let (cancel, (sender, mut progress)) = (CancellationToken::new(), watch::channel(Usage::default()));
    let run = tokio::spawn({
        let (fleet, job, cancel) = (site.fleet.clone(), leased(&machine, "sleep 600"), cancel.clone());
        async move { fleet.execute(ALICE, job, sender, cancel).await }
    });
    progress.wait_for(|usage| usage.lease_s > Quantity::ZERO).await.unwrap();
    assert_eq!(on_gpu(site.folder.path()), 0, "a process shares the container's GPU");
    cancel.cancel();
    assert!(matches!(run.await.unwrap(), Err(ExecuteError::Cancelled { .. })));
    serves(&site, BOB).await;
}
