//! Everybody leaves: the constructive form of invariant 16.

use super::{Call, ClaimItem, State, Status, Step};
use crate::amount::{Amount, Timestamp};
use crate::tree::{Node, Tree};
use crate::voucher::BatchNumber;
use alloy::primitives::Address;
use std::collections::BTreeMap;

/// The leaves of committed batches, as their keepers published them.
pub type Leaves = BTreeMap<(Address, BatchNumber), Vec<(Address, Amount)>>;

/// Plays the end of all business from a state on, and keeps the calls that succeed.
#[derive(Debug, Clone)]
pub struct Exit {
    /// Where it led.
    pub state: State,
    /// How.
    pub steps: Vec<Step>,
    now: Timestamp,
    anyone: Address,
}

impl Exit {
    /// From `state` at `start`: nobody does anything but leave, within THAW + X. What anybody may do, `anyone` does.
    pub fn play(state: State, start: Timestamp, anyone: Address, leaves: &Leaves) -> Self {
        let periods = state.periods;
        let mut exit = Self { state, steps: Vec::new(), now: start, anyone };
        exit.announce();
        let settled = periods.challenge + periods.answer + periods.heartbeat + 2;
        for after in
            [periods.answer + 1, settled, periods.thaw.max(periods.retirement), periods.thaw + periods.recovery]
        {
            exit.now = Timestamp(start.get() + u64::from(after));
            exit.end_the_silent();
            exit.take_back();
        }
        for ((keeper, batch), leaves) in leaves {
            exit.pay_out(*keeper, *batch, leaves);
        }
        exit.perform(anyone, Call::SweepFees);
        exit
    }

    fn perform(&mut self, caller: Address, call: Call) {
        let step = Step { now: self.now, caller, call };
        if self.state.apply(&step).is_ok() {
            self.steps.push(step);
        }
    }

    fn announce(&mut self) {
        let channels: Vec<_> = self.state.channels.keys().copied().collect();
        for key in channels {
            self.perform(key.payer, Call::Close { signer: key.signer, keeper: key.keeper });
        }
        let keepers: Vec<_> = self.state.keepers.iter().map(|(keeper, account)| (*keeper, account.owner)).collect();
        for (keeper, owner) in keepers {
            self.perform(owner, Call::Retire { keeper });
        }
    }

    fn end_the_silent(&mut self) {
        let open: Vec<_> = self.state.challenges.keys().copied().collect();
        for (keeper, batch, provider) in open {
            if batch == self.state.keeper(keeper).batch {
                self.perform(self.anyone, Call::Void { keeper, provider });
            }
        }
        // A keeper without debits closes in order; its bond need not suffer.
        let owing = self.state.keepers.iter().filter(|(_, account)| account.debits > Amount::ZERO);
        for keeper in owing.map(|(keeper, _)| *keeper).collect::<Vec<_>>() {
            self.perform(self.anyone, Call::Lapse { keeper });
        }
    }

    fn take_back(&mut self) {
        let keepers: Vec<_> = self.state.keepers.iter().map(|(keeper, account)| (*keeper, account.owner)).collect();
        for (keeper, owner) in keepers {
            if self.state.keeper(keeper).status != Status::Closed {
                self.perform(owner, Call::Unbond { keeper });
            }
        }
        let channels: Vec<_> = self.state.channels.keys().copied().collect();
        for key in channels {
            self.perform(key.payer, Call::Withdraw { signer: key.signer, keeper: key.keeper });
        }
    }

    fn pay_out(&mut self, keeper: Address, batch: BatchNumber, leaves: &[(Address, Amount)]) {
        self.perform(self.anyone, Call::Distribute { keeper, batch, leaves: leaves.to_vec() });
        let nodes = leaves.iter().map(|(provider, amount)| Node::earning(*provider, *amount)).collect();
        let Ok(tree) = Tree::build(nodes) else { return };
        for (index, (provider, amount)) in (0..).zip(leaves) {
            if let Some(proof) = tree.proof(index) {
                let items = vec![ClaimItem { batch, amount: *amount, proof }];
                self.perform(self.anyone, Call::Claim { keeper, provider: *provider, items });
            }
        }
    }
}
