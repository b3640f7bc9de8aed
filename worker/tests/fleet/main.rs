//! Jobs through real children: what they deliver, and what they cannot do. After every attack the next job is served.
#![allow(clippy::unwrap_used, clippy::panic)]

mod setup;
mod wasm;
