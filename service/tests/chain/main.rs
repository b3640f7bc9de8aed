//! The chain modules against a real node, and against nodes that lag, lie, refuse and forget.
#![allow(clippy::unwrap_used, clippy::panic)]

mod anvil;
mod client;
mod follow;
mod proxy;
mod send;
