//! A small consistent world for the unit tests: one provider, one worker, one keeper, one client.

use crate::ledger::{Assignment, Ledger};
use alloy::primitives::{Address, B256, U256};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::order::{Order, SignedOrder};
use protocol::receipt::{Receipt, Statement};
use protocol::resource::{Resource, ResourceId, Unit, Usage};
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{Acceptance, Accepted, Allocation, ChannelId, SignedAcceptance, SignedVoucher, Voucher};

pub(crate) const PROVIDER: Address = Address::repeat_byte(7);
pub(crate) const PAYER: Address = Address::repeat_byte(1);

pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

pub(crate) fn worker_key() -> SigningKey {
    key(5)
}

pub(crate) fn keeper_key() -> SigningKey {
    key(6)
}

pub(crate) fn session_key() -> SigningKey {
    key(8)
}

pub(crate) fn domain() -> Domain {
    Domain::new(51866, Address::repeat_byte(9))
}

pub(crate) fn resource() -> Resource {
    Resource { id: ResourceId(2), name: "cpu.x86-64".into(), unit: Unit::CpuMs, scale: Quantity(3_600_000) }
}

pub(crate) fn assignment(salt: u64) -> Assignment {
    assignment_of(&session_key(), keeper_key().address(), salt)
}

pub(crate) fn assignment_of(session: &SigningKey, keeper: Address, salt: u64) -> Assignment {
    let order = Order {
        payer: PAYER,
        resource: ResourceId(2),
        // 7,200,000 nano an hour is 2 nano a millisecond.
        max_price: Price(7_200_000),
        max_units: Quantity(1_000),
        max_total: Amount(5_000),
        spec: B256::repeat_byte(3),
        terms: B256::ZERO,
        expiry: Timestamp(100),
        salt: U256::from(salt),
    };
    Assignment {
        keeper,
        signer: session.address(),
        channel: ChannelId::of(PAYER, session.address(), keeper),
        order: SignedOrder::sign(order, &domain(), session),
        price: Price(7_200_000),
        cap: Amount(4_000),
    }
}

pub(crate) fn receipt(assignment: &Assignment, sequence: u64, cpu_ms: u64, result: B256) -> Receipt {
    let statement = Statement {
        job: assignment.job(),
        provider: PROVIDER,
        sequence,
        usage: Usage { cpu_ms: Quantity(cpu_ms), ..Usage::default() },
        amount: Amount(2 * cpu_ms),
        result,
        at: Timestamp(50),
    };
    Receipt::sign(statement, &domain(), &worker_key())
}

pub(crate) fn voucher(assignment: &Assignment, session: &SigningKey, receipt: &Receipt, total: u64) -> SignedVoucher {
    let voucher = Voucher {
        payer: PAYER,
        keeper: assignment.keeper,
        batch: 3,
        total: Amount(total),
        latest: Allocation { provider: PROVIDER, earned: receipt.statement.amount, receipt: receipt.statement.hash() },
    };
    SignedVoucher::sign(voucher, &domain(), session)
}

pub(crate) fn accepted(voucher: SignedVoucher, owed: u64, keeper: &SigningKey) -> Accepted {
    let acceptance = Acceptance {
        voucher: voucher.voucher.hash(),
        provider: voucher.voucher.latest.provider,
        batch: voucher.voucher.batch,
        owed: Amount(owed),
    };
    Accepted { voucher, acceptance: SignedAcceptance::sign(acceptance, &domain(), keeper) }
}

pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("capa-worker-test-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) async fn ledger(&self) -> Ledger {
        Ledger::open(&self.0).await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
