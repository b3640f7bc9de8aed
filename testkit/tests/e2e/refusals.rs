//! What is not right is refused with a reason, and moves no money.

use crate::support::{DEPOSIT, order};
use alloy::primitives::{B256, U256};
use client::session::{SessionError, Terms};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::job::Kind;
use protocol::order::{Offer, Order, SignedOffer, SignedOrder};
use protocol::signature::{Domain, Signature};
use protocol::wire::{Code, JobState};
use serde_json::Value;
use testkit::accounts::key;
use testkit::layout::Tuning;
use testkit::services::{Host, Service};
use testkit::world::{Plan, World, eventually, quick, resource, sample, terms, unix_now};

/// A network whose worker is down, so that the test makes the offers.
async fn without_worker() -> anyhow::Result<World> {
    let mut world = World::new(Plan::new()?, &Tuning { offers: Vec::new(), ..quick() }).await?;
    world.start(Service::Keeper, &Host::Task).await?;
    Ok(world)
}

async fn assert_untouched(world: &World) -> anyhow::Result<()> {
    let balances = world.facts().balances(&world.accounts).await?;
    assert_eq!((balances.provider, balances.keeper), (Amount::ZERO, Amount::ZERO));
    assert!(balances.is_all());
    Ok(())
}

fn code_of(error: &SessionError) -> Option<Code> {
    match error {
        SessionError::Keeper(error) => error.code(),
        _ => None,
    }
}

/// Posts JSON; returns the status and the code of the problem, if there is one.
async fn post(world: &World, path: &str, body: &impl serde::Serialize) -> anyhow::Result<(u16, String)> {
    let url = world.keeper_url()?.join(path)?;
    let answer = reqwest::Client::new().post(url).json(body).send().await?;
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await?;
    Ok((status, problem["code"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_out_of_funds_is_told_before_anything_runs() -> anyhow::Result<()> {
    let world = World::with_services(&quick()).await?;
    let (signer, keeper) = (&world.accounts.session, world.accounts.keeper.address());
    let channel = world.open_channel(signer.address(), keeper, Amount(1_000_000)).await?;
    let session = world.session(world.keeper_url()?, keeper, signer).await?;
    let error = order(&session, &sample("sha256", Kind::Wasm)?).await.unwrap_err();
    let error = error.downcast_ref::<SessionError>().expect("the keeper refused");
    assert_eq!(code_of(error), Some(Code::InsufficientFunds), "{error}");
    assert_eq!(world.facts().channel(channel).await?, (Amount(1_000_000), Amount::ZERO));
    assert_untouched(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_offer_is_never_matched() -> anyhow::Result<()> {
    let world = without_worker().await?;
    let domain = world.book.domain();
    let cpu = resource("cpu.x86-64")?;
    let offer = |expiry: u64| Offer {
        provider: world.accounts.provider.address(),
        resource: cpu.id,
        price: Price(50_000_000),
        capacity: Quantity(3_600_000),
        terms: B256::ZERO,
        expiry: Timestamp(expiry),
        salt: U256::from(expiry),
    };
    let sign = |expiry| SignedOffer::sign(offer(expiry), &domain, &world.accounts.worker);
    let now = unix_now()?;
    let (status, code) = post(&world, "v1/offers", &sign(now - 1)).await?;
    assert_eq!((status / 100, code.as_str()), (4, "expired"));

    // One that stands now and expires before the order comes.
    let (status, _) = post(&world, "v1/offers", &sign(now + 2)).await?;
    assert_eq!(status / 100, 2);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let (channel, session) = world.keeper_session().await?;
    let expiry = Timestamp(unix_now()? + 3);
    let wanted = Terms { expiry, ..terms(cpu.id)? };
    let (id, taken) = session.submit(&sample("sha256", Kind::Wasm)?, &wanted).await?;
    assert_eq!(taken.state, JobState::Queued, "{:?}", taken.reason);
    assert!(taken.reason.is_some(), "an order that waits is told why");
    eventually("the order to expire", async || {
        Ok((session.keeper().job(id).await?.state == JobState::Expired).then_some(()))
    })
    .await?;
    let view = session.keeper().vouchers(channel).await?;
    assert_eq!(view.reserved, Amount::ZERO, "an expired order reserves nothing");
    assert_eq!(world.facts().channel(channel).await?, (DEPOSIT, Amount::ZERO));
    assert_untouched(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_signature_moves_nothing() -> anyhow::Result<()> {
    let world = without_worker().await?;
    let domain = world.book.domain();
    let (channel, session) = world.keeper_session().await?;
    let job = sample("sha256", Kind::Wasm)?;
    for blob in &job.blobs {
        session.keeper().put_blob(blob.clone()).await?;
    }
    let cpu = resource("cpu.x86-64")?;
    let order = Order {
        payer: world.accounts.client.address(),
        resource: cpu.id,
        max_price: Price(50_000_000),
        max_units: Quantity(60_000),
        max_total: Amount(1_000_000),
        spec: job.spec,
        terms: B256::ZERO,
        expiry: Timestamp(unix_now()? + 60),
        salt: U256::from(1),
    };
    let stranger = key("a stranger");
    let elsewhere = Domain::new(1, world.book.settlement());
    let garbage = SignedOrder { order: order.clone(), signature: Signature([0xff; 64]) };
    for (signed, expected) in [
        (SignedOrder::sign(order.clone(), &domain, &stranger), "unknown_channel"),
        (SignedOrder::sign(order.clone(), &elsewhere, &world.accounts.session), "unknown_channel"),
        (garbage, "bad_signature"),
    ] {
        let (status, code) = post(&world, "v1/orders", &signed).await?;
        assert_eq!((status / 100, code.as_str()), (4, expected));
    }
    let mut changed = SignedOrder::sign(order, &domain, &world.accounts.session);
    changed.order.max_total = Amount(2_000_000);
    let (status, code) = post(&world, "v1/orders", &changed).await?;
    assert_eq!((status / 100, code.as_str()), (4, "unknown_channel"), "a changed order is a stranger's");

    let offer = Offer {
        provider: world.accounts.provider.address(),
        resource: cpu.id,
        price: Price(1),
        capacity: Quantity(1_000),
        terms: B256::ZERO,
        expiry: Timestamp(unix_now()? + 60),
        salt: U256::from(1),
    };
    let (status, code) = post(&world, "v1/offers", &SignedOffer::sign(offer, &domain, &stranger)).await?;
    assert_eq!((status / 100, code.as_str()), (4, "not_a_worker"));
    assert_eq!(world.facts().channel(channel).await?, (DEPOSIT, Amount::ZERO));
    assert_untouched(&world).await
}
