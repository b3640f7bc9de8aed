use super::*;
use crate::fixture::{self, Folder};
use protocol::amount::{Quantity, Timestamp};
use protocol::job::{Blob, Kind, result_hash};
use protocol::tree::Proof;
use protocol::voucher::Accepted;
use protocol::wire::{Code, Refusal};

fn credit<'a>(assignment: &Assignment, accepted: &'a Accepted, paid: u64, last: bool) -> Credit<'a> {
    Credit { job: assignment.job(), channel: assignment.channel, paid: Amount(paid), last, accepted }
}

fn pair(assignment: &Assignment, sequence: u64, cpu_ms: u64, owed: u64) -> Accepted {
    let receipt = fixture::receipt(assignment, sequence, cpu_ms, B256::ZERO);
    let voucher = fixture::voucher(assignment, &fixture::session_key(), &receipt, 2 * cpu_ms + 10);
    fixture::accepted(voucher, owed, &fixture::keeper_key())
}

#[tokio::test]
async fn a_job_and_its_receipts_survive_a_restart() {
    let folder = Folder::new();
    let assignment = fixture::assignment(1);
    let receipt = fixture::receipt(&assignment, 1, 100, B256::ZERO);
    {
        let ledger = folder.ledger().await;
        assert!(ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap());
        assert!(!ledger.add_job(&assignment, JobStage::Queued, Timestamp(6)).await.unwrap());
        ledger.set_kind(assignment.job(), Kind::Wasm).await.unwrap();
        ledger.add_receipt(&receipt).await.unwrap();
        ledger.close().await;
    }
    let ledger = folder.ledger().await;
    let row = ledger.job(assignment.job()).await.unwrap().unwrap();
    assert_eq!((row.assignment, row.stage, row.kind), (assignment.clone(), JobStage::Running, Some(Kind::Wasm)));
    assert_eq!(ledger.newest_receipt(assignment.job()).await.unwrap(), Some(receipt.clone()));
    let hash = receipt.statement.hash();
    assert_eq!(ledger.receipt_of(assignment.job(), hash).await.unwrap(), Some(receipt));
    assert_eq!(ledger.receipt_of(assignment.job(), B256::ZERO).await.unwrap(), None);
}

#[tokio::test]
async fn a_restart_fails_what_ran_and_keeps_what_was_delivered() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let (running, delivered) = (fixture::assignment(1), fixture::assignment(2));
    for assignment in [&running, &delivered] {
        ledger.add_job(assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    }
    let outputs = [Blob { hash: B256::repeat_byte(4), length: Quantity(1) }];
    let last = fixture::receipt(&delivered, 1, 10, result_hash(&outputs));
    ledger.deliver(&last, &outputs, Timestamp(6)).await.unwrap();
    let refusal = Refusal::new(Code::NodeFailed, "restarted");
    assert_eq!(ledger.fail_interrupted(&refusal, Timestamp(7)).await.unwrap(), 1);
    let row = ledger.job(running.job()).await.unwrap().unwrap();
    assert_eq!((row.stage, row.refusal, row.reported), (JobStage::Failed, Some(refusal), false));
    let row = ledger.job(delivered.job()).await.unwrap().unwrap();
    assert_eq!((row.stage, row.outputs), (JobStage::Delivered, outputs.to_vec()));
    ledger.set_reported(running.job(), true).await.unwrap();
    assert!(ledger.job(running.job()).await.unwrap().unwrap().reported);
}

#[tokio::test]
async fn one_receipt_a_sequence() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let assignment = fixture::assignment(1);
    ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    ledger.add_receipt(&fixture::receipt(&assignment, 1, 10, B256::ZERO)).await.unwrap();
    let twice = ledger.add_receipt(&fixture::receipt(&assignment, 1, 20, B256::ZERO)).await;
    assert!(matches!(twice, Err(LedgerError::Database(_))), "{twice:?}");
    ledger.add_receipt(&fixture::receipt(&assignment, 2, 20, B256::ZERO)).await.unwrap();
    let (_, receipts) = ledger.job_and_receipts(assignment.job()).await.unwrap().unwrap();
    let sequences: Vec<_> = receipts.iter().map(|receipt| receipt.statement.sequence).collect();
    assert_eq!(sequences, [1, 2]);
}

#[tokio::test]
async fn an_older_pair_never_replaces_a_newer_one() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let assignment = fixture::assignment(1);
    let (keeper, channel) = (assignment.keeper, assignment.channel);
    ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    let (old, new) = (pair(&assignment, 1, 100, 200), pair(&assignment, 2, 150, 300));
    ledger.credit(&credit(&assignment, &new, 300, false)).await.unwrap();
    ledger.credit(&credit(&assignment, &old, 200, false)).await.unwrap();
    assert_eq!(ledger.newest_accepted(keeper, 3, channel).await.unwrap(), Some(new));
    assert_eq!(ledger.job(assignment.job()).await.unwrap().unwrap().paid, Amount(300));
    assert_eq!(ledger.earned_in(keeper, 3).await.unwrap(), Amount(300));
    assert_eq!(ledger.newest_accepted(keeper, 4, channel).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_billed_waits_until_it_is_paid() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    assert_eq!(ledger.unsettled(Timestamp(9)).await.unwrap(), Unsettled::default());
    let assignment = fixture::assignment(1);
    ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    assert_eq!(ledger.unsettled(Timestamp(9)).await.unwrap(), Unsettled::default(), "nothing is billed yet");
    ledger.add_receipt(&fixture::receipt(&assignment, 1, 100, B256::ZERO)).await.unwrap();
    let waiting = Unsettled { jobs: 1, amount: Amount(200), age_s: 15 };
    assert_eq!(ledger.unsettled(Timestamp(20)).await.unwrap(), waiting);
    let accepted = pair(&assignment, 1, 100, 200);
    ledger.credit(&credit(&assignment, &accepted, 200, false)).await.unwrap();
    assert_eq!(ledger.unsettled(Timestamp(20)).await.unwrap(), Unsettled::default());
}

#[tokio::test]
async fn the_last_payment_closes_the_job() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let assignment = fixture::assignment(1);
    ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    let accepted = pair(&assignment, 1, 100, 200);
    ledger.credit(&credit(&assignment, &accepted, 200, true)).await.unwrap();
    assert_eq!(ledger.job(assignment.job()).await.unwrap().unwrap().stage, JobStage::Closed);
    assert_eq!(ledger.open_jobs(assignment.keeper).await.unwrap(), vec![]);
    assert_eq!(ledger.channel_jobs(assignment.channel, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_owed_counts_until_its_batch_is_final() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let first = fixture::assignment(1);
    let keeper = first.keeper;
    let other_session = fixture::key(0x21);
    let second = fixture::assignment_of(&other_session, keeper, 2);
    for assignment in [&first, &second] {
        ledger.add_job(assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    }
    let one = pair(&first, 1, 100, 200);
    let receipt = fixture::receipt(&second, 1, 25, B256::ZERO);
    let voucher = fixture::voucher(&second, &other_session, &receipt, 60);
    let two = fixture::accepted(voucher, 250, &fixture::keeper_key());
    ledger.credit(&credit(&first, &one, 200, false)).await.unwrap();
    ledger.credit(&credit(&second, &two, 50, false)).await.unwrap();
    assert_eq!(ledger.keeper_exposure(keeper).await.unwrap(), Amount(250));
    assert_eq!(ledger.channel_exposure(first.channel).await.unwrap(), Amount(200));
    assert_eq!(ledger.highest_owed(keeper, 3).await.unwrap(), Some(two));

    let proof = Proof { index: 0, siblings: vec![] };
    ledger.set_proof(keeper, 3, Amount(251), &proof).await.unwrap();
    let rows = ledger.unsettled_batches(keeper).await.unwrap();
    let expected =
        BatchRow { number: 3, stage: BatchStage::Proven, owed: Amount(250), amount: Amount(251), proof: Some(proof) };
    assert_eq!(rows, vec![expected]);
    assert_eq!(ledger.keeper_exposure(keeper).await.unwrap(), Amount(250));
    ledger.set_stage(keeper, 3, BatchStage::Final).await.unwrap();
    assert_eq!(ledger.keeper_exposure(keeper).await.unwrap(), Amount(0));
    assert_eq!(ledger.owing_keepers().await.unwrap(), vec![keeper]);
    ledger.set_stage(keeper, 3, BatchStage::Claimed).await.unwrap();
    assert_eq!(ledger.unsettled_batches(keeper).await.unwrap().len(), 1, "a reorganisation may take the claim back");
    ledger.set_stage(keeper, 3, BatchStage::Final).await.unwrap();
    ledger.set_safe(keeper, 3).await.unwrap();
    assert_eq!(ledger.unsettled_batches(keeper).await.unwrap().len(), 1, "only what is paid is settled");
    ledger.set_stage(keeper, 3, BatchStage::Claimed).await.unwrap();
    ledger.set_safe(keeper, 3).await.unwrap();
    assert_eq!(ledger.unsettled_batches(keeper).await.unwrap(), vec![]);
    assert_eq!(ledger.owing_keepers().await.unwrap(), Vec::<alloy::primitives::Address>::new());
}

#[tokio::test]
async fn direct_vouchers_only_rise() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let assignment = fixture::assignment_of(&fixture::session_key(), fixture::PROVIDER, 1);
    let (job, channel) = (assignment.job(), assignment.channel);
    ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    let signed = |ms, total| {
        let receipt = fixture::receipt(&assignment, 1, ms, B256::ZERO);
        fixture::voucher(&assignment, &fixture::session_key(), &receipt, total)
    };
    let (old, new) = (signed(100, 210), signed(150, 310));
    ledger.credit_direct(job, channel, &new, (Amount(300), Amount(310), false)).await.unwrap();
    ledger.credit_direct(job, channel, &old, (Amount(200), Amount(0), false)).await.unwrap();
    let row = ledger.direct_voucher(channel).await.unwrap().unwrap();
    assert_eq!((row.voucher, row.redeemed), (new, Amount(0)));
    let row = ledger.job(job).await.unwrap().unwrap();
    assert_eq!((row.paid, row.debited), (Amount(300), Amount(310)));
    assert_eq!(ledger.redeemable().await.unwrap().len(), 1);
    ledger.set_redeemed(channel, Amount(310), Amount(0)).await.unwrap();
    let redeemed = ledger.redeemable().await.unwrap();
    assert_eq!((redeemed.len(), redeemed[0].redeemed), (1, Amount(310)), "not at the safe head yet");
    ledger.set_redeemed(channel, Amount(100), Amount(0)).await.unwrap();
    assert_eq!(ledger.redeemable().await.unwrap()[0].redeemed, Amount(100), "a reorganisation took it back");
    ledger.set_redeemed(channel, Amount(999), Amount(310)).await.unwrap();
    assert_eq!(ledger.redeemable().await.unwrap(), vec![]);
}

#[tokio::test]
async fn amounts_beyond_a_column_are_refused() {
    assert!(matches!(column(u64::MAX), Err(LedgerError::TooLarge(u64::MAX))));
    assert!(matches!(unsigned(-1), Err(LedgerError::Corrupt(_))));
}

#[tokio::test]
async fn what_ended_jobs_left_unpaid_is_known_until_they_are_given_up() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let (first, second) = (fixture::assignment(1), fixture::assignment(2));
    for assignment in [&first, &second] {
        ledger.add_job(assignment, JobStage::Running, Timestamp(5)).await.unwrap();
        ledger.add_receipt(&fixture::receipt(assignment, 1, 100, B256::ZERO)).await.unwrap();
    }
    assert_eq!(ledger.unpaid(first.channel).await.unwrap(), Amount(0), "what runs has a limit of its own");
    let refusal = Refusal::new(Code::Limited, "unpaid");
    let last = fixture::receipt(&first, 2, 130, B256::ZERO);
    ledger.fail(first.job(), Some(&last), &refusal, Timestamp(6)).await.unwrap();
    assert_eq!(ledger.unpaid(first.channel).await.unwrap(), Amount(260));
    ledger.credit(&credit(&first, &pair(&first, 1, 100, 200), 200, false)).await.unwrap();
    assert_eq!(ledger.unpaid(first.channel).await.unwrap(), Amount(60));
    assert_eq!(ledger.close_ended(first.keeper, Timestamp(6)).await.unwrap(), 0);
    assert_eq!(ledger.close_ended(first.keeper, Timestamp(7)).await.unwrap(), 1);
    assert_eq!(ledger.unpaid(first.channel).await.unwrap(), Amount(0));
}

#[tokio::test]
async fn offers_bind_until_they_expire() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let offer = |expiry| {
        let offer = protocol::order::Offer {
            provider: fixture::PROVIDER,
            resource: protocol::resource::ResourceId(2),
            price: protocol::amount::Price(5),
            capacity: Quantity(10),
            terms: B256::ZERO,
            expiry: Timestamp(expiry),
            salt: Default::default(),
        };
        protocol::order::SignedOffer::sign(offer, &fixture::domain(), &fixture::worker_key())
    };
    ledger.add_offer(&offer(100), Timestamp(50)).await.unwrap();
    ledger.add_offer(&offer(200), Timestamp(60)).await.unwrap();
    ledger.add_offer(&offer(200), Timestamp(60)).await.unwrap();
    assert_eq!(ledger.live_offers(Timestamp(100)).await.unwrap(), vec![offer(100), offer(200)]);
    assert_eq!(ledger.live_offers(Timestamp(101)).await.unwrap(), vec![offer(200)]);
}

#[tokio::test]
async fn a_batch_without_an_own_acceptance_can_be_claimed() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let keeper = fixture::keeper_key().address();
    assert!(ledger.add_batch(keeper, 9).await.unwrap());
    assert!(!ledger.add_batch(keeper, 9).await.unwrap());
    ledger.set_proof(keeper, 9, Amount(5), &Proof { index: 0, siblings: vec![] }).await.unwrap();
    let rows = ledger.unsettled_batches(keeper).await.unwrap();
    assert_eq!((rows[0].number, rows[0].owed, rows[0].amount), (9, Amount(0), Amount(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_failed_is_never_read_without_its_last_receipt() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let refusal = Refusal::new(Code::ProgramFailed, "trap");
    for salt in 0..100 {
        let assignment = fixture::assignment(salt);
        let job = assignment.job();
        ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
        ledger.add_receipt(&fixture::receipt(&assignment, 1, 100, B256::ZERO)).await.unwrap();
        let last = fixture::receipt(&assignment, 2, 130, B256::ZERO);
        let (writer, refusal) = (ledger.clone(), refusal.clone());
        let writing = tokio::spawn(async move { writer.fail(job, Some(&last), &refusal, Timestamp(6)).await });
        loop {
            let (row, receipts) = ledger.job_and_receipts(job).await.unwrap().unwrap();
            let has_failed = row.stage == JobStage::Failed;
            assert_eq!(receipts.len(), if has_failed { 2 } else { 1 });
            if has_failed {
                break;
            }
        }
        writing.await.unwrap().unwrap();
    }
}

/// A job that runs, its last receipt, and the outputs of that.
async fn about_to_end(ledger: &Ledger) -> (Assignment, protocol::receipt::Receipt, [Blob; 1]) {
    let assignment = fixture::assignment(1);
    ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    ledger.add_receipt(&fixture::receipt(&assignment, 1, 100, B256::ZERO)).await.unwrap();
    let outputs = [Blob { hash: B256::repeat_byte(4), length: Quantity(1) }];
    let last = fixture::receipt(&assignment, 2, 130, result_hash(&outputs));
    (assignment, last, outputs)
}

#[tokio::test]
async fn a_job_ends_once_and_by_whoever_is_first() {
    let refusal = Refusal::new(Code::NodeFailed, "lost");
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let (assignment, last, outputs) = about_to_end(&ledger).await;
    let job = assignment.job();
    ledger.deliver(&last, &outputs, Timestamp(6)).await.unwrap();
    let before = ledger.job_and_receipts(job).await.unwrap();
    let twice = ledger.deliver(&last, &outputs, Timestamp(7)).await;
    assert!(matches!(twice, Err(LedgerError::Ended(ended)) if ended == job), "{twice:?}");
    let late = fixture::receipt(&assignment, 3, 140, B256::ZERO);
    ledger.fail(job, Some(&late), &refusal, Timestamp(7)).await.unwrap();
    assert_eq!(ledger.fail_interrupted(&refusal, Timestamp(7)).await.unwrap(), 0);
    assert!(!ledger.start_job(job).await.unwrap());
    assert_eq!(ledger.job_and_receipts(job).await.unwrap(), before, "the first end stays");

    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let (_, last, outputs) = about_to_end(&ledger).await;
    ledger.fail(job, None, &refusal, Timestamp(6)).await.unwrap();
    assert!(matches!(ledger.deliver(&last, &outputs, Timestamp(7)).await, Err(LedgerError::Ended(_))));
    let (row, receipts) = ledger.job_and_receipts(job).await.unwrap().unwrap();
    assert_eq!((row.stage, receipts.len()), (JobStage::Failed, 1), "what comes too late is not billed");
}

#[tokio::test]
async fn the_database_takes_one_receipt_with_a_result() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let (assignment, last, outputs) = about_to_end(&ledger).await;
    ledger.deliver(&last, &outputs, Timestamp(6)).await.unwrap();
    let second = ledger.add_receipt(&fixture::receipt(&assignment, 3, 150, B256::repeat_byte(9))).await;
    assert!(matches!(second, Err(LedgerError::Database(_))), "{second:?}");
}

#[tokio::test]
async fn a_delivered_job_that_is_not_paid_is_given_up_and_counts() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let (assignment, last, outputs) = about_to_end(&ledger).await;
    let job = assignment.job();
    let refusal = Refusal::new(Code::BadReceipt, "not taken");
    ledger.give_up(job, &refusal, true).await.unwrap();
    assert_eq!(ledger.job(job).await.unwrap().unwrap().stage, JobStage::Running, "only what was delivered");
    ledger.deliver(&last, &outputs, Timestamp(6)).await.unwrap();
    assert!(!ledger.close_settled(job).await.unwrap(), "it is not paid");
    assert_eq!(ledger.unsettled_jobs(fixture::PROVIDER, Timestamp(6)).await.unwrap(), 1);
    assert_eq!(ledger.unsettled_jobs(fixture::PROVIDER, Timestamp(7)).await.unwrap(), 0, "it ended before");
    ledger.give_up(job, &refusal, true).await.unwrap();
    let row = ledger.job(job).await.unwrap().unwrap();
    assert_eq!((row.stage, row.reported), (JobStage::Failed, true));
    assert_eq!(ledger.unpaid(assignment.channel).await.unwrap(), Amount(260));
    ledger.credit(&credit(&assignment, &pair(&assignment, 2, 130, 260), 260, false)).await.unwrap();
    assert!(ledger.close_settled(job).await.unwrap());
    assert!(!ledger.close_settled(job).await.unwrap(), "it is closed already");
}

#[tokio::test]
async fn one_process_writes_to_a_ledger() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    assert!(is_in_use(&folder.0));
    let second = Ledger::open(&folder.0).await;
    assert!(matches!(second, Err(LedgerError::InUse(_))), "{second:?}");
    Ledger::open_for_reading(&folder.0).await.unwrap();
    ledger.close().await;
    assert!(!is_in_use(&folder.0));
    folder.ledger().await;
}

#[tokio::test]
async fn a_ledger_from_before_is_brought_up_to_date() {
    let folder = Folder::new();
    let (assignment, final_receipt) = {
        let ledger = folder.ledger().await;
        let (assignment, last, outputs) = about_to_end(&ledger).await;
        ledger.deliver(&last, &outputs, Timestamp(6)).await.unwrap();
        // As the first version left it.
        for statement in [
            "DROP INDEX receipts_final",
            "ALTER TABLE receipts DROP COLUMN final",
            "ALTER TABLE batches DROP COLUMN safe",
            "ALTER TABLE batches DROP COLUMN recovered",
            "ALTER TABLE vouchers DROP COLUMN safe",
            "DROP TABLE keepers",
            "DELETE FROM _sqlx_migrations WHERE version = 2",
        ] {
            sqlx::query(statement).execute(&ledger.pool).await.unwrap();
        }
        ledger.close().await;
        (assignment, last)
    };
    let ledger = folder.ledger().await;
    assert_eq!(ledger.newest_receipt(assignment.job()).await.unwrap(), Some(final_receipt));
    let second = ledger.add_receipt(&fixture::receipt(&assignment, 3, 150, B256::repeat_byte(9))).await;
    assert!(
        matches!(second, Err(LedgerError::Database(_))),
        "the receipt from before is known as the last: {second:?}"
    );
    let interim = fixture::receipt(&assignment, 3, 150, B256::ZERO);
    ledger.add_receipt(&interim).await.unwrap();
}

#[tokio::test]
async fn earnings_are_told_apart_by_how_far_they_are() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let assignment = fixture::assignment(1);
    let keeper = assignment.keeper;
    ledger.add_job(&assignment, JobStage::Running, Timestamp(5)).await.unwrap();
    ledger.add_receipt(&fixture::receipt(&assignment, 1, 150, B256::ZERO)).await.unwrap();
    ledger.credit(&credit(&assignment, &pair(&assignment, 1, 100, 200), 200, false)).await.unwrap();
    let of_keeper = async || ledger.earnings(fixture::PROVIDER).await.unwrap().keepers.remove(0);
    let found = of_keeper().await;
    assert_eq!((found.unaccepted, found.accepted, found.unclaimed), (Amount(100), Amount(200), Amount(0)));
    ledger.set_proof(keeper, 3, Amount(230), &Proof { index: 0, siblings: vec![] }).await.unwrap();
    ledger.set_stage(keeper, 3, BatchStage::Final).await.unwrap();
    let found = of_keeper().await;
    assert_eq!((found.accepted, found.unclaimed, found.claimed), (Amount(0), Amount(230), Amount(0)));
    ledger.set_stage(keeper, 3, BatchStage::Claimed).await.unwrap();
    let found = of_keeper().await;
    assert_eq!((found.unclaimed, found.claimed, found.batches.len()), (Amount(0), Amount(230), 1));
    ledger.set_stage(keeper, 3, BatchStage::Void).await.unwrap();
    ledger.set_recovered(keeper, 3, Amount(150)).await.unwrap();
    let found = of_keeper().await;
    assert_eq!((found.void, found.recovered, found.batches[0].state), (Amount(50), Amount(150), "void"));
}

#[tokio::test]
async fn an_old_keeper_is_still_known_by_its_address() {
    let folder = Folder::new();
    let ledger = folder.ledger().await;
    let (first, second) = (fixture::key(1).address(), fixture::key(2).address());
    for (keeper, url) in [(first, "http://old.example/"), (second, "http://b.example/"), (first, "http://a.example/")] {
        ledger.set_keeper(keeper, &url.parse().unwrap()).await.unwrap();
    }
    let mut known = ledger.keepers().await.unwrap();
    known.sort_by_key(|(_, url)| url.to_string());
    assert_eq!(known, [(first, "http://a.example/".parse().unwrap()), (second, "http://b.example/".parse().unwrap())]);
}
