//! The same contract twice: as ethers reads its ABI, and as alloy bound it.

use alloy::primitives::{IntoLogData, LogData};
use alloy::sol_types::{SolEventInterface, SolInterface};
use ethers_contract::BaseContract;
use protocol::bindings::{catalog, messages, registry, settlement, token};

/// Decodes calldata or an error, and encodes what was understood.
type Recode = fn(&[u8]) -> Vec<u8>;

/// A contract as both implementations know it. The functions are alloy's: decode, then encode what was understood.
pub(crate) struct Contract {
    pub(crate) name: &'static str,
    pub(crate) ethers: BaseContract,
    pub(crate) call: Recode,
    pub(crate) calls: usize,
    pub(crate) error: Option<Recode>,
    pub(crate) errors: usize,
    pub(crate) event: Option<fn(&LogData) -> LogData>,
    pub(crate) events: usize,
}

/// All contracts of `contracts/abi`.
pub(crate) fn all() -> Vec<Contract> {
    vec![
        Contract {
            name: "Settlement",
            ethers: parse(include_str!("../../../contracts/abi/Settlement.json")),
            call: interface::<settlement::SettlementCalls>,
            calls: settlement::SettlementCalls::COUNT,
            error: Some(interface::<settlement::SettlementErrors>),
            errors: settlement::SettlementErrors::COUNT,
            event: Some(event::<settlement::SettlementEvents>),
            events: settlement::SettlementEvents::COUNT,
        },
        Contract {
            name: "ComputeToken",
            ethers: parse(include_str!("../../../contracts/abi/ComputeToken.json")),
            call: interface::<token::ComputeTokenCalls>,
            calls: token::ComputeTokenCalls::COUNT,
            error: Some(interface::<token::ComputeTokenErrors>),
            errors: token::ComputeTokenErrors::COUNT,
            event: Some(event::<token::ComputeTokenEvents>),
            events: token::ComputeTokenEvents::COUNT,
        },
        Contract {
            name: "ProviderRegistry",
            ethers: parse(include_str!("../../../contracts/abi/ProviderRegistry.json")),
            call: interface::<registry::ProviderRegistryCalls>,
            calls: registry::ProviderRegistryCalls::COUNT,
            error: Some(interface::<registry::ProviderRegistryErrors>),
            errors: registry::ProviderRegistryErrors::COUNT,
            event: Some(event::<registry::ProviderRegistryEvents>),
            events: registry::ProviderRegistryEvents::COUNT,
        },
        Contract {
            name: "ResourceCatalog",
            ethers: parse(include_str!("../../../contracts/abi/ResourceCatalog.json")),
            call: interface::<catalog::ResourceCatalogCalls>,
            calls: catalog::ResourceCatalogCalls::COUNT,
            error: Some(interface::<catalog::ResourceCatalogErrors>),
            errors: catalog::ResourceCatalogErrors::COUNT,
            event: Some(event::<catalog::ResourceCatalogEvents>),
            events: catalog::ResourceCatalogEvents::COUNT,
        },
        Contract {
            name: "Messages",
            ethers: parse(include_str!("../../../contracts/abi/Messages.json")),
            call: interface::<messages::MessagesCalls>,
            calls: messages::MessagesCalls::COUNT,
            error: None,
            errors: 0,
            event: None,
            events: 0,
        },
    ]
}

fn parse(abi: &str) -> BaseContract {
    BaseContract::from(serde_json::from_str::<ethers_core::abi::Abi>(abi).expect("an ABI that ethers reads"))
}

fn interface<I: SolInterface>(data: &[u8]) -> Vec<u8> {
    I::abi_decode_validate(data).expect("alloy decodes what ethers encoded").abi_encode()
}

fn event<E: SolEventInterface + IntoLogData>(log: &LogData) -> LogData {
    E::decode_raw_log(log.topics(), &log.data).expect("alloy decodes the log that ethers made").into_log_data()
}
