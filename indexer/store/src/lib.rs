//! What an indexer remembers, without any database: facts, rows, candles, and the store that keeps them.
//!
//! 1. A chain log becomes a [`fact::Fact`]. Facts are only ever added, each with its block, so taking a block back
//!    means deleting what carries its number.
//! 2. A committed batch gets its lines once they are proven to be the committed ones; each becomes a [`trade::Trade`].
//! 3. Trades fold into [`candle::Candle`]s. Folding is associative and commutative, so any split of the same trades
//!    gives the same candles.
//! 4. A [`store::Store`] keeps all that and answers [`query`]s, each from one snapshot of one block.
//!
//! This crate has no IO. One crate per database engine implements [`store::Store`].

#![warn(missing_docs)]

pub mod candle;
pub mod fact;
pub mod query;
pub mod row;
pub mod store;
pub mod trade;
