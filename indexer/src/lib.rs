//! The indexer: price history that anyone can check.
//!
//! 1. [`Indexer::run`] follows the contracts' logs block by block; [`apply`] turns each log into a fact; the store
//!    keeps facts with their block, so a reorganisation takes exactly those facts back.
//! 2. `lines` fetches the usage lines of each committed batch from its keeper. They count only if they are the
//!    committed ones: root, sum, count and hash must all come out.
//! 3. Each line is a trade. Trades fold into candles. What is *pending* becomes *proven* when its batch is final by
//!    the chain's clock; what is void never counts.
//! 4. `api` serves it: REST under `/v1`, GraphQL, an event stream, and the web page. Every answer says which block it
//!    is true of and how final it is.
//!
//! There is nothing to trust: two indexers of the same chain that reached the same keepers answer alike.

pub mod config;
mod run;
mod network;
pub mod apply;
mod lines;
mod api;
mod assets;
mod observe;

pub use api::{graphql_schema, openapi};
pub use config::Config;
pub use run::{Indexer, RunError, StartError};
