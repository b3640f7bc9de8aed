//! Jobs through real children: what they deliver, and what they cannot do. After every attack the next job is served.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, reason = "what container jobs need, from their own tests")]
#[path = "../oci/layout.rs"]
mod layout;
#[allow(dead_code, reason = "what container jobs need, from their own tests")]
#[path = "../oci/machine.rs"]
mod machine;
mod setup;
mod wasm;
mod cuda;
mod devices;
mod builtin;
mod oci;
mod memory;
mod life;
