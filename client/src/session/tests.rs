//! A whole session against a scripted keeper over real sockets: each test plays the keeper's part by hand.

mod stage;

use super::fixture::*;
use super::*;
use protocol::receipt::Statement;
use protocol::wire::{Code, FromClient, ToClient};
use stage::*;
use tokio::time::timeout;

#[tokio::test]
async fn a_job_is_paid_receipt_by_receipt_and_stored_before_it_is_sent() {
    let mut stage = Stage::new().await;
    let session = stage.session().await;
    let mut events = session.events();
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    assert!(stage.stored().jobs.contains_key(&id), "the order is stored before it is sent");
    for (sequence, ms) in [(1, 100), (2, 250), (5, 600)] {
        peer.receipt(receipt_of(id, sequence, ms)).await;
        let voucher = peer.voucher().await;
        let stored = stage.stored();
        assert_eq!(stored.in_flight.last().unwrap().voucher, voucher);
        assert_eq!(voucher.voucher.latest.earned, Amount(ms * 1_000));
        peer.accept(id, &voucher.voucher).await;
        let paid = loop {
            if let Event::Paid { amount, debited, .. } = events.recv().await.unwrap() {
                break (amount, debited);
            }
        };
        assert_eq!(paid, (Amount(ms * 1_000), voucher.voucher.total));
    }
    session.close().await.unwrap();
    let stored = stage.stored();
    assert!(stored.in_flight.is_empty());
    assert_eq!(stored.account.earned[&PROVIDER], Amount(600_000));
}

#[tokio::test]
async fn a_closed_batch_is_signed_again_for_the_next_with_the_same_total() {
    let mut stage = Stage::new().await;
    let session = stage.session().await;
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.receipt(receipt_of(id, 1, 100)).await;
    let first = peer.voucher().await.voucher;
    *stage.desk.info.lock().unwrap() = info(2);
    peer.refuse(id, &first, Code::BatchClosed).await;
    let second = peer.voucher().await.voucher;
    assert_eq!((first.batch, second.batch, second.total), (1, 2, first.total));
    peer.accept(id, &second).await;
    let mut jobs = session.jobs();
    jobs.wait_for(|jobs| jobs[&id].record.paid.is_some()).await.unwrap();
}

#[tokio::test]
async fn only_one_voucher_is_in_flight() {
    let mut stage = Stage::new().await;
    let session = stage.session().await;
    let mut peer = stage.peer().await;
    let (one, _) = session.submit(&job(), &terms()).await.unwrap();
    let (two, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.receipt(receipt_of(one, 1, 100)).await;
    let first = peer.voucher().await.voucher;
    peer.receipt(receipt_of(two, 1, 100)).await;
    assert!(timeout(Duration::from_millis(300), peer.0.recv()).await.is_err(), "a second one left too early");
    peer.accept(one, &first).await;
    let second = peer.voucher().await.voucher;
    assert_eq!(second.latest.earned, Amount(200_000));
    assert!(second.total > first.total);
}

#[tokio::test]
async fn an_answer_lost_with_the_connection_is_not_paid_twice() {
    let mut stage = Stage::new().await;
    let session = stage.session().await;
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.receipt(receipt_of(id, 1, 100)).await;
    let voucher = peer.voucher().await;
    stage.count(&voucher);
    drop(peer);
    let mut peer = stage.peer().await;
    peer.receipt(receipt_of(id, 1, 100)).await;
    peer.receipt(receipt_of(id, 2, 300)).await;
    let next = peer.voucher().await.voucher;
    assert_eq!(next.latest.earned, Amount(300_000), "the first receipt was paid before the connection broke");
    let rise = next.total.get() - voucher.voucher.total.get();
    assert_eq!(Amount(rise), info(1).fees.gross(Amount(200_000), false).unwrap());
}

#[tokio::test]
async fn after_a_crash_the_very_same_voucher_is_sent_again() {
    let mut stage = Stage::new().await;
    let session = stage.session().await;
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.receipt(receipt_of(id, 1, 100)).await;
    let before = peer.voucher().await;
    drop(peer);
    session.close().await.unwrap();
    let session = stage.session().await;
    let mut peer = stage.peer().await;
    assert_eq!(peer.voucher().await, before);
    peer.accept(id, &before.voucher).await;
    session.jobs().wait_for(|jobs| jobs[&id].record.paid.is_some()).await.unwrap();
}

#[tokio::test]
async fn a_receipt_that_breaks_a_rule_stops_its_job() {
    let mut stage = Stage::new().await;
    let session = stage.session().await;
    let mut events = session.events();
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    let mut inflated = receipt_of(id, 1, 100);
    inflated.amount = Amount(100_001);
    peer.receipt(inflated).await;
    assert_eq!(peer.next().await, FromClient::Cancel { job: id });
    let reason = loop {
        if let Event::Rejected { reason, .. } = events.recv().await.unwrap() {
            break reason;
        }
    };
    assert!(reason.contains("its usage costs 100000"), "{reason}");
    peer.receipt(receipt_of(id, 1, 100)).await;
    assert_eq!(peer.next().await, FromClient::Cancel { job: id }, "a right receipt does not revive the job");
}

#[tokio::test]
async fn a_voucher_of_a_job_that_is_stopped_still_counts_if_it_was_taken() {
    let mut stage = Stage::new().await;
    let session = stage.session().await;
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    let (other, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.receipt(receipt_of(id, 1, 100)).await;
    let voucher = peer.voucher().await;
    drop(peer);
    let mut peer = stage.peer().await;
    let inflated = Statement { amount: Amount(200_001), ..receipt_of(id, 2, 200) };
    peer.receipt(inflated).await;
    while peer.next().await != (FromClient::Cancel { job: id }) {
        peer.refuse(id, &voucher.voucher, Code::Internal).await;
    }
    stage.count(&voucher);
    drop(peer);
    let mut peer = stage.peer().await;
    peer.receipt(receipt_of(other, 1, 300)).await;
    let next = peer.voucher().await.voucher;
    assert_eq!(next.latest.earned, Amount(400_000), "it follows the voucher that was taken");
    let stored = stage.stored();
    assert_eq!(stored.jobs[&id].debited, voucher.voucher.total);
    assert_eq!(stored.jobs[&other].stopped, None, "nothing was lost, so nothing else stops");
}

#[tokio::test]
async fn a_receipt_for_a_job_of_somebody_else_is_not_paid() {
    let mut stage = Stage::new().await;
    let _session = stage.session().await;
    let mut peer = stage.peer().await;
    let stranger = JobId(B256::repeat_byte(7));
    peer.receipt(receipt_of(stranger, 1, 100)).await;
    assert_eq!(peer.next().await, FromClient::Cancel { job: stranger });
}

#[tokio::test]
async fn above_the_deposit_it_waits_for_a_top_up() {
    let mut stage = Stage::new().await;
    *stage.chain.deposit.lock().unwrap() = 50_000;
    let session = stage.session().await;
    let mut events = session.events();
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.receipt(receipt_of(id, 1, 100)).await;
    loop {
        if let Event::Waiting(text) = events.recv().await.unwrap() {
            assert!(text.contains("capa channel open"), "{text}");
            break;
        }
    }
    *stage.chain.deposit.lock().unwrap() = 1_000_000;
    assert!(peer.voucher().await.voucher.total > Amount(50_000));
}

#[tokio::test]
async fn a_keeper_that_refuses_without_reason_ends_the_session() {
    let mut stage = Stage::new().await;
    let mut session = stage.session().await;
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.receipt(receipt_of(id, 1, 100)).await;
    let mut vouchers = Vec::new();
    for attempt in 0..3 {
        let voucher = peer.voucher().await.voucher;
        peer.refuse(id, &voucher, Code::BadVoucher).await;
        vouchers.push(voucher);
        if attempt < 2 {
            peer = stage.peer().await;
        }
    }
    assert!(vouchers.windows(2).all(|pair| pair[0] == pair[1]), "only one voucher was ever signed");
    let error = session.ended().await.unwrap_err();
    assert!(matches!(error, SessionError::VoucherRefused { .. }), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_forged_acceptance_ends_the_session() {
    let mut stage = Stage::new().await;
    let mut session = stage.session().await;
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.receipt(receipt_of(id, 1, 100)).await;
    let voucher = peer.voucher().await.voucher;
    peer.send(ToClient::Accepted { job: id, voucher: voucher.hash(), acceptance: None }).await;
    assert!(matches!(session.ended().await, Err(SessionError::Acceptance(_))));
    assert_eq!(stage.stored().in_flight.len(), 1, "what was signed is not forgotten");
}

#[tokio::test]
async fn a_batch_out_of_reach_is_not_signed_for() {
    let mut stage = Stage::new().await;
    let session = stage.session().await;
    let mut events = session.events();
    let mut peer = stage.peer().await;
    let (id, _) = session.submit(&job(), &terms()).await.unwrap();
    peer.send(ToClient::Info { info: info(3) }).await;
    peer.receipt(receipt_of(id, 1, 100)).await;
    loop {
        if let Event::Waiting(text) = events.recv().await.unwrap() {
            assert!(text.contains("the chain allows 1 to 2"), "{text}");
            break;
        }
    }
    *stage.chain.batch.lock().unwrap() = 2;
    assert_eq!(peer.voucher().await.voucher.batch, 3);
}

#[tokio::test]
async fn a_foreign_or_absent_keeper_is_told_apart() {
    let stage = Stage::new().await;
    stage.desk.info.lock().unwrap().settlement = Address::ZERO;
    let error = Session::open(stage.config(), stage.chain.clone(), Duration::from_secs(5)).await.unwrap_err();
    assert!(error.to_string().contains("another Settlement contract"), "{error}");
    let mut config = stage.config();
    config.endpoint = "http://127.0.0.1:1".parse().unwrap();
    let error = Session::open(config, stage.chain.clone(), Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, SessionError::Unreachable { .. }) && error.is_retryable(), "{error}");
    *stage.chain.deposit.lock().unwrap() = 0;
    let error = Session::open(stage.config(), stage.chain.clone(), Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("capa channel open"), "{error}");
}

#[tokio::test]
async fn one_session_per_channel() {
    let stage = Stage::new().await;
    let _session = stage.session().await;
    let error = Session::open(stage.config(), stage.chain.clone(), Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, SessionError::State(StateError::Locked { .. })), "{error}");
}

/// What a keeper shows of a job that is done.
fn done(record: &JobRecord, amount: u64) -> JobView {
    JobView {
        id: record.order.order.id(),
        state: JobState::Done,
        order: record.order.order.clone(),
        channel: ChannelId::of(PAYER, session_key().address(), keeper_key().address()),
        kind: protocol::job::Kind::Wasm,
        price: None,
        provider: Some(PROVIDER),
        worker: None,
        usage: Default::default(),
        amount: Amount(amount),
        paid: Amount(amount),
        debited: Amount(amount),
        result: None,
        outputs: Vec::new(),
        reason: None,
        created_at: Timestamp(1),
        ended_at: None,
    }
}

#[test]
fn a_job_is_over_once_everything_is_paid() {
    let unpaid = record();
    let part = JobRecord { paid: Some(statement(1, 100)), ..record() };
    let last = JobRecord { paid: Some(Statement { result: B256::repeat_byte(1), ..statement(1, 100) }), ..record() };
    let stopped = JobRecord { stopped: Some("stopped".into()), ..record() };
    for (record, direct, amount, over) in [
        (&unpaid, false, 100_000, false),
        (&part, false, 100_000, false),
        (&part, true, 100_000, true),
        (&part, true, 100_001, false),
        (&last, false, 100_000, true),
        (&stopped, false, 100_000, true),
        (&unpaid, true, 0, true),
    ] {
        let view = done(record, amount);
        let status = JobStatus { view: Some(view.clone()), record: record.clone(), direct };
        assert_eq!(status.is_over(), over, "{record:?} {direct} {amount}");
        let failed = JobStatus { view: Some(JobView { state: JobState::Failed, ..view.clone() }), ..status.clone() };
        assert!(failed.is_over());
        let running = JobStatus { view: Some(JobView { state: JobState::Running, ..view }), ..status };
        assert!(!running.is_over());
    }
    let ended = JobStatus { view: None, record: JobRecord { ended: true, ..record() }, direct: false };
    assert!(ended.is_over(), "a restarted session does not ask for ended jobs again");
}
