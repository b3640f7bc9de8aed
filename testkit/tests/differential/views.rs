//! Everything that can be asked of the contracts, and what the model answers.

use crate::chain::Chain;
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::{SolCall, SolValue};
use protocol::amount::{Amount, Timestamp};
use protocol::bindings::settlement::{self, Settlement};
use protocol::bindings::token::ComputeToken;
use protocol::model::{Call, Channel, ChannelKey, State, Status, Step};
use protocol::voucher::BatchNumber;
use std::collections::BTreeSet;

/// A question to a view function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    Channel(ChannelKey),
    Balances(ChannelKey),
    Keeper(Address),
    CurrentBatch(Address),
    Batch(Address, BatchNumber),
    IsFinal(Address, BatchNumber),
    Challenged(Address, BatchNumber, Address),
    Paid(Address, BatchNumber, Address),
    Distributed(Address, BatchNumber),
    Recovered(ChannelKey, Address, BatchNumber),
    Fees,
    FeeBps,
    MinimumBond,
    Paused,
    Held,
    Supply,
    Tokens(Address),
}

impl View {
    /// What a step is about, and everything that it changed.
    pub(crate) fn touched(step: &Step, before: &State, after: &State) -> BTreeSet<Self> {
        let mut views: BTreeSet<_> = [Self::Fees, Self::Held, Self::Supply, Self::Tokens(step.caller)].into();
        if let Some(keeper) = step.keeper() {
            let batch = after.keeper(keeper).batch;
            views.extend([Self::Keeper(keeper), Self::CurrentBatch(keeper), Self::Tokens(keeper)]);
            views.extend([Self::Batch(keeper, batch), Self::IsFinal(keeper, batch)]);
            views.insert(Self::IsFinal(keeper, batch.saturating_sub(1)));
        } else {
            views.extend([Self::FeeBps, Self::MinimumBond, Self::Paused]);
        }
        views.extend(Self::named(step));
        views.extend(after.channels.changed(&before.channels).flat_map(|k| [Self::Channel(*k), Self::Balances(*k)]));
        views.extend(after.keepers.changed(&before.keepers).map(|keeper| Self::Keeper(*keeper)));
        views.extend(after.batches.changed(&before.batches).map(|(k, b)| Self::Batch(*k, *b)));
        views.extend(after.challenges.changed(&before.challenges).map(|(k, b, p)| Self::Challenged(*k, *b, *p)));
        views.extend(after.paid.changed(&before.paid).map(|(k, b, p)| Self::Paid(*k, *b, *p)));
        views.extend(after.recovered.changed(&before.recovered).map(|(k, p, b)| Self::Recovered(*k, *p, *b)));
        views.extend(after.distributed.changed(&before.distributed).map(|(k, b)| Self::Distributed(*k, *b)));
        views.extend(after.tokens.balances.changed(&before.tokens.balances).map(|account| Self::Tokens(*account)));
        views
    }

    /// Everything that ever was.
    pub(crate) fn all(state: &State) -> BTreeSet<Self> {
        let mut views: BTreeSet<_> =
            [Self::Fees, Self::FeeBps, Self::MinimumBond, Self::Paused, Self::Held, Self::Supply].into();
        views.extend(state.channels.keys().flat_map(|key| [Self::Channel(*key), Self::Balances(*key)]));
        views.extend(state.keepers.keys().flat_map(|keeper| [Self::Keeper(*keeper), Self::CurrentBatch(*keeper)]));
        for (keeper, batch) in state.batches.keys().copied() {
            views.extend([Self::Batch(keeper, batch), Self::IsFinal(keeper, batch), Self::Distributed(keeper, batch)]);
        }
        views.extend(state.challenges.keys().map(|(k, b, p)| Self::Challenged(*k, *b, *p)));
        views.extend(state.paid.keys().map(|(k, b, p)| Self::Paid(*k, *b, *p)));
        views.extend(state.recovered.keys().map(|(k, p, b)| Self::Recovered(*k, *p, *b)));
        views.extend(state.tokens.balances.keys().map(|account| Self::Tokens(*account)));
        views
    }

    /// What the arguments of a call name, changed or not.
    fn named(step: &Step) -> Vec<Self> {
        match &step.call {
            Call::Open { signer, keeper, .. } | Call::Close { signer, keeper } | Call::Withdraw { signer, keeper } => {
                let key = ChannelKey { payer: step.caller, signer: *signer, keeper: *keeper };
                vec![Self::Channel(key), Self::Balances(key)]
            }
            Call::Claim { keeper, provider, items } => {
                let mut views = vec![Self::Tokens(*provider)];
                views.extend(items.iter().map(|item| Self::Paid(*keeper, item.batch, *provider)));
                views
            }
            Call::Distribute { keeper, batch, .. } => vec![Self::Distributed(*keeper, *batch)],
            Call::Recover { keeper, pairs } => pairs
                .iter()
                .filter_map(|pair| {
                    let voucher = pair.voucher.message;
                    let key = ChannelKey { payer: voucher.payer, signer: pair.voucher.by?, keeper: *keeper };
                    Some([Self::Channel(key), Self::Recovered(key, voucher.latest.provider, voucher.batch)])
                })
                .flatten()
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whom to ask, and how.
    pub(crate) fn question(&self, chain: &Chain) -> (Address, Vec<u8>) {
        let asked = match *self {
            Self::Held => ComputeToken::balanceOfCall { account: chain.settlement }.abi_encode(),
            Self::Supply => ComputeToken::totalSupplyCall {}.abi_encode(),
            Self::Tokens(account) => ComputeToken::balanceOfCall { account }.abi_encode(),
            _ => return (chain.settlement, self.settlement_question()),
        };
        (chain.token, asked)
    }

    fn settlement_question(&self) -> Vec<u8> {
        match *self {
            Self::Channel(key) => Settlement::channelCall { id: key.id().0 }.abi_encode(),
            Self::Balances(ChannelKey { payer, signer, keeper }) => {
                Settlement::balancesCall { payer, signer, keeper }.abi_encode()
            }
            Self::Keeper(account) => Settlement::keeperCall { account }.abi_encode(),
            Self::CurrentBatch(keeper) => Settlement::currentBatchCall { keeper }.abi_encode(),
            Self::Batch(keeper, number) => Settlement::batchCall { keeper, number }.abi_encode(),
            Self::IsFinal(keeper, number) => Settlement::isFinalCall { keeper, number }.abi_encode(),
            Self::Challenged(keeper, number, provider) => {
                Settlement::challengedCall { keeper, number, provider }.abi_encode()
            }
            Self::Paid(keeper, number, provider) => Settlement::paidCall { keeper, provider, number }.abi_encode(),
            Self::Distributed(keeper, number) => Settlement::distributedCall { keeper, number }.abi_encode(),
            Self::Recovered(key, provider, number) => {
                Settlement::recoveredCall { id: key.id().0, provider, number }.abi_encode()
            }
            Self::Fees => Settlement::feesCall {}.abi_encode(),
            Self::FeeBps => Settlement::feeBpsCall {}.abi_encode(),
            Self::MinimumBond => Settlement::minimumBondCall {}.abi_encode(),
            Self::Paused => Settlement::pausedCall {}.abi_encode(),
            Self::Held | Self::Supply | Self::Tokens(_) => Vec::new(),
        }
    }

    /// What the model says, as the chain encodes it.
    pub(crate) fn answer(&self, state: &State, now: Timestamp, chain: &Chain) -> Vec<u8> {
        match *self {
            Self::Channel(key) => channel(&state.channel(&key)),
            Self::Balances(key) => balances(state, &key, now),
            Self::Keeper(keeper) => account(state, keeper),
            Self::CurrentBatch(keeper) => {
                let batch = state.keeper(keeper).batch;
                (batch + u32::from(state.is_final(now, keeper, batch))).abi_encode()
            }
            Self::Batch(keeper, number) => batch(state, keeper, number),
            Self::IsFinal(keeper, number) => state.is_final(now, keeper, number).abi_encode(),
            Self::Challenged(keeper, number, provider) => {
                let challenge = state.challenges.get(&(keeper, number, provider)).copied().unwrap_or_default();
                settlement::Challenge { owed: challenge.owed.get(), deadline: seconds(challenge.deadline) }.abi_encode()
            }
            Self::Paid(keeper, number, provider) => amount(state.paid.get(&(keeper, number, provider))),
            Self::Distributed(keeper, number) => state.distributed.contains_key(&(keeper, number)).abi_encode(),
            Self::Recovered(key, provider, number) => amount(state.recovered.get(&(key, provider, number))),
            Self::Fees => amount(Some(&state.fees)),
            Self::FeeBps => state.fee_bps.abi_encode(),
            Self::MinimumBond => amount(Some(&state.minimum_bond)),
            Self::Paused => state.paused.abi_encode(),
            Self::Held => amount(Some(&state.tokens.held)),
            Self::Supply => (chain.supply - U256::from(state.tokens.burned.get())).abi_encode(),
            Self::Tokens(account) => amount(Some(&state.tokens.balance(account))),
        }
    }
}

fn amount(amount: Option<&Amount>) -> Vec<u8> {
    amount.copied().unwrap_or_default().get().abi_encode()
}

fn seconds(moment: Timestamp) -> u32 {
    u32::try_from(moment.get()).unwrap()
}

fn channel(channel: &Channel) -> Vec<u8> {
    settlement::Channel {
        deposit: channel.deposit.get(),
        spent: channel.spent.get(),
        settled: channel.settled.get(),
        batch: channel.batch,
        thawAt: seconds(channel.thaw_at),
    }
    .abi_encode()
}

/// Everything that became final counts as settled here, whether or not it was written down.
fn balances(state: &State, key: &ChannelKey, now: Timestamp) -> Vec<u8> {
    let (channel, keeper) = (state.channel(key), state.keeper(key.keeper));
    let current = keeper.batch + u32::from(state.is_final(now, key.keeper, keeper.batch));
    let settled = if channel.batch < current { channel.spent } else { channel.settled };
    let left = channel.deposit.minus(channel.spent).unwrap().get();
    let is_closing = channel.thaw_at > Timestamp::ZERO;
    settlement::Balances {
        available: if is_closing { 0 } else { left },
        thawing: if is_closing { left } else { 0 },
        atRisk: channel.spent.minus(settled).unwrap().get(),
        settled: settled.get(),
        thawAt: seconds(channel.thaw_at),
    }
    .abi_encode()
}

fn account(state: &State, keeper: Address) -> Vec<u8> {
    let account = state.keeper(keeper);
    let pending = state.batches.get(&(keeper, account.batch));
    settlement::KeeperState {
        debits: account.debits.get(),
        batch: account.batch,
        since: seconds(account.since),
        committedAt: pending.map_or(0, |batch| seconds(batch.committed_at)),
        open: alloy::primitives::Uint::from(pending.map_or(0, |batch| batch.open)),
        status: match account.status {
            Status::None => 0,
            Status::Active => 1,
            Status::Retiring => 2,
            Status::Closed => 3,
            Status::WoundDown => 4,
        },
        feeBps: account.fee_bps,
        nextFeeBps: account.next_fee_bps,
        owner: account.owner,
        bond: account.bond.get(),
        endedAt: seconds(account.retired_at.max(account.wound_at)),
    }
    .abi_encode()
}

fn batch(state: &State, keeper: Address, number: BatchNumber) -> Vec<u8> {
    let batch = state.batches.get(&(keeper, number));
    settlement::Batch {
        sum: batch.map_or(0, |batch| batch.earnings.sum.get()),
        fee: batch.map_or(0, |batch| batch.fee.get()),
        linesSum: batch.map_or(0, |batch| batch.lines.sum.get()),
        committedAt: batch.map_or(0, |batch| seconds(batch.committed_at)),
        earnings: batch.map_or(B256::ZERO, |batch| batch.earnings.commitment()),
        lines: batch.map_or(B256::ZERO, |batch| batch.lines.commitment()),
    }
    .abi_encode()
}
