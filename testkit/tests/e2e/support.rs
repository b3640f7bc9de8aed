//! What the scenarios share: a settled network, counted to the nano.

use client::manifest::Prepared;
use client::session::{JobStatus, Session};
use protocol::amount::{Amount, NANO, Quantity};
use protocol::order::JobId;
use protocol::voucher::ChannelId;
use std::path::PathBuf;
use testkit::deploy::Stage;
use testkit::services::Host;
use testkit::world::{World, eventually, resource, terms};

/// What the tests' channels hold.
pub(crate) const DEPOSIT: Amount = Amount(100 * NANO);

/// Services as children, for the tests that kill them.
pub(crate) fn child() -> Host {
    Host::Child { program: PathBuf::from(env!("CARGO_BIN_EXE_capa-dev")), variables: Vec::new() }
}

/// Orders a job on CPU time.
pub(crate) async fn order(session: &Session, job: &Prepared) -> anyhow::Result<JobId> {
    let cpu = resource("cpu.x86-64")?;
    Ok(session.submit(job, &terms(cpu.id)?).await?.0)
}

/// What the provider earned by a job's newest paid receipt, and what the channel was debited for it.
pub(crate) fn paid(status: &JobStatus) -> (Amount, Amount) {
    let earned = status.record.paid.as_ref().map_or(Amount::ZERO, |paid| paid.amount);
    (earned, status.record.debited)
}

/// Waits until everything earned is paid out on chain, and checks that it is exactly what was signed for:
/// channel spent = provider + keeper + protocol fee, and nobody else's balance moved.
pub(crate) async fn assert_settled(world: &World, channel: ChannelId, jobs: &[JobStatus]) -> anyhow::Result<()> {
    let earned = Amount::sum(jobs.iter().map(|job| paid(job).0))?;
    let debited = Amount::sum(jobs.iter().map(|job| paid(job).1))?;
    let facts = world.facts();
    let balances = eventually("all earnings to be paid out", async || {
        let balances = facts.balances(&world.accounts).await?;
        let (_, spent) = facts.channel(channel).await?;
        let fees = Amount(facts.settlement().fees().call().await?);
        let paid_out = balances.provider.plus(balances.keeper)?.plus(fees)?;
        Ok((spent == debited && paid_out == debited && balances.provider >= earned).then_some(balances))
    })
    .await?;
    assert_eq!(balances.provider, earned, "the provider has exactly what it earned");
    let (deposit, spent) = facts.channel(channel).await?;
    assert_eq!(deposit, DEPOSIT);
    assert_eq!(spent, debited, "the channel was debited exactly what its session key signed");
    let stage = Stage::default();
    assert_eq!(balances.client, stage.client.minus(DEPOSIT)?);
    let fees = Amount(facts.settlement().fees().call().await?);
    let held = Amount::sum([stage.bond, DEPOSIT.minus(spent)?, fees])?;
    assert_eq!(balances.settlement, held, "the contract holds the bond, what is left of the deposit, and the fees");
    assert_eq!(balances.supply, stage.client.plus(stage.bond)?);
    assert!(balances.is_all(), "somebody unknown holds tokens: {balances:?}");
    Ok(())
}

/// The Asian option with so many more paths that it runs for seconds.
pub(crate) fn long_job(factor: u32) -> anyhow::Result<Prepared> {
    use protocol::job::{Blob, Kind};
    let mut job = testkit::world::sample("asian-option", Kind::Wasm)?;
    let old = job.envelope.inputs[0];
    let at = job.blobs.iter().position(|blob| alloy::primitives::keccak256(blob) == old.hash);
    let at = at.ok_or_else(|| anyhow::anyhow!("the parameters are a blob"))?;
    let mut parameters = job.blobs[at].to_vec();
    let paths = u32::from_le_bytes(parameters[40..44].try_into()?);
    parameters[40..44].copy_from_slice(&(paths * factor).to_le_bytes());
    let envelope = job.envelope.to_bytes();
    let old_spec = alloy::primitives::keccak256(&envelope);
    job.envelope.inputs[0] =
        Blob { hash: alloy::primitives::keccak256(&parameters), length: Quantity(parameters.len() as u64) };
    job.blobs[at] = parameters.into();
    let envelope = job.envelope.to_bytes();
    job.spec = alloy::primitives::keccak256(&envelope);
    let at = job.blobs.iter().position(|blob| alloy::primitives::keccak256(blob) == old_spec);
    job.blobs[at.ok_or_else(|| anyhow::anyhow!("the envelope is a blob"))?] = envelope.into();
    job.expected = None;
    Ok(job)
}
