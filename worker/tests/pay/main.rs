//! A whole worker against a real chain: paid through a keeper, and paid directly.
#![allow(clippy::unwrap_used, clippy::panic)]

mod chain;
mod direct;

mod job;
mod keeper;
mod keeper_path;
mod setup;
mod start;
