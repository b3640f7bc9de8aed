//! Checks `protocol` against an implementation that shares no code with it.
//!
//! Everything that reaches the chain or is signed goes through alloy, whose encoder, decoder and EIP-712 hashing were
//! derived from the same contracts by one macro: a mistake there would be consistent with itself. The tests of this
//! crate take the committed ABIs (`contracts/abi`) and let ethers-core and ethers-contract 2.0.14 encode and decode
//! every call, event and error, hash every signed message, and recover every signature.
//!
//! ethers is archived. It is in no product: this crate exists so that `deny.toml` can name the one place where it is.
