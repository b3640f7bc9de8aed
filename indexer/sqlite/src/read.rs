//! Answers. Each function reads through a connection whose transaction fixes the block.

mod batches;
mod candles;
mod chain;
mod providers;
mod trades;

pub(crate) use batches::{batch, batches, counts, file, wanted};
pub(crate) use candles::{candles, resources};
pub(crate) use chain::{as_of, changes, newest_change, recent};
pub(crate) use providers::{provider, providers};
pub(crate) use trades::{trades, trades_of};

use indexer_store::row::Page;

/// A page from one row more than it may hold: the extra one only says that there is a next page.
fn page<T>(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> Vec<u8>) -> Page<T> {
    let limit = limit as usize;
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = if has_more { items.last().map(key) } else { None };
    Page { items, next }
}
