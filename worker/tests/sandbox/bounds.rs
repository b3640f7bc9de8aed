//! A job that takes more and more is stopped at its bounds, and its supervisor goes on.

use crate::harness::Case;
use crate::scene::{Act, Scene, Told};
use crate::stage::{Actor, DEADLINE, block_on, lockdown};
use std::os::fd::AsFd;
use std::time::Duration;
use worker::sandbox::{Cgroup, CgroupLimits, ChannelError, Exit, Lockdown, Profile, memory};

pub(crate) const CASES: &[Case] = &[
    ("memory_is_bounded_by_the_control_group", group_memory),
    ("memory_is_bounded_by_the_address_space", address_space),
    ("threads_are_bounded", threads),
    ("descriptors_are_bounded", descriptors),
    #[cfg(target_arch = "x86_64")]
    ("the_system_calls_of_32_bits_end_a_process", old_calls),
    ("a_supervisor_survives_nonsense", nonsense),
    ("a_child_survives_more_descriptors_than_it_can_hold", too_many_descriptors),
    ("shared_memory_keeps_its_seals_on_the_other_side", tampering),
];

/// A group, or why this machine has none.
fn group(name: &str, limits: CgroupLimits) -> Option<Cgroup> {
    match Cgroup::create(name, limits) {
        Ok(group) => Some(group),
        Err(error) => {
            println!("    not enforced on this machine: {error}");
            None
        }
    }
}

fn group_memory() {
    block_on(async {
        let limits = CgroupLimits { memory: Some(96 << 20), processes: Some(64) };
        let Some(group) = group("memory-bomb", limits) else { return };
        let actor = Actor::start(Some(lockdown(Profile::Gpu)), Act::FillMemory, &Scene::default(), Some(&group)).await;
        let exit = tokio::time::timeout(DEADLINE, actor.process.exited()).await.unwrap();
        assert_eq!(exit, Exit::Signal(9));
        assert!(group.was_oom_killed());
    });
}

fn address_space() {
    block_on(async {
        let lockdown = Lockdown { address_space: Some(512 << 20), ..lockdown(Profile::Cpu) };
        let actor = Actor::start(Some(lockdown), Act::FillMemory, &Scene::default(), None).await;
        let exit = tokio::time::timeout(DEADLINE, actor.process.exited()).await.unwrap();
        assert_eq!(exit, Exit::Signal(6), "an allocation that fails ends a program");
    });
}

fn threads() {
    block_on(async {
        let group = group("thread-bomb", CgroupLimits { memory: None, processes: Some(64) });
        let actor =
            Actor::start(Some(lockdown(Profile::Cpu)), Act::StartThreads, &Scene::default(), group.as_ref()).await;
        if !group.as_ref().is_some_and(Cgroup::bounds_processes) && !actor.isolation.user {
            println!("    nothing counts threads on this machine");
            return;
        }
        let started: usize = actor.hear_note().await.parse().unwrap();
        assert!(started < 1024, "{started} threads were started");
    });
}

fn descriptors() {
    block_on(async {
        let actor = Actor::start(Some(lockdown(Profile::Cpu)), Act::OpenDescriptors, &Scene::default(), None).await;
        let opened: usize = actor.hear_note().await.parse().unwrap_or_default();
        assert!((200..256).contains(&opened), "{opened} descriptors were opened");
    });
}

/// The filter sees another architecture there, whose numbers mean other calls.
#[cfg(target_arch = "x86_64")]
fn old_calls() {
    for profile in [Profile::Cpu, Profile::Gpu] {
        block_on(async {
            let actor = Actor::start(Some(lockdown(profile)), Act::CallBy32Bits, &Scene::default(), None).await;
            let exit = tokio::time::timeout(DEADLINE, actor.process.exited()).await.unwrap();
            // Where the kernel has no such calls, the instruction itself is the fault.
            assert!([Exit::Signal(31), Exit::Signal(11)].contains(&exit), "{exit}");
        });
    }
}

fn nonsense() {
    block_on(async {
        let actor = Actor::start(Some(lockdown(Profile::Gpu)), Act::SendNonsense, &Scene::default(), None).await;
        assert!(matches!(actor.channel.recv().await, Err(ChannelError::TooLong)));
        assert!(matches!(actor.channel.recv().await, Err(ChannelError::Descriptors)));
        assert_eq!(actor.channel.recv().await.unwrap(), b"{\"no\": \"message\"}");
        assert!(matches!(actor.channel.recv().await, Err(ChannelError::Closed)));
        assert_eq!(actor.process.exited().await, Exit::Code(0));
    });
}

fn too_many_descriptors() {
    block_on(async {
        let lockdown = Lockdown { open_files: 32, ..lockdown(Profile::Cpu) };
        let actor = Actor::start(Some(lockdown), Act::Receive, &Scene::default(), None).await;
        let blob = memory::sealed(b"blob").unwrap();
        actor.channel.send(b"few", &[blob.as_fd(); 4]).await.unwrap();
        assert_eq!(actor.hear_note().await, "3 bytes, 4");
        actor.channel.send(b"many", &[blob.as_fd(); 100]).await.unwrap();
        assert!(actor.hear_note().await.contains("more descriptors than its receiver takes"));
        // Those that did come with it are closed again.
        actor.channel.send(b"few", &[blob.as_fd(); 20]).await.unwrap();
        assert_eq!(actor.hear_note().await, "3 bytes, 20");
    });
}

fn tampering() {
    for profile in [Profile::Cpu, Profile::Gpu] {
        block_on(async {
            let actor = Actor::start(Some(lockdown(profile)), Act::Tamper, &Scene::default(), None).await;
            let (input, output) = (memory::sealed(b"what was hashed").unwrap(), memory::writable(64 << 10).unwrap());
            actor.channel.send(b"job", &[input.as_fd(), output.as_fd()]).await.unwrap();
            let Told::Attacks(outcomes) = actor.hear().await else { panic!("no outcomes") };
            let through: Vec<_> = outcomes.iter().filter(|outcome| !outcome.refused).collect();
            assert!(outcomes.len() == 8 && through.is_empty(), "{profile:?} did not refuse {through:?}");

            let read = memory::read_back(output.as_fd(), 64 << 10).unwrap();
            let copy = read.to_vec();
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(read, copy, "a copy changed after it was made");
            assert_eq!(memory::map_read(input).unwrap(), &b"what was hashed"[..]);
            actor.process.reap(DEADLINE).await.unwrap();
        });
    }
}
