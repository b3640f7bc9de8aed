//! What a contract's error means, and what to do about it.

use alloy::primitives::Bytes;
use alloy::sol_types::SolInterface;
use protocol::amount::Amount;
use protocol::bindings::registry::ProviderRegistry::ProviderRegistryErrors;
use protocol::bindings::settlement::Settlement::SettlementErrors;
use protocol::bindings::token::ComputeToken::ComputeTokenErrors;

/// A sentence for what a contract returned when it refused a call.
pub fn explain(data: &Bytes) -> String {
    if let Ok(error) = SettlementErrors::abi_decode(data) {
        return settlement(&error);
    }
    if let Ok(error) = ProviderRegistryErrors::abi_decode(data) {
        return registry(&error);
    }
    if let Ok(error) = ComputeTokenErrors::abi_decode(data) {
        return token(&error);
    }
    if data.is_empty() {
        return "the contract refused without a reason: check the addresses in the address book".into();
    }
    format!("the contract refused with {data}, which this version does not know")
}

fn settlement(error: &SettlementErrors) -> String {
    let capa = |nano: u64| Amount(nano).to_capa();
    match error {
        SettlementErrors::ChannelEmpty(_) => {
            "this channel holds nothing: check payer, session key and keeper, or open it first".into()
        }
        SettlementErrors::AlreadyClosing(e) => {
            format!("the channel is closing already and can be withdrawn at Unix time {}", e.thawAt)
        }
        SettlementErrors::NotClosing(_) => "close the channel first".into(),
        SettlementErrors::TooEarly(e) => format!("this is possible from Unix time {} on: wait until then", e.notBefore),
        SettlementErrors::BondTooSmall(e) => {
            format!("the first bond must be at least {} CAPA, not {}", capa(e.minimum), capa(e.given))
        }
        SettlementErrors::OwnerMismatch(e) => format!("the bond belongs to {}: name this owner", e.owner),
        SettlementErrors::NotBondOwner(e) => format!("the bond belongs to {}: send this with its key", e.owner),
        SettlementErrors::WrongKeeperStatus(e) => {
            format!("keeper {} cannot do this in its present state ({})", e.keeper, e.status)
        }
        SettlementErrors::ZeroAmount(_) => "the amount must be above zero".into(),
        SettlementErrors::ZeroAddress(_) => "an address is missing".into(),
        SettlementErrors::EnforcedPause(_) => {
            "new channels and bonds are paused by the guardian: withdrawals are not; try again later".into()
        }
        SettlementErrors::BatchPending(e) => format!("batch {} must become final first: wait for it", e.batch),
        SettlementErrors::DebitsOpen(e) => format!("{} CAPA of debits must be committed first", capa(e.debits)),
        other => format!("the Settlement contract refused: {other:?}"),
    }
}

fn registry(error: &ProviderRegistryErrors) -> String {
    match error {
        ProviderRegistryErrors::NotRegistered(e) => format!("{} is no provider yet: register first", e.provider),
        ProviderRegistryErrors::WorkerTaken(e) => format!("worker {} signs for {} already", e.worker, e.provider),
        ProviderRegistryErrors::NotWorkerOf(e) => format!("worker {} does not sign for {}", e.worker, e.provider),
        ProviderRegistryErrors::NoConsent(e) => {
            format!("the consent is signed by {}, it must be signed by the worker key {}", e.signer, e.worker)
        }
        other => format!("the ProviderRegistry contract refused: {other:?}"),
    }
}

fn token(error: &ComputeTokenErrors) -> String {
    match error {
        ComputeTokenErrors::ERC20InsufficientBalance(e) => {
            format!("{} holds {} nano CAPA, {} are needed", e.sender, e.balance, e.needed)
        }
        ComputeTokenErrors::ERC20InsufficientAllowance(e) => {
            format!(
                "{} may spend {} nano CAPA, {} are needed: the permit was used or has expired",
                e.spender, e.allowance, e.needed
            )
        }
        other => format!("the token refused: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, B256};
    use alloy::sol_types::SolError;
    use protocol::bindings::registry::ProviderRegistry::NoConsent;
    use protocol::bindings::settlement::Settlement::{BondTooSmall, NotClosing, TooEarly, TotalNotAbove};

    #[test]
    fn errors_say_what_to_do() {
        let worker = Address::repeat_byte(7);
        for (data, words) in [
            (NotClosing { channelId: B256::ZERO }.abi_encode(), "close the channel first"),
            (TooEarly { notBefore: alloy::primitives::U256::from(99) }.abi_encode(), "from Unix time 99 on"),
            (BondTooSmall { given: 1, minimum: 2_000_000_000 }.abi_encode(), "at least 2.000000000 CAPA"),
            (NoConsent { worker, signer: Address::ZERO }.abi_encode(), "must be signed by the worker key"),
            (TotalNotAbove { channelId: B256::ZERO, total: 1, spent: 2 }.abi_encode(), "spent: 2"),
            (Vec::new(), "without a reason"),
            (vec![1, 2, 3, 4], "0x01020304"),
        ] {
            let text = explain(&data.into());
            assert!(text.contains(words), "{text}");
        }
    }
}
