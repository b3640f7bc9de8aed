//! One binary: calls, events, errors and signed messages, ours against ethers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

mod contract;
mod tokens;

mod calls;
mod events;
mod messages;
