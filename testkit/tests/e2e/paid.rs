//! A job is ordered, run, verified and paid.

use crate::support::{assert_settled, order};
use anyhow::Context;
use client::session::Terms;
use protocol::amount::Quantity;
use protocol::job::{Kind, Program};
use protocol::wire::JobState;
use testkit::layout::Tuning;
use testkit::world::{World, quick, resource, sample, terms};

#[tokio::test(flavor = "multi_thread")]
async fn wasm_jobs_are_run_verified_and_paid() -> anyhow::Result<()> {
    let world = World::with_services(&quick()).await?;
    let (channel, session) = world.keeper_session().await?;
    let mut finished = Vec::new();
    let mut ordered = Vec::new();
    for name in ["asian-option", "heat-equation", "sha256", "n-body"] {
        let job = sample(name, Kind::Wasm)?;
        ordered.push((order(&session, &job).await?, job));
    }
    for (id, job) in ordered {
        let status = session.finished(id).await?;
        let view = status.view.clone().expect("a finished job was seen");
        assert_eq!(view.state, JobState::Done, "{}: {:?}", job.name, view.reason);
        let signed = status.record.paid.as_ref().map(|paid| paid.result);
        let found = client::verify::fetch(session.keeper(), &view, signed, job.expected).await?;
        assert_eq!(found.expected, Some(true), "{}: result {}", job.name, found.result);
        finished.push(status);
    }
    assert_settled(&world, channel, &finished).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cuda_jobs_are_run_verified_and_paid() -> anyhow::Result<()> {
    let libraries = emulated_cuda::libraries().context("the emulated device and the real compiler")?;
    let tuning = Tuning { offers: vec!["gpu.h200"], emulated: Some(libraries), ..quick() };
    let world = World::with_services(&tuning).await?;
    let (channel, session) = world.keeper_session().await?;
    let gpu = resource("gpu.h200")?;
    let mut finished = Vec::new();
    for name in ["asian-option", "sha256"] {
        let job = sample(name, Kind::Cuda)?;
        let (id, _) = session.submit(&job, &terms(gpu.id)?).await?;
        let status = session.finished(id).await?;
        let view = status.view.clone().expect("a finished job was seen");
        assert_eq!(view.state, JobState::Done, "{name}: {:?}", view.reason);
        let signed = status.record.paid.as_ref().map(|paid| paid.result);
        let found = client::verify::fetch(session.keeper(), &view, signed, job.expected).await?;
        assert_eq!(found.expected, Some(true), "{name}: result {}", found.result);
        assert!(view.usage.gpu_ms.get() > 0, "time on the device is metered");
        finished.push(status);
    }
    assert_settled(&world, channel, &finished).await
}

#[tokio::test(flavor = "multi_thread")]
async fn builtin_jobs_are_billed_by_their_work() -> anyhow::Result<()> {
    let libraries = emulated_cuda::libraries().context("the emulated device and the real compiler")?;
    let offers = vec!["hashsearch.keccak256", "gemm.int8", "montecarlo.asian"];
    let tuning = Tuning { offers, emulated: Some(libraries), ..quick() };
    let world = World::with_services(&tuning).await?;
    let (channel, session) = world.keeper_session().await?;
    let mut finished = Vec::new();
    for name in ["hash-search", "matrix-product", "option-price"] {
        let job = sample(name, Kind::Builtin)?;
        let Program::Builtin { call, .. } = &job.envelope.program else { anyhow::bail!("{name} is no builtin job") };
        let (class, work) = (resource(call.class())?, Quantity(call.work()));
        let (id, _) = session.submit(&job, &Terms { max_units: work, ..terms(class.id)? }).await?;
        let status = session.finished(id).await?;
        let view = status.view.clone().expect("a finished job was seen");
        assert_eq!(view.state, JobState::Done, "{name}: {:?}", view.reason);
        assert_eq!(view.usage.work, work, "{name}");
        let price = view.price.expect("a finished job was matched at a price");
        assert_eq!(view.amount, class.amount(work, price)?, "{name}");
        let signed = status.record.paid.as_ref().map(|paid| paid.result);
        let found = client::verify::fetch(session.keeper(), &view, signed, job.expected).await?;
        assert_eq!(found.expected, Some(true), "{name}: result {}", found.result);
        assert_eq!(found.is_product, name == "matrix-product", "{name}");
        finished.push(status);
    }
    assert_settled(&world, channel, &finished).await
}
