use super::*;
use crate::session::fixture::*;
use crate::session::rules::next_voucher;
use protocol::voucher::{SignedVoucher, Voucher};

/// A state whose first voucher is signed and unanswered, and that voucher.
fn in_flight() -> (State, Voucher) {
    let mut state = state();
    let due = due(statement(1, 200), 0);
    let voucher = next_voucher(&state, &record(), &due, &info(1)).unwrap();
    state.send(signed(voucher, due.statement));
    (state, voucher)
}

fn with(view: ChannelView, voucher: &Voucher) -> ChannelView {
    let mut account = view.account.clone();
    account.apply(voucher);
    let newest = Accepted { voucher: sign(*voucher), acceptance: accept(voucher) };
    ChannelView { account, newest: Some(newest), ..view }
}

#[test]
fn both_sides_start_from_nothing() {
    assert_eq!(reconcile(&state(), &view(&state()), &domain()), Ok(Outcome::Agreed));
}

#[test]
fn a_voucher_that_did_not_arrive_stays_in_flight() {
    let (state, _) = in_flight();
    assert_eq!(reconcile(&state, &view(&state), &domain()), Ok(Outcome::Agreed));
}

#[test]
fn a_voucher_whose_answer_was_lost_counts() {
    let (mut state, voucher) = in_flight();
    let outcome = reconcile(&state, &with(view(&state), &voucher), &domain()).unwrap();
    let Outcome::Accepted { voucher: hash, acceptance } = outcome else { panic!("{outcome:?}") };
    assert_eq!(acceptance, Some(accept(&voucher)));
    state.accept(hash, acceptance).unwrap();
    let record = &state.jobs[&order().id()];
    assert_eq!(record.debited, voucher.total);
    assert_eq!(record.paid, Some(statement(1, 200)));
    assert_eq!(state.account.total, voucher.total);
    assert!(state.in_flight.is_empty());
    assert_eq!(reconcile(&state, &with(view(&state), &voucher), &domain()), Ok(Outcome::Agreed));
}

#[test]
fn the_older_of_two_vouchers_in_flight_may_have_arrived() {
    let (mut state, first) = in_flight();
    let newer = due(statement(2, 400), 0);
    let second = next_voucher(&state, &record(), &newer, &info(1)).unwrap();
    state.send(signed(second, newer.statement));
    let outcome = reconcile(&state, &with(view(&state), &first), &domain()).unwrap();
    let Outcome::Accepted { voucher, acceptance } = outcome else { panic!("{outcome:?}") };
    assert_eq!(voucher, first.hash());
    state.accept(voucher, acceptance).unwrap();
    assert_eq!(state.in_flight.len(), 1, "the newer one still has no answer");
    assert_eq!(state.signed, second.total);
}

#[test]
fn a_lost_state_file_is_restored_from_our_own_signature() {
    let (signed_state, voucher) = in_flight();
    let outcome = reconcile(&state(), &with(view(&signed_state), &voucher), &domain()).unwrap();
    let Outcome::Restored { account, taken } = outcome else { panic!("{outcome:?}") };
    assert_eq!((account.total, account.batch), (voucher.total, 1));
    assert_eq!(taken.voucher, sign(voucher));
}

#[test]
fn a_voucher_that_was_replaced_restores_nothing() {
    let (mut state, old) = in_flight();
    state.in_flight.clear();
    let lie = with(view(&state), &old);
    assert_eq!(state.signed, old.total);
    let expected = ReconcileError::Replaced { theirs: old.total, signed: old.total };
    assert_eq!(reconcile(&state, &lie, &domain()), Err(expected));
}

#[test]
fn evidence_must_be_ours_and_complete() {
    let (signed_state, voucher) = in_flight();
    let good = with(view(&signed_state), &voucher);
    let edit = |edit: fn(&mut ChannelView)| {
        let mut view = good.clone();
        edit(&mut view);
        reconcile(&state(), &view, &domain())
    };
    let newest = |view: &mut ChannelView, change: fn(&mut Accepted)| {
        let mut newest = view.newest.unwrap();
        change(&mut newest);
        view.newest = Some(newest);
    };
    assert_eq!(edit(|view| view.payer = PROVIDER), Err(ReconcileError::OtherChannel));
    let mut forged = good.clone();
    newest(&mut forged, |a| a.voucher = SignedVoucher::sign(a.voucher.voucher, &domain(), &key(9)));
    assert_eq!(reconcile(&state(), &forged, &domain()), Err(ReconcileError::NotOurs));
    let mut forged = good.clone();
    newest(&mut forged, |a| a.voucher.voucher.total = Amount(1 << 40));
    assert_eq!(reconcile(&state(), &forged, &domain()), Err(ReconcileError::NotOurs));
    let mut foreign = good.clone();
    newest(&mut foreign, |a| a.acceptance.signature = key(9).sign(domain().digest(a.acceptance.acceptance.hash())));
    assert!(matches!(reconcile(&state(), &foreign, &domain()), Err(ReconcileError::Acceptance(_))));
    assert!(matches!(edit(|view| view.account.total = Amount(1 << 40)), Err(ReconcileError::Unfounded { .. })));
}

#[test]
fn a_keeper_that_forgot_accepted_vouchers_gets_no_more() {
    let (mut state, voucher) = in_flight();
    let before = view(&state);
    state.accept(voucher.hash(), Some(accept(&voucher))).unwrap();
    assert!(matches!(reconcile(&state, &before, &domain()), Err(ReconcileError::Behind { .. })));
    let older = Voucher { total: Amount(voucher.total.get() - 1), ..voucher };
    assert!(matches!(reconcile(&state, &with(before, &older), &domain()), Err(ReconcileError::Behind { .. })));
}

/// The same channel, directly with the provider.
fn direct() -> (State, Voucher) {
    let mut state = state();
    let due = due(statement(1, 200), 0);
    let mut direct = info(0);
    direct.fees = protocol::voucher::Fees::direct(100);
    let voucher = next_voucher(&state, &record(), &due, &direct).unwrap();
    state.send(signed(voucher, due.statement));
    (state, voucher)
}

#[test]
fn a_direct_channel_is_compared_by_its_total() {
    let (mut state, voucher) = direct();
    let before = view(&state);
    let mut after = before.clone();
    after.account.apply(&voucher);
    assert_eq!(reconcile(&state, &before, &domain()), Ok(Outcome::Agreed));
    assert_eq!(
        reconcile(&state, &after, &domain()),
        Ok(Outcome::Accepted { voucher: voucher.hash(), acceptance: None })
    );
    state.accept(voucher.hash(), None).unwrap();
    assert_eq!(reconcile(&state, &after, &domain()), Ok(Outcome::Agreed));
    assert!(matches!(reconcile(&state, &before, &domain()), Err(ReconcileError::Behind { .. })));
}

#[test]
fn a_provider_cannot_claim_what_we_never_signed() {
    let fresh = state();
    let mut claims = view(&fresh);
    claims.account.total = Amount(1_000_000_000);
    assert!(matches!(reconcile(&fresh, &claims, &domain()), Err(ReconcileError::Ahead { .. })));
    let (mut state, voucher) = direct();
    state.accept(voucher.hash(), None).unwrap();
    let mut claims = view(&state);
    claims.account.total = Amount(1_000_000_000);
    assert!(matches!(reconcile(&state, &claims, &domain()), Err(ReconcileError::Ahead { .. })));
}

#[test]
fn a_redeemed_direct_channel_without_state_goes_on_from_the_chain() {
    let fresh = State::new(&identity(), Amount(500));
    let mut claims = view(&fresh);
    claims.account.earned.insert(PROVIDER, Amount(450));
    assert_eq!(reconcile(&fresh, &claims, &domain()), Ok(Outcome::Adopted(claims.account.clone())));
}
