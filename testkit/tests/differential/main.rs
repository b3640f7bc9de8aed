//! The reference model against the contracts: one random history drives both, on one chain, and after every step they
//! must agree on whether it was refused and why, on its events, on everything stored, and on every balance.
//!
//! `CAPA_SEED` and `CAPA_STEPS` choose another history; `cargo xtask deep` plays one of 10,000 steps.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

mod chain;
mod encode;
mod decode;
mod views;

use anyhow::{Context, bail, ensure};
use chain::Chain;
use protocol::amount::Timestamp;
use protocol::model::audit::{Audit, unclaimed};
use protocol::model::exit::Exit;
use protocol::model::history::{Dice, History, word};
use protocol::model::{Outcome, State, Step};
use std::collections::BTreeMap;
use std::time::Instant;
use views::View;

/// When the histories begin: later than the chain's own clock, which cannot go back.
const START: Timestamp = Timestamp(2_000_000_000);

/// How often everything that ever was is compared, and not only what a step is about.
const FULL_EVERY: u64 = 2_000;

/// Length of a history unless `CAPA_STEPS` says otherwise.
const STEPS: u64 = 300;

#[tokio::test]
async fn model_and_contracts_agree() {
    replay().await.unwrap();
}

/// A history on both sides.
struct Run {
    history: History,
    state: State,
    audit: Audit,
    chain: Chain,
    counts: BTreeMap<(&'static str, bool), u64>,
}

/// Plays a history, then lets everybody leave.
async fn replay() -> anyhow::Result<()> {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(Ok(usual), |text| text.parse());
    let steps = number("CAPA_STEPS", STEPS).context("CAPA_STEPS must be a number")?;
    let seed = number("CAPA_SEED", 1).context("CAPA_SEED must be a number")?;
    let start = Instant::now();
    let history = History::new(START, 16 + u32::try_from(steps / 25)?);
    let state = history.genesis();
    let chain = Chain::start(&history, &state).await?;
    chain.compare(&View::all(&state), &state, START).await.context("before the first step")?;
    let mut run = Run { history, state, audit: Audit::default(), chain, counts: BTreeMap::new() };
    for index in 0..steps {
        run.next(word(seed, index), index % FULL_EVERY == FULL_EVERY - 1).await.with_context(|| {
            format!(
                "step {index} of seed {seed} differs; to replay it: CAPA_SEED={seed} CAPA_STEPS={} \
                 cargo test -p testkit --test differential",
                index + 1
            )
        })?;
    }
    run.everybody_leaves().await.with_context(|| format!("after {steps} steps of seed {seed}"))?;
    println!("{steps} steps of seed {seed} and the exit of all agree, in {:?}: {:?}", start.elapsed(), run.counts);
    Ok(())
}

impl Run {
    async fn next(&mut self, word: u64, everything: bool) -> anyhow::Result<()> {
        let step = self.history.propose(&self.state, word);
        let before = self.state.clone();
        let outcome = self.both(&before, &step, everything).await?;
        self.history.learn(&step, &outcome);
        if let Ok(events) = &outcome {
            self.audit.check(&step, &before, &self.state, events, self.history.promises())?;
        }
        let mut dice = Dice::new(!word);
        if dice.chance(10) { self.probe(&mut dice).await } else { Ok(()) }
    }

    /// Takes the step on both sides and compares what it did.
    async fn both(&mut self, before: &State, step: &Step, everything: bool) -> anyhow::Result<Outcome> {
        let expected = self.state.apply(step);
        let found = self.chain.perform(step, &self.history).await.with_context(|| format!("{step:?}"))?;
        *self.counts.entry((step.call.name(), expected.is_ok())).or_default() += 1;
        if found != expected {
            bail!("{step:?}\nthe model says {expected:?}\nthe chain says {found:?}");
        }
        let views = if everything { View::all(&self.state) } else { View::touched(step, before, &self.state) };
        self.chain
            .compare(&views, &self.state, step.now)
            .await
            .with_context(|| format!("after {step:?}: {found:?}"))?;
        Ok(expected)
    }

    /// Asks both whether a usage line was stated.
    async fn probe(&self, dice: &mut Dice) -> anyhow::Result<()> {
        let Some(probe) = self.history.probe(dice) else { return Ok(()) };
        let now = self.history.now();
        let expected = self.state.verify_line(now, probe.keeper, probe.batch, probe.line.leaf(), &probe.proof);
        let found = self.chain.verify_line(&probe, now).await?;
        ensure!(found == expected, "{probe:?}: the model says {expected}, the chain says {found}");
        Ok(())
    }

    /// Invariant 16, on both sides: everybody can leave, and only what no published tree pays out stays.
    async fn everybody_leaves(&mut self) -> anyhow::Result<()> {
        let (now, anyone) = (self.history.now(), self.history.cast().stranger);
        let exit = Exit::play(self.state.clone(), now, anyone, &self.history.leaves());
        for step in &exit.steps {
            let before = self.state.clone();
            self.both(&before, step, false).await.context("while everybody leaves")??;
        }
        let last = exit.steps.last().map_or(now, |step| step.now);
        self.chain.compare(&View::all(&self.state), &self.state, last).await?;
        ensure!(self.state.tokens.held == unclaimed(&self.state)?, "something stayed that nobody can take");
        Ok(())
    }
}
