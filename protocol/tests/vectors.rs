//! The committed golden vectors, read back: what forge and the web tests check is what this crate computes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

use alloy::primitives::B256;
use protocol::batch::{Commitment, Lines};
use protocol::signature::{Domain, Signature};
use protocol::tree::{Node, Tree};
use protocol::voucher::ChannelId;
use serde_json::Value;

fn read(name: &str) -> Value {
    let path = format!("{}/../contracts/test/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("committed vectors; `cargo xtask vectors` writes them");
    serde_json::from_str(&text).unwrap()
}

fn parse<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"))
}

#[test]
fn messages_have_their_digests_and_signer() {
    let file = read("messages");
    let domain = Domain::new(51866, parse(&file["domain"]["verifyingContract"]));
    assert_eq!(domain.separator(), parse::<B256>(&file["domain"]["separator"]));
    let messages = file["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 7);
    for message in messages {
        let struct_hash: B256 = match message["type"].as_str().unwrap() {
            "Usage" => parse::<protocol::resource::Usage>(&message["message"]).hash(),
            "Order" => parse::<protocol::order::Order>(&message["message"]).id().0,
            "Offer" => parse::<protocol::order::Offer>(&message["message"]).hash(),
            "Allocation" => parse::<protocol::voucher::Allocation>(&message["message"]).hash(),
            "Voucher" => parse::<protocol::voucher::Voucher>(&message["message"]).hash(),
            "Acceptance" => parse::<protocol::voucher::Acceptance>(&message["message"]).hash(),
            "Receipt" => parse(&message["structHash"]),
            other => panic!("unknown type {other}"),
        };
        assert_eq!(struct_hash, parse::<B256>(&message["structHash"]), "{}", message["type"]);
        let digest = domain.digest(struct_hash);
        assert_eq!(digest, parse::<B256>(&message["digest"]));
        parse::<Signature>(&message["signature"]).verify(digest, parse(&file["signer"])).unwrap();
    }
    let channel = &file["channel"];
    let id = ChannelId::of(parse(&channel["payer"]), parse(&channel["signer"]), parse(&channel["keeper"]));
    assert_eq!(id, parse(&channel["id"]));
}

#[test]
fn trees_have_their_roots_and_proofs() {
    for tree in read("trees")["trees"].as_array().unwrap() {
        let providers: Vec<_> = parse(&tree["providers"]);
        let amounts: Vec<_> = parse(&tree["amounts"]);
        let leaves: Vec<_> = providers.into_iter().zip(amounts).map(|(p, a)| Node::earning(p, a)).collect();
        assert_eq!(leaves.iter().map(|n| n.hash).collect::<Vec<_>>(), parse::<Vec<B256>>(&tree["leaves"]));
        let built = Tree::build(leaves).unwrap();
        assert_eq!(built.root(), Node { hash: parse(&tree["root"]), sum: parse(&tree["sum"]) });
        for (i, proof) in tree["proofs"].as_array().unwrap().iter().enumerate() {
            let bytes = built.proof(u32::try_from(i).unwrap()).unwrap().to_bytes();
            assert_eq!(format!("0x{}", hex::encode(bytes)), proof.as_str().unwrap());
        }
    }
}

#[test]
fn a_published_file_matches_its_commitment() {
    let batch = read("batch");
    let file = hex::decode(&batch["file"].as_str().unwrap()[2..]).unwrap();
    let commitment: Commitment = parse(&batch["commitment"]);
    let lines = Lines::verify(&file, &commitment).unwrap();
    assert_eq!(lines.lines().len(), 5);
}
