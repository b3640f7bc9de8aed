//! Channels and bonds: `open`, `close`, `withdraw`, `bond`, `retire`, `unbond`.

use super::accounts::later;
use super::{ChannelKey, Event, Keeper, Outcome, Refusal, State, Status};
use crate::amount::{Amount, Timestamp};
use alloy::primitives::Address;

impl State {
    /// The payer funds the channel of itself, a session key and a keeper, or of a provider that never bonded.
    pub fn open(
        &mut self,
        now: Timestamp,
        payer: Address,
        signer: Address,
        keeper: Address,
        amount: Amount,
    ) -> Outcome {
        self.transact(now, keeper, |state, events| {
            state.check_deposit(amount, &[signer, keeper])?;
            let status = state.keeper(keeper).status;
            if !matches!(status, Status::None | Status::Active) {
                return Err(Refusal::WrongKeeperStatus { status });
            }
            let key = ChannelKey { payer, signer, keeper };
            let channel = state.channels.entry(key).or_default();
            channel.deposit = channel.deposit.plus(amount)?;
            channel.thaw_at = Timestamp::ZERO;
            let deposit = channel.deposit;
            state.tokens.pull(payer, amount)?;
            events.push(Event::ChannelOpened { channel: key.id(), payer, keeper, signer, amount, deposit });
            Ok(())
        })
    }

    /// The payer starts to leave; debits go on.
    pub fn close(&mut self, now: Timestamp, payer: Address, signer: Address, keeper: Address) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let key = ChannelKey { payer, signer, keeper };
            let thaw_at = later(now, state.periods.thaw);
            let channel = state.channels.get_mut(&key).filter(|channel| channel.deposit > Amount::ZERO);
            let channel = channel.ok_or(Refusal::ChannelEmpty)?;
            if channel.thaw_at != Timestamp::ZERO {
                return Err(Refusal::AlreadyClosing { thaw_at: channel.thaw_at });
            }
            channel.thaw_at = thaw_at;
            events.push(Event::ChannelClosing { channel: key.id(), thaw_at });
            Ok(())
        })
    }

    /// The payer takes back what was not spent; after a wind-down, what was not settled.
    pub fn withdraw(&mut self, now: Timestamp, payer: Address, signer: Address, keeper: Address) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let key = ChannelKey { payer, signer, keeper };
            let account = state.keeper(keeper);
            let mut channel = state.channel(&key);
            state.check_withdrawal(now, &account, channel.thaw_at)?;
            if account.status == Status::WoundDown {
                channel.settled = state.baseline(&key).settled;
                channel.spent = channel.settled;
            }
            let amount = channel.deposit.minus(channel.spent)?;
            channel.deposit = channel.spent;
            channel.thaw_at = Timestamp::ZERO;
            if let Some(stored) = state.channels.get_mut(&key) {
                *stored = channel;
            }
            state.tokens.push(payer, amount)?;
            events.push(Event::withdrawn(&key, amount));
            Ok(())
        })
    }

    /// Adds to the caller's bond; the first bond makes it a keeper.
    pub fn bond(&mut self, now: Timestamp, keeper: Address, amount: Amount, owner: Address) -> Outcome {
        self.transact(now, keeper, |state, events| {
            state.check_deposit(amount, &[])?;
            let mut account = state.keeper(keeper);
            match account.status {
                Status::None => account = state.first_bond(now, amount, owner)?,
                Status::Active if account.owner == owner => account.bond = account.bond.plus(amount)?,
                Status::Active => return Err(Refusal::OwnerMismatch { owner: account.owner }),
                status => return Err(Refusal::WrongKeeperStatus { status }),
            }
            state.keepers.insert(keeper, account);
            state.tokens.pull(keeper, amount)?;
            events.push(Event::Bonded { keeper, owner, amount, bond: account.bond });
            Ok(())
        })
    }

    /// The bond's owner announces the keeper's end.
    pub fn retire(&mut self, now: Timestamp, caller: Address, keeper: Address) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let account = state.owned(keeper, caller)?;
            if account.status != Status::Active {
                return Err(Refusal::WrongKeeperStatus { status: account.status });
            }
            account.status = Status::Retiring;
            account.retired_at = now;
            events.push(Event::Retired { keeper, retired_at: now });
            Ok(())
        })
    }

    /// The bond's owner takes back what is left of it.
    pub fn unbond(&mut self, now: Timestamp, caller: Address, keeper: Address) -> Outcome {
        self.transact(now, keeper, |state, events| {
            let (retirement, recovery) = (state.periods.retirement, state.periods.recovery);
            let account = *state.owned(keeper, caller)?;
            let not_before = match account.status {
                Status::Retiring => later(account.retired_at, retirement),
                Status::WoundDown => later(account.wound_at, recovery),
                status => return Err(Refusal::WrongKeeperStatus { status }),
            };
            if now < not_before {
                return Err(Refusal::TooEarly { not_before });
            }
            if account.status == Status::Retiring && state.collecting(keeper)?.debits > Amount::ZERO {
                return Err(Refusal::DebitsOpen { debits: account.debits });
            }
            let stored = state.owned(keeper, caller)?;
            stored.bond = Amount::ZERO;
            if stored.status == Status::Retiring {
                stored.status = Status::Closed;
            }
            state.tokens.push(caller, account.bond)?;
            events.push(Event::Unbonded { keeper, amount: account.bond });
            Ok(())
        })
    }

    fn check_deposit(&self, amount: Amount, addresses: &[Address]) -> Result<(), Refusal> {
        if self.paused {
            return Err(Refusal::EnforcedPause);
        }
        if addresses.contains(&Address::ZERO) {
            return Err(Refusal::ZeroAddress);
        }
        if amount == Amount::ZERO { Err(Refusal::ZeroAmount) } else { Ok(()) }
    }

    fn check_withdrawal(&self, now: Timestamp, account: &Keeper, thaw_at: Timestamp) -> Result<(), Refusal> {
        let not_before = match account.status {
            Status::WoundDown => later(account.wound_at, self.periods.recovery),
            Status::Closed => return Ok(()),
            Status::None | Status::Active | Status::Retiring if thaw_at == Timestamp::ZERO => {
                return Err(Refusal::NotClosing);
            }
            Status::None | Status::Active | Status::Retiring => thaw_at,
        };
        if now < not_before { Err(Refusal::TooEarly { not_before }) } else { Ok(()) }
    }

    fn first_bond(&self, now: Timestamp, amount: Amount, owner: Address) -> Result<Keeper, Refusal> {
        if owner == Address::ZERO {
            return Err(Refusal::ZeroAddress);
        }
        if amount < self.minimum_bond {
            return Err(Refusal::BondTooSmall { minimum: self.minimum_bond });
        }
        Ok(Keeper {
            bond: amount,
            batch: 1,
            since: now,
            status: Status::Active,
            fee_bps: self.fee_bps,
            next_fee_bps: self.fee_bps,
            owner,
            ..Keeper::default()
        })
    }

    fn owned(&mut self, keeper: Address, caller: Address) -> Result<&mut Keeper, Refusal> {
        let account = self.keepers.get_mut(&keeper).ok_or(Refusal::NotBondOwner { owner: Address::ZERO })?;
        if account.owner == caller { Ok(account) } else { Err(Refusal::NotBondOwner { owner: account.owner }) }
    }
}
