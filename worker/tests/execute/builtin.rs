//! Builtin kernels: the executor that production uses, on the emulated device, against the plain reference.

use crate::cuda::job::{self, shared};
use crate::sample::{BUILTIN_SAMPLES, blob, load, result_of};
use alloy::primitives::{B256, U256, keccak256};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{
    Builtin, Element, Envelope, Exercise, Fold, Key, Kind, Limits, OptionPricing, OutputBuffer, Program, Right, Verify,
    freivalds,
};
use protocol::resource::{Unit, Usage};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::{BuiltinExecutor, Delivered, ExecuteError, Executor, JobInput, reference, run_here};

/// On the device of the tests of cuda jobs: a fault there resets the context of both.
static EXECUTOR: LazyLock<BuiltinExecutor> = LazyLock::new(|| BuiltinExecutor::new(Arc::clone(&job::EXECUTOR)));

/// Runs a job with nobody listening.
fn run(executor: &BuiltinExecutor, job: JobInput) -> Result<Delivered, ExecuteError> {
    let _shared = shared();
    crate::sample::run(executor, job)
}

/// A job whose memory is just enough.
fn job(call: Builtin, inputs: Vec<Vec<u8>>, output: u64) -> JobInput {
    let given: u64 = inputs.iter().map(|input| input.len() as u64).sum();
    let memory = Quantity(given + output + call.scratch());
    let (unit, max_units) = (call.unit(), Quantity(call.work()));
    let envelope = Envelope {
        version: 1,
        program: Program::Builtin { call, cubin: None },
        inputs: inputs.iter().map(|input| blob(input)).collect(),
        outputs: vec![OutputBuffer { length: Quantity(output) }],
        limits: Limits { memory, wall_ms: Quantity(300_000) },
        verify: Verify::Reexecute,
    };
    envelope.validate().unwrap();
    JobInput {
        envelope,
        blobs: inputs.into_iter().map(Bytes::from).collect(),
        rank: 0,
        devices: vec![],
        unit,
        max_units,
    }
}

fn call_of(job: &JobInput) -> &Builtin {
    match &job.envelope.program {
        Program::Builtin { call, .. } => call,
        _ => unreachable!("these are builtin jobs"),
    }
}

/// Bytes that follow from a number.
fn random(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Numbers in -1..1 with few digits, as bfloat16 or half.
fn floats(element: Element, seed: u64, count: usize) -> Vec<u8> {
    let one = |byte: u8| {
        let value = f32::from(byte.cast_signed()) / 128.0;
        let bits = value.to_bits();
        match element {
            Element::Bf16 => (bits >> 16) as u16,
            _ if value == 0.0 => 0,
            _ => (bits >> 16 & 0x8000 | ((bits >> 23 & 255) - 112) << 10 | bits >> 13 & 1023) as u16,
        }
    };
    random(seed, count).into_iter().flat_map(|byte| one(byte).to_le_bytes()).collect()
}

fn pricing(exercise: Exercise, right: Right, steps: u32, paths: u64) -> OptionPricing {
    OptionPricing {
        exercise,
        right,
        spot: Quantity(100_000_000_000),
        strike: Quantity(105_000_000_000),
        rate: 30_000,
        volatility: 250_000,
        maturity: 31_536_000,
        steps,
        first: Quantity(1 << 40),
        paths: Quantity(paths),
        seed: Quantity(0x0123_4567_89ab_cdef),
    }
}

fn option(exercise: Exercise, right: Right, steps: u32, paths: u64) -> JobInput {
    let pricing = pricing(exercise, right, steps, paths);
    job(Builtin::Montecarlo(pricing), vec![], OptionPricing::RESULT)
}

fn search(prefix: &[u8], start: u64, count: u64) -> JobInput {
    let call = Builtin::Hashsearch { start: Quantity(start), count: Quantity(count) };
    job(call, vec![prefix.to_vec()], 40)
}

fn sort(key: Key, keys: Vec<u8>) -> JobInput {
    let (count, length) = (keys.len() as u64 / key.size(), keys.len() as u64);
    job(Builtin::Sort { key, count: Quantity(count) }, vec![keys], length)
}

fn reduce(key: Key, fold: Fold, keys: Vec<u8>) -> JobInput {
    let count = Quantity(keys.len() as u64 / key.size());
    job(Builtin::Reduce { key, fold, count }, vec![keys], 8)
}

fn gemm(element: Element, m: u32, k: u32, n: u32) -> JobInput {
    let (a, b) = ((m * k) as usize, (k * n) as usize);
    let inputs = match element {
        Element::Int8 => vec![random(1, a), random(2, b)],
        _ => vec![floats(element, 1, a), floats(element, 2, b)],
    };
    let call = Builtin::Gemm { element, m, k, n, toolchain: String::new() };
    job(call, inputs, u64::from(m) * u64::from(n) * 4)
}

/// Runs a job that must give what the reference gives, and bill all its work.
fn same_as_reference(job: JobInput) -> Vec<Bytes> {
    let call = call_of(&job).clone();
    let expected = reference::outputs(&call, &job.blobs);
    let bytes_in: u64 = job.blobs.iter().map(|input| input.len() as u64).sum();
    let delivered = run(&EXECUTOR, job).unwrap();
    assert_eq!(delivered.outputs, expected, "{call:?}");
    let usage = delivered.usage;
    assert_eq!(usage.work, Quantity(call.work()), "{call:?}");
    assert_eq!((usage.bytes_in, usage.bytes_out), (Quantity(bytes_in), Quantity(expected[0].len() as u64)));
    assert!(usage.gpu_ms > Quantity::ZERO && usage.cpu_ms == Quantity::ZERO && usage.fuel == Quantity::ZERO);
    delivered.outputs
}

#[test]
fn samples_give_their_result() {
    for name in BUILTIN_SAMPLES {
        let (job, expected) = load(name, Kind::Builtin);
        let outputs = run(&EXECUTOR, job).unwrap().outputs;
        assert_eq!(result_of(&outputs), expected, "{name}");
    }
}

/// What the sample's page says of its price.
#[test]
fn the_sample_option_costs_what_its_page_says() {
    let (job, _) = load("option-price", Kind::Builtin);
    let output = run(&EXECUTOR, job).unwrap().outputs.remove(0);
    let wide = |at: usize| u128::from_le_bytes(output[at..at + 16].try_into().unwrap()) as f64 / 2f64.powi(32);
    let (paths, price) = (100_000.0, u64::from_le_bytes(output[40..].try_into().unwrap()));
    let mean = wide(8) / paths;
    let error = 100.0 * (-0.03f64).exp() * ((wide(24) / paths - mean * mean) / paths).sqrt();
    assert_eq!((price, (error * 1e4).round()), (4_325_512_585, 261.0));
}

#[test]
fn options_are_priced_bit_for_bit() {
    for right in [Right::Call, Right::Put] {
        same_as_reference(option(Exercise::European, right, 1, 5000));
        same_as_reference(option(Exercise::European, right, 7, 1000));
        same_as_reference(option(Exercise::Asian, right, 10, 1000));
        same_as_reference(option(Exercise::Asian, right, 1, 1));
    }
    // Prices that leave the range of the fixed-point format, at both ends.
    let mut wild = pricing(Exercise::Asian, Right::Call, 3, 3000);
    (wild.volatility, wild.maturity, wild.rate) = (1_000_000, 4 * 31_536_000, 500_000);
    same_as_reference(job(Builtin::Montecarlo(wild), vec![], OptionPricing::RESULT));
    (wild.right, wild.rate, wild.strike) = (Right::Put, -500_000, Quantity(100_000_000_000 * 65_535));
    same_as_reference(job(Builtin::Montecarlo(wild), vec![], OptionPricing::RESULT));
}

#[test]
fn the_smallest_hash_is_found() {
    for (length, start, count) in [(0, 0, 1), (3, 7, 300), (8, u64::MAX - 70_000, 70_000), (127, 1 << 33, 999)] {
        let prefix = random(length, length as usize);
        let outputs = same_as_reference(search(&prefix, start, count));
        let (hash, counter) = outputs[0].split_at(32);
        assert_eq!(keccak256([&prefix, counter].concat()).0, hash);
        let lucky = U256::from_be_slice(hash) <= U256::MAX / U256::from(count) * U256::from(30);
        assert!(lucky, "the best of {count} hashes is {}", B256::from_slice(hash));
    }
}

#[test]
fn keys_are_sorted() {
    for key in [Key::U32, Key::U64] {
        let size = key.size() as usize;
        for count in [1, 2, 2047, 2048, 2049, 10_000] {
            same_as_reference(sort(key, random(count, count as usize * size)));
        }
        // Equal keys, keys in order, and keys in reverse.
        same_as_reference(sort(key, vec![7; 3000 * size]));
        let numbers: Vec<u64> = (0..5000).map(|i| i * 0x10_0001).collect();
        let bytes = |numbers: &mut dyn Iterator<Item = &u64>| {
            numbers.flat_map(|number| number.to_le_bytes().into_iter().take(size)).collect::<Vec<u8>>()
        };
        same_as_reference(sort(key, bytes(&mut numbers.iter())));
        same_as_reference(sort(key, bytes(&mut numbers.iter().rev())));
    }
}

#[test]
fn keys_are_reduced() {
    for key in [Key::U32, Key::U64] {
        for fold in [Fold::Sum, Fold::Min, Fold::Max] {
            for count in [1, 255, 256, 100_000] {
                same_as_reference(reduce(key, fold, random(count, count as usize * key.size() as usize)));
            }
        }
    }
    let full = vec![0xff; 8 * 1000];
    assert_eq!(same_as_reference(reduce(Key::U64, Fold::Sum, full))[0], (0u64.wrapping_sub(1000)).to_le_bytes()[..]);
}

#[test]
fn matrices_are_multiplied() {
    for (m, k, n) in [(1, 4, 4), (5, 12, 8), (33, 64, 36), (40, 100, 132)] {
        same_as_reference(gemm(Element::Int8, m, k, n));
    }
    for element in [Element::Bf16, Element::Fp16] {
        for (m, k, n) in [(1, 1, 1), (5, 13, 7), (33, 64, 36)] {
            same_as_reference(gemm(element, m, k, n));
        }
    }
}

#[test]
fn a_buyer_can_check_a_product() {
    for element in [Element::Int8, Element::Bf16, Element::Fp16] {
        let job = gemm(element, 20, 48, 28);
        let (call, inputs) = (call_of(&job).clone(), job.blobs.clone());
        let outputs = run(&EXECUTOR, job).unwrap().outputs;
        let challenge = keccak256(&outputs[0]);
        assert_eq!(freivalds(&call, &inputs[0], &inputs[1], &outputs[0], challenge), Ok(()));
        let mut wrong = outputs[0].to_vec();
        wrong[4 * 28 * 7 + 3] ^= 0x40;
        assert!(freivalds(&call, &inputs[0], &inputs[1], &wrong, challenge).is_err(), "{element:?}");
    }
}

#[test]
fn work_is_done_in_groups_that_progress_tells() {
    let job = option(Exercise::European, Right::Call, 4, 300_000);
    let work = job.max_units;
    let (sender, mut receiver) = watch::channel(Usage::default());
    let last = receiver.clone();
    let watcher = std::thread::spawn(move || {
        let mut seen = vec![Usage::default()];
        while receiver.has_changed().is_ok() {
            let now = *receiver.borrow_and_update();
            if now != seen[seen.len() - 1] {
                seen.push(now);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        seen
    });
    let _shared = shared();
    let delivered = run_here(&*EXECUTOR, job, sender, CancellationToken::new()).unwrap();
    let seen = watcher.join().unwrap();
    // How many of them a busy machine lets the watcher see is chance; the next test stops between two of them.
    assert_eq!(last.borrow().work, work, "it was told to its end");
    assert!(seen.windows(2).all(|pair| pair[1].covers(&pair[0])), "{seen:?}");
    assert!(delivered.usage.covers(&seen[seen.len() - 1]) && delivered.usage.work == work);
    let memory = u128::from(delivered.usage.gpu_ms.get()).div_ceil(1000);
    assert_eq!(u128::from(delivered.usage.memory_mib_s.get()), memory);
}

#[test]
fn cancelling_bills_the_groups_that_are_over() {
    let cancel = CancellationToken::new();
    let (sender, receiver) = watch::channel(Usage::default());
    let canceller = {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            // A job that fails drops its end, and is not waited for.
            while receiver.borrow().work == Quantity::ZERO && receiver.has_changed().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            cancel.cancel();
            receiver
        })
    };
    let job = search(b"a long search", 0, 1 << 40);
    let _shared = shared();
    let ended = run_here(&*EXECUTOR, job, sender, cancel);
    let told = *canceller.join().unwrap().borrow();
    match ended {
        Err(ExecuteError::Cancelled { usage }) => {
            assert!(usage.work > Quantity::ZERO && usage.work < Quantity(1 << 40), "{usage:?}");
            assert_eq!(usage, told, "it bills something else than the groups that it told of");
        }
        other => panic!("it was not cancelled: {other:?}"),
    }
}

#[test]
fn a_job_ends_at_its_wall_time_with_what_was_done() {
    let mut job = option(Exercise::Asian, Right::Put, 100, 1 << 32);
    job.envelope.limits.wall_ms = Quantity(300);
    match run(&EXECUTOR, job) {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("limits.wallMs"), "{detail}");
            assert!(usage.work > Quantity::ZERO && usage.work.get() % 100 == 0, "{usage:?}");
        }
        other => panic!("not a limit: {other:?}"),
    }
}

#[test]
fn a_wall_time_without_end_is_none() {
    let mut job = search(b"", 0, 1);
    job.envelope.limits.wall_ms = Quantity(u64::MAX);
    same_as_reference(job);
}

#[test]
fn work_beyond_the_order_never_starts() {
    let mut job = search(b"", 0, 1000);
    job.max_units = Quantity(999);
    match run(&EXECUTOR, job) {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("1000 hash of work, maxUnits and maxTotal of the order allow 999"), "{detail}");
            assert_eq!(usage, Usage::default());
        }
        other => panic!("not a limit: {other:?}"),
    }
}

fn unsupported(job: JobInput) -> String {
    match run(&EXECUTOR, job) {
        Err(ExecuteError::Unsupported(detail)) => detail,
        other => panic!("it was not refused: {other:?}"),
    }
}

fn ask_for(job: &mut JobInput, wanted: B256) {
    if let Program::Builtin { cubin, .. } = &mut job.envelope.program {
        *cubin = Some(wanted);
    }
}

#[test]
fn a_job_can_ask_for_one_machine_code() {
    let mut other = search(b"", 0, 10);
    ask_for(&mut other, B256::repeat_byte(1));
    let detail = unsupported(other.clone());
    // The refusal says which code there is, and a job that asks for that one runs.
    let have = detail.split(" has ").nth(1).and_then(|rest| rest.get(..66)).unwrap().parse::<B256>().unwrap();
    assert!(detail.contains("sm_90 by nvrtc-13.0"), "{detail}");
    ask_for(&mut other, have);
    assert!(run(&EXECUTOR, other).is_ok());
    let pins = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/cubins.json")).unwrap();
    assert!(pins.contains(&have.to_string()), "{have} is not in cubins.json");

    let mut product = gemm(Element::Bf16, 1, 1, 1);
    ask_for(&mut product, have);
    assert!(unsupported(product).contains("name its version in `toolchain`"));
}

#[test]
fn a_product_can_ask_for_one_library() {
    assert_eq!(EXECUTOR.toolchain(), "cublaslt-13.0.0");
    for (wanted, refused) in [("cublaslt-13.0.0", false), ("cublaslt-12.9.1", true)] {
        let mut job = gemm(Element::Bf16, 1, 1, 1);
        if let Program::Builtin { call: Builtin::Gemm { toolchain, .. }, .. } = &mut job.envelope.program {
            *toolchain = wanted.into();
        }
        match run(&EXECUTOR, job) {
            Ok(_) => assert!(!refused, "{wanted}"),
            Err(error) => assert!(refused && error.to_string().contains("this worker has cublaslt-13.0.0"), "{error}"),
        }
    }
}

#[test]
fn other_jobs_are_refused_before_they_start() {
    let mut time = search(b"", 0, 1);
    time.unit = Unit::GpuMs;
    assert!(unsupported(time).contains("billed in hash, not in GPU-ms"));
    let mut large = search(b"", 0, 1);
    large.envelope.limits.memory = Quantity(1 << 40);
    assert!(unsupported(large).contains("this worker allows"));
    let (cuda, _) = load("sha256", Kind::Cuda);
    assert!(unsupported(cuda).contains("not a builtin job"));
}
