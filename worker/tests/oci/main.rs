//! Container jobs with the real runc: what they can do, what they cannot, and images that attack the machine.
//!
//! They need root, runc 1.1, a static busybox and a machine that lets containers be made; where one of these is
//! missing, each test says so and ends.

#![allow(clippy::unwrap_used, clippy::panic)]

mod layout;
mod machine;
mod jobs;
mod confinement;
mod limits;
mod images;
mod layers;
mod devices;
mod leftovers;
