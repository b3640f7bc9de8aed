//! Children's lives: stopped, left behind, killed in vain, and tried again.

use crate::setup::{ALICE, BOB, Site, children, config, counting, endless, is_running, kill, until};
use alloy::primitives::Address;
use futures::future::BoxFuture;
use nix::sys::signal::{Signal, kill as signal};
use nix::unistd::Pid;
use protocol::amount::Quantity;
use protocol::resource::Usage;
use protocol::wire::IsolationLevel;
use serde_json::json;
use service::health::Health;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::execute::ExecuteError;
use worker::fleet::{Device, DeviceState, Fleet, Reaper};
use worker::sandbox::{Exit, Identity, Process, Unkillable};

fn stop(pid: u32) {
    signal(Pid::from_raw(pid as i32), Signal::SIGSTOP).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_ignores_being_told_to_stop_is_killed() {
    let site = Site::start(|_| {}).await;
    let busy = site.only_child().await;
    let (sender, mut progress) = watch::channel(Usage::default());
    let cancel = CancellationToken::new();
    let run = tokio::spawn({
        let (fleet, cancel) = (site.fleet.clone(), cancel.clone());
        async move { fleet.execute(ALICE, endless(), sender, cancel).await }
    });
    progress.changed().await.unwrap();
    stop(busy);
    let used = *progress.borrow();
    cancel.cancel();
    let begin = Instant::now();
    match run.await.unwrap() {
        Err(ExecuteError::Cancelled { usage }) => assert!(usage.covers(&used)),
        other => panic!("not cancelled: {other:?}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "grace is half a second");
    assert!(!is_running(busy));
    site.serves(ALICE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_goes_on_after_its_time_is_killed() {
    let site = Site::start(|_| {}).await;
    let busy = site.only_child().await;
    let (sender, mut progress) = watch::channel(Usage::default());
    let mut job = endless();
    job.envelope.limits.wall_ms = Quantity(1_000);
    let run = tokio::spawn({
        let fleet = site.fleet.clone();
        async move { fleet.execute(ALICE, job, sender, CancellationToken::new()).await }
    });
    progress.changed().await.unwrap();
    stop(busy);
    let used = *progress.borrow();
    match run.await.unwrap() {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("was killed"), "{detail}");
            assert!(usage.covers(&used), "what it used is billed");
        }
        other => panic!("not a limit: {other:?}"),
    }
    assert!(!is_running(busy));
    site.serves(BOB).await;
}

/// Says of the first processes that they will not die, and does not even try.
struct Undertaker(AtomicU32);

impl Reaper for Undertaker {
    fn reap(&self, process: Process, deadline: Duration) -> BoxFuture<'static, Result<Exit, Box<Unkillable>>> {
        if self.0.load(Ordering::Relaxed) == 0 {
            return Box::pin(process.reap(deadline));
        }
        self.0.fetch_sub(1, Ordering::Relaxed);
        Box::pin(async { Err(Box::new(Unkillable(process))) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_will_not_die_costs_its_device_and_nothing_else() {
    let undertaker = Arc::new(Undertaker(AtomicU32::new(0)));
    let carol = Address::repeat_byte(0xca);
    let site = Site::with_reaper(undertaker.clone(), |config| {
        config.slots = 2;
        config.sandbox.friends.push(carol);
    })
    .await;
    let mut changes = site.fleet.changes();
    let undead = site.only_child().await;
    site.serves(ALICE).await;
    site.serves(BOB).await;
    undertaker.0.store(1, Ordering::Relaxed);
    // There is a slot with Alice's child and one with Bob's: Carol's job ends Alice's, in vain, and then Bob's.
    site.serves(carol).await;
    let states = || site.fleet.devices();
    match &states()[0] {
        (Device::Cpu(0), DeviceState::Quarantined(reason)) => assert!(reason.contains(&undead.to_string()), "{reason}"),
        other => panic!("not in quarantine: {other:?}"),
    }
    assert_eq!(states()[1], (Device::Cpu(1), DeviceState::Free));
    let unready = site.health.ready().unwrap_err();
    assert!(unready[0].1.contains("CPU slot 0 is in quarantine"), "{unready:?}");
    assert!(site.children().contains(&undead), "it must be found again after a crash");
    site.serves(ALICE).await;
    site.serves(BOB).await;

    kill(undead);
    until("the end of the quarantine", || (states()[0].1 == DeviceState::Free).then_some(())).await;
    // What is told of it follows a moment later.
    until("the good news", || site.health.ready().is_ok().then_some(())).await;
    until("its removal from the list", || (!site.children().contains(&undead)).then_some(())).await;
    let both = [site.run(ALICE, counting(5)), site.run(BOB, counting(5))];
    assert!(futures::future::join_all(both).await.iter().all(Result::is_ok));
    // Slots are not announced one by one: what can be run stayed the same.
    assert!(!changes.has_changed().unwrap() || changes.borrow_and_update().devices == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_of_a_crashed_supervisor_are_killed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut orphan = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let mut stranger = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let identity = Identity::of(orphan.id()).unwrap();
    // Somebody else has the number of a child that ended long ago.
    let other = Identity { start_time: 1, ..Identity::of(stranger.id()).unwrap() };
    let list = json!([{ "identity": identity, "site": "cpu" }, { "identity": other, "site": { "gpu": 0 } }]);
    std::fs::write(folder.path().join("children.json"), list.to_string()).unwrap();
    let fleet = Fleet::start(config(folder.path()), Health::new()).await.unwrap();
    assert!(!is_running(orphan.id()));
    assert!(is_running(stranger.id()), "it is not ours");
    assert_eq!(children(folder.path()).len(), 1, "only the fleet's own child is written down");
    fleet.close().await;
    orphan.wait().unwrap();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

const FOLDER: &str = "CAPA_TEST_SUPERVISOR";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_end_with_their_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life::supervisor", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the supervisor's job", || folder.path().join("busy").exists().then_some(())).await;
    let orphans = children(folder.path());
    assert!(!orphans.is_empty() && orphans.iter().all(|pid| is_running(*pid)));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    for pid in orphans {
        until("a child's end", || (!is_running(pid)).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the program of another test"]
async fn supervisor() {
    let folder = std::env::var_os(FOLDER).expect("another test runs this one");
    let folder = std::path::Path::new(&folder);
    let fleet = Fleet::start(config(folder), Health::new()).await.unwrap();
    let (sender, mut progress) = watch::channel(Usage::default());
    let run = fleet.execute(ALICE, endless(), sender, CancellationToken::new());
    let tell = async {
        progress.changed().await.unwrap();
        std::fs::write(folder.join("busy"), "").unwrap();
    };
    drop(tokio::join!(run, tell));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_where_too_little_holds_their_jobs() {
    let site = Site::start(|config| {
        config.sandbox.require = IsolationLevel::Isolated;
        config.sandbox.friends = vec![ALICE];
    })
    .await;
    site.serves(ALICE).await;
    let inventory = site.fleet.inventory();
    let level = inventory.isolation.level();
    match site.run(BOB, counting(1)).await {
        Ok(_) => assert_eq!(level, IsolationLevel::Isolated),
        Err(ExecuteError::Unsupported(text)) => {
            println!("this machine keeps jobs apart at the level {level:?} only: {:?}", inventory.missing);
            assert!(level < IsolationLevel::Isolated && text.contains("missing here"), "{text}");
        }
        other => panic!("neither run nor refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_cannot_start_a_child_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.program = "/bin/false".into();
    let error = Fleet::start(config, Health::new()).await.err().unwrap().to_string();
    assert!(error.contains("ended with code 1") && error.contains("capa-worker doctor"), "{error}");
}
