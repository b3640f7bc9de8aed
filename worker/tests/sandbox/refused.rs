//! Each attack is refused, and is an attack: without a lockdown it is not refused.

use crate::harness::Case;
use crate::scene::{Act, Outcome, Told};
use crate::stage::{Actor, Stage, block_on, lockdown};
use worker::sandbox::{IsolationLevel, Profile};

pub(crate) const CASES: &[Case] = &[
    ("attacks_go_through_without_a_lockdown", control),
    ("attacks_of_a_cpu_job_are_refused", || attack(Profile::Cpu, Act::Attack)),
    ("attacks_of_a_gpu_job_are_refused", || attack(Profile::Gpu, Act::Attack)),
    ("attacks_from_a_driver_thread_are_refused", || attack(Profile::Gpu, Act::AttackFromElder)),
];

/// What succeeds on every machine, for every user, in every container.
const CERTAIN: [&str; 9] = [
    "read /etc/passwd",
    "read another's file",
    "make a file",
    "connect by TCP",
    "send by UDP",
    "connect to an abstract socket",
    "run a program",
    "fork",
    "signal the supervisor",
];

fn outcomes(told: Told) -> Vec<Outcome> {
    match told {
        Told::Attacks(outcomes) => outcomes,
        other => panic!("not outcomes: {other:?}"),
    }
}

fn control() {
    block_on(async {
        let stage = Stage::new();
        let actor = Actor::start(None, Act::Attack, &stage.scene, None).await;
        let outcomes = outcomes(actor.hear().await);
        let refused: Vec<_> = outcomes.iter().filter(|outcome| outcome.refused).collect();
        for outcome in &refused {
            println!("    refused without a lockdown too: {} ({:?})", outcome.name, outcome.error);
        }
        for name in CERTAIN {
            let succeeded = outcomes.iter().any(|outcome| outcome.name == name && outcome.error.is_none());
            assert!(succeeded, "{name} is no attack: {outcomes:?}");
        }
    });
}

fn attack(profile: Profile, act: Act) {
    block_on(async {
        let stage = Stage::new();
        let actor = Actor::start(Some(lockdown(profile)), act, &stage.scene, None).await;
        let outcomes = outcomes(actor.hear().await);
        let through: Vec<_> = outcomes.iter().filter(|outcome| !outcome.refused).collect();
        if actor.isolation.level() == IsolationLevel::Process {
            println!("    not confined on this machine: {} attacks went through", through.len());
            return;
        }
        assert!(outcomes.len() > 50);
        assert!(through.is_empty(), "{profile:?} did not refuse {through:#?}");
        stage.assert_whole();
    });
}
