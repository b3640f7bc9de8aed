//! One voucher is in flight per channel: whose receipt is forwarded, and when.

use crate::crash::Bench;
use crate::world::World;
use keeper::desk::Answer;
use protocol::order::JobId;
use protocol::wire::ToClient;
use std::time::Duration;
use tokio::sync::mpsc;

/// The receipts that lie in a client's inbox: job and sequence.
fn receipts(inbox: &mut mpsc::Receiver<ToClient>) -> Vec<(JobId, u64)> {
    let frames = std::iter::from_fn(|| inbox.try_recv().ok());
    let receipts = frames.filter_map(|frame| match frame {
        ToClient::Receipt { receipt, .. } => Some((receipt.statement.job, receipt.statement.sequence)),
        _ => None,
    });
    receipts.collect()
}

async fn bill(bench: &Bench, world: &World, job: JobId, sequence: u64) {
    let receipt = world.receipt(job, sequence, 100 * sequence, false);
    bench.desk.receipt(world.worker.address(), receipt, vec![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_receipt_at_a_time_and_the_newest_of_its_job() {
    let world = World::new().await;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _worker = bench.join_worker(&world, vec![]).await;
    let join = async || bench.desk.join_client(world.payer.address(), world.session.address()).await.unwrap();
    let (seat, mut inbox) = join().await;
    let (a, b) = (bench.start_job(&world).await, bench.start_job(&world).await);

    bill(&bench, &world, a, 1).await;
    bill(&bench, &world, b, 1).await;
    bill(&bench, &world, b, 2).await;
    bill(&bench, &world, a, 2).await;
    assert_eq!(receipts(&mut inbox), [(a, 1)], "the first, and nothing else while it is in flight");

    // The client was cut off before it could pay: it is asked again, for the newest receipt of that job.
    bench.desk.leave_client(seat).await;
    let (_seat, mut inbox) = join().await;
    assert_eq!(receipts(&mut inbox), [(a, 2)]);
    let voucher = bench.voucher(&world, a, 0).await;
    assert_eq!(bench.desk.voucher(world.channel(), a, voucher).await, Ok(Answer::Told));
    assert_eq!(receipts(&mut inbox), [(b, 2)], "the next job's newest; the one before it is paid with it");

    // While nobody is connected, the turn is kept; a receipt of the other job waits behind it.
    bill(&bench, &world, a, 3).await;
    let voucher = bench.voucher(&world, b, 0).await;
    assert_eq!(bench.desk.voucher(world.channel(), b, voucher).await, Ok(Answer::Told));
    assert_eq!(receipts(&mut inbox), [(a, 3)]);
    let view = bench.desk.channel_view(world.channel()).await.unwrap();
    assert_eq!(view.account.earned.values().map(|amount| amount.get()).sum::<u64>(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_not_answered_lets_the_next_job_be_paid() {
    let mut world = World::new().await;
    world.tune = |config| config.market.turn_ms = 200;
    let bench = Bench::open(&world).await;
    bench.upload().await;
    bench.desk.offer(world.offer()).await.unwrap();
    let _worker = bench.join_worker(&world, vec![]).await;
    let (_seat, mut inbox) = bench.desk.join_client(world.payer.address(), world.session.address()).await.unwrap();
    let (a, b) = (bench.start_job(&world).await, bench.start_job(&world).await);
    bill(&bench, &world, a, 1).await;
    bill(&bench, &world, b, 1).await;
    bench.desk.sweep().await.unwrap();
    assert_eq!(receipts(&mut inbox), [(a, 1)], "its turn is not over");
    tokio::time::sleep(Duration::from_millis(250)).await;
    bench.desk.sweep().await.unwrap();
    assert_eq!(receipts(&mut inbox), [(b, 1)]);

    // An answer that comes late after all counts, and the other job keeps its turn.
    let voucher = bench.voucher(&world, a, 0).await;
    assert_eq!(bench.desk.voucher(world.channel(), a, voucher).await, Ok(Answer::Told));
    assert_eq!(receipts(&mut inbox), []);
    let voucher = bench.voucher(&world, b, 0).await;
    assert_eq!(bench.desk.voucher(world.channel(), b, voucher).await, Ok(Answer::Told));
}
