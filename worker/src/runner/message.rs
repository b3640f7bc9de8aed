//! What the supervisor and a job's process say to each other: small JSON messages, strictly read on both sides.
//!
//! Envelopes, blobs and outputs travel beside a [`Task`] as shared memory, in that order. The supervisor believes none
//! of the answers: `fleet` bounds each by what it knows itself.

use crate::execute::{Compilations, CudaConfig, ExecuteError, Executor, Gpu, Produced, WasmConfig};
use crate::sandbox::{Isolation, Lockdown};
use protocol::amount::Quantity;
use protocol::job::Kind;
use protocol::resource::{Unit, Usage};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most bytes of an error's text in a message: escaped in JSON it still fits into one.
const MAX_DETAIL: usize = 8 << 10;
/// A runner tells progress at most this often.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

/// Supervisor to runner.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ToRunner {
    /// The first message: what to become.
    Setup {
        /// Which executors to build.
        role: Role,
        /// What to give up before a job is read.
        lockdown: Lockdown,
    },
    /// Run this. Its memory is attached.
    Job(Task),
    /// Stop that job.
    Cancel {
        /// Its number.
        id: u64,
    },
}

/// What a runner is there for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Role {
    /// Tells which GPUs there are, and ends.
    Probe(CudaConfig),
    /// Clears the memory of the only GPU that it sees, and ends.
    Scrub(CudaConfig),
    /// Runs WebAssembly.
    Cpu(WasmConfig),
    /// Runs CUDA and the builtin kernels on the only GPU that it sees.
    Gpu(CudaConfig),
}

/// One job, or one device's share of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Task {
    /// Its number; every answer about it repeats that.
    pub id: u64,
    /// Which of the job's devices this is, counted from 0.
    pub rank: u32,
    /// The unit that the job is billed in.
    pub unit: Unit,
    /// The job is stopped before it uses more of that unit.
    pub max_units: Quantity,
}

/// Runner to supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FromRunner {
    /// It is locked and takes jobs.
    Ready(Facts),
    /// The GPUs that a probe found.
    Found {
        /// In the driver's order.
        gpus: Vec<Gpu>,
    },
    /// A GPU's memory holds nothing but zeros.
    Scrubbed {
        /// How much was cleared.
        bytes: u64,
        /// How long it took.
        milliseconds: u64,
    },
    /// It cannot be what it should.
    Unfit {
        /// A sentence for the operator.
        reason: String,
    },
    /// A job was read, and begins now.
    Begun {
        /// Which.
        id: u64,
    },
    /// A job works on.
    Progress {
        /// Which.
        id: u64,
        /// All that it used so far.
        usage: Usage,
    },
    /// A job ended, and its memory was given back.
    Ended {
        /// Which.
        id: u64,
        /// How.
        outcome: Outcome,
        /// Whether it left the process in a state in which it must run no other.
        spent: bool,
        /// What was compiled for it.
        compilations: Compilations,
    },
}

/// What a runner can do, and what holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// One entry an executor.
    pub abilities: Vec<Ability>,
    /// What is in force around it.
    pub isolation: Isolation,
    /// Why something is not, a sentence each.
    pub missing: Vec<String>,
}

/// An executor as the market knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ability {
    /// The kind of programs that it runs.
    pub kind: Kind,
    /// What counts or compiles.
    pub toolchains: Vec<String>,
    /// The largest `limits.memory` that it takes, in bytes.
    pub memory: u64,
    /// The name of its device.
    pub device: Option<String>,
}

impl Ability {
    /// What an executor says of itself.
    pub fn of(executor: &dyn Executor) -> Self {
        Self {
            kind: executor.kind(),
            toolchains: executor.toolchains(),
            memory: executor.memory(),
            device: executor.device(),
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Outcome {
    /// It ran to its end.
    Produced(Produced),
    /// It did not.
    Failed(ExecuteError),
}

impl From<Result<Produced, ExecuteError>> for Outcome {
    /// Texts are cut to what fits into a message.
    fn from(result: Result<Produced, ExecuteError>) -> Self {
        match result {
            Ok(produced) => Self::Produced(produced),
            Err(ExecuteError::Program { detail, usage }) => {
                Self::Failed(ExecuteError::Program { detail: cut(detail), usage })
            }
            Err(ExecuteError::Limit { detail, usage }) => {
                Self::Failed(ExecuteError::Limit { detail: cut(detail), usage })
            }
            Err(error @ ExecuteError::Cancelled { .. }) => Self::Failed(error),
            Err(ExecuteError::Unsupported(text)) => Self::Failed(ExecuteError::Unsupported(cut(text))),
            Err(ExecuteError::Node(text)) => Self::Failed(ExecuteError::Node(cut(text))),
        }
    }
}

/// The start of a text.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MAX_DETAIL {
        text.truncate(text.floor_char_boundary(MAX_DETAIL));
        text.push_str(" …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_text_fits_into_a_message() {
        let worst = "\u{1}".repeat(1 << 20);
        let outcome = Outcome::from(Err(ExecuteError::Program { detail: worst, usage: Usage::default() }));
        let message = serde_json::to_vec(&FromRunner::Ended {
            id: u64::MAX,
            outcome,
            spent: false,
            compilations: Compilations::default(),
        })
        .unwrap();
        assert!(message.len() < crate::sandbox::channel::MAX_MESSAGE, "{} bytes", message.len());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let text = cut("ä".repeat(MAX_DETAIL));
        assert!(text.ends_with(" …") && text.len() <= MAX_DETAIL + 4);
        assert_eq!(cut("short".into()), "short");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = r#"{"type":"cancel","id":1,"also":2}"#;
        assert!(serde_json::from_str::<ToRunner>(text).is_err());
        assert!(serde_json::from_str::<ToRunner>(r#"{"type":"cancel","id":1}"#).is_ok());
    }
}
