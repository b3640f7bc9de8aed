//! A provider's node: it sells compute, meters it, and sees to it that it is paid.
//!
//! The [`command`] line reads a configuration and starts what was asked for. In the order in which a job flows:
//! 1. [`config`] says what is sold and where trust ends; [`run`](crate::run()) opens everything and checks it.
//! 2. `offer` signs offers; `connect` keeps the socket to the keeper, `direct` serves clients that pay without one.
//! 3. `job` works on an assignment: blobs by hash, a run in the [`fleet`], a receipt every interval from [`meter`].
//!    The fleet hands the program to a child process of its own, the [`runner`], which has given up everything
//!    ([`sandbox`]) but the executors of [`execute`].
//! 4. [`accept`] holds every acceptance against PROTOCOL.md section 9 and the chain (`market`); only then does it count.
//! 5. [`ledger`] has it on disk before anyone is told, so a crash loses nothing.
//! 6. `watch` stores the proof of each batch, challenges a keeper that shows none, claims, redeems, and if the keeper is
//!    wound down recovers what it owes from the channels.
//! 7. `drain` ends it all without losing a payment; `admin` is how the operator tells it to.

pub mod command;
pub mod config;
mod run;
mod account;
mod drain;
mod admin;
mod status;
pub mod doctor;
pub mod bench;
mod node;
mod market;
mod offer;
mod outlet;
mod keeper_api;
mod link;
mod connect;
mod direct;
mod job;
pub mod fleet;
pub mod runner;
mod finish;
pub mod execute;
pub mod sandbox;
pub mod meter;
pub mod accept;
mod prove;
mod credit;
mod unaccepted;
pub mod ledger;
mod gas;
mod watch;
mod visibility;
pub mod monitor;
mod lookout;
mod observe;

#[cfg(test)]
mod fixture;

pub use config::Config;
pub use run::{RunError, Worker, run};
pub use status::{Status, status};
