//! Signed messages: `protocol`'s digests and signatures against typed data hashed by ethers.
//!
//! The types come from the ABI of `Messages`, the values from what `protocol` writes as JSON, so that a wallet that is
//! given the same typed data signs the same digest.

use crate::tokens::runner;
use alloy::primitives::{Address, B256, U256};
use ethers_core::types::transaction::eip712::{Eip712, TypedData};
use ethers_core::types::{RecoveryMessage, Signature as EthersSignature, U256 as EthersU256};
use proptest::prelude::{Strategy, any};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::order::{JobId, Offer, Order};
use protocol::provider::worker_consent;
use protocol::receipt::Statement;
use protocol::resource::{ResourceId, Usage};
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{Acceptance, Allocation, Voucher};
use serde_json::{Map, Value, json};

/// The EIP-712 types of every struct in the ABI of `Messages`.
fn types() -> Map<String, Value> {
    let abi: Vec<Value> = serde_json::from_str(include_str!("../../../contracts/abi/Messages.json")).unwrap();
    let domain = ["name string", "version string", "chainId uint256", "verifyingContract address"];
    let mut types = Map::from_iter([("EIP712Domain".to_owned(), fields(&domain))]);
    let mut parameters: Vec<Value> = abi.iter().flat_map(|item| item["inputs"].as_array().unwrap().clone()).collect();
    while let Some(parameter) = parameters.pop() {
        if let Some(members) = parameter["components"].as_array() {
            let described: Vec<_> =
                members.iter().map(|member| format!("{} {}", member["name"].as_str().unwrap(), kind(member))).collect();
            let described: Vec<_> = described.iter().map(String::as_str).collect();
            types.insert(kind(&parameter), fields(&described));
            parameters.extend(members.iter().cloned());
        }
    }
    types
}

/// The EIP-712 name of a parameter's type: structs by their name.
fn kind(parameter: &Value) -> String {
    let internal = parameter["internalType"].as_str().unwrap();
    internal.strip_prefix("struct ").unwrap_or(internal).to_owned()
}

fn fields(described: &[&str]) -> Value {
    let field = |text: &&str| {
        let (name, kind) = text.split_once(' ').unwrap();
        json!({ "name": name, "type": kind })
    };
    described.iter().map(field).collect()
}

/// The digest that ethers computes.
fn ethers(domain: &Domain, types: Value, primary: &str, message: Value) -> B256 {
    let typed = json!({
        "types": types,
        "primaryType": primary,
        "domain": {
            "name": "Capa",
            "version": "1",
            "chainId": domain.chain_id().to_string(),
            "verifyingContract": domain.settlement(),
        },
        "message": message,
    });
    let typed: TypedData = serde_json::from_value(typed).expect("typed data that ethers reads");
    B256::from(typed.encode_eip712().expect("ethers hashes the message"))
}

/// Enough random bits for the fields of any message.
type Seed = (u64, [u8; 20], Vec<[u8; 20]>, Vec<[u8; 32]>, Vec<u64>);

fn seeds() -> impl Strategy<Value = Seed> {
    let some = 8;
    let addresses = proptest::collection::vec(any::<[u8; 20]>(), some);
    let words = proptest::collection::vec(any::<[u8; 32]>(), some);
    let numbers = proptest::collection::vec(any::<u64>(), some);
    (any::<u64>(), any::<[u8; 20]>(), addresses, words, numbers)
}

/// For every random message of a kind: its name, its JSON and its struct hash by `protocol`.
fn check(message: impl Fn(&[Address], &[B256], &[u64]) -> (&'static str, Value, B256)) {
    let types = Value::Object(types());
    runner()
        .run(&seeds(), |(chain, contract, addresses, words, numbers)| {
            let domain = Domain::new(chain, Address::from(contract));
            let addresses: Vec<_> = addresses.into_iter().map(Address::from).collect();
            let words: Vec<_> = words.into_iter().map(B256::from).collect();
            let (name, json, hash) = message(&addresses, &words, &numbers);
            assert_eq!(domain.digest(hash), ethers(&domain, types.clone(), name, json), "{name}");
            Ok(())
        })
        .unwrap();
}

fn usage(numbers: &[u64]) -> Usage {
    Usage {
        gpu_ms: Quantity(numbers[0]),
        cpu_ms: Quantity(numbers[1]),
        memory_mib_s: Quantity(numbers[2]),
        bytes_in: Quantity(numbers[3]),
        bytes_out: Quantity(numbers[4]),
        fuel: Quantity(numbers[5]),
        work: Quantity(numbers[6]),
        lease_s: Quantity(numbers[7]),
    }
}

fn json_of(message: &impl serde::Serialize) -> Value {
    serde_json::to_value(message).unwrap()
}

#[test]
fn allocation() {
    check(|addresses, words, numbers| {
        let message = Allocation { provider: addresses[0], earned: Amount(numbers[0]), receipt: words[0] };
        ("Allocation", json_of(&message), message.hash())
    });
}

#[test]
fn voucher() {
    check(|addresses, words, numbers| {
        let latest = Allocation { provider: addresses[0], earned: Amount(numbers[0]), receipt: words[0] };
        let message = Voucher {
            payer: addresses[1],
            keeper: addresses[2],
            batch: numbers[1] as u32,
            total: Amount(numbers[2]),
            latest,
        };
        ("Voucher", json_of(&message), message.hash())
    });
}

#[test]
fn acceptance() {
    check(|addresses, words, numbers| {
        let message = Acceptance {
            voucher: words[0],
            provider: addresses[0],
            batch: numbers[0] as u32,
            owed: Amount(numbers[1]),
        };
        ("Acceptance", json_of(&message), message.hash())
    });
}

#[test]
fn usage_hash() {
    check(|_, _, numbers| ("Usage", json_of(&usage(numbers)), usage(numbers).hash()));
}

#[test]
fn receipt() {
    check(|addresses, words, numbers| {
        let message = Statement {
            job: JobId(words[0]),
            provider: addresses[0],
            sequence: numbers[0],
            usage: usage(numbers),
            amount: Amount(numbers[1]),
            result: words[1],
            at: Timestamp(numbers[2]),
        };
        // A receipt is sent with its usage in full, and signs the hash of it.
        let mut json = json_of(&message);
        json["usage"] = json!(message.usage.hash());
        ("Receipt", json, message.hash())
    });
}

#[test]
fn offer() {
    check(|addresses, words, numbers| {
        let message = Offer {
            provider: addresses[0],
            resource: ResourceId(numbers[0] as u32),
            price: Price(numbers[1]),
            capacity: Quantity(numbers[2]),
            terms: words[0],
            expiry: Timestamp(numbers[3]),
            salt: U256::from_be_bytes(words[1].0),
        };
        ("Offer", json_of(&message), message.hash())
    });
}

#[test]
fn order() {
    check(|addresses, words, numbers| {
        let message = Order {
            payer: addresses[0],
            resource: ResourceId(numbers[0] as u32),
            max_price: Price(numbers[1]),
            max_units: Quantity(numbers[2]),
            max_total: Amount(numbers[3]),
            spec: words[0],
            terms: words[1],
            expiry: Timestamp(numbers[4]),
            salt: U256::from_be_bytes(words[2].0),
        };
        ("Order", json_of(&message), message.id().0)
    });
}

#[test]
fn every_struct_of_the_abi_is_tested() {
    let tested = ["Acceptance", "Allocation", "EIP712Domain", "Offer", "Order", "Receipt", "Usage", "Voucher"];
    let mut declared: Vec<_> = types().into_iter().map(|(name, _)| name).collect();
    declared.sort();
    assert_eq!(declared, tested);
}

#[test]
fn consent_of_a_worker() {
    let mut types = types();
    types.insert("WorkerConsent".into(), fields(&["provider address", "worker address"]));
    runner()
        .run(&seeds(), |(chain, contract, addresses, _, _)| {
            let registry = Domain::new(chain, Address::from(contract));
            let (provider, worker) = (Address::from(addresses[0]), Address::from(addresses[1]));
            let message = json!({ "provider": provider, "worker": worker });
            let theirs = ethers(&registry, Value::Object(types.clone()), "WorkerConsent", message);
            assert_eq!(worker_consent(&registry, provider, worker), theirs);
            Ok(())
        })
        .unwrap();
}

#[test]
fn signatures_recover_to_the_same_address() {
    runner()
        .run(&seeds(), |(_, _, _, words, _)| {
            let Some(key) = SigningKey::from_bytes(&words[0]) else { return Ok(()) };
            let digest = B256::from(words[1]);
            let ours = key.sign(digest);
            let (parity, s) = (ours.0[32] >> 7, EthersU256::from_big_endian(&ours.0[32..]) & (EthersU256::MAX >> 1));
            let theirs =
                EthersSignature { r: EthersU256::from_big_endian(&ours.0[..32]), s, v: 27 + u64::from(parity) };
            let found = theirs.recover(RecoveryMessage::Hash(digest.0.into())).expect("ethers takes the signature");
            assert_eq!(Address::from(found.0), key.address());
            Ok(())
        })
        .unwrap();
}
