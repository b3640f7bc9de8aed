//! The Capa protocol, without IO: everything that client, keeper, worker and indexer must agree on.
//!
//! 1. A provider signs an [`order::Offer`], a client's session key an [`order::Order`]; its hash is the job id.
//! 2. The order names a [`job::Envelope`]: program, inputs, outputs, limits, all by hash.
//! 3. The worker signs cumulative [`receipt::Receipt`]s over what was used ([`resource::Usage`]).
//! 4. The session key pays each with a [`voucher::Voucher`] over all it has ever spent with this keeper.
//! 5. The keeper stores it and signs an [`voucher::Acceptance`] of what the provider is owed in the batch.
//! 6. [`batch::close`] turns a batch's vouchers into two Merkle-sum [`tree::Tree`]s: earnings, and usage lines.
//! 7. `collect` and `commit` put them on chain, where every debit's signature is checked again.
//! 8. After the challenge window anyone proves a provider's leaf, and the provider is paid.
//! 9. Indexers check the lines against their root before they count: price history is made of them.
//! 10. A direct channel skips 5 to 8: the provider redeems the voucher itself.
//!
//! This crate has no clock, no network, no files and no environment.

#![warn(missing_docs)]

pub mod bindings;

pub mod amount;
pub mod signature;
pub mod address_book;

pub mod provider;
pub mod resource;
pub mod order;
pub mod job;
pub mod receipt;
pub mod voucher;
pub mod tree;
pub mod batch;
pub mod model;
pub mod wire;
pub mod benchmark;
