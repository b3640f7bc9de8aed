//! Small jobs for the tests.

use alloy::primitives::{Address, U256, keccak256};
use bytes::Bytes;
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::job::{Blob, Envelope, Limits, OutputBuffer, Program, Verify};
use protocol::order::{Order, SignedOrder};
use protocol::resource::ResourceId;
use protocol::signature::{Domain, SigningKey};

/// 7,200,000 nano an hour: 2 nano a millisecond.
pub(crate) const PRICE: Price = Price(7_200_000);

/// Counts to `rounds`, then writes eight bytes and returns `code`.
pub(crate) fn module(rounds: u64, code: u32) -> Bytes {
    let text = format!(
        r#"(module
          (import "capa" "output_write" (func $write (param i32 i64 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "run") (result i32)
            (local $i i64)
            (loop $again
              (local.set $i (i64.add (local.get $i) (i64.const 1)))
              (br_if $again (i64.lt_u (local.get $i) (i64.const {rounds}))))
            (i64.store (i32.const 0) (local.get $i))
            (drop (call $write (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 8)))
            (i32.const {code})))"#
    );
    wat::parse_str(text).unwrap().into()
}

pub(crate) fn blob(bytes: &[u8]) -> Blob {
    Blob { hash: keccak256(bytes), length: Quantity(bytes.len() as u64) }
}

pub(crate) fn envelope(module: &Bytes) -> Bytes {
    let envelope = Envelope {
        version: 1,
        program: Program::Wasm { module: blob(module), toolchain: "wasmtime-48".into() },
        inputs: vec![],
        outputs: vec![OutputBuffer { length: Quantity(8) }],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(60_000) },
        verify: Verify::Reexecute,
    };
    envelope.to_bytes().into()
}

pub(crate) fn order(payer: Address, session: &SigningKey, domain: &Domain, spec: &[u8], salt: u64) -> SignedOrder {
    let order = Order {
        payer,
        resource: ResourceId(1),
        max_price: PRICE,
        max_units: Quantity(1_000_000),
        max_total: Amount(3_000_000),
        spec: keccak256(spec),
        terms: Default::default(),
        expiry: Timestamp(u64::from(u32::MAX)),
        salt: U256::from(salt),
    };
    SignedOrder::sign(order, domain, session)
}
