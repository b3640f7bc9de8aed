//! `capa job submit`.

use crate::context::Context;
use crate::error::CliError;
use crate::job::{Submit, open_session, show, watch};
use crate::market::{best_ask, find, per};
use crate::output::table;
use client::keeper::Keeper;
use client::manifest::{Prepared, prepare};
use client::session::{Session, Terms};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::job::{Kind, Program};
use protocol::order::JobId;
use protocol::resource::Resource;
use protocol::wire::OrderTaken;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

/// Orders a job and, with `--watch`, sees it through.
pub(super) async fn run(submit: Submit, context: &Context) -> Result<(), CliError> {
    let job = prepare(&submit.path, submit.kind.map(Kind::from))?;
    let keeper = context.keeper()?;
    let (resource, terms) = terms(&submit, &job, &keeper).await?;
    let question = format!(
        "Orders {:?} as a {} job on {}: at most {} CAPA in all, at most {} CAPA per {}, at most {} {}.",
        job.name,
        job.envelope.program.kind(),
        resource.name,
        terms.max_total.to_capa(),
        Amount(terms.max_price.get()).to_capa(),
        per(&resource),
        terms.max_units,
        resource.unit,
    );
    context.output.confirm(&question, context.settings.yes)?;
    let session = open_session(context).await?;
    let outcome = order(&session, &submit, &job, &terms, context).await;
    // Where the session itself failed, that is the reason for everything else.
    session.close().await?;
    outcome
}

async fn order(
    session: &Session,
    submit: &Submit,
    job: &Prepared,
    terms: &Terms,
    context: &Context,
) -> Result<(), CliError> {
    let (id, taken) = session.submit(job, terms).await?;
    if !submit.watch {
        context.output.note("nothing is paid while nobody is connected: run `capa job watch`");
        return print(context, id, &taken);
    }
    context.output.note(&format!("job {id}"));
    if let Some(reason) = &taken.reason {
        context.output.note(reason);
    }
    watch::follow(session, &[id], context).await?;
    let status = session.jobs().borrow().get(&id).cloned();
    show::outcome(id, status, session.keeper(), submit.out.as_deref(), context).await
}

fn print(context: &Context, id: JobId, taken: &OrderTaken) -> Result<(), CliError> {
    let mut view = table(&["job", "state", "reason"]);
    let state = format!("{:?}", taken.state).to_lowercase();
    view.add_row([id.to_string(), state, taken.reason.clone().unwrap_or_default()]);
    context.output.data(&taken, &view)
}

async fn terms(submit: &Submit, job: &Prepared, keeper: &Keeper) -> Result<(Resource, Terms), CliError> {
    let resources = keeper.info().await?.resources;
    let resource = choose(&resources, submit.resource.as_deref(), &job.envelope.program)?.clone();
    let ask = best_ask(keeper, &resource).await?;
    let max_price = match (submit.max_price, &ask) {
        (Some(price), _) => price,
        (None, Some(ask)) => above(ask.offer.price),
        (None, None) => {
            let name = &resource.name;
            let text = format!("nobody offers {name} right now: give --max-price to wait for an offer");
            return Err(CliError::Refused(text));
        }
    };
    let offered = ask.map_or(Quantity(u64::MAX), |ask| ask.remaining);
    let affordable = resource.affordable(submit.max_total, max_price);
    let max_units = submit.max_units.map_or_else(|| enough(job).min(affordable).min(offered), Quantity);
    if max_units == Quantity::ZERO {
        return Err(CliError::Refused("--max-total does not pay for a single unit at that price: raise it".into()));
    }
    whole(&job.envelope.program, max_units, &resource)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let expiry = Timestamp(now.saturating_add(submit.expires_in));
    let terms = Terms { resource: resource.id, max_price, max_units, max_total: submit.max_total, expiry };
    Ok((resource, terms))
}

/// Refuses an order for a part of a builtin kernel's work: no worker would begin with it.
fn whole(program: &Program, max_units: Quantity, resource: &Resource) -> Result<(), CliError> {
    match program {
        Program::Builtin { call, .. } if max_units.get() < call.work() => Err(CliError::Refused(format!(
            "the job is {} {} of work, and the order would be for {max_units}: raise --max-total, wait for an offer with \
             enough left, or divide the job",
            call.work(),
            resource.unit
        ))),
        _ => Ok(()),
    }
}

/// Units that the job's own work comes to, or its time limit leaves room for, on a worker up to four times as fast as the
/// standard one. An order for more would only tie up a provider's capacity.
fn enough(job: &Prepared) -> Quantity {
    let wall = job.envelope.limits.wall_ms.get();
    Quantity(match &job.envelope.program {
        Program::Cuda { devices, .. } => wall.saturating_mul(u64::from(*devices)),
        Program::Wasm { .. } => wall.saturating_mul(4),
        Program::Builtin { call, .. } => call.work(),
        Program::Oci { devices, .. } => wall.div_ceil(1000).saturating_mul(u64::from((*devices).max(1))),
    })
}

/// A tenth above a price, rounded up: room for the offer to be gone when the order arrives.
fn above(price: Price) -> Price {
    Price(price.get().saturating_add(price.get().div_ceil(10)))
}

/// The resource that was named, or the first that bills what the kind uses.
fn choose<'a>(resources: &'a [Resource], name: Option<&str>, program: &Program) -> Result<&'a Resource, CliError> {
    if let Some(name) = name {
        return find(resources, name);
    }
    resources.iter().find(|resource| program.check_resource(resource).is_ok()).ok_or_else(|| {
        let (kind, unit) = (program.kind(), program.unit());
        CliError::NotFound(format!("this keeper trades nothing metered in {unit} that pays for such a {kind} job"))
    })
}

/// What a finished job is printed as.
pub(super) fn document(
    id: JobId,
    status: &client::session::JobStatus,
    verified: Option<&client::verify::Verified>,
) -> serde_json::Value {
    let view = status.view.as_ref();
    json!({
        "job": id,
        "state": view.map(|view| view.state),
        "provider": view.and_then(|view| view.provider),
        "price": view.and_then(|view| view.price),
        "usage": view.map(|view| view.usage),
        "amount": view.map(|view| view.amount),
        "debited": status.record.debited,
        "maxTotal": status.record.order.order.max_total,
        "result": verified.map(|verified| verified.result),
        "expected": status.record.expected,
        "asExpected": verified.and_then(|verified| verified.expected),
        "reason": view.and_then(|view| view.reason.clone()).or_else(|| status.record.stopped.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;
    use protocol::job::Blob;
    use protocol::resource::{ResourceId, Unit};

    fn program(kind: Kind) -> Program {
        let blob = Blob { hash: B256::ZERO, length: Quantity(1) };
        match kind {
            Kind::Cuda => Program::Cuda {
                source: blob,
                language: Default::default(),
                toolchain: String::new(),
                devices: 1,
                scratch: vec![],
                stages: vec![],
            },
            _ => Program::Wasm { module: blob, toolchain: String::new() },
        }
    }

    fn resources() -> Vec<Resource> {
        let resource =
            |id, name: &str, unit| Resource { id: ResourceId(id), name: name.into(), unit, scale: Quantity(3_600_000) };
        vec![resource(1, "gpu.h200", Unit::GpuMs), resource(2, "cpu.x86-64", Unit::CpuMs)]
    }

    #[test]
    fn a_kind_chooses_its_resource() {
        let resources = resources();
        assert_eq!(choose(&resources, None, &program(Kind::Wasm)).unwrap().name, "cpu.x86-64");
        assert_eq!(choose(&resources, None, &program(Kind::Cuda)).unwrap().name, "gpu.h200");
        assert_eq!(choose(&resources, Some("2"), &program(Kind::Cuda)).unwrap().name, "cpu.x86-64");
        let error = choose(&resources, Some("tpu"), &program(Kind::Cuda)).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("gpu.h200, cpu.x86-64"), "{error}");
        assert_eq!(choose(&resources[..1], None, &program(Kind::Wasm)).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn a_builtin_is_ordered_whole_or_not_at_all() {
        let call = protocol::job::Builtin::Hashsearch { start: Quantity(0), count: Quantity(100) };
        let hashes = Resource { unit: Unit::Hash, ..resources().remove(0) };
        let program_of = Program::Builtin { call, cubin: None };
        whole(&program_of, Quantity(100), &hashes).unwrap();
        let refused = whole(&program_of, Quantity(99), &hashes).unwrap_err().to_string();
        assert!(refused.contains("100 hash of work") && refused.contains("--max-total"), "{refused}");
        whole(&program(Kind::Wasm), Quantity(1), &hashes).unwrap();
    }

    #[test]
    fn the_default_price_leaves_a_tenth() {
        assert_eq!(above(Price(1_000)), Price(1_100));
        assert_eq!(above(Price(1)), Price(2));
        assert_eq!(above(Price(u64::MAX)), Price(u64::MAX));
    }
}
