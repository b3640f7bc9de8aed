//! The meter: from what a job has used to the statements that bill it.
//!
//! Statements are cumulative and never fall, whatever an executor reports: a component that went back keeps its last
//! value, and the billed one never passes the units that the order and its funds allow.

use crate::ledger::Assignment;
use alloy::primitives::{Address, B256};
use protocol::amount::{Amount, Overflow, Price, Quantity, Timestamp};
use protocol::order::JobId;
use protocol::receipt::Statement;
use protocol::resource::{Resource, Unit, Usage};

/// Bills one job.
#[derive(Debug, Clone)]
pub struct Meter {
    job: JobId,
    provider: Address,
    resource: Resource,
    price: Price,
    max_units: Quantity,
    last: Option<Statement>,
}

impl Meter {
    /// The meter of a job that has just been matched.
    pub fn new(assignment: &Assignment, provider: Address, resource: Resource) -> Self {
        let affordable = resource.affordable(assignment.cap, assignment.price);
        Self {
            job: assignment.job(),
            provider,
            price: assignment.price,
            max_units: assignment.order.order.max_units.min(affordable),
            resource,
            last: None,
        }
    }

    /// Most base units that the job may use: what the order allows, and what its funds pay for.
    pub const fn max_units(&self) -> Quantity {
        self.max_units
    }

    /// The unit that is billed.
    pub const fn unit(&self) -> Unit {
        self.resource.unit
    }

    /// What `usage` costs.
    pub fn amount(&self, usage: &Usage) -> Result<Amount, Overflow> {
        self.resource.amount(self.bounded(usage).quantity(self.resource.unit), self.price)
    }

    /// What was billed so far.
    pub fn billed(&self) -> Amount {
        self.last.as_ref().map_or(Amount::ZERO, |last| last.amount)
    }

    /// The next statement while the job runs; `None` where it would bill nothing new.
    pub fn interim(&mut self, usage: &Usage, now: Timestamp) -> Result<Option<Statement>, Overflow> {
        let statement = self.statement(usage, B256::ZERO, now)?;
        if statement.amount <= self.billed() {
            return Ok(None);
        }
        self.last = Some(statement.clone());
        Ok(Some(statement))
    }

    /// The last statement of a job that delivered its result. It is made even where it bills nothing new.
    pub fn finish(&mut self, usage: &Usage, result: B256, now: Timestamp) -> Result<Statement, Overflow> {
        let statement = self.statement(usage, result, now)?;
        self.last = Some(statement.clone());
        Ok(statement)
    }

    fn statement(&self, usage: &Usage, result: B256, now: Timestamp) -> Result<Statement, Overflow> {
        let usage = self.bounded(usage);
        let amount = self.resource.amount(usage.quantity(self.resource.unit), self.price)?;
        Ok(Statement {
            job: self.job,
            provider: self.provider,
            sequence: self.last.as_ref().map_or(1, |last| last.sequence.saturating_add(1)),
            usage,
            amount,
            result,
            at: self.last.as_ref().map_or(now, |last| last.at.max(now)),
        })
    }

    /// `usage`, never below the last statement's, and its billed component never above the allowed units.
    fn bounded(&self, usage: &Usage) -> Usage {
        let last = self.last.as_ref().map(|last| last.usage).unwrap_or_default();
        let mut usage = Usage {
            gpu_ms: usage.gpu_ms.max(last.gpu_ms),
            cpu_ms: usage.cpu_ms.max(last.cpu_ms),
            memory_mib_s: usage.memory_mib_s.max(last.memory_mib_s),
            bytes_in: usage.bytes_in.max(last.bytes_in),
            bytes_out: usage.bytes_out.max(last.bytes_out),
            fuel: usage.fuel.max(last.fuel),
            work: usage.work.max(last.work),
            lease_s: usage.lease_s.max(last.lease_s),
        };
        let billed = match self.resource.unit {
            Unit::GpuMs => &mut usage.gpu_ms,
            Unit::CpuMs => &mut usage.cpu_ms,
            Unit::MemoryMibS => &mut usage.memory_mib_s,
            Unit::BytesOut => &mut usage.bytes_out,
            Unit::Flop | Unit::Path | Unit::Hash | Unit::Key => &mut usage.work,
            Unit::LeaseS => &mut usage.lease_s,
        };
        *billed = (*billed).min(self.max_units);
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use protocol::receipt::{Facts, Receipt};

    fn cpu(ms: u64) -> Usage {
        Usage { cpu_ms: Quantity(ms), ..Usage::default() }
    }

    fn meter(max_units: u64, cap: u64) -> Meter {
        let mut assignment = fixture::assignment(1);
        assignment.order.order.max_units = Quantity(max_units);
        assignment.cap = Amount(cap);
        Meter::new(&assignment, fixture::PROVIDER, fixture::resource())
    }

    #[test]
    fn the_cap_bounds_the_units() {
        // The fixture's price is 2 nano a millisecond.
        assert_eq!(meter(1_000, 5_000).max_units(), Quantity(1_000));
        assert_eq!(meter(1_000, 501).max_units(), Quantity(250));
    }

    #[test]
    fn statements_count_up_and_skip_what_bills_nothing() {
        let mut meter = meter(1_000, 5_000);
        let first = meter.interim(&cpu(10), Timestamp(5)).unwrap().unwrap();
        assert_eq!((first.sequence, first.amount, first.at), (1, Amount(20), Timestamp(5)));
        assert_eq!(meter.interim(&cpu(10), Timestamp(6)).unwrap(), None);
        let last = meter.finish(&cpu(10), B256::repeat_byte(1), Timestamp(7)).unwrap();
        assert_eq!((last.sequence, last.amount), (2, Amount(20)));
    }

    #[test]
    fn nothing_ever_falls_and_nothing_passes_the_limit() {
        let mut meter = meter(100, 5_000);
        meter.interim(&cpu(60), Timestamp(9)).unwrap().unwrap();
        assert_eq!(meter.interim(&cpu(40), Timestamp(10)).unwrap(), None);
        let last = meter.finish(&cpu(101), B256::repeat_byte(1), Timestamp(3)).unwrap();
        assert_eq!((last.usage.cpu_ms, last.amount, last.at), (Quantity(100), Amount(200), Timestamp(9)));
    }

    #[test]
    fn every_statement_passes_the_checks_of_the_protocol() {
        let mut assignment = fixture::assignment(1);
        assignment.order.order.max_units = Quantity(500);
        let (resource, worker) = (fixture::resource(), fixture::worker_key());
        let domain = fixture::domain();
        let mut meter = Meter::new(&assignment, fixture::PROVIDER, resource.clone());
        let mut last: Option<Statement> = None;
        for (ms, at) in [(3, 1), (90, 1), (89, 4), (700, 5)] {
            let Some(statement) = meter.interim(&cpu(ms), Timestamp(at)).unwrap() else { continue };
            let facts = Facts {
                domain: &domain,
                order: &assignment.order.order,
                resource: &resource,
                price: assignment.price,
                provider: fixture::PROVIDER,
                worker: worker.address(),
                last: last.as_ref(),
            };
            Receipt::sign(statement.clone(), &domain, &worker).check(&facts).unwrap();
            last = Some(statement);
        }
        assert_eq!(last.unwrap().sequence, 3);
    }
}
