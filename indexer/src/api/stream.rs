//! `/v1/stream`: batches and trades as they come, as server-sent events.
//!
//! An event's id is the number of a change and, for trades, the index behind a dot. A client that reconnects sends the
//! last one it saw as `Last-Event-ID` and misses nothing.

use super::problem::{PROBLEM, ProblemBody};
use super::view::{AsOf, Batch, Trade};
use super::{Api, Problem};
use crate::observe;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream::StreamExt;
use indexer_store::row::{Change, ChangeKind};
use indexer_store::store::{Store, StoreError};
use serde::Serialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use tokio::sync::watch;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Changes read at a time.
const CHANGES: u32 = 100;
/// Trades read at a time.
const TRADES: u32 = 500;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// What happened to a batch.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum What {
    /// It was committed.
    Committed,
    /// Its lines were verified; its trades follow.
    Verified,
    /// It became final.
    Proven,
    /// It was voided.
    Voided,
    /// The chain took back its commit, or its becoming final or void.
    Reverted,
}

impl From<ChangeKind> for What {
    fn from(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Committed => Self::Committed,
            ChangeKind::Verified => Self::Verified,
            ChangeKind::Proven => Self::Proven,
            ChangeKind::Voided => Self::Voided,
            ChangeKind::Reverted => Self::Reverted,
        }
    }
}

/// Data of a `batch` event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BatchEvent {
    /// The block that `batch` is true of.
    as_of: AsOf,
    /// What happened.
    what: What,
    /// The keeper.
    keeper: String,
    /// Its batch.
    number: u32,
    /// The batch as it is now; absent if its commit was taken back.
    batch: Option<Batch>,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The change that was sent, or whose trades are being sent.
    change: i64,
    /// Index of the next of its trades; `None` once all were sent.
    next_trade: Option<u32>,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (change, trade) = match text.split_once('.') {
            None => (text, None),
            Some((change, trade)) => (change, Some(trade.parse::<u32>().ok()?.checked_add(1)?)),
        };
        Some(Self { change: change.parse().ok().filter(|id| *id >= 0)?, next_trade: trade })
    }
}

/// Batches and trades as they come.
///
/// `text/event-stream` with events `batch` (data: BatchEvent) and `trade` (data: Trade). Starts with what happens from
/// now on, or behind the event named by the header `Last-Event-ID`.
#[utoipa::path(get, path = "/v1/stream", tag = "market",
    params(("Last-Event-ID" = Option<String>, Header, description = "Id of the last event seen")), responses(
    (status = 200, content_type = "text/event-stream", body = BatchEvent),
    (status = 400, body = ProblemBody, content_type = PROBLEM)))]
async fn stream(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = match headers.get("last-event-id") {
        None => Place { change: api.store.newest_change().await?, next_trade: None },
        Some(id) => {
            let place = id.to_str().ok().and_then(Place::parse);
            place.ok_or_else(|| Problem::Invalid("Last-Event-ID is not the id of an event: leave it out".to_owned()))?
        }
    };
    let shutdown = api.shutdown.clone();
    let feed = Feed { changed: api.changed.clone(), api, place, unread: VecDeque::new() };
    let events = futures::stream::unfold(feed, |mut feed| async move {
        let events = feed.next().await?;
        Some((futures::stream::iter(events.into_iter().map(Ok)), feed))
    });
    let events = events.flatten().take_until(async move { shutdown.cancelled().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// One client's way through the changes.
struct Feed {
    api: Api,
    changed: watch::Receiver<()>,
    place: Place,
    /// Changes read and not sent yet.
    unread: VecDeque<Change>,
}

impl Feed {
    /// The next events; `None` ends the stream, and the client reconnects where it stopped.
    async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            match self.step().await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => return Some(events),
                Err(error) => {
                    observe::request_failed(&error);
                    return None;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Vec<Event>, StoreError> {
        if let Some(index) = self.place.next_trade {
            return self.trades(index).await;
        }
        if let Some(change) = self.unread.pop_front() {
            return self.batch(change).await;
        }
        self.changed.mark_unchanged();
        self.unread = self.api.store.changes(self.place.change, CHANGES).await?.into();
        if self.unread.is_empty() && self.changed.changed().await.is_err() {
            return Err(StoreError::Unavailable("the indexer is shutting down".to_owned()));
        }
        Ok(Vec::new())
    }

    async fn batch(&mut self, change: Change) -> Result<Vec<Event>, StoreError> {
        let found = self.api.store.batch(change.batch).await?;
        let data = BatchEvent {
            as_of: found.block.into(),
            what: change.kind.into(),
            keeper: change.batch.keeper.to_string(),
            number: change.batch.number,
            batch: found.data.map(|row| Batch::new(row, &self.api.network)),
        };
        let has_trades = change.kind == ChangeKind::Verified;
        self.place = Place { change: change.id, next_trade: has_trades.then_some(0) };
        Ok(event("batch", change.id.to_string(), &data).into_iter().collect())
    }

    /// Trades of the change that the place names. If its block was taken back meanwhile there are none.
    async fn trades(&mut self, index: u32) -> Result<Vec<Event>, StoreError> {
        let change = self.place.change;
        let named = self.api.store.changes(change - 1, 1).await?;
        let rows = match named.first().filter(|found| found.id == change && found.kind == ChangeKind::Verified) {
            Some(found) => self.api.store.trades_of(found.batch, index, TRADES).await?,
            None => Vec::new(),
        };
        let is_last = rows.len() < TRADES as usize;
        self.place.next_trade = rows.last().filter(|_| !is_last).map(|row| row.trade.key.index + 1);
        let events = rows
            .iter()
            .filter_map(|row| event("trade", format!("{change}.{}", row.trade.key.index), &Trade::from(row)));
        Ok(events.collect())
    }
}

fn event<T: Serialize>(name: &str, id: String, data: &T) -> Option<Event> {
    match Event::default().event(name).id(id).json_data(data) {
        Ok(event) => Some(event),
        Err(error) => {
            observe::request_failed(&error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_names_the_place_behind_it() {
        assert_eq!(Place::parse("7"), Some(Place { change: 7, next_trade: None }));
        assert_eq!(Place::parse("7.0"), Some(Place { change: 7, next_trade: Some(1) }));
        for bad in ["", "-1", "x", "7.", "7.x", "7.4294967295"] {
            assert_eq!(Place::parse(bad), None, "{bad} was accepted");
        }
    }
}
