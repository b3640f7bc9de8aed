//! `capa job list`, `show` and `result`.

use crate::context::Context;
use crate::error::CliError;
use crate::job::submit::document;
use crate::job::watch::succeeded;
use crate::output::table;
use alloy::primitives::B256;
use client::keeper::Keeper;
use client::session::JobStatus;
use client::session::state::{Identity, JobRecord, peek};
use client::verify::{Verified, fetch};
use protocol::order::JobId;
use protocol::wire::JobView;
use serde_json::json;
use std::path::Path;

pub(super) async fn list(context: &Context) -> Result<(), CliError> {
    let (payer, signer) = context.parties()?;
    let jobs = context.keeper()?.jobs(payer, signer).await?;
    let mut view = table(&["job", "kind", "state", "paid in CAPA", "reason"]);
    for job in &jobs {
        view.add_row([
            job.id.to_string(),
            job.kind.to_string(),
            format!("{:?}", job.state).to_lowercase(),
            job.debited.to_capa(),
            job.reason.clone().unwrap_or_default(),
        ]);
    }
    context.output.data(&jobs, &view)
}

pub(super) async fn show(id: JobId, context: &Context) -> Result<(), CliError> {
    let job = context.keeper()?.job(id).await?;
    let mut view = table(&["job", id.to_string().as_str()]);
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    for (name, value) in [
        ("state", format!("{:?}", job.state).to_lowercase()),
        ("kind", job.kind.to_string()),
        ("provider", text(job.provider.map(|provider| provider.to_string()))),
        ("price in nano", text(job.price.map(|price| price.to_string()))),
        ("earned in CAPA", job.amount.to_capa()),
        ("debited in CAPA", job.debited.to_capa()),
        ("at most in CAPA", job.order.max_total.to_capa()),
        ("result", text(job.result.map(|result| result.to_string()))),
        ("reason", text(job.reason.clone())),
    ] {
        view.add_row([name.to_owned(), value]);
    }
    context.output.data(&job, &view)
}

pub(super) async fn result(id: JobId, out: Option<&Path>, context: &Context) -> Result<(), CliError> {
    let keeper = context.keeper()?;
    let view = keeper.job(id).await?;
    let record = remembered(id, &view, context).await?;
    let signed = record.as_ref().and_then(|record| record.paid.as_ref()).map(|paid| paid.result);
    if signed.is_none() {
        context.output.note("this computer did not pay for the job: the result is checked against the keeper's word");
    }
    let expected = record.as_ref().and_then(|record| record.expected);
    let verified = fetch(&keeper, &view, signed, expected).await?;
    write(&verified, out)?;
    print(id, &verified, expected, out, context)
}

/// What this computer knows of a job that it paid for.
async fn remembered(id: JobId, view: &JobView, context: &Context) -> Result<Option<JobRecord>, CliError> {
    let (Some(folder), Ok(book)) = (&context.settings.state.value, context.book()) else { return Ok(None) };
    let Ok((payer, signer)) = context.parties() else { return Ok(None) };
    if payer != view.order.payer {
        return Ok(None);
    }
    let keeper = context.channel_keeper(None).await?;
    let identity = Identity { chain_id: book.chain_id.get(), settlement: book.settlement(), payer, signer, keeper };
    Ok(peek(folder, &identity)?.and_then(|mut state| state.jobs.remove(&id)))
}

fn print(
    id: JobId,
    verified: &Verified,
    expected: Option<B256>,
    out: Option<&Path>,
    context: &Context,
) -> Result<(), CliError> {
    let mut view = table(&["job", id.to_string().as_str()]);
    let as_expected = match verified.expected {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "nothing was expected",
    };
    view.add_row(["result".to_owned(), verified.result.to_string()]);
    view.add_row(["as expected".to_owned(), as_expected.to_owned()]);
    if verified.is_product {
        view.add_row(["checked".to_owned(), "it is the product of the job's matrices".to_owned()]);
    }
    for (index, output) in verified.outputs.iter().enumerate() {
        let place = out.map_or_else(String::new, |folder| format!(" in {}", name(folder, index).display()));
        view.add_row([format!("output {index}"), format!("{} bytes{place}", output.len())]);
    }
    let lengths: Vec<_> = verified.outputs.iter().map(|output| output.len().to_string()).collect();
    let document = json!({
        "job": id, "result": verified.result, "expected": expected, "asExpected": verified.expected,
        "isProduct": verified.is_product, "outputs": lengths, "folder": out,
    });
    context.output.data(&document, &view)?;
    unexpected(verified)
}

fn unexpected(verified: &Verified) -> Result<(), CliError> {
    if verified.expected == Some(false) {
        let text = format!("the result {} is not the one the manifest expects", verified.result);
        return Err(CliError::JobFailed(text));
    }
    Ok(())
}

/// The end of `job submit --watch`: checks the result, prints it, and fails where the job did.
pub(super) async fn outcome(
    id: JobId,
    status: Option<JobStatus>,
    keeper: &Keeper,
    out: Option<&Path>,
    context: &Context,
) -> Result<(), CliError> {
    let status = status.ok_or_else(|| CliError::NotFound(format!("job {id} is not known any more")))?;
    let Some(view) = status.view.as_ref().filter(|_| succeeded(&status)) else {
        if context.output.is_json() {
            context.output.line(&document(id, &status, None))?;
        }
        let reason = status.view.as_ref().and_then(|view| view.reason.clone());
        let reason = reason.or_else(|| status.record.stopped.clone()).unwrap_or_else(|| "no reason given".into());
        return Err(CliError::JobFailed(format!("job {id} did not deliver: {reason}")));
    };
    let signed = status.record.paid.as_ref().map(|paid| paid.result);
    let verified = fetch(keeper, view, signed, status.record.expected).await?;
    write(&verified, out)?;
    if context.output.is_json() {
        context.output.line(&document(id, &status, Some(&verified)))?;
        return unexpected(&verified);
    }
    context.output.note(&format!("paid {} CAPA", status.record.debited.to_capa()));
    print(id, &verified, status.record.expected, out, context)
}

fn write(verified: &Verified, out: Option<&Path>) -> Result<(), CliError> {
    let Some(folder) = out else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    for (index, output) in verified.outputs.iter().enumerate() {
        std::fs::write(name(folder, index), output)?;
    }
    Ok(())
}

fn name(folder: &Path, index: usize) -> std::path::PathBuf {
    folder.join(format!("output-{index}"))
}
