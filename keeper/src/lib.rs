//! The keeper: a market and a ledger off chain, settled on chain in batches.
//!
//! In the order in which a job flows:
//! 1. [`intake`] checks an offer or an order, [`market`] rests it in the book and matches by price, then time.
//! 2. [`dispatch`] knows the connected workers and hands a matched job to a free one.
//! 3. [`ledger`] judges receipts and vouchers; the store writes what it decides; the acceptance leaves after that.
//! 4. [`mod@batch`] says when a batch is closed, [`settle`] collects and commits it, answers challenges and watches
//!    it until it is final, and [`publish`] gives its lines and proofs to everyone.
//!
//! [`desk`] is where these meet, in one serial order; [`api`] is how the world reaches it. [`onchain`] and [`blobs`]
//! are read before the desk is locked. The keeper may be killed at any instant: everything is read back from the
//! store and the chain.

pub mod config;
pub mod error;
pub mod run;
pub mod api;
pub mod intake;
pub mod market;
pub mod dispatch;
pub mod desk;
pub mod ledger;
pub mod batch;
pub mod settle;
pub mod publish;
pub mod blobs;
pub mod onchain;
pub mod watch;
pub mod observe;

pub use config::Config;
pub use run::{Keeper, KeeperError, run};

/// The engine that the ledger is kept in.
pub type Engine = keeper_sqlite::SqliteStore;
