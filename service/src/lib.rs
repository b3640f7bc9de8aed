//! What every long-running Capa binary needs, and no word of the Capa domain.
//!
//! In the order a binary meets it: its configuration ([`config`]), logs and metrics ([`telemetry`]), the one
//! token that ends everything ([`shutdown`]), what it reports about itself ([`health`]), its HTTP server
//! ([`http`]), its key ([`keystore`]), and the chain ([`chain`]): reading it through several endpoints, following
//! it as changes that have an inverse, and sending transactions that survive a restart.
#![warn(missing_docs)]

pub mod config;
pub mod keystore;
pub mod telemetry;
pub mod shutdown;
pub mod health;
pub mod http;
pub mod chain;
