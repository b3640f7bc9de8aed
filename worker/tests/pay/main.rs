//! A whole worker against a real chain: paid through a keeper, and paid directly.
#![allow(clippy::unwrap_used, clippy::panic)]

mod chain;
mod setup;
mod job;
mod keeper;
mod scene;
mod process;

mod start;
mod keeper_path;
mod direct;
mod limits;
mod recovery;
mod reorganisation;
mod crash;
mod drain;
mod verbs;
