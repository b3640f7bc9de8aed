//! What a worker that has nothing to do takes of its machine: a real `capa-worker run` beside a real chain.

#[allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it serves the tests of payment")]
#[path = "../../tests/pay/chain.rs"]
mod chain;

use alloy::primitives::Address;
use anyhow::{Context, bail};
use chain::World;
use protocol::signature::SigningKey;
use service::keystore::write_key_with;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use worker::bench::rows::{Measured, Outcome, Sheet};

pub(crate) const CPU: &str = "idle_supervisor_cpu";
pub(crate) const MEMORY: &str = "idle_supervisor_memory";

const PROVIDER: Address = Address::repeat_byte(0x70);
/// Time for connections, first looks at the chain and first children.
const SETTLE: Duration = Duration::from_secs(15);
/// Time over which the CPU share is taken.
const WATCH: Duration = Duration::from_secs(30);

/// Parts per million of a core, and bytes of memory.
pub(crate) struct Idle {
    cpu_ppm: u64,
    memory: u64,
}

pub(crate) fn enter(sheet: &mut Sheet, measured: anyhow::Result<Idle>) {
    let of = |pick: fn(&Idle) -> u64| -> Outcome {
        match &measured {
            Ok(idle) => Ok(Measured { measured: pick(idle), reference: None }),
            Err(error) => Err(worker::bench::MeasureError::new("an idle worker", format!("{error:#}")).into()),
        }
    };
    sheet.enter(CPU, of(|idle| idle.cpu_ppm));
    sheet.enter(MEMORY, of(|idle| idle.memory));
}

/// Starts a worker that serves direct clients, of which there are none, and looks at it for a while.
pub(crate) async fn measure(program: &Path) -> anyhow::Result<Idle> {
    let world = World::start(&[]).await;
    let key = SigningKey::from_bytes(&[0x51; 32]).context("a key")?;
    world.register(PROVIDER, &key).await;
    let folder = tempfile::tempdir()?;
    let admin = configure(&world, &key, folder.path())?;
    let mut worker = Running(
        Command::new(program)
            .args(["run", "--config"])
            .arg(folder.path().join("worker.toml"))
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn()?,
    );
    wait_until_ready(&mut worker.0, admin).await?;
    tokio::time::sleep(SETTLE).await;
    let (before, started) = (cpu_time(worker.0.id())?, Instant::now());
    tokio::time::sleep(WATCH).await;
    let used = cpu_time(worker.0.id())?.saturating_sub(before);
    let cpu_ppm = u64::try_from(used.as_nanos() * 1_000_000 / started.elapsed().as_nanos().max(1))?;
    Ok(Idle { cpu_ppm, memory: resident(worker.0.id())? })
}

/// Writes configuration and key, and says where the worker will tell its health.
fn configure(world: &World, key: &SigningKey, folder: &Path) -> anyhow::Result<String> {
    let (keystore, password) = (folder.join("key.json"), folder.join("password"));
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&password)?.write_all(b"secret")?;
    write_key_with(&keystore, &key.to_bytes(), "secret", 4)?;
    let book = deployment::write(&world.book, folder)?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let admin = listener.local_addr()?.to_string();
    let chain = world.chain_config();
    let text = format!(
        "provider = \"{PROVIDER}\"\naddress_book = {book:?}\ndata = {data:?}\nadmin = \"{admin}\"\n\
         [key]\nkeystore = {keystore:?}\npassword_file = {password:?}\n\
         [chain]\nendpoints = [\"{url}\"]\nchain_id = {id}\n\
         [[offers]]\nresource = \"cpu.x86-64\"\nprice = \"50000000\"\ncapacity = \"86400000\"\n\
         [direct]\n",
        data = folder.join("data"),
        url = chain.endpoints[0],
        id = chain.chain_id,
    );
    fs::write(folder.join("worker.toml"), text)?;
    Ok(admin)
}

async fn wait_until_ready(worker: &mut Child, admin: String) -> anyhow::Result<()> {
    let url = format!("http://{admin}/readyz");
    for _ in 0..600 {
        if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if let Some(status) = worker.try_wait()? {
            bail!("the worker ended with {status}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the worker did not become ready within a minute")
}

/// CPU time of all threads that a process has.
fn cpu_time(process: u32) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // Nanoseconds on a CPU, then others. `stat` counts in ticks, between which a short wake-up is not seen at all.
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        let ran: u64 = times.split_whitespace().next().context("an empty schedstat")?.parse()?;
        sum += ran;
    }
    Ok(Duration::from_nanos(sum))
}

/// Resident memory of a process, in bytes.
fn resident(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}

/// A worker that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
