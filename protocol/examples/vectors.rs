//! Writes the golden vectors that forge, cargo and the web tests all read: `contracts/test/vectors/*.json`.
//!
//! Run by `cargo xtask vectors`. Inputs are fixed, so the files change only when the protocol does.

use alloy::primitives::{Address, B256, U256, keccak256};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::batch::{Line, close};
use protocol::order::{JobId, Offer, Order};
use protocol::receipt::Statement;
use protocol::resource::{ResourceId, Usage};
use protocol::signature::{Domain, SigningKey};
use protocol::tree::{Node, Tree};
use protocol::voucher::{Acceptance, Allocation, ChannelId, SignedVoucher, Voucher};
use serde_json::{Value, json};
use std::{collections::BTreeMap, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/test/vectors");
    fs::create_dir_all(&folder)?;
    for (name, value) in [("messages", messages()?), ("trees", trees()?), ("batch", batch()?)] {
        fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(&value)? + "\n")?;
    }
    Ok(())
}

fn key(byte: u8) -> Result<SigningKey, &'static str> {
    SigningKey::from_bytes(&[byte; 32]).ok_or("not a key")
}

fn domain() -> Domain {
    Domain::new(51866, Address::repeat_byte(0x5e))
}

/// The messages of one job, which all the others refer to.
struct Sample {
    usage: Usage,
    order: Order,
    offer: Offer,
    statement: Statement,
    voucher: Voucher,
    acceptance: Acceptance,
}

fn sample() -> Sample {
    let usage = Usage {
        gpu_ms: Quantity(1),
        cpu_ms: Quantity(2_500),
        memory_mib_s: Quantity(3),
        bytes_in: Quantity(4),
        bytes_out: Quantity(5),
        fuel: Quantity(u64::MAX),
        work: Quantity(6),
        lease_s: Quantity(7),
    };
    let order = sample_order();
    let offer = Offer {
        provider: Address::repeat_byte(0xb2),
        resource: ResourceId(2),
        price: Price(40_000_000),
        capacity: Quantity(3_600_000),
        terms: keccak256("terms"),
        expiry: Timestamp(2_000_000_000),
        salt: U256::MAX,
    };
    let statement = Statement {
        job: order.id(),
        provider: offer.provider,
        sequence: 3,
        usage,
        amount: Amount(27_778),
        result: keccak256("result"),
        at: Timestamp(1_900_000_000),
    };
    let voucher = Voucher {
        payer: order.payer,
        keeper: Address::repeat_byte(0xc3),
        batch: 9,
        total: Amount(1_000_000_000),
        latest: Allocation { provider: offer.provider, earned: Amount(27_778), receipt: statement.hash() },
    };
    let acceptance =
        Acceptance { voucher: voucher.hash(), provider: offer.provider, batch: 9, owed: Amount(1_027_778) };
    Sample { usage, order, offer, statement, voucher, acceptance }
}

fn sample_order() -> Order {
    Order {
        payer: Address::repeat_byte(0xa1),
        resource: ResourceId(2),
        max_price: Price(50_000_000),
        max_units: Quantity(60_000),
        max_total: Amount(1_000_000),
        spec: keccak256("spec"),
        terms: B256::ZERO,
        expiry: Timestamp(2_000_000_000),
        salt: U256::from(7),
    }
}

/// One message of every kind, with struct hash, digest and a signature.
fn messages() -> Result<Value, Box<dyn Error>> {
    let (domain, signer) = (domain(), key(0x11)?);
    let Sample { usage, order, offer, statement, voucher, acceptance } = sample();
    let entry = |kind: &str, message: Value, hash: B256| {
        let digest = domain.digest(hash);
        json!({ "type": kind, "message": message, "structHash": hash, "digest": digest, "signature": signer.sign(digest) })
    };
    let receipt = json!({
        "job": statement.job, "provider": statement.provider, "sequence": statement.sequence.to_string(),
        "usage": usage.hash(), "amount": statement.amount, "result": statement.result, "at": statement.at,
    });
    let debit = SignedVoucher::sign(voucher, &domain, &signer);
    let direct = Voucher { keeper: offer.provider, batch: 0, ..voucher };
    let redemption = SignedVoucher::sign(direct, &domain, &signer);
    let channel = |keeper| ChannelId::of(order.payer, signer.address(), keeper);
    Ok(json!({
        "domain": {
            "name": "Capa", "version": "1", "chainId": "51866",
            "verifyingContract": domain.settlement(), "separator": domain.separator(),
        },
        "signer": signer.address(),
        "messages": [
            entry("Usage", serde_json::to_value(usage)?, usage.hash()),
            entry("Order", numeric(serde_json::to_value(&order)?), order.id().0),
            entry("Offer", numeric(serde_json::to_value(&offer)?), offer.hash()),
            entry("Receipt", receipt, statement.hash()),
            entry("Allocation", serde_json::to_value(voucher.latest)?, voucher.latest.hash()),
            entry("Voucher", serde_json::to_value(voucher)?, voucher.hash()),
            entry("Acceptance", serde_json::to_value(acceptance)?, acceptance.hash()),
        ],
        "debit": packed(&debit.to_debit()),
        "redemption": packed(&redemption.to_debit()),
        "channel": {
            "payer": order.payer, "signer": signer.address(), "keeper": voucher.keeper,
            "id": channel(voucher.keeper), "directId": channel(direct.keeper),
        },
    }))
}

/// Salts are 256-bit integers, written in decimal like every other integer.
fn numeric(mut message: Value) -> Value {
    if let Some(salt) = message["salt"].as_str().and_then(|text| text.parse::<U256>().ok()) {
        message["salt"] = json!(salt.to_string());
    }
    message
}

/// Earnings trees of one to nine leaves, with every proof.
fn trees() -> Result<Value, Box<dyn Error>> {
    let mut trees = Vec::new();
    for count in 1..=9u8 {
        let owners: Vec<_> =
            (1..=count).map(|i| (Address::repeat_byte(i), Amount(u64::from(i) * 1_000_000_007))).collect();
        let leaves: Vec<_> = owners.iter().map(|(who, amount)| Node::earning(*who, *amount)).collect();
        let tree = Tree::build(leaves.clone())?;
        let proofs: Vec<_> =
            (0..u32::from(count)).filter_map(|i| tree.proof(i)).map(|p| packed(&p.to_bytes())).collect();
        trees.push(json!({
            "providers": owners.iter().map(|o| o.0).collect::<Vec<_>>(),
            "amounts": owners.iter().map(|o| o.1).collect::<Vec<_>>(),
            "leaves": leaves.iter().map(|n| n.hash).collect::<Vec<_>>(),
            "root": tree.root().hash,
            "sum": tree.root().sum,
            "proofs": proofs,
        }));
    }
    let (left, right) = (Node::earning(Address::repeat_byte(1), Amount(5)), Node::EMPTY);
    let node = Node::parent(&left, &right)?;
    Ok(json!({ "trees": trees, "node": { "left": left, "right": right, "parent": node } }))
}

/// A closed batch with its lines.
fn batch() -> Result<Value, Box<dyn Error>> {
    let line = |n: u8, amount: u64| Line {
        job: JobId(keccak256([n])),
        payer: Address::repeat_byte(0xa0 + n),
        provider: Address::repeat_byte(n),
        resource: ResourceId(2),
        quantity: Quantity(1_000 * u64::from(n)),
        price: Price(3_600_000),
        amount: Amount(amount),
        ended_at: Timestamp(1_900_000_000 + u64::from(n)),
        result: keccak256([n, n]),
    };
    let lines: Vec<_> = (1..=5).map(|n| line(n, 1_000 * u64::from(n))).collect();
    let earnings = lines.iter().map(|l| (l.provider, l.amount)).collect::<BTreeMap<_, _>>();
    let keeper = Address::repeat_byte(0xee);
    let closed = close(keeper, Amount(15_300), 100, earnings, lines.clone())?;
    let proofs: Vec<_> = (0..5).filter_map(|i| closed.lines.proof(i)).map(|p| packed(&p.to_bytes())).collect();
    Ok(json!({
        "keeper": keeper,
        "debits": Amount(15_300),
        "feeBps": 100,
        "commitment": closed.commitment,
        "leaves": packed(&closed.to_distribution()),
        "lines": lines.iter().map(|l| packed(&l.to_bytes())).collect::<Vec<_>>(),
        "lineProofs": proofs,
        "file": packed(&closed.lines.to_bytes()),
    }))
}

fn packed(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
