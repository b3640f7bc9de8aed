//! Children that lie, flood and babble. The supervisor ends each, and believes none.

use super::super::child::Child;
use super::super::nursery::{Kernel, Nursery};
use super::super::roster::Roster;
use super::super::{FleetConfig, work::Work};
use super::*;
use crate::execute::JobInput;
use crate::runner::Facts;
use crate::sandbox::{Isolation, Process, Spawn, Supervision};
use protocol::job::{Blob, Envelope, Limits, OutputBuffer, Program, Verify};
use protocol::resource::Unit;
use rustix::net::{RecvFlags, SendFlags};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

/// What a fake child says after it was sent a job.
type Script = fn(&Socket);

/// The other end of a fake child, and the process that stands for it.
struct Socket(OwnedFd, u32);

impl Socket {
    fn say(&self, message: &Value) {
        self.shout(message.to_string().as_bytes());
    }

    fn shout(&self, bytes: &[u8]) {
        // The supervisor may have hung up already, which is what is tested.
        let _ = rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL);
    }

    fn hang_up(&self) {
        rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both).unwrap();
    }

    fn listen(&self) -> Vec<u8> {
        let mut bytes = vec![0; 64 << 10];
        let (length, _) = rustix::net::recv(&self.0, &mut bytes, RecvFlags::empty()).unwrap_or((0, 0));
        bytes.truncate(length);
        bytes
    }
}

fn work(wall_ms: u64) -> Work {
    let module = Blob { hash: Default::default(), length: Quantity(1) };
    let envelope = Envelope {
        version: 1,
        program: Program::Wasm { module, toolchain: String::new() },
        inputs: vec![],
        outputs: vec![OutputBuffer { length: Quantity(4) }],
        limits: Limits { memory: Quantity(1 << 20), wall_ms: Quantity(wall_ms) },
        verify: Verify::Reexecute,
    };
    let blobs = vec![Bytes::from_static(b"x")];
    let (unit, max_units) = (Unit::CpuMs, Quantity(1_000));
    Work::seal(&JobInput { envelope, blobs, rank: 0, devices: vec![], unit, max_units }).unwrap()
}

/// Runs a job in a child that follows a script; what became of it, and what the supervisor told of its progress.
async fn play(script: Script) -> (Ended, Vec<Usage>) {
    let (mut ended, told, nursery) = play_after(script, 0).await;
    if let Some(child) = ended.child.take() {
        nursery.retire(child).await.unwrap();
    }
    (ended, told)
}

/// The same, in a child that was handed so much before; it is not ended.
async fn play_after(script: Script, handed: u64) -> (Ended, Vec<Usage>, Nursery) {
    play_with(script, handed, work(700), None).await
}

/// The same with a job whose payer may have the device so much longer than it is billed for.
async fn play_with(
    script: Script,
    handed: u64,
    work: Work,
    unbilled: Option<Duration>,
) -> (Ended, Vec<Usage>, Nursery) {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = crate::config::SandboxConfig::default();
    let config = FleetConfig::new("none".into(), folder.path().into(), 1, Default::default(), sandbox);
    let (roster, _) = Roster::open(folder.path()).unwrap();
    let nursery = Nursery::new(config, roster, Arc::new(Kernel));
    let (channel, theirs) = Supervision::pair().unwrap();
    let stdin = std::fs::File::open("/dev/null").unwrap().into();
    let spawn = Spawn { program: "sleep".into(), arguments: vec!["60".into()], environment: vec![], stdin };
    let facts = Facts { abilities: vec![], isolation: Isolation::default(), missing: vec![] };
    let process = Process::spawn(spawn, None).await.unwrap();
    let socket = Socket(theirs, process.pid());
    let child = Child { site: Site::Cpu, process, channel, cgroup: None, facts, next: 1, handed, _user: None };
    let actor = std::thread::spawn(move || {
        let task = socket.listen();
        assert!(!task.is_empty());
        socket.say(&json!({ "type": "begun", "id": 1 }));
        script(&socket);
        // It hangs up only once the supervisor has had its say.
        while !socket.listen().is_empty() {}
    });
    let told = Mutex::new(Vec::new());
    let progress = |_: u32, usage: Usage| told.lock().unwrap().push(usage);
    let cancel = CancellationToken::new();
    let grace = Duration::from_millis(200);
    let terms = Terms { work: &work, grace, cancel: &cancel, unbilled, progress: &progress };
    let mut ended = run(child, 0, &terms, &nursery).await;
    // Its end of the socket stays open until then.
    if let Some(child) = &mut ended.child {
        child.channel = Supervision::pair().unwrap().0;
    }
    actor.join().unwrap();
    (ended, told.into_inner().unwrap(), nursery)
}

fn usage(cpu_ms: u64) -> Value {
    let fuel = cpu_ms * protocol::resource::FUEL_PER_CPU_MS;
    let usage = Usage { cpu_ms: Quantity(cpu_ms), fuel: Quantity(fuel), ..Usage::default() };
    serde_json::to_value(usage).unwrap()
}

fn ended(id: u64, lengths: &[u64]) -> Value {
    let outcome = json!({ "produced": { "usage": usage(5), "lengths": lengths } });
    let nothing = crate::execute::Compilations::default();
    json!({ "type": "ended", "id": id, "outcome": outcome, "spent": false, "compilations": nothing })
}

#[tokio::test]
async fn an_honest_child_is_believed() {
    let (done, told) = play(|socket| {
        socket.say(&json!({ "type": "progress", "id": 1, "usage": usage(3) }));
        socket.say(&ended(1, &[4]));
    })
    .await;
    assert_eq!(done.result.unwrap(), [Bytes::from_static(&[0; 4])]);
    let times: Vec<u64> = told.iter().map(|usage| usage.cpu_ms.get()).collect();
    assert_eq!(times, [0, 3, 5]);
}

/// What it was handed it can keep mapped, and that counts as the supervisor's memory.
#[tokio::test]
async fn a_child_that_was_handed_much_is_replaced() {
    let script: Script = |socket| socket.say(&ended(1, &[4]));
    for (before, is_kept) in [(0, true), (MOST_HANDED - (64 << 10), true), (MOST_HANDED - 4096, false)] {
        let (done, _, nursery) = play_after(script, before).await;
        assert_eq!(done.child.is_some(), is_kept, "after {before} bytes");
        assert!(done.result.is_ok() && done.undead.is_none());
        if let Some(child) = done.child {
            assert!((before + 4096..before + (64 << 10)).contains(&child.handed), "{}", child.handed);
            nursery.retire(child).await.unwrap();
        }
    }
}

#[tokio::test]
async fn whatever_breaks_the_protocol_is_the_nodes_failure() {
    let cases: [(Script, &str); 9] = [
        (|socket| socket.say(&json!({ "type": "begun", "id": 1 })), "out of turn"),
        (|socket| socket.shout(b"{"), "EOF"),
        (|socket| socket.shout(&[0xff; 60_000]), "expected value"),
        (|socket| socket.say(&ended(2, &[4])), "job 2"),
        (|socket| socket.say(&ended(1, &[5])), "5 bytes"),
        (|socket| socket.say(&ended(1, &[])), "0 outputs"),
        (|socket| socket.say(&ended(1, &[1, 1])), "2 outputs"),
        (|socket| socket.say(&json!({ "type": "unfit", "reason": "no" })), "out of turn"),
        (|socket| socket.say(&json!({ "type": "progress", "id": 1, "usage": usage(1), "also": 1 })), "unknown field"),
    ];
    for (script, words) in cases {
        let (done, _) = play(script).await;
        match done.result {
            Err(ExecuteError::Node(text)) => assert!(text.contains(words), "{text}"),
            other => panic!("not the node's failure: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_flood_of_messages_ends() {
    let (done, told) = play(|socket| {
        for _ in 0..10_000 {
            socket.say(&json!({ "type": "progress", "id": 1, "usage": usage(1) }));
        }
    })
    .await;
    assert!(matches!(&done.result, Err(ExecuteError::Node(text)) if text.contains("messages in")), "{:?}", done.result);
    assert!(told.len() < 200, "{} messages were taken", told.len());
}

#[tokio::test]
async fn usage_never_falls_whatever_a_child_says() {
    let (done, told) = play(|socket| {
        for ms in [50, 20, 60, 0] {
            socket.say(&json!({ "type": "progress", "id": 1, "usage": usage(ms) }));
        }
        socket.say(&ended(1, &[0]));
    })
    .await;
    assert!(done.result.is_ok());
    let times: Vec<u64> = told.iter().map(|usage| usage.cpu_ms.get()).collect();
    assert_eq!(times, [0, 50, 50, 60, 60, 60]);
}

#[tokio::test]
async fn a_silent_child_is_killed_at_its_time_and_billed_what_it_told() {
    let begin = std::time::Instant::now();
    let (done, _) = play(|socket| socket.say(&json!({ "type": "progress", "id": 1, "usage": usage(9) }))).await;
    match done.result {
        Err(ExecuteError::Limit { usage, .. }) => assert_eq!(usage.cpu_ms, Quantity(9)),
        other => panic!("not a limit: {other:?}"),
    }
    assert!(begin.elapsed() >= Duration::from_millis(900), "it had its wall time and its grace");
}

#[tokio::test]
async fn a_child_that_tells_less_than_it_takes_is_killed_before_its_time() {
    let silent: Script = |socket| socket.say(&json!({ "type": "progress", "id": 1, "usage": usage(9) }));
    let (done, _, _) = play_with(silent, 0, work(600_000), Some(Duration::from_millis(50))).await;
    match done.result {
        Err(ExecuteError::Limit { detail, usage }) => {
            assert!(detail.contains("sandbox.unbilled_s"), "{detail}");
            assert_eq!(usage.cpu_ms, Quantity(9));
        }
        other => panic!("not a limit: {other:?}"),
    }
    assert!(done.unbilled > Duration::ZERO && !done.cleared && done.child.is_none());
}

/// A stranger's code can abort its process: what it used is billed.
#[tokio::test]
async fn a_child_that_aborts_is_the_programs_failure() {
    let (done, _) = play(|socket| {
        socket.say(&json!({ "type": "progress", "id": 1, "usage": usage(9) }));
        let process = nix::unistd::Pid::from_raw(socket.1.cast_signed());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGABRT).unwrap();
        socket.hang_up();
    })
    .await;
    match done.result {
        Err(ExecuteError::Program { detail, usage }) => {
            assert!(detail.contains("signal 6"), "{detail}");
            assert_eq!(usage.cpu_ms, Quantity(9));
        }
        other => panic!("not the program's failure: {other:?}"),
    }
    assert!(done.crashed);
}

#[tokio::test]
async fn a_child_that_hangs_up_and_lives_on_is_killed() {
    let (done, _) = play(|socket| {
        socket.hang_up();
    })
    .await;
    assert!(matches!(&done.result, Err(ExecuteError::Node(text)) if text.contains("hung up")), "{:?}", done.result);
}
