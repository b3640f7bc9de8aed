//! One binary: calls, events, errors and signed messages, ours against ethers.

mod contract;
mod tokens;

mod calls;
mod events;
mod messages;
