use super::*;
use proptest::prelude::*;

const FEES: Fees = Fees { protocol_bps: 100, keeper_bps: 50, per_channel: Amount(10) };

fn payment(batch: BatchNumber, increase: u64) -> Payment {
    Payment {
        payer: Address::repeat_byte(1),
        keeper: Address::repeat_byte(2),
        batch,
        provider: Address::repeat_byte(3),
        increase: Amount(increase),
        receipt: B256::repeat_byte(4),
    }
}

#[test]
fn the_fee_for_collecting_is_paid_once_per_batch() {
    let mut account = Account::new(Amount(0));
    let first = account.next(&payment(1, 1_000), &FEES).unwrap();
    // 1000 + 5 (keeper) + 10 (channel) = 1015; 1015 / 0.99 = 1025.25, rounded up.
    assert_eq!((first.total, first.latest.earned), (Amount(1_026), Amount(1_000)));
    account.apply(&first);
    let second = account.next(&payment(1, 1_000), &FEES).unwrap();
    assert_eq!((second.total, second.latest.earned), (Amount(1_026 + 1_016), Amount(2_000)));
    account.apply(&second);
    let third = account.next(&payment(2, 1), &FEES).unwrap();
    assert_eq!((third.total, third.latest.earned), (Amount(2_042 + 13), Amount(1)));
}

#[test]
fn each_rule_refuses_by_name() {
    let mut account = Account::new(Amount(0));
    let pay = payment(2, 100);
    let right = account.next(&pay, &FEES).unwrap();
    let check = |account: &Account, voucher: Voucher| account.check(&voucher, &pay, &FEES, Amount(500));
    assert_eq!(check(&account, right), Ok(()));
    let generous = Voucher { total: right.total.plus(Amount(1)).unwrap(), ..right };
    assert_eq!(check(&account, generous), Ok(()));
    let short = Voucher { total: right.total.minus(Amount(1)).unwrap(), ..right };
    assert!(matches!(check(&account, short), Err(VoucherError::TotalTooLow { .. })));
    let over = Voucher { total: Amount(501), ..right };
    assert!(matches!(check(&account, over), Err(VoucherError::OverDeposit { .. })));
    let early = Voucher { batch: 1, ..right };
    assert!(matches!(check(&account, early), Err(VoucherError::WrongBatch { expected: 2, found: 1 })));
    let stranger = Voucher { payer: Address::ZERO, ..right };
    assert_eq!(check(&account, stranger), Err(VoucherError::Mismatch("payer")));
    let mut greedy = right;
    greedy.latest.earned = Amount(101);
    assert!(matches!(check(&account, greedy), Err(VoucherError::WrongEarned { .. })));
    account.apply(&right);
    assert!(check(&account, right).is_err(), "the same voucher paid twice");
}

proptest! {
    #[test]
    fn gross_is_the_least_that_covers_all_fees(
        increase in 0u64..1 << 50, protocol_bps in 0u16..=500, keeper_bps in 0u16..=5_000, per_channel in 0u64..1 << 30,
        first: bool,
    ) {
        let fees = Fees { protocol_bps, keeper_bps, per_channel: Amount(per_channel) };
        let gross = fees.gross(Amount(increase), first).unwrap();
        let net = increase + Amount(increase).share_up(keeper_bps).unwrap().get() + if first { per_channel } else { 0 };
        let left = |total: u64| total - Amount(total).share_up(protocol_bps).unwrap().get();
        prop_assert!(left(gross.get()) >= net);
        prop_assert!(gross.get() == 0 || left(gross.get() - 1) < net);
    }

    #[test]
    fn net_inverts_gross(allowance in 0u64..1 << 50, protocol_bps in 0u16..=500, keeper_bps in 0u16..=5_000, first: bool) {
        let fees = Fees { protocol_bps, keeper_bps, per_channel: Amount(7) };
        let net = fees.net(Amount(allowance), first);
        if net > Amount::ZERO {
            prop_assert!(fees.gross(net, first).unwrap() <= Amount(allowance));
        }
        prop_assert!(fees.gross(net.plus(Amount(1)).unwrap(), first).unwrap() > Amount(allowance));
    }

    /// A job that bills its cap never exceeds its order, however that is divided into vouchers and batches, with a
    /// keeper and without one.
    #[test]
    fn every_voucher_of_a_capped_job_fits_its_order(
        max_total in 0u64..1 << 40,
        increases in prop::collection::vec(1u64..1 << 36, 1..40),
        protocol_bps in 0u16..=500,
        keeper_bps in prop_oneof![Just(0u16), 0u16..=1_000],
        per_channel in prop_oneof![Just(0u64), 0u64..1_000],
    ) {
        let fees = Fees { protocol_bps, keeper_bps, per_channel: Amount(per_channel) };
        let cap = fees.cap(Amount(max_total), increases.len() as u64, increases.len() as u64 - 1).get();
        let mut account = Account::new(Amount(0));
        let mut left = cap;
        for (batch, increase) in (1..).zip(&increases) {
            let increase = if batch as usize == increases.len() { left } else { left.min(*increase) };
            left -= increase;
            if increase > 0 {
                account.apply(&account.next(&payment(batch, increase), &fees).unwrap());
            }
        }
        prop_assert!(account.total <= Amount(max_total), "{} > {max_total}", account.total);
    }

    /// Whatever vouchers a batch holds, its floored protocol fee leaves enough for every earning.
    #[test]
    fn a_batch_of_vouchers_covers_its_earnings(increases in prop::collection::vec(0u64..1 << 40, 1..40), bps in 0u16..=500) {
        let fees = Fees { protocol_bps: bps, ..FEES };
        let mut account = Account::new(Amount(0));
        for increase in &increases {
            let voucher = account.next(&payment(1, *increase), &fees).unwrap();
            account.check(&voucher, &payment(1, *increase), &fees, Amount(u64::MAX)).unwrap();
            account.apply(&voucher);
        }
        let fee = account.total.share_down(bps).unwrap();
        let sum = account.total.minus(fee).unwrap();
        let earned = account.earned_in(1, Address::repeat_byte(3));
        prop_assert_eq!(earned.get(), increases.iter().sum::<u64>());
        prop_assert!(sum >= earned.plus(fees.per_channel).unwrap());
    }
}
