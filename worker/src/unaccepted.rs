//! What running jobs have used and nobody has accepted to pay, over all of them together.
//!
//! Each job is bounded by itself while it is billed. A client with many jobs, or a keeper with many clients, is bounded
//! here: before a job starts, and in every interval of each running one.

use crate::ledger::Assignment;
use crate::node::{Node, lock};
use crate::outlet::Standing;
use alloy::primitives::Address;
use protocol::amount::{Amount, Overflow};
use protocol::order::JobId;
use protocol::voucher::ChannelId;
use protocol::wire::{Code, Refusal};
use std::collections::HashMap;
use std::sync::Mutex;

/// What one running job has used beyond what is paid.
#[derive(Debug, Clone, Copy)]
struct Entry {
    keeper: Address,
    channel: ChannelId,
    amount: Amount,
}

/// The running jobs.
#[derive(Debug, Default)]
pub(crate) struct Unaccepted {
    jobs: Mutex<HashMap<JobId, Entry>>,
}

impl Unaccepted {
    /// What a running job has used beyond what is paid, as of now.
    pub(crate) fn set(&self, assignment: &Assignment, amount: Amount) {
        let entry = Entry { keeper: assignment.keeper, channel: assignment.channel, amount };
        lock(&self.jobs).insert(assignment.job(), entry);
    }

    /// The job ended: from now on its receipts in the ledger tell what it is short of.
    pub(crate) fn remove(&self, job: JobId) {
        lock(&self.jobs).remove(&job);
    }

    /// Of one channel.
    pub(crate) fn of_channel(&self, channel: ChannelId) -> Result<Amount, Overflow> {
        Amount::sum(lock(&self.jobs).values().filter(|entry| entry.channel == channel).map(|entry| entry.amount))
    }

    /// Of all channels with one keeper; direct channels all have the provider itself as theirs.
    pub(crate) fn of_keeper(&self, keeper: Address) -> Result<Amount, Overflow> {
        Amount::sum(lock(&self.jobs).values().filter(|entry| entry.keeper == keeper).map(|entry| entry.amount))
    }
}

impl Node {
    /// Whether what is not accepted, of this channel and of this keeper, leaves room for more work. Jobs that ended
    /// unpaid count for their channel alone: else any client could keep a keeper's other clients out.
    pub(crate) async fn check_unaccepted(&self, assignment: &Assignment) -> Result<(), Standing> {
        let ended =
            self.ledger.unpaid(assignment.channel).await.map_err(|error| Standing::Unknown(error.to_string()))?;
        let too_much = |error: Overflow| Standing::Unknown(error.to_string());
        let channel = self.unaccepted.of_channel(assignment.channel).and_then(|sum| sum.plus(ended));
        let channel = channel.map_err(too_much)?;
        let keeper = self.unaccepted.of_keeper(assignment.keeper).map_err(too_much)?;
        let limits = &self.config.limits;
        let refused = |text: String| Err(Standing::Refused(Refusal::new(Code::Limited, text)));
        if ended > limits.unaccepted {
            return refused(format!(
                "jobs of this channel that ended are {ended} nano short of their price: pay them first"
            ));
        }
        if channel > limits.unaccepted {
            let limit = limits.unaccepted;
            return refused(format!(
                "{channel} nano of this channel's work are not accepted, the worker's limit is {limit}"
            ));
        }
        if keeper > limits.unaccepted_keeper {
            let limit = limits.unaccepted_keeper;
            return refused(format!(
                "{keeper} nano of all this keeper's work are not accepted, the worker's limit is {limit}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn jobs_of_one_channel_and_of_one_keeper_add_up() {
        let unaccepted = Unaccepted::default();
        let (first, second) = (fixture::assignment(1), fixture::assignment(2));
        let other = fixture::assignment_of(&fixture::key(0x21), first.keeper, 3);
        let stranger = fixture::assignment_of(&fixture::session_key(), fixture::PROVIDER, 4);
        for (assignment, amount) in [(&first, 10), (&second, 20), (&other, 40), (&stranger, 80)] {
            unaccepted.set(assignment, Amount(amount));
        }
        assert_eq!(unaccepted.of_channel(first.channel), Ok(Amount(30)));
        assert_eq!(unaccepted.of_channel(other.channel), Ok(Amount(40)));
        assert_eq!(unaccepted.of_keeper(first.keeper), Ok(Amount(70)));
        unaccepted.set(&first, Amount(11));
        assert_eq!(unaccepted.of_channel(first.channel), Ok(Amount(31)), "the newest figure of a job counts");
        unaccepted.remove(second.job());
        assert_eq!(unaccepted.of_channel(first.channel), Ok(Amount(11)));
        unaccepted.set(&second, Amount(u64::MAX));
        assert!(unaccepted.of_keeper(first.keeper).is_err(), "a sum that does not fit is no low sum");
    }
}
