//! The buyer's side of Capa: open a channel, order a job, pay for what was delivered and nothing else, check the
//! result.
//!
//! 1. The address book says which chain and contracts count; [`anchor`] is all that a client believes, read from there.
//! 2. [`wallet`] opens, tops up, closes and withdraws [`channel`]s, and acts for providers and keepers.
//! 3. [`manifest`] turns a folder into a job envelope and its blobs.
//! 4. [`keeper`] talks REST to a keeper, or to a worker's own endpoint: a direct channel speaks the same.
//! 5. [`session`] holds the session key: it checks every receipt, signs a voucher for it, and never signs twice.
//! 6. [`verify`] fetches the outputs and compares them with what was paid for.

#![warn(missing_docs)]

pub mod anchor;
pub mod wallet;
pub mod channel;
pub mod provider;
pub mod bond;
pub mod revert;
pub mod manifest;
pub mod keeper;
pub mod session;
pub mod verify;
