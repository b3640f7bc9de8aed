//! No child outlives its supervisor, whichever of the two ties between them is cut.

use crate::harness::Case;
use crate::scene::{Act, Scene, Setup, Told};
use crate::stage::{Actor, DEADLINE, block_on, lockdown};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use worker::sandbox::{Exit, Identity, Process, Profile, Spawn, Supervision};

pub(crate) const CASES: &[Case] =
    &[("a_child_ends_when_its_socket_is_closed", socket), ("a_child_ends_with_the_process_that_started_it", parent)];

fn socket() {
    for profile in [Profile::Cpu, Profile::Gpu] {
        block_on(async {
            let Actor { process, channel, .. } =
                Actor::start(Some(lockdown(profile)), Act::Sleep, &Scene::default(), None).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(process.try_exited(), None);
            drop(channel);
            let exit = tokio::time::timeout(DEADLINE, process.exited()).await.unwrap();
            assert_eq!(exit, Exit::Signal(9));
        });
    }
}

/// A supervisor of its own dies, while the socket stays open here.
fn parent() {
    block_on(async {
        let (channel, stdin) = Supervision::pair().unwrap();
        let mut supervisor = Command::new(std::env::current_exe().unwrap())
            .arg("supervisor")
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let setup = Setup { lockdown: Some(lockdown(Profile::Cpu)), act: Act::Sleep, scene: Scene::default() };
        channel.send(&serde_json::to_vec(&setup).unwrap(), &[]).await.unwrap();
        let told = tokio::time::timeout(DEADLINE, channel.recv()).await.unwrap().unwrap();
        assert!(matches!(serde_json::from_slice(&told).unwrap(), Told::Ready { .. }));
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let child: Identity = serde_json::from_str(&line).unwrap();
        assert_eq!(Identity::of(child.pid).unwrap(), child);

        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        let begin = Instant::now();
        while is_running(&child) {
            assert!(begin.elapsed() < Duration::from_secs(10), "{child:?} outlived its supervisor");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

/// Whoever inherits it here may leave it unreaped, so that a zombie counts as gone.
fn is_running(process: &Identity) -> bool {
    let same = Identity::of(process.pid).is_ok_and(|now| now == *process);
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    same && !status.contains("State:\tZ")
}

/// Plays a supervisor that starts a child on its own standard input, tells who that is, and waits.
pub(crate) fn play_supervisor() -> ExitCode {
    block_on(async {
        let stdin = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().unwrap();
        let spawn = Spawn {
            program: std::env::current_exe().unwrap(),
            arguments: vec!["child".into()],
            environment: vec![],
            stdin,
        };
        let child = Process::spawn(spawn, None).await.unwrap();
        println!("{}", serde_json::to_string(child.identity()).unwrap());
        child.exited().await;
    });
    ExitCode::SUCCESS
}
