//! A channel, an order and its parties, for the tests of this module.

use crate::anchor::{KeeperStatus, KeeperTerms};
use crate::session::rules::{Claimed, Due};
use crate::session::state::{Identity, JobRecord, Signed, State};
use alloy::primitives::{Address, B256, U256};
use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::order::{Order, SignedOrder};
use protocol::receipt::{Receipt, Statement};
use protocol::resource::{Resource, ResourceId, Unit, Usage};
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::{Acceptance, ChannelId, Fees, SignedAcceptance, SignedVoucher, Voucher};
use protocol::wire::{ChannelView, Info};

pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

pub(crate) fn session_key() -> SigningKey {
    key(1)
}

pub(crate) fn keeper_key() -> SigningKey {
    key(2)
}

pub(crate) fn worker_key() -> SigningKey {
    key(3)
}

pub(crate) const PROVIDER: Address = Address::repeat_byte(0xbb);
pub(crate) const PAYER: Address = Address::repeat_byte(0xaa);

pub(crate) fn identity() -> Identity {
    Identity {
        chain_id: 51866,
        settlement: Address::repeat_byte(0xcc),
        payer: PAYER,
        signer: session_key().address(),
        keeper: keeper_key().address(),
    }
}

pub(crate) fn domain() -> Domain {
    Domain::new(51866, identity().settlement)
}

pub(crate) fn cpu() -> Resource {
    Resource { id: ResourceId(2), name: "cpu.x86-64".into(), unit: Unit::CpuMs, scale: Quantity(3_600_000) }
}

pub(crate) fn order() -> Order {
    Order {
        payer: PAYER,
        resource: ResourceId(2),
        max_price: Price(3_600_000_000),
        max_units: Quantity(1_000),
        max_total: Amount(1_100_000),
        spec: B256::repeat_byte(9),
        terms: B256::ZERO,
        expiry: Timestamp(2_000_000_000),
        salt: U256::from(1),
    }
}

pub(crate) fn record() -> JobRecord {
    JobRecord::new(SignedOrder::sign(order(), &domain(), &session_key()), Timestamp(1), None)
}

/// A receipt for `ms` vCPU-milliseconds at 1000 nano each.
pub(crate) fn statement(sequence: u64, ms: u64) -> Statement {
    Statement {
        job: order().id(),
        provider: PROVIDER,
        sequence,
        usage: Usage { cpu_ms: Quantity(ms), ..Usage::default() },
        amount: Amount(ms * 1_000),
        result: B256::ZERO,
        at: Timestamp(1_000 + sequence),
    }
}

pub(crate) fn claimed(statement: Statement) -> Claimed {
    let receipt = Receipt::sign(statement, &domain(), &worker_key());
    Claimed { receipt, price: Price(3_600_000_000), worker: worker_key().address() }
}

pub(crate) fn info(batch: u32) -> Info {
    let identity = identity();
    Info {
        keeper: identity.keeper,
        chain_id: Quantity(51866),
        settlement: identity.settlement,
        token: Address::repeat_byte(0xdd),
        batch,
        fees: Fees { protocol_bps: 100, keeper_bps: 200, per_channel: Amount(5_000) },
        resources: vec![cpu()],
        interval_ms: Quantity(1_000),
        max_blob: Quantity(1 << 20),
    }
}

pub(crate) fn keeper_terms(current: u32, committed: bool) -> KeeperTerms {
    KeeperTerms { status: KeeperStatus::Active, current, committed, fee_bps: 100, next_fee_bps: 150 }
}

pub(crate) fn state() -> State {
    let mut state = State::new(&identity(), Amount(0));
    state.jobs.insert(order().id(), record());
    state
}

pub(crate) fn due(statement: Statement, paid: u64) -> Due {
    let increase = statement.amount.minus(Amount(paid)).unwrap();
    Due { statement, increase, price: Price(3_600_000_000) }
}

pub(crate) fn sign(voucher: Voucher) -> SignedVoucher {
    SignedVoucher::sign(voucher, &domain(), &session_key())
}

pub(crate) fn signed(voucher: Voucher, statement: Statement) -> Signed {
    Signed { job: statement.job, statement, price: Price(3_600_000_000), voucher: sign(voucher) }
}

pub(crate) fn accept(voucher: &Voucher) -> SignedAcceptance {
    let acceptance = Acceptance {
        voucher: voucher.hash(),
        provider: voucher.latest.provider,
        batch: voucher.batch,
        owed: voucher.latest.earned,
    };
    SignedAcceptance::sign(acceptance, &domain(), &keeper_key())
}

pub(crate) fn view(state: &State) -> ChannelView {
    ChannelView {
        channel: ChannelId::of(state.payer, state.signer, state.keeper),
        payer: state.payer,
        signer: state.signer,
        deposit: Amount(10_000_000),
        closing: false,
        account: state.account.clone(),
        reserved: Amount(0),
        newest: None,
    }
}
