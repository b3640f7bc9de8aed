//! The whole system: every test starts its own chain, contracts and services, and ends by counting every nano.

mod crashes;
mod direct;
mod history;
mod paid;
mod refusals;
mod support;
mod walk;
