//! Plain rates of this machine's CPU and memory.

use super::timing::{per_second, rate};
use super::{Figure, MeasureError};
use crate::doctor::samples::wasm_sample;
use crate::execute::{ExecuteError, WasmConfig, WasmExecutor, run_here};
use alloy::primitives::{B256, keccak256};
use protocol::resource::Usage;
use protocol::signature::SigningKey;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often each rate is measured; the median counts.
const TRIES: usize = 5;
/// Least length of one try.
const TRY: Duration = Duration::from_millis(200);
/// More than any cache holds, so that memory itself is measured.
const COPIED: usize = 256 << 20;
/// A message as long as an order's or a receipt's.
const MESSAGE: usize = 256;

/// Measures all of them; takes some ten seconds.
pub fn figures() -> Result<BTreeMap<&'static str, Figure>, MeasureError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut figures = BTreeMap::new();
    let mut add = |name, value, unit| figures.insert(name, Figure { value, unit });
    let fuel = |threads| fuel(threads).map_err(|error| MeasureError::new("wasm_fuel", error));
    add("wasmFuelOneCore", fuel(1)?, "fuel/s");
    add("wasmFuelAllCores", fuel(cores)?, "fuel/s");
    add("keccak256", keccak(), "hash/s");
    let (signed, recovered) = signatures()?;
    add("sign", signed, "signature/s");
    add("recover", recovered, "signature/s");
    add("memoryCopyOneCore", copy(1), "byte/s");
    add("memoryCopyAllCores", copy(cores), "byte/s");
    Ok(figures)
}

/// WebAssembly fuel burned in a second by so many threads: the speed at which this machine earns by such jobs.
fn fuel(threads: usize) -> Result<u64, String> {
    let executor = WasmExecutor::new(WasmConfig::default()).map_err(|error| error.to_string())?;
    let exercise = wasm_sample("asian-option").map_err(|error| error.to_string())?;
    let burn = || -> Result<u64, ExecuteError> {
        let progress = watch::channel(Usage::default()).0;
        let done = run_here(&executor, exercise.job.clone(), progress, CancellationToken::new())?;
        Ok(done.usage.fuel.get())
    };
    // Once for nothing: what is set up on first use is not part of the rate.
    burn().map_err(|error| error.to_string())?;
    together(threads, || burn().unwrap_or(0)).ok_or_else(|| "a job failed".into())
}

/// What so many threads do in a second together; `None` if none did anything.
fn together(threads: usize, work: impl Fn() -> u64 + Sync) -> Option<u64> {
    let barrier = Barrier::new(threads);
    let (barrier, work) = (&barrier, &work);
    let run = move || {
        barrier.wait();
        let started = Instant::now();
        let mut done = 0;
        while started.elapsed() < TRY * 5 {
            done += work();
        }
        rate(done, started.elapsed())
    };
    let sum: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    (sum > 0).then_some(sum)
}

fn keccak() -> u64 {
    let mut message = [0u8; MESSAGE];
    per_second(TRIES, TRY, || {
        for _ in 0..1_000 {
            let hash = keccak256(message);
            message[..32].copy_from_slice(hash.as_slice());
        }
        1_000
    })
}

/// Signatures made, and signers recovered, in a second by one core.
fn signatures() -> Result<(u64, u64), MeasureError> {
    let invalid = || MeasureError::new("sign", "a fixed key is not valid");
    let key = SigningKey::from_bytes(&[7; 32]).ok_or_else(invalid)?;
    let mut digest = B256::ZERO;
    let signed = per_second(TRIES, TRY, || {
        for _ in 0..100 {
            digest = keccak256(key.sign(digest).0);
        }
        100
    });
    let signature = key.sign(digest);
    let recovered = per_second(TRIES, TRY, || {
        (0..100).filter(|_| black_box(&signature).recover(black_box(digest)).is_ok()).count() as u64
    });
    Ok((signed, recovered))
}

/// Bytes that so many threads copy in a second: each is read once and written once.
fn copy(threads: usize) -> u64 {
    let part = COPIED / threads;
    let barrier = Barrier::new(threads);
    let barrier = &barrier;
    let run = move || {
        let (from, mut to) = (vec![1u8; part], vec![0u8; part]);
        barrier.wait();
        per_second(TRIES, TRY, || {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
            part as u64
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}
