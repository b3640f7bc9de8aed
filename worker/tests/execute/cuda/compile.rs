//! Headers, and the options that no client chooses.

use super::job::{alone, config, program_error, run, source_job, words};
use protocol::job::Argument;
use worker::execute::{CudaConfig, CudaExecutor};

/// The kernel of `add_up`, so that the emulated device knows what it does, in a source that includes a header.
const WITH_HEADER: &str = "#include <cuda_fp16.h>\n\
    extern \"C\" __global__ void add_up(const unsigned *in, unsigned *out, unsigned length) {\n\
        out[0] = __half2uint_rz(__uint2half_rn(length));\n\
    }";

fn with_header() -> worker::execute::JobInput {
    let arguments = vec![Argument::Scratch(0), Argument::Output(0), Argument::U32(0)];
    source_job(WITH_HEADER.as_bytes(), "add_up", 1, arguments)
}

#[test]
fn headers_are_there_if_the_operator_names_them() {
    let detail = program_error(with_header());
    assert!(detail.contains("cuda_fp16.h"), "{detail}");
    let _alone = alone();
    let headers = vec![emulated_cuda::nvrtc::headers().unwrap()];
    let executor = CudaExecutor::find(&CudaConfig { headers, ..config() }).unwrap();
    let delivered = crate::sample::run(&executor, with_header()).unwrap();
    assert_eq!(words(&delivered.outputs[0]), [0, 1]);
    let nowhere = vec!["/no/such/folder".into()];
    let reason = CudaExecutor::find(&CudaConfig { headers: nowhere, ..config() }).err().unwrap();
    assert!(reason.contains("cuda.headers"), "{reason}");
}

#[test]
fn functions_without_a_space_run_on_the_device() {
    let source = b"unsigned one() { return 1; }\n\
        extern \"C\" __global__ void tick(unsigned *count) { *count += one(); }";
    assert_eq!(words(&run(source_job(source, "tick", 2, vec![Argument::Output(0)])).unwrap().outputs[0]), [2, 0]);
}
