//! Machine code that is kept: what it depends on, and that it is the one that was committed.

use super::job::{
    EXECUTOR, FAULTS, FAULTS_PTX, adding, alone, busy, in_ptx, job, program_error, run, run_alone, words,
};
use alloy::primitives::{B256, keccak256};
use protocol::job::Argument;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[test]
fn ptx_runs_like_the_source() {
    let numbers = [3, 5, 7, 11];
    let expected = [26, 1];
    assert_eq!(words(&run(adding(&numbers)).unwrap().outputs[0]), expected);
    assert_eq!(words(&run(in_ptx(adding(&numbers), FAULTS_PTX)).unwrap().outputs[0]), expected);
}

#[test]
fn broken_ptx_is_told_with_its_line() {
    let text = std::str::from_utf8(FAULTS_PTX).unwrap();
    let broken = text.replace("add.u32 %sum", "frobnicate.u32 %sum");
    let line = 1 + broken.lines().position(|line| line.contains("frobnicate")).unwrap();
    let detail = program_error(in_ptx(adding(&[1]), broken.as_bytes()));
    assert!(detail.contains(&format!("line {line}; error   : Not a name of any known instruction")), "{detail}");
    let cases = [
        (text.replace(".reg .pred", ".regs .pred"), ".regs"),
        (text.replace(".entry add_up", ".entry other"), "has no kernel add_up"),
        (format!("// {text}").replace(".version", ".target"), "must be .version"),
    ];
    for (text, words) in cases {
        let detail = program_error(in_ptx(adding(&[1]), text.as_bytes()));
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn code_is_compiled_once_and_stays_loaded() {
    let _alone = alone();
    let source = [FAULTS, b"// of this test alone\n"].concat();
    let arguments = || vec![Argument::Scratch(0), Argument::Output(0), Argument::U32(0)];
    let again = || super::job::source_job(&source, "add_up", 1, arguments());
    let begin = Instant::now();
    run_alone(again()).unwrap();
    let cold = begin.elapsed();
    run_alone(busy(1, 1)).unwrap();
    let before = emulated_cuda::counters();
    let warm: Vec<Duration> = (0..20)
        .map(|_| {
            let begin = Instant::now();
            EXECUTOR.machine_code(&bytes::Bytes::from(source.clone())).unwrap();
            begin.elapsed()
        })
        .collect();
    let least = warm.iter().min().unwrap();
    println!("compiled in {cold:?}, found again in {least:?}");
    assert!(*least < cold, "it was compiled again");
    run_alone(again()).unwrap();
    // faults.cu has a variable, so its module is loaded for each job.
    assert_eq!(emulated_cuda::counters().module_loads, before.module_loads + 1);
}

#[test]
fn a_module_without_variables_is_loaded_once() {
    let _alone = alone();
    let tick = include_bytes!("../../../kernels/anchor.cu");
    let again = || super::job::source_job(tick, "tick", 5, vec![Argument::Output(0)]);
    assert_eq!(words(&run_alone(again()).unwrap().outputs[0]), [5, 0]);
    let before = emulated_cuda::counters().module_loads;
    assert_eq!(words(&run_alone(again()).unwrap().outputs[0]), [5, 0]);
    assert_eq!(emulated_cuda::counters().module_loads, before);
}

#[test]
fn variables_of_a_module_start_anew_with_each_job() {
    for _ in 0..3 {
        let counted = run(job("count_in_module", 4, vec![Argument::Output(0)])).unwrap();
        assert_eq!(words(&counted.outputs[0])[0], 9, "the source says 5, and four launches count");
    }
}

/// What the compiler makes of the sources of this repository.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cubins {
    compiler: String,
    architecture: String,
    cubins: Vec<Cubin>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cubin {
    source: String,
    source_hash: B256,
    cubin_hash: B256,
}

/// Every `.cu` of the samples and of the worker itself, by its path in the repository.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let entries = |folder: &str| {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| Path::new(folder).join(name)).collect::<Vec<_>>()
    };
    let samples = entries("examples").into_iter().map(|folder| folder.join("job.cu"));
    let all = samples.chain(entries("worker/kernels"));
    let mut all: Vec<PathBuf> =
        all.filter(|path| path.extension().is_some_and(|e| e == "cu") && root.join(path).is_file()).collect();
    all.sort();
    all
}

#[test]
fn machine_code_is_what_was_committed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cubin = |path: PathBuf| {
        let source = bytes::Bytes::from(std::fs::read(root.join(&path)).unwrap());
        let cubin_hash = keccak256(EXECUTOR.machine_code(&source).unwrap());
        Cubin { source: path.to_string_lossy().into_owned(), source_hash: keccak256(&source), cubin_hash }
    };
    let made = Cubins {
        compiler: format!("nvrtc-{}", EXECUTOR.compiler_build()),
        architecture: "sm_90".into(),
        cubins: sources().into_iter().map(cubin).collect(),
    };
    let file = root.join("worker/kernels/cubins.json");
    if std::env::var_os("CAPA_REFRESH_CUBINS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    let committed: Cubins = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(made, committed, "see worker/kernels/README.md for how to refresh the file");
}
