use super::*;
use crate::anchor::KeeperTerms;
use crate::session::fixture::*;
use protocol::amount::Quantity;
use protocol::voucher::Fees;

fn check(claimed: &Claimed, record: &JobRecord) -> Result<Due, ReceiptError> {
    check_with(claimed, record, Some(PROVIDER), None, &Policy::default())
}

fn check_with(
    claimed: &Claimed,
    record: &JobRecord,
    provider_of_worker: Option<Address>,
    direct: Option<Address>,
    policy: &Policy,
) -> Result<Due, ReceiptError> {
    let (domain, cpu) = (domain(), cpu());
    check_receipt(claimed, record, &Witness { domain: &domain, resource: &cpu, provider_of_worker, direct }, policy)
}

#[test]
fn a_first_receipt_is_due_in_full_and_the_next_by_its_rise() {
    let mut record = record();
    let first = check(&claimed(statement(1, 200)), &record).unwrap();
    assert_eq!(first.increase, Amount(200_000));
    record.paid = Some(first.statement);
    record.price = Some(first.price);
    record.provider = Some(PROVIDER);
    let second = check(&claimed(statement(2, 500)), &record).unwrap();
    assert_eq!(second.increase, Amount(300_000));
}

#[test]
fn sequences_may_skip_but_never_repeat() {
    let mut record = record();
    assert_eq!(check(&claimed(statement(3, 300)), &record).unwrap().increase, Amount(300_000));
    record.paid = Some(statement(3, 300));
    assert_eq!(check(&claimed(statement(7, 700)), &record).unwrap().increase, Amount(400_000));
    for sequence in [1, 2, 3] {
        let error = check(&claimed(statement(sequence, 900)), &record).unwrap_err();
        assert!(matches!(error, ReceiptError::Rejected(Rejection::Sequence { expected: 4, .. })), "{error}");
    }
}

#[test]
fn each_broken_rule_of_a_receipt_is_named() {
    let base = claimed(statement(1, 200));
    let paid = JobRecord { paid: Some(statement(1, 200)), ..record() };
    let mut last = statement(1, 200);
    last.result = B256::repeat_byte(1);
    let finished = JobRecord { paid: Some(last), ..record() };
    let mut overpriced = statement(1, 200);
    overpriced.amount = Amount(200_001);
    let mut stranger = statement(1, 200);
    stranger.job = protocol::order::JobId(B256::ZERO);
    let stopped = JobRecord { stopped: Some("stopped before".into()), ..record() };
    let elsewhere = JobRecord { provider: Some(Address::repeat_byte(1)), ..record() };
    let cheaper = JobRecord { price: Some(Price(3_599_999_999)), ..record() };
    let forged = Claimed { worker: key(4).address(), ..base.clone() };
    let dear = Claimed { price: Price(3_600_000_001), ..base.clone() };
    for (claimed, record, words) in [
        (dear, record(), "allows 3600000000"),
        (base.clone(), cheaper, "allows 3599999999"),
        (base.clone(), elsewhere, "not the one of this job"),
        (base.clone(), stopped, "stopped before"),
        (forged, record(), "not signed by the job's worker"),
        (claimed(statement(2, 100)), paid.clone(), "less than the one before"),
        (claimed(statement(1, 300)), paid, "the next is 2"),
        (claimed(statement(2, 300)), finished, "had its last receipt"),
        (claimed(statement(1, 1_001)), record(), "allows 1000"),
        (claimed(overpriced), record(), "its usage costs 200000"),
        (claimed(stranger), record(), "another job"),
    ] {
        let error = check(&claimed, &record).unwrap_err().to_string();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    }
}

#[test]
fn the_registry_decides_whose_worker_it_is() {
    let claimed = claimed(statement(1, 200));
    for found in [None, Some(Address::repeat_byte(5))] {
        let error = check_with(&claimed, &record(), found, None, &Policy::default()).unwrap_err();
        assert_eq!(error, ReceiptError::Worker { worker: worker_key().address(), provider: PROVIDER });
    }
}

#[test]
fn only_the_wanted_provider_is_paid() {
    let claimed = claimed(statement(1, 200));
    let direct = Some(Address::repeat_byte(5));
    let error = check_with(&claimed, &record(), Some(PROVIDER), direct, &Policy::default()).unwrap_err();
    assert_eq!(error, ReceiptError::Provider(PROVIDER));
    let policy = Policy { providers: vec![Address::repeat_byte(5)], ..Policy::default() };
    assert_eq!(check_with(&claimed, &record(), Some(PROVIDER), None, &policy), Err(ReceiptError::Provider(PROVIDER)));
    let policy = Policy { providers: vec![PROVIDER], ..Policy::default() };
    check_with(&claimed, &record(), Some(PROVIDER), Some(PROVIDER), &policy).unwrap();
}

#[test]
fn batches_are_the_open_one_or_the_next() {
    let policy = Policy::default();
    let cases = [
        // chain's batch, committed, newest signed, keeper says, allowed
        (5, false, 5, 5, true),
        (5, false, 5, 6, true),
        (5, false, 5, 7, false),
        (5, false, 0, 4, false),
        (5, false, 6, 5, false),
        (5, true, 5, 5, false),
        (5, true, 5, 6, true),
        (5, true, 5, 7, true),
        (5, true, 5, 8, false),
    ];
    for (current, committed, last, found, allowed) in cases {
        let settling = Settling::Netted(keeper_terms(current, committed));
        let mut info = info(found);
        info.fees.protocol_bps = 0;
        let result = check_terms(&info, &settling, last, &policy);
        assert_eq!(result.is_ok(), allowed, "{current} {committed} {last} {found}: {result:?}");
        assert!(result.is_ok() || result.is_err_and(|error| error.is_retryable()));
    }
}

#[test]
fn the_chain_sets_the_protocol_fee_of_each_batch() {
    let settling = Settling::Netted(keeper_terms(5, false));
    for (batch, bps, allowed) in [(5, 100, true), (5, 101, false), (6, 150, true), (6, 151, false)] {
        let mut info = info(batch);
        info.fees.protocol_bps = bps;
        let result = check_terms(&info, &settling, 0, &Policy::default());
        assert_eq!(result.is_ok(), allowed, "{batch} {bps}");
    }
    let mut direct = info(0);
    direct.fees = Fees::direct(101);
    let settling = Settling::Direct { fee_bps: 100 };
    assert_eq!(
        check_terms(&direct, &settling, 0, &Policy::default()),
        Err(TermsError::ProtocolFee { allowed: 100, found: 101 })
    );
}

#[test]
fn a_dead_or_dear_keeper_gets_no_voucher() {
    let policy = Policy { max_keeper_bps: 200, max_per_channel: Amount(5_000), providers: Vec::new() };
    let live = Settling::Netted(keeper_terms(1, false));
    check_terms(&info(1), &live, 0, &policy).unwrap();
    for status in [KeeperStatus::Closed, KeeperStatus::WoundDown] {
        let dead = Settling::Netted(KeeperTerms { status, ..keeper_terms(1, false) });
        assert_eq!(check_terms(&info(1), &dead, 0, &policy), Err(TermsError::NotLive(status)));
    }
    let mut dear = info(1);
    dear.fees.keeper_bps = 201;
    assert!(matches!(check_terms(&dear, &live, 0, &policy), Err(TermsError::KeeperFee { .. })));
    let mut dear = info(1);
    dear.fees.per_channel = Amount(5_001);
    assert!(matches!(check_terms(&dear, &live, 0, &policy), Err(TermsError::KeeperFee { .. })));
    assert_eq!(check_terms(&info(0), &live, 0, &policy), Err(TermsError::Mode));
    assert_eq!(check_terms(&info(1), &Settling::Direct { fee_bps: 500 }, 0, &policy), Err(TermsError::Mode));
}

#[test]
fn a_voucher_pays_the_rise_and_all_fees_and_nothing_else() {
    let state = state();
    let due = due(statement(1, 200), 0);
    let voucher = next_voucher(&state, &record(), &due, &info(1)).unwrap();
    assert_eq!(voucher.total, info(1).fees.gross(Amount(200_000), true).unwrap());
    assert_eq!(voucher.latest.earned, Amount(200_000));
    assert_eq!(voucher.latest.receipt, due.statement.hash());
    assert_eq!((voucher.payer, voucher.keeper, voucher.batch), (PAYER, identity().keeper, 1));
}

#[test]
fn a_job_never_costs_more_than_its_order_says() {
    let mut record = record();
    let due = due(statement(1, 1_000), 0);
    let gross = info(1).fees.gross(Amount(1_000_000), true).unwrap();
    record.order.order.max_total = gross;
    next_voucher(&state(), &record, &due, &info(1)).unwrap();
    record.debited = Amount(1);
    assert_eq!(
        next_voucher(&state(), &record, &due, &info(1)),
        Err(ReceiptError::OverTotal { allowed: gross, total: Amount(gross.get() + 1) })
    );
}

#[test]
fn signed_again_for_the_next_batch_the_total_never_falls() {
    let mut state = state();
    let due = due(statement(1, 200), 0);
    let first = next_voucher(&state, &record(), &due, &info(1)).unwrap();
    state.send(signed(first, due.statement.clone()));
    let again = next_voucher(&state, &record(), &due, &info(2)).unwrap();
    assert_eq!((again.batch, again.total), (2, first.total));
    let mut cheaper = info(2);
    cheaper.fees = Fees::default();
    assert_eq!(next_voucher(&state, &record(), &due, &cheaper).unwrap().total, first.total);
}

#[test]
fn the_same_receipt_in_the_same_batch_gives_the_same_voucher() {
    let mut state = state();
    let due = due(statement(1, 200), 0);
    let first = next_voucher(&state, &record(), &due, &info(1)).unwrap();
    state.send(signed(first, due.statement.clone()));
    assert_eq!(next_voucher(&state, &record(), &due, &info(1)).unwrap(), first);
}

#[test]
fn promises_are_checked() {
    let due = due(statement(1, 200), 0);
    let voucher = next_voucher(&state(), &record(), &due, &info(1)).unwrap();
    let signed = sign(voucher);
    let good = accept(&voucher);
    check_promise(&signed, Some(&good), &domain()).unwrap();
    assert_eq!(check_promise(&signed, None, &domain()), Err(AcceptanceError::Missing));
    let change = |edit: fn(&mut protocol::voucher::Acceptance)| {
        let mut acceptance = good.acceptance;
        edit(&mut acceptance);
        SignedAcceptance::sign(acceptance, &domain(), &keeper_key())
    };
    for broken in [
        change(|a| a.owed = Amount(199_999)),
        change(|a| a.batch = 2),
        change(|a| a.provider = PAYER),
        change(|a| a.voucher = B256::ZERO),
    ] {
        assert_eq!(check_promise(&signed, Some(&broken), &domain()), Err(AcceptanceError::Inconsistent));
    }
    let forged = SignedAcceptance::sign(good.acceptance, &domain(), &worker_key());
    assert!(matches!(check_promise(&signed, Some(&forged), &domain()), Err(AcceptanceError::Signature(_))));
    let direct = sign(Voucher { batch: 0, ..voucher });
    check_promise(&direct, None, &domain()).unwrap();
}

#[test]
fn an_order_that_is_used_up_is_refused_by_units() {
    let mut record = record();
    record.order.order.max_units = Quantity(199);
    let job = record.order.order.id();
    let mut statement = statement(1, 200);
    statement.job = job;
    assert!(matches!(check(&claimed(statement), &record), Err(ReceiptError::Rejected(Rejection::OverUnits { .. }))));
}
