//! What looks for errors in the contracts beyond running their tests: proofs, patterns, gaps in the tests.

pub(crate) mod coverage;
pub(crate) mod mutation;
pub(crate) mod slither;
pub(crate) mod symbolic;

mod python;
