//! A worker that is killed at any instant around the last receipt sends that receipt once: the same one, or none.

use crate::process::Worker;
use crate::scene::{SHORT, Scene, owed};
use crate::setup::until;
use protocol::wire::Code;

impl Scene {
    async fn connected(&self, logins: usize) {
        until("the worker connects", async || (self.keeper.book().hellos.len() > logins).then_some(())).await;
    }

    fn finals(&self) -> usize {
        self.keeper.book().receipts.iter().filter(|receipt| receipt.statement.is_final()).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_uploads_the_job_fails_and_bills_nothing_more() {
    let scene = Scene::set().await;
    scene.keeper.book().stalls = true;
    let mut worker = Worker::start(&scene.config(), scene.folder.path());
    scene.connected(0).await;
    let order = scene.order(SHORT, 0, 1);
    let blobs = scene.keeper.book().blobs.len();
    scene.keeper.assign(&order);
    until("the upload", async || (scene.keeper.book().blobs.len() > blobs).then_some(())).await;
    let billed = scene.billed();
    worker.kill();
    scene.keeper.book().stalls = false;
    let _worker = Worker::start(&scene.config(), scene.folder.path());
    scene.connected(1).await;
    assert_eq!(scene.failure().await.code, Code::NodeFailed);
    assert_eq!((scene.finals(), scene.billed()), (0, billed), "no more than the receipts from before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_last_receipt_the_same_one_is_sent_again() {
    let scene = Scene::set().await;
    scene.keeper.book().pays = false;
    let mut worker = Worker::start(&scene.config(), scene.folder.path());
    scene.connected(0).await;
    scene.keeper.assign(&scene.order(SHORT, 0, 1));
    let last = scene.last_receipt().await;
    worker.kill();
    for logins in 1..3 {
        scene.keeper.book().receipts.clear();
        let mut worker = Worker::start(&scene.config(), scene.folder.path());
        scene.connected(logins).await;
        assert_eq!(scene.last_receipt().await, last);
        worker.kill();
    }
    // The payment, and a crash before anything else.
    let mut worker = Worker::start(&scene.config(), scene.folder.path());
    scene.connected(3).await;
    scene.keeper.pay(&last);
    worker.kill();
    let _worker = Worker::start(&scene.config(), scene.folder.path());
    scene.connected(4).await;
    // It may have been killed before it counted the payment; a keeper tells it again.
    let accepted = scene.keeper.book().newest.unwrap();
    scene.keeper.send(protocol::wire::ToWorker::Accepted { job: last.statement.job, accepted });
    let status = scene.paid().await;
    assert_eq!(owed(&status), last.statement.amount.get());
    assert!(scene.keeper.book().failed.is_empty());
}
