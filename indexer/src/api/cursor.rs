//! Cursors: where a page ended, in a form that clients hand back unread.

use super::Problem;
use indexer_store::query::{MAX_LIMIT, Position};

/// Items of a page for which none were asked.
pub(super) const DEFAULT_LIMIT: u32 = 100;

/// The cursor of a key.
pub(super) fn encode(key: &[u8]) -> String {
    hex::encode(key)
}

/// Where to start and how far to go, from what a client asked for.
pub(super) fn position(cursor: Option<&str>, limit: Option<u32>) -> Result<Position, Problem> {
    let after = cursor.map(hex::decode).transpose().map_err(|_| {
        Problem::Invalid("the cursor is not one that this API gave out: start again without it".to_owned())
    })?;
    Ok(Position { after, limit: checked_limit(limit)? })
}

/// A limit within bounds. One that is too large is refused, because silently cutting it would look like the end.
pub(super) fn checked_limit(limit: Option<u32>) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::Invalid(format!("a page has 1 to {MAX_LIMIT} items, not {limit}: use `next` for more")))
}

/// A path with those parameters that are given.
pub(super) fn link<const N: usize>(path: &str, pairs: [(&str, Option<String>); N]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))));
    format!("{path}?{}", query.finish())
}
