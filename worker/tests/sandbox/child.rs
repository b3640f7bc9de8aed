//! The locked side.

use crate::attacks;
use crate::scene::{Act, Outcome, Scene, Setup, Told};
use crate::work;
use std::process::ExitCode;
use std::sync::mpsc;
use worker::sandbox::{Channel, Confinement, Isolation, begin, memory};

/// Plays a child: as told by the first message on its standard input.
pub(crate) fn play() -> ExitCode {
    let channel = Channel::from_stdin().unwrap();
    let setup: Setup = serde_json::from_slice(&channel.recv().unwrap().bytes).unwrap();
    let prepared = work::prepare(&setup.act);
    let Some(lockdown) = setup.lockdown else {
        tell(&channel, &Told::Ready { isolation: Isolation::default(), missing: vec![] });
        act(&channel, &setup.act, &setup.scene, None, None);
        return ExitCode::SUCCESS;
    };
    let begun = begin(lockdown, &channel).unwrap();
    // What a driver does before the second half: it starts threads, which keep what they have.
    let elder = elder();
    let executor = work::executor(&setup.act);
    let Confinement { isolation, missing } = begun.finish().unwrap();
    tell(&channel, &Told::Ready { isolation, missing });
    act(&channel, &setup.act, &setup.scene, Some(elder), prepared.zip(executor));
    ExitCode::SUCCESS
}

type Elder = (mpsc::Sender<Scene>, mpsc::Receiver<Vec<Outcome>>);

fn elder() -> Elder {
    let (ask, asked) = mpsc::channel::<Scene>();
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        for scene in asked {
            answer.send(attacks::try_all(&scene)).unwrap();
        }
    });
    (ask, answered)
}

fn act(channel: &Channel, act: &Act, scene: &Scene, elder: Option<Elder>, work: Option<work::Prepared>) {
    match act {
        Act::Attack => tell(channel, &Told::Attacks(attacks::try_all(scene))),
        Act::AttackFromElder => {
            let (ask, answered) = elder.unwrap();
            ask.send(scene.clone()).unwrap();
            tell(channel, &Told::Attacks(answered.recv().unwrap()));
        }
        Act::FillMemory => fill_memory(),
        Act::StartThreads => note(channel, &start_threads().to_string()),
        Act::OpenDescriptors => note(channel, &open_descriptors(channel).to_string()),
        Act::SendNonsense => attacks::memory::send_nonsense(),
        Act::Receive => receive(channel),
        Act::Tamper => tamper(channel),
        Act::CallBy32Bits => note(channel, &attacks::call_by_32_bits().to_string()),
        Act::NameThreads => note(channel, &name_threads()),
        Act::Sleep => std::thread::sleep(std::time::Duration::from_secs(600)),
        Act::RunWasm | Act::RunCuda(_) => note(channel, &work::run(work.unwrap())),
    }
}

fn tell(channel: &Channel, told: &Told) {
    channel.send(&serde_json::to_vec(told).unwrap()).unwrap();
}

fn note(channel: &Channel, text: &str) {
    tell(channel, &Told::Note(text.to_owned()));
}

fn fill_memory() {
    let mut kept = Vec::new();
    loop {
        // Each page is written, so that it is really there.
        kept.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

fn start_threads() -> usize {
    let mut started = 0;
    while started < 20_000 {
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        if thread.spawn(|| std::thread::sleep(std::time::Duration::from_secs(600))).is_err() {
            break;
        }
        started += 1;
    }
    started
}

fn open_descriptors(channel: &Channel) -> usize {
    let mut kept = Vec::new();
    while let Ok(copy) = channel.try_clone() {
        kept.push(copy);
        assert!(kept.len() < 100_000);
    }
    kept.len()
}

fn receive(channel: &Channel) {
    loop {
        match channel.recv() {
            Ok(message) => note(channel, &format!("{} bytes, {}", message.bytes.len(), message.descriptors.len())),
            Err(worker::sandbox::ChannelError::Closed) => return,
            Err(error) => note(channel, &error.to_string()),
        }
    }
}

/// Given an input and an output, it does what it may with the output and tries what it must not.
fn tamper(channel: &Channel) {
    let mut descriptors = channel.recv().unwrap().descriptors.into_iter();
    let (input, output) = (descriptors.next().unwrap(), descriptors.next().unwrap());
    let outcomes = attacks::memory::tamper(&input, &output);
    let seen = memory::map_read(input).unwrap();
    let mut region = memory::map_write(output).unwrap();
    region[..seen.len()].copy_from_slice(&seen);
    tell(channel, &Told::Attacks(outcomes));
    // It goes on writing while the supervisor reads.
    for turn in 0u64.. {
        region[turn as usize % 16] = 1;
    }
}

/// As CUDA does: by the path with the process' number, and of threads that it did not start itself.
fn name_threads() -> String {
    let (done, waits) = mpsc::channel::<()>();
    let later = std::thread::spawn(move || waits.recv().is_err());
    let folder = format!("/proc/{}/task", std::process::id());
    let threads: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|thread| thread.unwrap().path()).collect();
    let renamed = threads.iter().map(|thread| std::fs::write(thread.join("comm"), "renamed"));
    let failed: Vec<_> = renamed.filter_map(Result::err).collect();
    drop(done);
    assert!(later.join().unwrap());
    format!("{} threads, failed: {failed:?}", threads.len())
}
