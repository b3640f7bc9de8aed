//! `capa job watch`, and the live line of every command that waits for a job.

use crate::context::Context;
use crate::error::CliError;
use crate::job::open_session;
use crate::output::{Output, table};
use client::session::{Event, JobStatus, Jobs, Session};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::resource::Usage;
use protocol::wire::{JobState, JobView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Pays open jobs until all have ended.
pub(super) async fn run(wanted: Vec<JobId>, context: &Context) -> Result<(), CliError> {
    let session = open_session(context).await?;
    let jobs = if wanted.is_empty() { open_jobs(&session.jobs().borrow()) } else { wanted };
    let unknown = jobs.iter().find(|id| !session.jobs().borrow().contains_key(id));
    if let Some(id) = unknown {
        let text = format!("job {id} was not ordered by this session: see `capa job list`");
        session.close().await?;
        return Err(CliError::NotFound(text));
    }
    if jobs.is_empty() {
        context.output.note("no job is open");
    }
    let end = follow(&session, &jobs, context).await;
    let known = session.jobs().borrow().clone();
    session.close().await?;
    end?;
    let mut view = table(&["job", "state", "paid in CAPA"]);
    let mut documents = Vec::new();
    for (id, status) in jobs.iter().filter_map(|id| Some((id, known.get(id)?))) {
        let state = status.view.as_ref().map(|view| format!("{:?}", view.state).to_lowercase()).unwrap_or_default();
        view.add_row([id.to_string(), state, status.record.debited.to_capa()]);
        documents.push(super::submit::document(*id, status, None));
    }
    context.output.data(&documents, &view)
}

fn open_jobs(jobs: &Jobs) -> Vec<JobId> {
    jobs.iter().filter(|(_, status)| !status.record.ended).map(|(id, _)| *id).collect()
}

/// Shows events until every one of `jobs` is over. An interruption leaves the jobs running.
pub(super) async fn follow(session: &Session, jobs: &[JobId], context: &Context) -> Result<(), CliError> {
    let mut events = session.events();
    let mut known = session.jobs();
    let mut lines = Lines::new(&context.output);
    // A changed job is also in the events, but a slow terminal may miss events; the list of jobs never lies.
    loop {
        let snapshot = known.borrow_and_update().clone();
        for (id, status) in jobs.iter().filter_map(|id| Some((id, snapshot.get(id)?))) {
            lines.draw(*id, status);
        }
        if jobs.iter().all(|id| snapshot.get(id).is_some_and(JobStatus::is_over)) {
            lines.finish();
            return Ok(());
        }
        tokio::select! {
            changed = known.changed() => if changed.is_err() { return lost(session) },
            event = events.recv() => match event {
                Ok(event) => lines.tell(&event, jobs)?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return lost(session),
            },
            _ = tokio::signal::ctrl_c() => {
                lines.finish();
                context.output.note("the jobs go on, but nothing more is paid: run `capa job watch`");
                return Err(CliError::Interrupted);
            }
        }
    }
}

/// The session's task has ended; closing it tells why.
fn lost(session: &Session) -> Result<(), CliError> {
    Err(CliError::Failed(format!(
        "the session with {} has ended: run the command again with -v to see why",
        session.keeper().url()
    )))
}

/// One live line per job on a terminal, else one line per change.
struct Lines {
    output: Output,
    bars: Option<MultiProgress>,
    drawn: BTreeMap<JobId, (ProgressBar, String)>,
}

impl Lines {
    fn new(output: &Output) -> Self {
        let live = output.is_live() && !output.is_json();
        Self { output: output.clone(), bars: live.then(MultiProgress::new), drawn: BTreeMap::new() }
    }

    fn draw(&mut self, id: JobId, status: &JobStatus) {
        let text = describe(id, status);
        let cap = status.record.order.order.max_total;
        let (bar, last) = self.drawn.entry(id).or_insert_with(|| {
            let bar = self.bars.as_ref().map_or_else(ProgressBar::hidden, |bars| bars.add(bar(cap)));
            (bar, String::new())
        });
        if *last == text {
            return;
        }
        bar.set_position(status.record.debited.get().min(cap.get()));
        bar.set_message(text.clone());
        if self.bars.is_none() && !self.output.is_json() {
            self.output.note(&text);
        }
        *last = text;
    }

    fn tell(&self, event: &Event, jobs: &[JobId]) -> Result<(), CliError> {
        if self.output.is_json() {
            return match stream(event, jobs) {
                Some(line) => self.output.line(&line),
                None => Ok(()),
            };
        }
        let text = match event {
            Event::Disconnected(reason) => format!("{reason}; connecting again"),
            Event::Rejected { job, reason } => format!("job {} is stopped: {reason}", short(*job)),
            Event::VoucherRefused { job, refusal } => format!("job {}: {refusal}", short(*job)),
            Event::Waiting(reason) => reason.clone(),
            Event::Connected(_) | Event::Job(_) | Event::Paid { .. } => return Ok(()),
        };
        match &self.bars {
            Some(bars) => bars.println(&text).map_err(CliError::from),
            None => {
                self.output.note(&text);
                Ok(())
            }
        }
    }

    fn finish(&self) {
        for (bar, _) in self.drawn.values() {
            bar.abandon();
        }
    }
}

fn bar(cap: Amount) -> ProgressBar {
    let bar = ProgressBar::new(cap.get().max(1));
    let style =
        ProgressStyle::with_template("{spinner} {bar:20} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn describe(id: JobId, status: &JobStatus) -> String {
    let order = &status.record.order.order;
    let (state, used) = match &status.view {
        Some(view) => (state(view), used(&view.usage)),
        None => ("ordered".into(), String::new()),
    };
    let cost = format!("{} of {} CAPA", status.record.debited.to_capa(), order.max_total.to_capa());
    let mut text = format!("{}  {state:<9}  {used}  {cost}", short(id));
    let stopped = status.record.stopped.as_deref();
    if let Some(reason) = status.view.as_ref().and_then(|view| view.reason.as_deref()).or(stopped) {
        text.push_str(&format!("  ({reason})"));
    }
    text
}

fn state(view: &JobView) -> String {
    format!("{:?}", view.state).to_lowercase()
}

/// What a job is mainly billed for: no other kind uses that.
fn used(usage: &Usage) -> String {
    let figures = [
        (usage.work, "units of work"),
        (usage.lease_s, "lease-s"),
        (usage.gpu_ms, "GPU-ms"),
        (usage.cpu_ms, "vCPU-ms"),
    ];
    let (quantity, unit) = figures.into_iter().find(|(quantity, _)| quantity.get() > 0).unwrap_or(figures[3]);
    format!("{quantity} {unit}")
}

fn short(id: JobId) -> String {
    id.to_string().chars().take(10).collect()
}

/// An event as a line of JSON; events of other jobs are left out.
fn stream(event: &Event, jobs: &[JobId]) -> Option<Value> {
    Some(match event {
        Event::Connected(info) => json!({ "event": "connected", "keeper": info.keeper, "batch": info.batch }),
        Event::Disconnected(reason) => json!({ "event": "disconnected", "reason": reason }),
        Event::Job(view) if jobs.contains(&view.id) => json!({ "event": "job", "job": view }),
        Event::Paid { job, sequence, amount, debited, batch } if jobs.contains(job) => json!({
            "event": "paid", "id": job, "sequence": sequence.to_string(), "amount": amount, "debited": debited,
            "batch": batch,
        }),
        Event::Rejected { job, reason } => json!({ "event": "rejected", "id": job, "reason": reason }),
        Event::VoucherRefused { job, refusal } => json!({ "event": "refused", "id": job, "refusal": refusal }),
        Event::Waiting(reason) => json!({ "event": "waiting", "reason": reason }),
        Event::Job(_) | Event::Paid { .. } => return None,
    })
}

/// Whether a job ended as it should.
pub(super) fn succeeded(status: &JobStatus) -> bool {
    status.record.stopped.is_none() && status.view.as_ref().is_some_and(|view| view.state == JobState::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Quantity;

    #[test]
    fn each_kind_shows_what_it_is_billed_for() {
        let container = Usage { lease_s: Quantity(60), cpu_ms: Quantity(9), ..Usage::default() };
        let builtin = Usage { work: Quantity(1 << 40), gpu_ms: Quantity(9), ..Usage::default() };
        let cuda = Usage { gpu_ms: Quantity(7), cpu_ms: Quantity(9), ..Usage::default() };
        assert_eq!(used(&container), "60 lease-s");
        assert_eq!(used(&builtin), "1099511627776 units of work");
        assert_eq!(used(&cuda), "7 GPU-ms");
        assert_eq!(used(&Usage::default()), "0 vCPU-ms");
    }
}
