//! The main job, end to end: a client buys compute and the provider is paid on chain.

use crate::anvil::CHAIN_ID;
use crate::deploy;
use crate::dev::report::{
    Accounting, BalanceReport, BatchReport, CandleReport, ChannelReport, ClaimReport, JobReport, Pair, Report, Timings,
};
use crate::dev::town::Town;
use crate::dev::watch::{self, Shown};
use crate::facts::{Balances, Facts};
use crate::layout::http;
use crate::tools;
use crate::world::{PATIENCE, eventually, unix_now};
use anyhow::{Context, bail, ensure};
use client::anchor::ChainAnchor;
use client::manifest::{self, Prepared};
use client::session::rules::Policy;
use client::session::{Event, JobStatus, Session, SessionConfig, Terms};
use client::wallet::Wallet;
use protocol::amount::{Amount, NANO, Price, Quantity, Timestamp};
use protocol::job::Kind;
use protocol::order::JobId;
use protocol::resource::Resource;
use protocol::voucher::{BatchNumber, ChannelId};
use protocol::wire::{BatchState, BatchView, JobState};
use service::chain::{Chain, ChainConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tokio::sync::broadcast::Receiver;

/// What the client puts into its channel.
const DEPOSIT: Amount = Amount(100 * NANO);
/// Most that one job may cost.
const CAP: Amount = Amount(2 * NANO);

/// The sample jobs.
const SAMPLES: [&str; 4] = ["asian-option", "heat-equation", "sha256", "n-body"];

struct Ordered {
    name: String,
    kind: Kind,
    resource: Resource,
    job: Prepared,
}

/// Walks from an empty channel to a paid provider and a first candle.
pub async fn walk(town: &mut Town, kinds: &[Kind], mut timings: Timings, start: Instant) -> anyhow::Result<Report> {
    let facts = Facts::new(town.anvil.provider().clone(), town.book.clone());
    let before = facts.balances(&town.accounts).await?;
    let jobs_start = Instant::now();
    let session = open_session(town).await?;
    let mut events = session.events();
    let ordered = submit(&session, kinds).await?;
    let done = watch::until_over(&session, &shown(&ordered)).await?;
    let jobs = verify(&session, &ordered, &done).await?;
    timings.jobs = jobs_start.elapsed().as_secs_f64();

    let settle_start = Instant::now();
    let numbers = paid_batches(&mut events);
    let batches = settle(&session, &numbers).await?;
    let claim = claimed(town, &facts, &numbers).await?;
    let after = settled_balances(town, &facts, &before, &batches).await?;
    let channel = channel(town, &facts).await?;
    let accounting = account(&channel, &claim, &batches)?;
    let candles = candles(town, &jobs).await?;
    timings.settle = settle_start.elapsed().as_secs_f64();
    timings.total = start.elapsed().as_secs_f64();
    session.close().await?;

    let batch = batches.last().context("the jobs were paid in no batch")?.clone();
    let supply = Pair { before: before.supply, after: after.supply };
    ensure!(supply.before == supply.after, "the supply changed: {supply:?}");
    let balances = balances(&before, &after);
    Ok(Report { jobs, batch, batches, claim, channel, supply, balances, accounting, candles, timings })
}

async fn open_session(town: &Town) -> anyhow::Result<Session> {
    let config =
        ChainConfig { endpoints: vec![town.layout.chain()?], chain_id: CHAIN_ID, timeout_ms: 5_000, poll_ms: 200 };
    let chain = Chain::connect(&config).await?;
    let accounts = &town.accounts;
    let (signer, keeper) = (accounts.session.address(), accounts.keeper.address());
    let wallet = Wallet::new(chain.clone(), town.book.clone(), accounts.client.clone()).await?;
    let opened = wallet.open_channel(signer, keeper, DEPOSIT).await?;
    eprintln!("  channel   {} CAPA, opened with a permit (gas {})", DEPOSIT.to_capa(), opened.gas);
    // The keeper counts a deposit from the safe head, which trails the newest block.
    eventually("the keeper to see the deposit", async || {
        let head = chain.head(service::chain::Tag::Safe).await?;
        Ok((head.number >= opened.block).then_some(()))
    })
    .await?;
    let config = SessionConfig {
        endpoint: http(town.layout.keeper())?,
        book: town.book.clone(),
        payer: accounts.client.address(),
        keeper,
        key: accounts.session.clone(),
        folder: town.layout.file("client"),
        policy: Policy::default(),
    };
    Ok(Session::open(config, ChainAnchor::new(chain, town.book.clone()), PATIENCE).await?)
}

async fn submit(session: &Session, kinds: &[Kind]) -> anyhow::Result<BTreeMap<JobId, Ordered>> {
    let mut ordered = BTreeMap::new();
    for kind in kinds {
        let name = if *kind == Kind::Cuda { "gpu.h200" } else { "cpu.x86-64" };
        let resource = deploy::resource(name).context("a resource of the local chain")?;
        for sample in SAMPLES {
            let folder = tools::root().join("examples").join(sample);
            let job = manifest::prepare(&folder, Some(*kind))?;
            let terms = Terms {
                resource: resource.id,
                max_price: Price(5 * NANO),
                max_units: Quantity(600_000),
                max_total: CAP,
                expiry: Timestamp(unix_now()? + 300),
            };
            let (id, taken) = session.submit(&job, &terms).await?;
            if let Some(reason) = taken.reason {
                eprintln!("  {sample} waits: {reason}");
            }
            ordered.insert(id, Ordered { name: sample.into(), kind: *kind, resource: resource.clone(), job });
        }
    }
    Ok(ordered)
}

fn shown(ordered: &BTreeMap<JobId, Ordered>) -> Vec<Shown> {
    ordered
        .iter()
        .map(|(id, job)| Shown {
            id: *id,
            name: format!("{} ({})", job.name, job.kind),
            unit: job.resource.unit,
            cap: CAP,
        })
        .collect()
}

async fn verify(
    session: &Session,
    ordered: &BTreeMap<JobId, Ordered>,
    done: &BTreeMap<JobId, JobStatus>,
) -> anyhow::Result<Vec<JobReport>> {
    let mut reports = Vec::new();
    for (id, job) in ordered {
        let status = done.get(id).context("a job without a status")?;
        let view = status.view.as_ref().context("a job without a view")?;
        let paid = status.record.paid.as_ref();
        if view.state != JobState::Done || !paid.is_some_and(|paid| paid.is_final()) {
            let reason = status.record.stopped.clone().or_else(|| view.reason.clone()).unwrap_or_default();
            bail!("{} ended as {:?}: {reason}", job.name, view.state);
        }
        let paid = paid.context("a paid receipt")?;
        let expected = job.job.expected.context("a sample has an expected result")?;
        let found = client::verify::fetch(session.keeper(), view, Some(paid.result), Some(expected)).await?;
        ensure!(found.result == expected, "{}: the result is {}, expected {expected}", job.name, found.result);
        eprintln!("  {} ({}): verified, {}", job.name, job.kind, found.result);
        reports.push(JobReport {
            id: *id,
            name: job.name.clone(),
            kind: job.kind,
            resource: job.resource.name.clone(),
            quantity: paid.usage.quantity(job.resource.unit),
            price: view.price.context("a job that ran was matched")?,
            amount: paid.amount,
            result: found.result,
            expected,
        });
    }
    Ok(reports)
}

fn paid_batches(events: &mut Receiver<Event>) -> BTreeSet<BatchNumber> {
    let mut numbers = BTreeSet::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Paid { batch, .. } = event {
            numbers.insert(batch);
        }
    }
    numbers
}

async fn settle(session: &Session, numbers: &BTreeSet<BatchNumber>) -> anyhow::Result<Vec<BatchReport>> {
    let mut reports = Vec::new();
    for number in numbers {
        let committed = in_state(session, *number, &[BatchState::Committed, BatchState::Final]).await?;
        let report = batch_report(&committed)?;
        eprintln!("  batch {number}: committed, root {}, {} lines, gas {}", report.root, report.line_count, report.gas);
        in_state(session, *number, &[BatchState::Final]).await?;
        eprintln!("  batch {number}: final, {} CAPA for earnings", report.sum.to_capa());
        reports.push(report);
    }
    Ok(reports)
}

async fn in_state(session: &Session, number: BatchNumber, states: &[BatchState]) -> anyhow::Result<BatchView> {
    eventually(&format!("batch {number} to be {states:?}"), async || {
        let view = session.keeper().batch(number).await?;
        ensure!(view.state != BatchState::Void, "batch {number} is void");
        Ok(states.contains(&view.state).then_some(view))
    })
    .await
}

fn batch_report(view: &BatchView) -> anyhow::Result<BatchReport> {
    let commitment = view.commitment.context("a committed batch has a commitment")?;
    Ok(BatchReport {
        number: view.number,
        root: commitment.root,
        sum: commitment.sum,
        debits: view.debits,
        fee: commitment.fee,
        lines_root: commitment.lines_root,
        line_count: commitment.line_count,
        gas: view.gas.context("a committed batch has its gas")?,
        transaction: view.transaction.context("a committed batch has its transaction")?,
    })
}

async fn claimed(town: &Town, facts: &Facts, numbers: &BTreeSet<BatchNumber>) -> anyhow::Result<ClaimReport> {
    let (keeper, provider) = (town.accounts.keeper.address(), town.accounts.provider.address());
    let claims = eventually("the provider's claim", async || {
        let claims = facts.claims(keeper, provider).await?;
        let batches: BTreeSet<_> = claims.iter().map(|claim| claim.batch).collect();
        Ok(numbers.is_subset(&batches).then_some(claims))
    })
    .await?;
    let amount = Amount::sum(claims.iter().map(|claim| claim.amount))?;
    let gas = facts.gas(claims.iter().map(|claim| claim.transaction)).await?;
    eprintln!("  provider  claimed {} CAPA (gas {gas})", amount.to_capa());
    Ok(ClaimReport { amount, gas })
}

/// Waits for the keeper's own claim as well, after which only fees are left to be paid out.
async fn settled_balances(
    town: &Town,
    facts: &Facts,
    before: &Balances,
    batches: &[BatchReport],
) -> anyhow::Result<Balances> {
    let sum = Amount::sum(batches.iter().map(|batch| batch.sum))?;
    eventually("all earnings to be paid out", async || {
        let after = facts.balances(&town.accounts).await?;
        let paid = after.provider.minus(before.provider)?.plus(after.keeper.minus(before.keeper)?)?;
        Ok((paid == sum).then_some(after))
    })
    .await
}

async fn channel(town: &Town, facts: &Facts) -> anyhow::Result<ChannelReport> {
    let accounts = &town.accounts;
    let id = ChannelId::of(accounts.client.address(), accounts.session.address(), accounts.keeper.address());
    let (deposit, spent) = facts.channel(id).await?;
    Ok(ChannelReport { deposit, spent })
}

fn account(channel: &ChannelReport, claim: &ClaimReport, batches: &[BatchReport]) -> anyhow::Result<Accounting> {
    let sum = Amount::sum(batches.iter().map(|batch| batch.sum))?;
    let protocol = Amount::sum(batches.iter().map(|batch| batch.fee))?;
    let keeper = sum.minus(claim.amount)?;
    let accounting = Accounting { debited: channel.spent, provider: claim.amount, keeper, protocol };
    let credited = Amount::sum([claim.amount, keeper, protocol])?;
    ensure!(channel.spent == credited, "debited {} nano, credited {credited}", channel.spent);
    eprintln!(
        "  accounts  client {} = provider {} + keeper {} + protocol {} CAPA",
        channel.spent.to_capa(),
        claim.amount.to_capa(),
        keeper.to_capa(),
        protocol.to_capa()
    );
    Ok(accounting)
}

fn balances(before: &Balances, after: &Balances) -> Vec<BalanceReport> {
    [
        ("client", before.client, after.client),
        ("provider", before.provider, after.provider),
        ("keeper", before.keeper, after.keeper),
        ("treasury", before.treasury, after.treasury),
        ("settlement", before.settlement, after.settlement),
    ]
    .into_iter()
    .map(|(account, before, after)| {
        eprintln!("  balance   {account:10} {:>24} -> {:>24} CAPA", before.to_capa(), after.to_capa());
        BalanceReport { account, balance: Pair { before, after } }
    })
    .collect()
}

async fn candles(town: &Town, jobs: &[JobReport]) -> anyhow::Result<Vec<CandleReport>> {
    let mut reports = Vec::new();
    for name in jobs.iter().map(|job| job.resource.clone()).collect::<BTreeSet<_>>() {
        let resource = deploy::resource(&name).context("a resource of the local chain")?;
        let traded: u64 = jobs.iter().filter(|job| job.resource == name).map(|job| job.quantity.get()).sum();
        let path = format!("v1/resources/{}/candles?interval=1d&finality=proven", resource.id);
        let url = http(town.layout.indexer())?.join(&path)?;
        let candle = eventually("the first candle", async || {
            let answer: serde_json::Value = reqwest::get(url.clone()).await?.error_for_status()?.json().await?;
            let candle = parse_candle(&name, &answer);
            Ok(candle.filter(|candle| candle.volume.get() >= traded))
        })
        .await?;
        eprintln!(
            "  candle    {name}: open {} high {} low {} close {} volume {}",
            candle.open, candle.high, candle.low, candle.close, candle.volume
        );
        reports.push(candle);
    }
    Ok(reports)
}

fn parse_candle(resource: &str, answer: &serde_json::Value) -> Option<CandleReport> {
    let candle = answer["data"]["candles"].as_array()?.last()?;
    let integer = |key: &str| candle[key].as_str()?.parse::<u64>().ok();
    Some(CandleReport {
        resource: resource.into(),
        open: Price(integer("open")?),
        high: Price(integer("high")?),
        low: Price(integer("low")?),
        close: Price(integer("close")?),
        volume: Quantity(integer("volume")?),
    })
}
