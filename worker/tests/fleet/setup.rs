//! A fleet for a test, and small jobs for it.

use alloy::primitives::{Address, keccak256};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Blob, Envelope, Limits, OutputBuffer, Program, Verify};
use protocol::resource::{Unit, Usage};
use service::health::Health;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::config::SandboxConfig;
use worker::execute::{CudaConfig, Delivered, ExecuteConfig, ExecuteError, JobInput};
use worker::fleet::{Fleet, FleetConfig, Reaper};

pub(crate) const ALICE: Address = Address::repeat_byte(0xa1);
pub(crate) const BOB: Address = Address::repeat_byte(0xb0);

/// A fleet for the CPU alone, with its folder.
pub(crate) struct Site {
    pub(crate) fleet: Fleet,
    pub(crate) health: Health,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn config(folder: &Path) -> FleetConfig {
    let execute = ExecuteConfig { cuda: CudaConfig { enabled: false, ..CudaConfig::default() }, ..Default::default() };
    let sandbox = SandboxConfig { friends: vec![ALICE, BOB], grace_ms: 500, ..SandboxConfig::default() };
    FleetConfig::new(env!("CARGO_BIN_EXE_capa-worker").into(), folder.to_path_buf(), 1, execute, sandbox)
}

impl Site {
    pub(crate) async fn start(change: impl FnOnce(&mut FleetConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let health = Health::new();
        let fleet = Fleet::start(config, health.clone()).await.unwrap();
        Self { fleet, health, folder }
    }

    pub(crate) async fn with_reaper(reaper: Arc<dyn Reaper>, change: impl FnOnce(&mut FleetConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let health = Health::new();
        let fleet = Fleet::start_with(config, health.clone(), reaper).await.unwrap();
        Self { fleet, health, folder }
    }

    pub(crate) async fn run(&self, tenant: Address, job: JobInput) -> Result<Delivered, ExecuteError> {
        let nobody = watch::channel(Usage::default()).0;
        self.fleet.execute(tenant, job, nobody, CancellationToken::new()).await
    }

    /// The children that are written down.
    pub(crate) fn children(&self) -> Vec<u32> {
        children(self.folder.path())
    }

    /// The only child, once there is one.
    pub(crate) async fn only_child(&self) -> u32 {
        until("a single child", || match self.children().as_slice() {
            [one] => Some(*one),
            _ => None,
        })
        .await
    }

    /// Shows that nothing is broken.
    pub(crate) async fn serves(&self, tenant: Address) {
        let done = self.run(tenant, counting(10)).await.unwrap();
        assert_eq!(done.outputs[0], 10u64.to_le_bytes().as_slice());
    }
}

pub(crate) fn children(folder: &Path) -> Vec<u32> {
    let text = std::fs::read(folder.join("children.json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
    list.iter().map(|entry| entry["identity"]["pid"].as_u64().unwrap() as u32).collect()
}

/// Its first thread may have ended before the others have.
pub(crate) fn is_running(pid: u32) -> bool {
    let ends = |stat: &str| stat.rfind(") ").is_none_or(|end| stat[end + 2..].starts_with(['Z', 'X']));
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut stats = threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
    stats.any(|stat| !ends(&stat))
}

pub(crate) fn kill(pid: u32) {
    // It may have ended meanwhile, which is as good.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL);
}

/// Waits until `get` gives something.
pub(crate) async fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = get() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited 30 s in vain for {what}");
}

pub(crate) fn blob(bytes: &[u8]) -> Blob {
    Blob { hash: keccak256(bytes), length: Quantity(bytes.len() as u64) }
}

/// A job of a WebAssembly module in text, with these inputs and one output of that length.
pub(crate) fn wasm(text: &str, inputs: Vec<Bytes>, output: u64) -> JobInput {
    let module = Bytes::from(wat::parse_str(text).unwrap());
    let envelope = Envelope {
        version: 1,
        program: Program::Wasm { module: blob(&module), toolchain: "wasmtime-48".into() },
        inputs: inputs.iter().map(|input| blob(input)).collect(),
        outputs: vec![OutputBuffer { length: Quantity(output) }],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(60_000) },
        verify: Verify::Reexecute,
    };
    envelope.validate().unwrap();
    let blobs = std::iter::once(module).chain(inputs).collect();
    JobInput { envelope, blobs, rank: 0, devices: vec![], unit: Unit::CpuMs, max_units: Quantity(1_000_000) }
}

/// The body of `run`, with the imports at hand and one page of memory.
pub(crate) fn body(text: &str) -> String {
    format!(
        r#"(module
          (import "capa" "input_length" (func $length (param i32) (result i64)))
          (import "capa" "input_read" (func $read (param i32 i64 i32 i32) (result i32)))
          (import "capa" "output_write" (func $write (param i32 i64 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "run") (result i32) (local $i i64)
            {text}))"#
    )
}

/// Counts to `rounds` and writes that.
pub(crate) fn counting(rounds: u64) -> JobInput {
    let text = body(&format!(
        "(loop $again
           (local.set $i (i64.add (local.get $i) (i64.const 1)))
           (br_if $again (i64.lt_u (local.get $i) (i64.const {rounds}))))
         (i64.store (i32.const 0) (local.get $i))
         (drop (call $write (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 8)))
         (i32.const 0)"
    ));
    wasm(&text, vec![], 8)
}

/// Never ends by itself.
pub(crate) fn endless() -> JobInput {
    wasm(&body("(loop $again (br $again)) (i32.const 0)"), vec![], 8)
}
