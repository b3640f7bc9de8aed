//! Container jobs, which the fleet hands to their own executor with the GPUs that they are to have.

use crate::cuda::{emulated, serves};
use crate::machine::Machine;
use crate::setup::{ALICE, BOB, Site, is_running};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Kind, Program};
use protocol::wire::IsolationLevel;
use worker::execute::ExecuteError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_runs_beside_the_children() {
    let Some(machine) = Machine::new() else { return };
    let site = Site::start(|config| config.execute.oci = machine.config.clone()).await;
    assert_eq!(site.fleet.inventory().kinds, [Kind::Wasm, Kind::Oci]);
    let job = machine.job("tr a-z A-Z < /capa/inputs/0 > /capa/outputs/0");
    let done = site.run(ALICE, job).await.unwrap();
    assert_eq!(done.outputs, [Bytes::from("ABCDEF")]);
    assert!(done.usage.lease_s >= Quantity(1));
    site.serves(BOB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_given_gpus_on_which_no_child_is_left() {
    let Some(machine) = Machine::new() else { return };
    let site = Site::start(|config| {
        emulated(config);
        config.execute.oci = machine.config.clone();
    })
    .await;
    let warm = site.only_child().await;
    serves(&site, ALICE).await;
    assert!(is_running(warm));
    let mut job = machine.job("exit 0");
    if let Program::Oci { devices, .. } = &mut job.envelope.program {
        *devices = 1;
    }
    // This machine has no CDI specification: the sentence names the device that the job was to have.
    match site.run(BOB, job.clone()).await {
        Err(ExecuteError::Node(text)) => assert!(text.contains("nvidia.com/gpu=0"), "{text}"),
        other => panic!("not the node's failure: {other:?}"),
    }
    assert!(!is_running(warm), "the container shared its GPU");
    if let Program::Oci { devices, .. } = &mut job.envelope.program {
        *devices = 2;
    }
    match site.run(BOB, job).await {
        Err(ExecuteError::Unsupported(text)) => assert!(text.contains("it needs 2 GPUs"), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
    serves(&site, ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_strangers_need_what_the_operator_asks_for() {
    let Some(machine) = Machine::new() else { return };
    let site = Site::start(|config| {
        config.execute.oci = machine.config.clone();
        config.sandbox.require = IsolationLevel::Isolated;
        config.sandbox.friends = vec![ALICE];
    })
    .await;
    let level = site.fleet.inventory().isolation.level();
    assert_eq!(site.fleet.admit(BOB).is_ok(), level == IsolationLevel::Isolated);
    assert!(site.run(ALICE, machine.job("exit 0")).await.is_ok());
}
