//! Builtin kernels in children, against the plain reference.

use crate::cuda::{emulated, serves};
use crate::setup::{ALICE, BOB, Site, blob};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Builtin, Envelope, Fold, Key, Kind, Limits, OutputBuffer, Program, Verify};
use worker::execute::{ExecuteError, JobInput, reference};

fn job(call: Builtin, input: &Bytes, output: u64) -> JobInput {
    let (unit, max_units) = (call.unit(), Quantity(call.work()));
    let envelope = Envelope {
        version: 1,
        program: Program::Builtin { call, cubin: None },
        inputs: vec![blob(input)],
        outputs: vec![OutputBuffer { length: Quantity(output) }],
        limits: Limits { memory: Quantity(1 << 24), wall_ms: Quantity(60_000) },
        verify: Verify::Reexecute,
    };
    envelope.validate().unwrap();
    JobInput { envelope, blobs: vec![input.clone()], rank: 0, devices: vec![], unit, max_units }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kernels_give_the_references_answer_and_bill_their_work() {
    let site = Site::start(emulated).await;
    assert!(site.fleet.inventory().kinds.contains(&Kind::Builtin));
    let keys: Vec<u8> = (0..1_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (keys, count) = (Bytes::from(keys), Quantity(1_000));
    for (call, input, output, tenant) in [
        (Builtin::Reduce { key: Key::U32, fold: Fold::Max, count }, &keys, 8, ALICE),
        (Builtin::Sort { key: Key::U32, count }, &keys, 4_000, BOB),
        (Builtin::Hashsearch { start: Quantity(5), count: Quantity(300) }, &Bytes::from("capa"), 40, ALICE),
    ] {
        let expected = reference::outputs(&call, std::slice::from_ref(input));
        let work = call.work();
        let done = site.run(tenant, job(call, input, output)).await.unwrap();
        assert_eq!(done.outputs, expected);
        assert_eq!(done.usage.work, Quantity(work));
        assert_eq!(done.usage.fuel, Quantity::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_beyond_the_order_is_not_begun() {
    let site = Site::start(emulated).await;
    let call = Builtin::Hashsearch { start: Quantity(0), count: Quantity(1_000) };
    let mut search = job(call, &Bytes::from("x"), 40);
    search.max_units = Quantity(999);
    match site.run(ALICE, search).await {
        Err(ExecuteError::Limit { usage, .. }) => assert_eq!((usage.work, usage.gpu_ms), (Quantity(0), Quantity(0))),
        other => panic!("not a limit: {other:?}"),
    }
    serves(&site, ALICE).await;
}
