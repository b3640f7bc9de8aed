//! What the two sides tell each other.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use worker::sandbox::{Isolation, Lockdown};

/// What a child is told first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// How it is locked; not at all for a control, which shows that an attack is one.
    pub(crate) lockdown: Option<Lockdown>,
    /// What it does then.
    pub(crate) act: Act,
    /// What there is to attack.
    pub(crate) scene: Scene,
}

/// What a child does once it is locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Tries all attacks, from the thread that was locked last.
    Attack,
    /// Tries them from a thread that was there before.
    AttackFromElder,
    /// Fills memory until it is stopped.
    FillMemory,
    /// Starts threads until it is stopped.
    StartThreads,
    /// Opens descriptors until it is stopped.
    OpenDescriptors,
    /// Sends the supervisor what it does not want.
    SendNonsense,
    /// Receives messages, and answers each with how it went.
    Receive,
    /// Tampers with the memory that it is sent.
    Tamper,
    /// Asks for its number by the system calls of 32 bits.
    CallBy32Bits,
    /// Names its threads, those of before and those of after.
    NameThreads,
    /// Does nothing.
    Sleep,
    /// Runs a sample job in WebAssembly.
    RunWasm,
    /// Runs a sample job on the emulated device, with libraries in these folders.
    RunCuda(Vec<PathBuf>),
}

/// What there is to attack.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Scene {
    /// The supervisor.
    pub(crate) parent: i32,
    /// Ports that it listens on.
    pub(crate) tcp: u16,
    pub(crate) udp: u16,
    /// Its socket in the abstract name space.
    pub(crate) abstract_name: String,
    /// A folder that everybody may write in.
    pub(crate) folder: PathBuf,
    /// A file in it that everybody may read and write.
    pub(crate) secret: PathBuf,
}

/// What a child tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Told {
    /// It is locked.
    Ready { isolation: Isolation, missing: Vec<String> },
    /// What came of each attack.
    Attacks(Vec<Outcome>),
    /// Anything else.
    Note(String),
}

/// What came of an attack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// The error number, if it did not simply succeed.
    pub(crate) error: Option<i32>,
    /// Whether that error is one of those that mean "not you".
    pub(crate) refused: bool,
}
