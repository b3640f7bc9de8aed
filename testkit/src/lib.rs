//! The whole of Capa on one machine: an embedded chain, its contracts and accounts, and every service.
//!
//! `capa-dev` (what `cargo xtask dev` runs) and the end-to-end tests are built from these parts. Nothing here is part
//! of the product: keys are known to everyone, and the emulated GPU exists for tests only.

pub mod tools;
pub mod anvil;
pub mod accounts;
pub mod deploy;
pub mod layout;
pub mod services;
pub mod facts;
pub mod proxy;
pub mod world;
pub mod dev;
