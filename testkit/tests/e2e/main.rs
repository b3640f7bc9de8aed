//! The whole system: every test starts its own chain, contracts and services, and ends by counting every nano.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

mod crashes;
mod direct;
mod history;
mod paid;
mod refusals;
mod support;
mod walk;
