//! Memory: nothing is left in it, copies are pinned, and a job has no more than it declares.

use super::job::{EXECUTOR, adding, alone, busy, job, program_error, run, run_alone, words};
use protocol::amount::Quantity;
use protocol::job::{Argument, OutputBuffer};
use worker::execute::ExecuteError;

#[test]
fn memory_is_clean_at_the_start() {
    let job = job("keep_busy", 1, vec![Argument::Output(0), Argument::U32(0)]);
    assert_eq!(words(&run(job).unwrap().outputs[0]), [0, 1]);
}

#[test]
fn nothing_is_left_in_memory_that_is_taken_back() {
    let _alone = alone();
    let before = emulated_cuda::counters();
    let secret = vec![0x5ec7_e7ed; 1 << 20];
    run_alone(adding(&secret)).unwrap();
    // A later job of the same size is handed the same memory, and finds zeros.
    let mut search = adding(&[]);
    let length = secret.len() as u32;
    search.envelope.limits.memory = Quantity(8 << 20);
    if let protocol::job::Program::Cuda { scratch, stages, .. } = &mut search.envelope.program {
        *scratch = vec![Quantity(u64::from(length) * 4)];
        stages[0].launches[0].arguments = vec![Argument::Scratch(0), Argument::Output(0), Argument::U32(length)];
    }
    assert_eq!(words(&run_alone(search).unwrap().outputs[0]), [0, 1]);
    // The clearing is queued behind the job, and so is what this waits for.
    run_alone(busy(1, 1)).unwrap();
    let after = emulated_cuda::counters();
    assert_eq!(after.dirty_frees, before.dirty_frees, "memory was given back that still held something");
    assert_eq!(after.live_bytes, before.live_bytes, "memory was not given back");
    assert!(after.pooled_bytes >= 4 << 20, "freed memory is kept for the next job: {after:?}");
}

#[test]
fn a_fault_leaves_nothing_behind() {
    let _alone = alone();
    run_alone(busy(1, 1)).unwrap();
    let before = emulated_cuda::counters().live_bytes;
    let mut trap = adding(&vec![0x5ec7_e7ed; 1 << 18]);
    if let protocol::job::Program::Cuda { stages, .. } = &mut trap.envelope.program {
        stages[0].launches[0].kernel = "always_trap".into();
        stages[0].launches[0].arguments = vec![Argument::Output(0)];
    }
    assert!(matches!(run_alone(trap), Err(ExecuteError::Program { .. })));
    run_alone(busy(1, 1)).unwrap();
    assert_eq!(emulated_cuda::counters().live_bytes, before);
}

#[test]
fn large_copies_go_through_pinned_memory() {
    let _alone = alone();
    let before = emulated_cuda::counters();
    // Longer than what one thread copies, and no multiple of a piece.
    let numbers: Vec<u32> = (0..(20 << 20) / 4 + 333).collect();
    let expected = numbers.iter().fold(0u32, |sum, number| sum.wrapping_add(*number));
    let mut job = adding(&numbers);
    let mut large = run_alone(job.clone()).unwrap();
    assert_eq!(words(&large.outputs[0]), [expected, 1]);
    // And back: an output of that size, of which the kernel writes only the start.
    let length = numbers.len() as u64 * 4;
    job.envelope.outputs = vec![OutputBuffer { length: Quantity(length) }];
    job.envelope.limits.memory = Quantity(2 * length + 64);
    large = run_alone(job).unwrap();
    assert_eq!(large.outputs[0].len() as u64, length);
    assert_eq!(words(&large.outputs[0].slice(..8)), [expected, 1]);
    assert!(large.outputs[0][8..].iter().all(|byte| *byte == 0));
    let after = emulated_cuda::counters();
    assert_eq!(after.pageable_bytes, before.pageable_bytes);
    assert!(after.pinned_bytes > 0);
}

#[test]
fn every_byte_of_a_large_output_comes_back() {
    // Each block of the n-body sample writes its part; a stripe that was mixed up would not add up to its hash. Here the
    // output is the input, as far as the copies are concerned.
    let source = b"extern \"C\" __global__ void copy_words(const unsigned *in, unsigned *out, unsigned length) {\n\
        for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < length; i += gridDim.x * blockDim.x) out[i] = in[i];\n}";
    let numbers: Vec<u32> = (0..(33 << 20) / 4).map(|i: u32| i.wrapping_mul(0x9e37_79b9)).collect();
    let like = adding(&numbers);
    let count = numbers.len() as u32;
    let mut job = super::job::source_job(
        source,
        "copy_words",
        1,
        vec![Argument::Input(0), Argument::Output(0), Argument::U32(count)],
    );
    job.envelope.inputs = like.envelope.inputs.clone();
    job.envelope.outputs = vec![OutputBuffer { length: Quantity(u64::from(count) * 4) }];
    job.envelope.limits.memory = Quantity(100 << 20);
    job.blobs.push(like.blobs[1].clone());
    super::job::launch_of(&mut job).grid = [4, 1, 1];
    super::job::launch_of(&mut job).block = [64, 1, 1];
    let delivered = run(job).unwrap();
    assert!(delivered.outputs[0] == like.blobs[1], "the output differs from the input");
}

#[test]
fn a_job_has_no_more_memory_than_it_declares() {
    let mut small = busy(1, 1);
    small.envelope.limits.memory = Quantity(27);
    // 8 bytes of output, 16 of scratch, and the variable of the module.
    let detail = program_error(small.clone());
    assert!(detail.contains("its buffers need 28 bytes, limits.memory is 27"), "{detail}");
    small.envelope.limits.memory = Quantity(28);
    run(small).unwrap();
}

#[test]
fn memory_in_small_pieces_makes_room_for_a_large_job() {
    let _alone = alone();
    let half = |pieces: u64| {
        let mut job = busy(1, 1);
        job.envelope.limits.memory = Quantity(900 << 20);
        if let protocol::job::Program::Cuda { scratch, .. } = &mut job.envelope.program {
            *scratch = vec![Quantity((600 << 20) / pieces); pieces as usize];
        }
        job
    };
    assert!(worker::execute::Executor::memory(&**EXECUTOR) >= 900 << 20);
    run_alone(half(6)).unwrap();
    assert!(emulated_cuda::counters().pooled_bytes >= 600 << 20);
    run_alone(half(1)).unwrap();
}
