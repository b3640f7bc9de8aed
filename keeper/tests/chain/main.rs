//! The keeper against real contracts on a real node: sockets, settlement, challenges, and kills in between.
//!
//! Needs `npm ci` for anvil and forge.
#![allow(clippy::unwrap_used, clippy::panic)]

mod anvil;
mod api;
mod crash;
mod settle;
mod sockets;
mod start;
mod turns;
mod world;
