//! The executors, with the sample jobs and with programs that misbehave.

#![allow(clippy::unwrap_used, clippy::panic)]

mod builtin;
mod cuda;
mod sample;
mod wasm;
