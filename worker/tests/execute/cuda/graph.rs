//! Stages that are one CUDA graph.

use super::job::{alone, busy, job, launch_of, run, run_alone, stage_of, words};
use crate::sample::{SAMPLES, load, result_of};
use protocol::amount::Quantity;
use protocol::job::{Argument, Kind, Program};
use worker::execute::ExecuteError;

#[test]
fn samples_give_the_same_result_as_graphs() {
    for name in SAMPLES {
        let (mut job, expected) = load(name, Kind::Cuda);
        if let Program::Cuda { stages, .. } = &mut job.envelope.program {
            stages.iter_mut().for_each(|stage| stage.graph = true);
        }
        let delivered = run(job).unwrap();
        assert_eq!(result_of(&delivered.outputs), expected, "{name}");
        assert!(delivered.usage.gpu_ms > Quantity::ZERO, "{name}");
    }
}

#[test]
fn every_launch_of_a_graph_is_made_in_order() {
    let _alone = alone();
    // The result of keep_busy depends on the order of its calls and of their turns.
    let mut plain = busy(333, 1);
    let mut more = launch_of(&mut plain).clone();
    more.arguments[1] = Argument::U32(3);
    stage_of(&mut plain).launches.push(more);
    let mut graph = plain.clone();
    stage_of(&mut graph).graph = true;
    let before = emulated_cuda::counters();
    let expected = words(&run_alone(plain).unwrap().outputs[0]);
    let between = emulated_cuda::counters();
    assert_eq!(expected[1], 666);
    assert_eq!(words(&run_alone(graph).unwrap().outputs[0]), expected);
    let after = emulated_cuda::counters();
    assert_eq!((between.launches - before.launches, between.graph_launches), (666, before.graph_launches));
    assert_eq!(after.launches, between.launches);
    let graphs = after.graph_launches - between.graph_launches;
    assert!((1..333).contains(&graphs), "{graphs} graphs were launched for 333 rounds");
}

#[test]
fn a_graph_stops_at_its_limits() {
    let mut job = busy(1_000_000, 1_000_000);
    stage_of(&mut job).graph = true;
    job.max_units = Quantity(20);
    match run(job) {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("all of its 20 GPU-ms"), "{detail}");
            assert_eq!(usage.gpu_ms, Quantity(20));
        }
        other => panic!("not a limit: {other:?}"),
    }
}

#[test]
fn plain_stages_and_graphs_follow_each_other() {
    let mut mixed = job("take_time", 1, vec![Argument::Output(0), Argument::U32(3)]);
    let Program::Cuda { stages, .. } = &mut mixed.envelope.program else { unreachable!() };
    let mut busy = stages[0].clone();
    busy.launches[0].kernel = "keep_busy".into();
    busy.launches[0].arguments[1] = Argument::U32(0);
    (busy.repeat, busy.graph) = (10, true);
    stages.push(busy.clone());
    (busy.repeat, busy.graph) = (7, false);
    stages.push(busy);
    assert_eq!(words(&run(mixed).unwrap().outputs[0]), [3, 17]);
}
