//! Machine code: made of PTX, kept for the next job, and what of it is not.

use super::job::{FAULTS, FAULTS_PTX, adding, alone, in_ptx, job, program_error, run, run_alone, source_job, words};
use protocol::job::Argument;
use std::time::Instant;

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
fn code_is_compiled_once() {
    let _alone = alone();
    let source = [FAULTS, b"// of this test alone\n"].concat();
    let took = || {
        let arguments = vec![Argument::Scratch(0), Argument::Output(0), Argument::U32(0)];
        let job = source_job(&source, "add_up", 1, arguments);
        let begin = Instant::now();
        run_alone(job).unwrap();
        begin.elapsed()
    };
    let cold = took();
    let before = emulated_cuda::counters().module_loads;
    let warm = (0..10).map(|_| took()).min().unwrap();
    println!("a job whose source is compiled takes {cold:?}, one whose machine code is kept {warm:?}");
    assert!(warm < cold / 4, "it was compiled again");
    // faults.cu has a variable, so its module is loaded for each job.
    assert_eq!(emulated_cuda::counters().module_loads, before + 10);
}

#[test]
fn a_module_without_variables_is_loaded_once() {
    let _alone = alone();
    let tick = include_bytes!("../../../kernels/anchor.cu");
    let again = || source_job(tick, "tick", 5, vec![Argument::Output(0)]);
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
