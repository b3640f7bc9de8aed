//! What an offer or an order must be before it may rest in the book. Pure.

use protocol::amount::{Amount, Price, Quantity, Timestamp};
use protocol::job::{Blob, Envelope, MAX_BUFFERS, Program};
use protocol::order::{Offer, Order};
use protocol::receipt::Statement;
use protocol::resource::{Resource, ResourceId};
use protocol::voucher::{Fees, most_vouchers};
use protocol::wire::{Code, Refusal};

/// Milliseconds for which a worker may let a job go on after its wall time, billing it, before it is killed.
const OVERTIME_MS: u64 = 5_000;
/// Seconds by which a worker's clock may be ahead of the keeper's.
const AHEAD: u64 = 3_600;

/// Finds a resource, or refuses.
pub fn resource(resources: &[Resource], id: ResourceId) -> Result<&Resource, Refusal> {
    resources.iter().find(|resource| resource.id == id).ok_or_else(|| {
        let known: Vec<String> = resources.iter().map(|r| format!("{} ({})", r.id, r.name)).collect();
        Refusal::new(
            Code::UnknownResource,
            format!("resource {id} is not traded here; these are: {}", known.join(", ")),
        )
    })
}

/// Checks an offer's own figures.
pub fn offer(offer: &Offer, now: Timestamp) -> Result<(), Refusal> {
    not_expired(offer.expiry, now, "offer")?;
    priced(offer.price, "price")?;
    counted(offer.capacity, "capacity")
}

/// Checks an order's own figures.
pub fn order(order: &Order, now: Timestamp) -> Result<(), Refusal> {
    not_expired(order.expiry, now, "order")?;
    priced(order.max_price, "maxPrice")?;
    counted(order.max_units, "maxUnits")?;
    if order.max_total == Amount::ZERO || i64::try_from(order.max_total.get()).is_err() {
        return Err(Refusal::new(Code::TotalTooSmall, "maxTotal must be above zero and fit into 63 bits"));
    }
    Ok(())
}

/// Checks a receipt's figures that no order limits: its time becomes part of a usage line, and has to fit there.
pub fn receipt(statement: &Statement, outputs: &[Blob], now: Timestamp) -> Result<(), Refusal> {
    if statement.at.get() > now.get().saturating_add(AHEAD) {
        let detail = format!("the receipt was measured at {}, it is {now}: set the worker's clock", statement.at);
        return Err(Refusal::new(Code::BadReceipt, detail));
    }
    if outputs.len() > MAX_BUFFERS {
        return Err(Refusal::new(Code::BadReceipt, format!("a job has at most {MAX_BUFFERS} outputs")));
    }
    Ok(())
}

/// How an order will be billed, which decides what its total leaves for the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Billing {
    /// Fees of vouchers now.
    pub fees: Fees,
    /// Milliseconds between two receipts.
    pub interval_ms: u64,
    /// Least milliseconds of a batch.
    pub batch_ms: u64,
}

/// Most that the provider may bill so that every voucher of the job fits the order's total.
pub fn cap(order: &Order, envelope: &Envelope, resource: &Resource, billing: &Billing) -> Result<Amount, Refusal> {
    if let Program::Builtin { call, .. } = &envelope.program
        && order.max_units.get() < call.work()
    {
        let (work, units, unit) = (call.work(), order.max_units, resource.unit);
        let detail =
            format!("the job is {work} {unit} of work, maxUnits allows {units}: it is done whole or not at all");
        return Err(Refusal::new(Code::BadQuantity, detail));
    }
    let run = envelope.limits.wall_ms.get().saturating_add(OVERTIME_MS);
    let vouchers = most_vouchers(run, billing.interval_ms);
    // The first batch's fee is the one that every cap leaves room for.
    let batches = (run / billing.batch_ms.max(1)).min(vouchers);
    let cap = billing.fees.cap(order.max_total, vouchers, batches);
    let unit = resource.amount(Quantity(1), order.max_price).unwrap_or(Amount(u64::MAX));
    if cap < unit {
        return Err(Refusal::new(
            Code::TotalTooSmall,
            format!(
                "maxTotal of {} nano leaves {cap} nano after fees, one {} may cost {unit}: raise maxTotal",
                order.max_total, resource.unit
            ),
        ));
    }
    Ok(cap)
}

/// Checks that a channel can pay an order, with what other jobs have reserved.
pub fn funds(deposit: Amount, spent: Amount, reserved: Amount, order: &Order) -> Result<(), Refusal> {
    let free = deposit.minus(spent).unwrap_or_default().minus(reserved).unwrap_or_default();
    if order.max_total <= free {
        return Ok(());
    }
    Err(Refusal::new(
        Code::InsufficientFunds,
        format!(
            "the order may cost {} nano, the channel has {free} free (deposit {deposit} at the chain's safe head, \
             spent {spent}, reserved {reserved}): deposit more, or wait for the deposit to be safe",
            order.max_total
        ),
    ))
}

fn not_expired(expiry: Timestamp, now: Timestamp, what: &str) -> Result<(), Refusal> {
    if expiry >= now && i64::try_from(expiry.get()).is_ok() {
        return Ok(());
    }
    Err(Refusal::new(
        Code::Expired,
        format!("the {what} expires at {expiry}, it is {now}: sign one with a later expiry (in seconds)"),
    ))
}

fn priced(price: Price, name: &str) -> Result<(), Refusal> {
    if price > Price::ZERO && i64::try_from(price.get()).is_ok() {
        return Ok(());
    }
    Err(Refusal::new(Code::BadPrice, format!("{name} must be above zero and fit into 63 bits, it is {price}")))
}

fn counted(quantity: Quantity, name: &str) -> Result<(), Refusal> {
    if quantity > Quantity::ZERO && i64::try_from(quantity.get()).is_ok() {
        return Ok(());
    }
    Err(Refusal::new(Code::BadQuantity, format!("{name} must be above zero and fit into 63 bits, it is {quantity}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, B256, U256};
    use proptest::prelude::*;
    use protocol::job::{Builtin, Limits, OutputBuffer, Verify};
    use protocol::resource::Unit;
    use protocol::voucher::{Account, Payment};

    const NOW: Timestamp = Timestamp(1_000);

    fn an_order() -> Order {
        Order {
            payer: Address::repeat_byte(1),
            resource: ResourceId(2),
            max_price: Price(3_600_000),
            max_units: Quantity(500),
            max_total: Amount(5_000),
            spec: B256::ZERO,
            terms: B256::ZERO,
            expiry: NOW,
            salt: U256::ZERO,
        }
    }

    #[test]
    fn a_receipt_from_the_far_future_or_with_countless_outputs_is_refused() {
        let at = |at| Statement {
            job: protocol::order::JobId(B256::ZERO),
            provider: Address::ZERO,
            sequence: 1,
            usage: protocol::resource::Usage::default(),
            amount: Amount(1),
            result: B256::ZERO,
            at: Timestamp(at),
        };
        let outputs = vec![Blob { hash: B256::ZERO, length: Quantity(1) }; MAX_BUFFERS + 1];
        assert_eq!(receipt(&at(NOW.get() + AHEAD), &outputs[1..], NOW), Ok(()));
        for (at, outputs) in [(at(NOW.get() + AHEAD + 1), &[][..]), (at(u64::MAX), &[]), (at(1), &outputs)] {
            assert_eq!(receipt(&at, outputs, NOW).unwrap_err().code, Code::BadReceipt);
        }
    }

    fn cpu() -> Resource {
        Resource { id: ResourceId(2), name: "cpu.x86-64".into(), unit: Unit::CpuMs, scale: Quantity(3_600_000) }
    }

    fn envelope(wall_ms: u64) -> Envelope {
        Envelope {
            version: 1,
            program: Program::Wasm {
                module: Blob { hash: B256::ZERO, length: Quantity(1) },
                toolchain: "wasmtime-48".into(),
            },
            inputs: vec![],
            outputs: vec![OutputBuffer { length: Quantity(1) }],
            limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(wall_ms) },
            verify: Verify::Reexecute,
        }
    }

    fn billing(protocol_bps: u16, keeper_bps: u16, per_channel: u64) -> Billing {
        let fees = Fees { protocol_bps, keeper_bps, per_channel: Amount(per_channel) };
        Billing { fees, interval_ms: 1_000, batch_ms: 60_000 }
    }

    #[test]
    fn each_figure_is_refused_by_its_code() {
        let code = |change: fn(&mut Order)| {
            let mut changed = an_order();
            change(&mut changed);
            order(&changed, NOW).unwrap_err().code
        };
        assert_eq!(order(&an_order(), NOW), Ok(()));
        assert_eq!(code(|o| o.expiry = Timestamp(999)), Code::Expired);
        assert_eq!(code(|o| o.max_price = Price(0)), Code::BadPrice);
        assert_eq!(code(|o| o.max_price = Price(u64::MAX)), Code::BadPrice);
        assert_eq!(code(|o| o.max_units = Quantity(0)), Code::BadQuantity);
        assert_eq!(code(|o| o.max_total = Amount(0)), Code::TotalTooSmall);
        assert_eq!(resource(&[cpu()], ResourceId(3)).unwrap_err().code, Code::UnknownResource);
    }

    #[test]
    fn a_total_below_one_unit_is_refused() {
        let order = Order { max_total: Amount(7), ..an_order() };
        let refusal = cap(&order, &envelope(1), &cpu(), &billing(100, 100, 0)).unwrap_err();
        assert_eq!(refusal.code, Code::TotalTooSmall);
        assert!(refusal.detail.contains("raise maxTotal"), "{refusal}");
    }

    #[test]
    fn a_builtin_is_ordered_whole() {
        let call = Builtin::Hashsearch { start: Quantity(0), count: Quantity(501) };
        let envelope = Envelope { program: Program::Builtin { call, cubin: None }, ..envelope(1) };
        let order = Order { max_total: Amount(u64::MAX / 2), ..an_order() };
        let refusal = cap(&order, &envelope, &cpu(), &billing(100, 100, 0)).unwrap_err();
        assert_eq!(refusal.code, Code::BadQuantity);
        let enough = Order { max_units: Quantity(501), ..order };
        assert!(cap(&enough, &envelope, &cpu(), &billing(100, 100, 0)).is_ok());
    }

    #[test]
    fn what_other_jobs_reserve_cannot_be_ordered_again() {
        let order = an_order();
        assert_eq!(funds(Amount(9_000), Amount(1_000), Amount(3_000), &order), Ok(()));
        let refusal = funds(Amount(9_000), Amount(1_000), Amount(3_001), &order).unwrap_err();
        assert_eq!(refusal.code, Code::InsufficientFunds);
        assert!(funds(Amount(0), Amount(1), Amount(0), &order).is_err(), "spent above a deposit that is not safe yet");
    }

    proptest! {
        /// A job that bills its cap in as many receipts as its time allows never exceeds the order's total.
        #[test]
        fn the_cap_always_fits_the_total(
            max_total in 20_000u64..1 << 40,
            cuts in prop::collection::vec(1u64..1 << 30, 1..12),
            protocol_bps in 0u16..=500,
            keeper_bps in 0u16..=1_000,
            per_channel in 0u64..1_000,
        ) {
            let order = Order { max_total: Amount(max_total), ..an_order() };
            let billing = billing(protocol_bps, keeper_bps, per_channel);
            let cap = cap(&order, &envelope(10_000), &cpu(), &billing).unwrap();
            let whole: u64 = cuts.iter().sum();
            let mut account = Account::new(Amount(0));
            let mut billed = 0;
            for (n, cut) in cuts.iter().enumerate() {
                let last = n + 1 == cuts.len();
                let until = if last { cap.get() } else { billed + (u128::from(cap.get()) * u128::from(*cut) / u128::from(whole)) as u64 };
                let payment = Payment {
                    payer: Address::ZERO,
                    keeper: Address::ZERO,
                    batch: 1,
                    provider: Address::ZERO,
                    increase: Amount(until.min(cap.get()) - billed),
                    receipt: B256::ZERO,
                };
                billed = until.min(cap.get());
                let voucher = account.next(&payment, &billing.fees).unwrap();
                account.apply(&voucher);
            }
            prop_assert_eq!(billed, cap.get());
            prop_assert!(account.total <= order.max_total, "{} > {}", account.total, order.max_total);
        }
    }
}
