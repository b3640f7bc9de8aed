use super::*;
use crate::fixture;
use alloy::primitives::B256;
use protocol::receipt::Receipt;
use protocol::signature::SigningKey;
use protocol::voucher::SignedVoucher;

struct World {
    domain: Domain,
    assignment: Assignment,
    receipt: Receipt,
    keeper: KeeperFacts,
    channel: ChannelFacts,
    paid: u64,
    earned: u64,
    owed: u64,
    pending: u64,
    elsewhere: u64,
    proven: bool,
}

fn world() -> World {
    let assignment = fixture::assignment(1);
    let receipt = fixture::receipt(&assignment, 1, 100, B256::ZERO);
    World {
        domain: fixture::domain(),
        assignment,
        receipt,
        keeper: KeeperFacts { active: true, late: false, batch: 3, committed: false },
        channel: ChannelFacts {
            deposit: Amount(10_000),
            held: Amount(10_000),
            spent: Amount(0),
            safe_spent: Amount(0),
            settled: Amount(0),
            closing: false,
        },
        paid: 0,
        earned: 0,
        owed: 0,
        pending: 0,
        elsewhere: 0,
        proven: false,
    }
}

impl World {
    fn voucher(&self) -> SignedVoucher {
        fixture::voucher(&self.assignment, &fixture::session_key(), &self.receipt, 210)
    }

    fn good(&self) -> Accepted {
        fixture::accepted(self.voucher(), 200, &fixture::keeper_key())
    }

    fn signed_with(&self, change: impl FnOnce(&mut protocol::voucher::Voucher), session: &SigningKey) -> Accepted {
        let mut voucher = self.voucher().voucher;
        change(&mut voucher);
        let voucher = SignedVoucher::sign(voucher, &self.domain, session);
        let owed = voucher.voucher.latest.earned.get();
        fixture::accepted(voucher, owed, &fixture::keeper_key())
    }

    fn check(&self, accepted: &Accepted) -> Result<Amount, AcceptanceError> {
        check(
            accepted,
            &Facts {
                domain: &self.domain,
                provider: fixture::PROVIDER,
                assignment: &self.assignment,
                receipt: Some(&self.receipt.statement),
                paid: Amount(self.paid),
                earned: Amount(self.earned),
                owed: Amount(self.owed),
                pending: Amount(self.pending),
                elsewhere: Amount(self.elsewhere),
                keeper: &self.keeper,
                channel: &self.channel,
                proven: self.proven,
            },
        )
    }
}

#[test]
fn a_right_acceptance_pays_its_receipt() {
    let world = world();
    assert_eq!(world.check(&world.good()), Ok(Amount(200)));
}

#[test]
fn another_worker_of_the_provider_may_have_earned_in_between() {
    let world = world();
    let more = |voucher: &mut protocol::voucher::Voucher| {
        (voucher.latest.earned, voucher.total) = (Amount(350), Amount(370));
    };
    let more = world.signed_with(more, &fixture::session_key());
    assert_eq!(world.check(&more), Ok(Amount(200)));
}

#[test]
fn a_receipt_that_is_not_ours_pays_nothing() {
    let world = world();
    let facts = Facts {
        domain: &world.domain,
        provider: fixture::PROVIDER,
        assignment: &world.assignment,
        receipt: None,
        paid: Amount(0),
        earned: Amount(0),
        owed: Amount(0),
        pending: Amount(0),
        elsewhere: Amount(0),
        keeper: &world.keeper,
        channel: &world.channel,
        proven: false,
    };
    assert_eq!(check(&world.good(), &facts), Err(AcceptanceError::UnknownReceipt));
}

#[test]
fn the_pair_must_belong_together() {
    let world = world();
    let mut other = world.good();
    other.acceptance = fixture::accepted(
        fixture::voucher(&world.assignment, &fixture::session_key(), &world.receipt, 999),
        200,
        &fixture::keeper_key(),
    )
    .acceptance;
    assert_eq!(world.check(&other), Err(AcceptanceError::Inconsistent));
}

#[test]
fn each_party_must_be_the_right_one() {
    let world = world();
    let stranger = alloy::primitives::Address::repeat_byte(0xaa);
    let session = fixture::session_key();
    let provider = world.signed_with(|voucher| voucher.latest.provider = stranger, &session);
    assert_eq!(world.check(&provider), Err(AcceptanceError::Mismatch("provider")));
    let keeper = world.signed_with(|voucher| voucher.keeper = stranger, &session);
    assert_eq!(world.check(&keeper), Err(AcceptanceError::Mismatch("keeper")));
    let payer = world.signed_with(|voucher| voucher.payer = stranger, &session);
    assert_eq!(world.check(&payer), Err(AcceptanceError::Mismatch("payer")));
    let session = world.signed_with(|_| (), &fixture::key(0x44));
    assert_eq!(world.check(&session), Err(AcceptanceError::Mismatch("channel")));
    let signed_by_another = fixture::accepted(world.voucher(), 200, &fixture::key(0x45));
    assert!(matches!(world.check(&signed_by_another), Err(AcceptanceError::Signature { part: "acceptance", .. })));
}

#[test]
fn the_channel_must_hold_it_safely_and_stay_open() {
    let mut world = world();
    let good = world.good();
    world.channel.deposit = Amount(209);
    let error = world.check(&good).unwrap_err();
    assert_eq!(error, AcceptanceError::OverDeposit { total: Amount(210), deposit: Amount(209) });
    assert!(error.is_retryable(), "the deposit may become safe");
    world.channel.deposit = Amount(210);
    assert_eq!(world.check(&good), Ok(Amount(200)));
    world.channel.closing = true;
    assert_eq!(world.check(&good), Err(AcceptanceError::Closing));
    assert!(!AcceptanceError::Closing.is_retryable());
}

#[test]
fn the_keeper_must_be_active_and_in_time() {
    let mut world = world();
    let good = world.good();
    world.keeper.late = true;
    assert_eq!(world.check(&good), Err(AcceptanceError::KeeperLate));
    world.keeper.active = false;
    assert_eq!(world.check(&good), Err(AcceptanceError::KeeperNotActive));
}

#[test]
fn the_batch_must_be_the_open_one_or_the_next() {
    let mut world = world();
    let good = world.good();
    for (open, committed, right) in
        [(1, true, false), (2, true, true), (2, false, true), (3, false, true), (3, true, false), (4, false, false)]
    {
        world.keeper.batch = open;
        world.keeper.committed = committed;
        assert_eq!(world.check(&good).is_ok(), right, "open {open}, committed {committed}");
    }
    world.keeper.batch = u32::MAX;
    assert!(world.check(&good).unwrap_err().is_retryable());
}

#[test]
fn a_receipt_is_paid_as_far_as_earned_rose() {
    let mut world = world();
    world.earned = 60;
    assert_eq!(world.check(&world.good()), Ok(Amount(140)));
    world.paid = 60;
    assert_eq!(world.check(&world.good()), Ok(Amount(200)));
    world.paid = 200;
    assert_eq!(world.check(&world.good()), Ok(Amount(200)), "a receipt is paid once");
    world.earned = 201;
    assert_eq!(
        world.check(&world.good()),
        Err(AcceptanceError::EarnedTooLow { least: Amount(201), found: Amount(200) })
    );
}

#[test]
fn owed_must_cover_every_channel() {
    let mut world = world();
    world.elsewhere = 50;
    assert_eq!(world.check(&world.good()), Err(AcceptanceError::OwedTooLow { least: Amount(250), found: Amount(200) }));
    let covered = fixture::accepted(world.voucher(), 250, &fixture::keeper_key());
    assert_eq!(world.check(&covered), Ok(Amount(200)));
}

#[test]
fn a_proven_leaf_is_better_than_a_promise() {
    let mut world = world();
    let good = world.good();
    world.keeper.committed = true;
    assert!(matches!(world.check(&good), Err(AcceptanceError::WrongBatch { open: 3, found: 3 })));
    world.proven = true;
    assert_eq!(world.check(&good), Ok(Amount(200)));
    world.earned = 201;
    assert!(
        matches!(world.check(&good), Err(AcceptanceError::EarnedTooLow { .. })),
        "the books must agree all the same"
    );
}

#[test]
fn nobody_earns_more_than_the_channel_has_spent() {
    let world = world();
    let inflated = world.signed_with(|voucher| voucher.latest.earned = Amount(211), &fixture::session_key());
    let expected = AcceptanceError::EarnedAboveTotal { total: Amount(210), earned: Amount(211) };
    assert_eq!(world.check(&inflated), Err(expected));
    let all = world.signed_with(|voucher| voucher.latest.earned = Amount(210), &fixture::session_key());
    assert_eq!(world.check(&all), Ok(Amount(200)));
}

#[test]
fn owed_never_loses_what_other_workers_earned() {
    let mut world = world();
    // Another worker of the provider has earned 300, as the last acceptance of this channel says.
    (world.earned, world.owed) = (60, 360);
    let lost = world.check(&fixture::accepted(world.voucher(), 499, &fixture::keeper_key()));
    assert_eq!(lost, Err(AcceptanceError::OwedTooLow { least: Amount(500), found: Amount(499) }));
    let kept = fixture::accepted(world.voucher(), 500, &fixture::keeper_key());
    assert_eq!(world.check(&kept), Ok(Amount(140)));
}

#[test]
fn a_total_must_cover_what_is_owed_beside_what_was_paid_out() {
    let mut world = world();
    let good = world.good();
    world.channel.settled = Amount(10);
    assert_eq!(world.check(&good), Ok(Amount(200)), "210 less 10 are 200");
    world.channel.settled = Amount(11);
    let error = world.check(&good).unwrap_err();
    let expected = AcceptanceError::NotCovered { total: Amount(210), covered: Amount(199), wanted: Amount(200) };
    assert_eq!(error, expected);
    assert!(error.is_retryable(), "channel and keeper are read at different moments");
    (world.channel.settled, world.pending) = (Amount(0), 11);
    let expected = AcceptanceError::NotCovered { total: Amount(210), covered: Amount(210), wanted: Amount(211) };
    assert_eq!(world.check(&good), Err(expected));
    world.pending = 10;
    assert_eq!(world.check(&good), Ok(Amount(200)));
}
