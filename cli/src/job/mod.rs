//! `capa job`: order jobs, pay for them, fetch their results.

mod show;
mod submit;
mod watch;

use crate::context::Context;
use crate::error::CliError;
use clap::ValueEnum;
use client::session::rules::Policy;
use client::session::{Session, SessionConfig};
use protocol::amount::{Amount, Price};
use protocol::job::Kind;
use protocol::order::JobId;
use std::path::PathBuf;
use std::time::Duration;

/// How long a keeper may take to answer when a session starts.
const PATIENCE: Duration = Duration::from_secs(15);

/// Verbs of `job`.
#[derive(Debug, clap::Subcommand)]
pub enum JobCommand {
    /// Order a job from a folder with a job.json
    Submit(Submit),
    /// Stay connected and pay what open jobs deliver, until all have ended
    Watch {
        /// Which jobs; all open ones if none is given
        jobs: Vec<Job>,
    },
    /// Print the jobs of your channel
    List,
    /// Print one job
    Show {
        /// Its id
        job: Job,
    },
    /// Fetch a result and check it against what was paid for
    Result {
        /// Its id
        job: Job,
        /// Folder to write the outputs to, as output-0, output-1, …
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Stop a job; what was delivered until then is billed
    Cancel {
        /// Its id
        job: Job,
    },
}

/// What `job submit` takes.
#[derive(Debug, clap::Args)]
pub struct Submit {
    /// Folder with a job.json, or the file itself
    pub path: PathBuf,
    /// Which of the job's programs runs
    #[arg(long)]
    pub kind: Option<KindArgument>,
    /// Most that the job may cost in all, in CAPA
    #[arg(long, value_name = "CAPA", value_parser = crate::channel::capa)]
    pub max_total: Amount,
    /// Most per GPU-hour or vCPU-hour, in CAPA; else a tenth above the cheapest offer
    #[arg(long, value_name = "CAPA", value_parser = price)]
    pub max_price: Option<Price>,
    /// Most base units, such as GPU-ms or vCPU-ms; else what the job's time limit and --max-total leave room for
    #[arg(long, value_name = "NUMBER")]
    pub max_units: Option<u64>,
    /// Resource to buy, by name or number; else the keeper's first one for the kind
    #[arg(long, value_name = "NAME")]
    pub resource: Option<String>,
    /// Seconds after which the order is not matched any more
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    pub expires_in: u64,
    /// Stay until the job has ended, paying for what it delivers, and check its result
    #[arg(long)]
    pub watch: bool,
    /// With --watch: folder to write the outputs to
    #[arg(long, value_name = "FOLDER", requires = "watch")]
    pub out: Option<PathBuf>,
}

/// Kinds of programs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum KindArgument {
    /// WebAssembly on a CPU
    Wasm,
    /// CUDA source on a GPU
    Cuda,
    /// A kernel that ships with the worker
    Builtin,
    /// A container image
    Oci,
}

impl From<KindArgument> for Kind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Wasm => Self::Wasm,
            KindArgument::Cuda => Self::Cuda,
            KindArgument::Builtin => Self::Builtin,
            KindArgument::Oci => Self::Oci,
        }
    }
}

/// A job id on the command line.
#[derive(Debug, Clone, Copy)]
pub struct Job(pub JobId);

impl std::str::FromStr for Job {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|hash| Self(JobId(hash))).map_err(|_| "a job id is 0x and 64 hexadecimal digits".into())
    }
}

/// Runs a verb.
pub async fn run(command: JobCommand, context: &Context) -> Result<(), CliError> {
    match command {
        JobCommand::Submit(submit) => submit::run(submit, context).await,
        JobCommand::Watch { jobs } => watch::run(jobs.into_iter().map(|job| job.0).collect(), context).await,
        JobCommand::List => show::list(context).await,
        JobCommand::Show { job } => show::show(job.0, context).await,
        JobCommand::Result { job, out } => show::result(job.0, out.as_deref(), context).await,
        JobCommand::Cancel { job } => cancel(job.0, context).await,
    }
}

/// Opens the session of the channel with the keeper that is set.
async fn open_session(context: &Context) -> Result<Session, CliError> {
    let (_, anchor) = context.anchor().await?;
    let (payer, _) = context.parties()?;
    let folder = context.settings.state.value.clone();
    let config = SessionConfig {
        endpoint: context.keeper_url()?,
        book: anchor.book().clone(),
        payer,
        keeper: context.channel_keeper(None).await?,
        key: context.session_key()?,
        folder: folder.ok_or_else(|| CliError::Usage("no folder for states is set: give --state".into()))?,
        policy: Policy::default(),
    };
    Ok(Session::open(config, anchor, PATIENCE).await?)
}

/// A worker answers a stop with a last receipt, so the session stays until the job has ended.
async fn cancel(job: JobId, context: &Context) -> Result<(), CliError> {
    let session = open_session(context).await?;
    session.cancel(job).await?;
    context.output.note("asked the worker to stop; paying for what it has delivered");
    let end = watch::follow(&session, &[job], context).await;
    session.close().await?;
    end?;
    show::show(job, context).await
}

fn price(text: &str) -> Result<Price, String> {
    crate::channel::capa(text).map(|amount| Price(amount.get()))
}
