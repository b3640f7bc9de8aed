//! What the chain says, for the walk's report and for the end-to-end tests.

use crate::accounts::Accounts;
use alloy::primitives::{Address, TxHash};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use anyhow::Context;
use protocol::address_book::AddressBook;
use protocol::amount::{Amount, Quantity};
use protocol::bindings::{settlement, token};
use protocol::voucher::{BatchNumber, ChannelId};
use std::collections::BTreeSet;

/// Reads the contracts of one network.
#[derive(Debug, Clone)]
pub struct Facts {
    provider: DynProvider,
    book: AddressBook,
}

/// Balances of everyone who can hold tokens on the local chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balances {
    /// The client's wallet.
    pub client: Amount,
    /// The provider's.
    pub provider: Amount,
    /// The keeper's.
    pub keeper: Amount,
    /// The keeper's owner's.
    pub keeper_owner: Amount,
    /// The treasury's.
    pub treasury: Amount,
    /// What the Settlement contract holds for everybody.
    pub settlement: Amount,
    /// All tokens there are.
    pub supply: Amount,
}

impl Balances {
    /// Whether nobody else holds anything.
    pub fn is_all(&self) -> bool {
        let held = [self.client, self.provider, self.keeper, self.keeper_owner, self.treasury, self.settlement];
        Amount::sum(held) == Ok(self.supply)
    }
}

/// A payout of final earnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// Of which batch.
    pub batch: BatchNumber,
    /// How much.
    pub amount: Amount,
    /// By which transaction.
    pub transaction: TxHash,
}

impl Facts {
    /// Facts read through `provider`.
    pub const fn new(provider: DynProvider, book: AddressBook) -> Self {
        Self { provider, book }
    }

    /// The Settlement contract.
    pub fn settlement(&self) -> settlement::SettlementInstance<DynProvider> {
        settlement::SettlementInstance::new(self.book.settlement(), self.provider.clone())
    }

    /// Everybody's balances now.
    pub async fn balances(&self, accounts: &Accounts) -> anyhow::Result<Balances> {
        let token = token::ComputeTokenInstance::new(self.book.token(), self.provider.clone());
        let of = async |account: Address| -> anyhow::Result<Amount> {
            Ok(Amount(u64::try_from(token.balanceOf(account).call().await?)?))
        };
        Ok(Balances {
            client: of(accounts.client.address()).await?,
            provider: of(accounts.provider.address()).await?,
            keeper: of(accounts.keeper.address()).await?,
            keeper_owner: of(accounts.keeper_owner.address()).await?,
            treasury: of(accounts.treasury.address()).await?,
            settlement: of(self.book.settlement()).await?,
            supply: Amount(u64::try_from(token.totalSupply().call().await?)?),
        })
    }

    /// A channel's deposit and what was debited from it.
    pub async fn channel(&self, id: ChannelId) -> anyhow::Result<(Amount, Amount)> {
        let channel = self.settlement().channel(id.0).call().await?;
        Ok((Amount(channel.deposit), Amount(channel.spent)))
    }

    /// All that `provider` was paid from a keeper's batches by claims.
    pub async fn claims(&self, keeper: Address, provider: Address) -> anyhow::Result<Vec<Claimed>> {
        let filter = Filter::new()
            .address(self.book.settlement())
            .event_signature(settlement::Settlement::Claimed::SIGNATURE_HASH)
            .topic1(keeper)
            .topic2(provider)
            .from_block(0);
        let logs = self.provider.get_logs(&filter).await?;
        let mut claims = Vec::new();
        for log in &logs {
            let event = settlement::Settlement::Claimed::decode_log(&log.inner)?;
            let transaction = log.transaction_hash.context("a log of a mined block")?;
            claims.extend(event.data.payments.iter().map(|payment| Claimed {
                batch: payment.batch,
                amount: Amount(payment.amount),
                transaction,
            }));
        }
        Ok(claims)
    }

    /// By how much each redemption raised what a direct channel has spent.
    pub async fn redemptions(&self, channel: ChannelId) -> anyhow::Result<Vec<Amount>> {
        let filter = Filter::new()
            .address(self.book.settlement())
            .event_signature(settlement::Settlement::Redeemed::SIGNATURE_HASH)
            .topic1(channel.0)
            .from_block(0);
        let logs = self.provider.get_logs(&filter).await?;
        logs.iter()
            .map(|log| {
                let event = settlement::Settlement::Redeemed::decode_log(&log.inner)?;
                Ok(Amount(event.amount).plus(Amount(event.fee))?)
            })
            .collect()
    }

    /// Gas of a set of transactions.
    pub async fn gas(&self, transactions: impl IntoIterator<Item = TxHash>) -> anyhow::Result<Quantity> {
        let mut gas = 0;
        for hash in transactions.into_iter().collect::<BTreeSet<_>>() {
            let receipt = self.provider.get_transaction_receipt(hash).await?.context("a mined transaction")?;
            gas += receipt.gas_used;
        }
        Ok(Quantity(gas))
    }
}
