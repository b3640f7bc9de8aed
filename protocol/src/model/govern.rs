//! The few things that governance may set, and where the fees go.

use super::{Event, Outcome, Refusal, State};
use crate::amount::Amount;
use alloy::primitives::Address;

impl State {
    /// Sets the fee rate: at once for direct payments, for a keeper from the batch after next.
    pub fn set_fee_bps(&mut self, caller: Address, fee_bps: u16) -> Outcome {
        self.check_governor(caller)?;
        if fee_bps > Self::MAXIMUM_FEE_BPS {
            return Err(Refusal::FeeTooHigh { given: fee_bps, maximum: Self::MAXIMUM_FEE_BPS });
        }
        self.fee_bps = fee_bps;
        Ok(vec![Event::FeeBpsChanged { fee_bps }])
    }

    /// Sets the least first bond of new keepers.
    pub fn set_minimum_bond(&mut self, caller: Address, minimum_bond: Amount) -> Outcome {
        self.check_governor(caller)?;
        if minimum_bond == Amount::ZERO {
            return Err(Refusal::ZeroAmount);
        }
        if minimum_bond > Self::MAXIMUM_MINIMUM_BOND {
            return Err(Refusal::MinimumBondTooHigh { given: minimum_bond, maximum: Self::MAXIMUM_MINIMUM_BOND });
        }
        self.minimum_bond = minimum_bond;
        Ok(vec![Event::MinimumBondChanged { minimum_bond }])
    }

    /// Stops `open` and `bond`.
    pub fn pause(&mut self, caller: Address) -> Outcome {
        if caller != self.governor && caller != self.guardian {
            return Err(Refusal::NotGuardian);
        }
        if self.paused {
            return Err(Refusal::EnforcedPause);
        }
        self.paused = true;
        Ok(vec![Event::Paused { account: caller }])
    }

    /// Ends a pause.
    pub fn unpause(&mut self, caller: Address) -> Outcome {
        self.check_governor(caller)?;
        if !self.paused {
            return Err(Refusal::ExpectedPause);
        }
        self.paused = false;
        Ok(vec![Event::Unpaused { account: caller }])
    }

    /// Pays all fees to the treasury.
    pub fn sweep_fees(&mut self) -> Outcome {
        let (treasury, amount) = (self.treasury, self.fees);
        self.tokens.push(treasury, amount)?;
        self.fees = Amount::ZERO;
        Ok(vec![Event::FeesSwept { treasury, amount }])
    }

    fn check_governor(&self, caller: Address) -> Result<(), Refusal> {
        if caller == self.governor { Ok(()) } else { Err(Refusal::NotGovernor) }
    }
}
