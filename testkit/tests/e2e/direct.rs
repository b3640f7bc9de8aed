//! The same job over a direct channel: the provider is paid by the voucher alone, with no keeper, batch or window.

use crate::support::{DEPOSIT, order, paid};
use protocol::amount::Amount;
use protocol::job::Kind;
use protocol::wire::JobState;
use testkit::deploy::Stage;
use testkit::layout::http;
use testkit::services::{Host, Service};
use testkit::world::{Plan, World, eventually, quick, sample};

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_channel_pays_the_provider_without_a_keeper() -> anyhow::Result<()> {
    let mut world = World::new(Plan::new()?, &quick()).await?;
    world.start(Service::Worker, &Host::Task).await?;
    let (signer, provider) = (world.accounts.direct_session.clone(), world.accounts.provider.address());
    let channel = world.open_channel(signer.address(), provider, DEPOSIT).await?;
    let session = world.session(http(world.layout.direct())?, provider, &signer).await?;
    let job = sample("sha256", Kind::Wasm)?;
    let id = order(&session, &job).await?;
    let status = session.finished(id).await?;
    let view = status.view.clone().expect("a finished job was seen");
    assert_eq!(view.state, JobState::Done, "{:?}", view.reason);
    let signed = status.record.paid.as_ref().map(|paid| paid.result);
    let found = client::verify::fetch(session.keeper(), &view, signed, job.expected).await?;
    assert_eq!(found.expected, Some(true));

    let (earned, debited) = paid(&status);
    let facts = world.facts();
    let balances = eventually("the voucher to be redeemed", async || {
        let (_, spent) = facts.channel(channel).await?;
        Ok(if spent == debited { Some(facts.balances(&world.accounts).await?) } else { None })
    })
    .await?;
    let fees = Amount(facts.settlement().fees().call().await?);
    assert_eq!(balances.provider.plus(fees)?, debited, "all that was debited went to provider and protocol");
    assert!(balances.provider >= earned, "at least the price of the job, after the protocol fee");
    let rises = facts.redemptions(channel).await?;
    let rounded = rises.iter().map(|rise| rise.share_up(Stage::default().fee_bps));
    assert_eq!(fees, Amount::sum(rounded.collect::<Result<Vec<_>, _>>()?)?, "each redemption's fee is rounded up");
    assert_eq!(Amount::sum(rises)?, debited, "redeemed is what was debited");
    assert_eq!(balances.settlement, Amount::sum([Stage::default().bond, DEPOSIT.minus(debited)?, fees])?);
    assert!(balances.is_all());
    Ok(())
}
