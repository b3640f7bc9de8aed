//! Shows the jobs of the walk: one live line each on a terminal, one line per change elsewhere.

use client::session::{JobStatus, Jobs, Session};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use protocol::amount::Amount;
use protocol::order::JobId;
use protocol::resource::Unit;
use protocol::wire::JobState;
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// A job to show.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its id.
    pub id: JobId,
    /// Name of the sample and kind.
    pub name: String,
    /// What it is metered in.
    pub unit: Unit,
    /// Most that it may cost.
    pub cap: Amount,
}

/// Waits until all jobs are over, showing each as it goes.
pub async fn until_over(session: &Session, shown: &[Shown]) -> anyhow::Result<BTreeMap<JobId, JobStatus>> {
    let lines = Lines::new(shown);
    let mut jobs = session.jobs();
    loop {
        let now: Jobs = jobs.borrow_and_update().clone();
        for (at, job) in shown.iter().enumerate() {
            if let Some(status) = now.get(&job.id) {
                lines.show(at, job, status);
            }
        }
        if shown.iter().all(|job| now.get(&job.id).is_some_and(JobStatus::is_over)) {
            lines.finish();
            return Ok(now);
        }
        jobs.changed().await.map_err(|_| anyhow::anyhow!("the session ended before its jobs"))?;
    }
}

struct Lines {
    bars: Vec<ProgressBar>,
    plain: std::cell::RefCell<BTreeMap<usize, JobState>>,
    live: bool,
}

impl Lines {
    fn new(shown: &[Shown]) -> Self {
        let live = std::io::stderr().is_terminal();
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("  {spinner} {prefix:22} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bars = shown
            .iter()
            .map(|job| all.add(ProgressBar::new_spinner()).with_style(style.clone()).with_prefix(job.name.clone()))
            .collect();
        Self { bars, plain: std::cell::RefCell::default(), live }
    }

    fn show(&self, at: usize, job: &Shown, status: &JobStatus) {
        let Some(view) = &status.view else { return };
        let state = format!("{:?}", view.state).to_lowercase();
        let text = format!(
            "{state:10} {:>8} {}   {} of {} CAPA",
            view.usage.quantity(job.unit),
            job.unit,
            view.debited.to_capa(),
            job.cap.to_capa()
        );
        if self.live {
            self.bars[at].set_message(text);
            self.bars[at].tick();
        } else if self.plain.borrow_mut().insert(at, view.state) != Some(view.state) {
            eprintln!("  {:22} {text}", job.name);
        }
    }

    fn finish(&self) {
        for bar in &self.bars {
            bar.abandon();
        }
        if self.live {
            eprintln!();
        }
    }
}
