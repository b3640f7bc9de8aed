//! Any process may be killed at any instant: nothing is lost and nothing is paid twice.

use crate::support::{assert_settled, child, long_job, order, paid};
use alloy::sol_types::SolCall;
use client::session::Event;
use protocol::amount::Amount;
use protocol::bindings::settlement::Settlement::commitCall;
use protocol::job::Kind;
use protocol::wire::JobState;
use testkit::layout::Tuning;
use testkit::proxy::{RpcProxy, SocketProxy};
use testkit::services::{Host, Running, Service};
use testkit::world::{Plan, World, eventually, quick, sample};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_a_job_keeps_what_was_paid_and_no_more() -> anyhow::Result<()> {
    let tuning = Tuning { lease_ms: 1_500, ..quick() };
    let mut world = World::new(Plan::new()?, &tuning).await?;
    world.start(Service::Keeper, &Host::Task).await?;
    let mut worker = Running::start(Service::Worker, &world.layout, &child()).await?;
    let (channel, session) = world.keeper_session().await?;
    let mut events = session.events();
    let id = order(&session, &long_job(200)?).await?;
    loop {
        if let Event::Paid { job, .. } = events.recv().await?
            && job == id
        {
            break;
        }
    }
    worker.kill()?;
    let status = session.finished(id).await?;
    let view = status.view.clone().expect("a finished job was seen");
    assert_eq!(view.state, JobState::Failed, "{:?}", view.reason);
    assert!(paid(&status).0 > Amount::ZERO, "something was paid before the kill");

    // Its earnings are in its ledger and at the keeper; a new start fetches them from the chain.
    let _worker = Running::start(Service::Worker, &world.layout, &child()).await?;
    assert_settled(&world, channel, &[status]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_killed_between_store_and_acceptance_accepts_once() -> anyhow::Result<()> {
    let plan = Plan::new()?;
    let proxy = SocketProxy::start(plan.layout.keeper()).await?;
    let tuning = Tuning { worker_keeper: Some(proxy.url().clone()), lease_ms: 30_000, ..quick() };
    let mut world = World::new(plan, &tuning).await?;
    let mut keeper = Running::start(Service::Keeper, &world.layout, &child()).await?;
    world.start(Service::Worker, &Host::Task).await?;
    let (signer, address) = (world.accounts.session.clone(), world.accounts.keeper.address());
    let channel = world.open_channel(signer.address(), address, crate::support::DEPOSIT).await?;
    let session = world.session(proxy.url().clone(), address, &signer).await?;

    // The keeper has stored the voucher when it sends the acceptance, which neither side ever sees.
    proxy.swallow("\"type\":\"accepted\"");
    let id = order(&session, &sample("sha256", Kind::Wasm)?).await?;
    proxy.caught().await;
    keeper.kill()?;
    proxy.release();
    let _keeper = Running::start(Service::Keeper, &world.layout, &child()).await?;

    let status = session.finished(id).await?;
    let view = status.view.clone().expect("a finished job was seen");
    assert_eq!(view.state, JobState::Done, "{:?}", view.reason);
    assert_settled(&world, channel, &[status]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_killed_between_collect_and_commit_settles_once() -> anyhow::Result<()> {
    let plan = Plan::new()?;
    let proxy = RpcProxy::start(plan.layout.chain()?).await?;
    let tuning = Tuning { keeper_chain: Some(proxy.url().clone()), ..quick() };
    let mut world = World::new(plan, &tuning).await?;
    let mut keeper = Running::start(Service::Keeper, &world.layout, &child()).await?;
    world.start(Service::Worker, &Host::Task).await?;
    let (channel, session) = world.keeper_session().await?;
    // From the first request that mentions `commit`, be it a simulation or the transaction, the chain is out of reach.
    proxy.refuse(&hex::encode(commitCall::SELECTOR));
    let id = order(&session, &sample("sha256", Kind::Wasm)?).await?;
    let status = session.finished(id).await?;
    proxy.caught().await;
    keeper.kill()?;
    let facts = world.facts();
    let state = facts.settlement().keeper(world.accounts.keeper.address()).call().await?;
    assert_eq!(Amount(state.debits), paid(&status).1, "collected, and not committed");

    proxy.release();
    let _keeper = Running::start(Service::Keeper, &world.layout, &child()).await?;
    assert_settled(&world, channel, &[status]).await?;
    let state = eventually("the batch to be settled", async || {
        let state = facts.settlement().keeper(world.accounts.keeper.address()).call().await?;
        Ok((state.batch > 1).then_some(state))
    })
    .await?;
    assert_eq!(state.debits, 0, "nothing was collected twice");
    Ok(())
}
