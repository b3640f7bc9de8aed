//! `capa-worker run`.

use super::File;
use crate::Worker;
use service::shutdown::on_signals;
use std::process::ExitCode;

/// Works until a signal. The first SIGTERM or SIGINT drains, the second stops what runs, the third ends the process.
pub(super) async fn run(file: File) -> anyhow::Result<ExitCode> {
    let stages = on_signals();
    Worker::bind(file.load()?).await?.run_draining(stages).await?;
    Ok(ExitCode::SUCCESS)
}
