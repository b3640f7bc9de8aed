//! The store against a plain model of the protocol: random histories, applied, taken back and applied again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

mod history;
mod model;

use alloy::primitives::Address;
use history::{Step, scheme, steps};
use indexer_sqlite::SqliteStore;
use indexer_store::candle::{Interval, fold};
use indexer_store::query::{CandleQuery, Position, TradeFilter};
use indexer_store::row::{LinesState, TradeRow};
use indexer_store::store::{Store, StoreError};
use indexer_store::trade::{Finality, Scope, Trade};
use model::Model;
use proptest::prelude::*;
use protocol::resource::ResourceId;
use sqlx::Row;
use std::collections::BTreeMap;
use std::future::Future;
use tempfile::TempDir;

async fn open() -> (TempDir, SqliteStore) {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(&folder.path().join("indexer.db"), scheme()).await.unwrap();
    (folder, store)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Every row of every table but the log of changes, as text.
async fn dump(folder: &TempDir) -> String {
    let url = format!("sqlite://{}", folder.path().join("indexer.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let tables = [
        "batches",
        "blocks",
        "candles",
        "challenges",
        "files",
        "payments",
        "provider_records",
        "resources",
        "totals",
        "trades",
        "worker_changes",
    ];
    let mut text = String::new();
    for table in tables {
        let columns: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA table_info({table})")))
            .fetch_all(&pool)
            .await
            .unwrap()
            .iter()
            .map(|row| format!("quote({})", row.get::<String, _>("name")))
            .collect();
        let sql = format!("SELECT {} AS line FROM {table} ORDER BY 1", columns.join(" || ',' || "));
        for row in sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap() {
            text += &format!("{table}: {}\n", row.get::<String, _>("line"));
        }
    }
    pool.close().await;
    text
}

/// Applies steps from `from` on, attaching lines where the step says so.
async fn play(store: &SqliteStore, model: &mut Model, steps: &[Step], attach: bool) {
    for step in steps {
        let (block, facts) = model.advance(step);
        store.apply(block, facts).await.unwrap();
        if attach && step.attach {
            for (id, lines) in model.missing() {
                assert!(store.attach(id, &lines).await.unwrap());
                model.attached(id);
            }
        }
    }
}

/// What the store serves is what the model expects.
async fn compare(store: &SqliteStore, model: &Model) -> Result<(), TestCaseError> {
    for batch in model.batches() {
        let row = store.batch(batch.id).await.unwrap().data.unwrap();
        prop_assert_eq!(row.finality, batch.finality, "{:?}", batch.id);
        prop_assert_eq!(row.open_challenges as usize, batch.open.len());
        prop_assert_eq!(row.lines == LinesState::Verified, batch.is_attached);
    }
    for scope in Scope::EVERY {
        let trades: Vec<Trade> = model.trades(scope);
        for interval in Interval::EVERY {
            let mut expected = BTreeMap::<ResourceId, Vec<_>>::new();
            for ((resource, start), candle) in fold(&trades, interval).unwrap() {
                expected.entry(resource).or_default().push((start, candle));
            }
            for resource in 1..=history::RESOURCES {
                let query = CandleQuery {
                    resource: ResourceId(resource),
                    interval,
                    scope,
                    start: 0,
                    end: u64::MAX,
                    limit: 1_000,
                    newest: false,
                };
                let found = store.candles(query).await.unwrap().data.rows;
                let found: Vec<_> = found.into_iter().map(|row| (row.start, row.candle)).collect();
                prop_assert_eq!(found, expected.remove(&ResourceId(resource)).unwrap_or_default());
            }
            prop_assert!(expected.is_empty(), "an unknown resource has candles");
        }
    }
    compare_totals(store, model).await
}

async fn compare_totals(store: &SqliteStore, model: &Model) -> Result<(), TestCaseError> {
    let everyone = store.providers(Position { after: None, limit: 1_000 }).await.unwrap().data;
    prop_assert!(everyone.next.is_none());
    for row in everyone.items {
        for (scope, totals) in [(Scope::All, row.all), (Scope::Proven, row.proven)] {
            let trades = model.trades(scope);
            let own = trades.iter().filter(|trade| trade.line.provider == row.address);
            let amount: u128 = own.clone().map(|trade| u128::from(trade.line.amount.get())).sum();
            prop_assert_eq!((totals.amount, totals.lines), (amount, own.count() as u64));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_the_model(steps in steps()) {
        block_on(async {
            let (_folder, store) = open().await;
            let mut model = Model::new();
            play(&store, &mut model, &steps, true).await;
            compare(&store, &model).await
        })?;
    }

    #[test]
    fn undoing_is_the_inverse_of_applying(steps in steps(), at in 0usize..100) {
        block_on(async {
            let (folder, store) = open().await;
            let mut model = Model::new();
            let (kept, undone) = steps.split_at(at % steps.len() + 1);
            play(&store, &mut model, kept, true).await;
            let before = dump(&folder).await;
            let mut ahead = model.clone();
            play(&store, &mut ahead, undone, false).await;
            let after = dump(&folder).await;
            for number in (model.height() + 1..=ahead.height()).rev() {
                store.undo(number).await.unwrap();
            }
            prop_assert_eq!(&dump(&folder).await, &before);
            play(&store, &mut model, undone, false).await;
            prop_assert_eq!(dump(&folder).await, after);
            Ok(())
        })?;
    }

    #[test]
    fn lines_had_before_a_reorganisation_count_again_after_it(steps in steps(), at in 0usize..100) {
        block_on(async {
            let (folder, store) = open().await;
            let mut model = Model::new();
            let (kept, undone) = steps.split_at(at % steps.len() + 1);
            play(&store, &mut model, kept, true).await;
            let mut ahead = model.clone();
            play(&store, &mut ahead, undone, true).await;
            let after = dump(&folder).await;
            // All at once, as a store does that was told only of the oldest block.
            store.undo(model.height() + 1).await.unwrap();
            let mut again = model.clone();
            play(&store, &mut again, undone, false).await;
            prop_assert_eq!(dump(&folder).await, after);
            compare(&store, &ahead).await
        })?;
    }

    #[test]
    fn pages_neither_lose_nor_repeat(steps in steps(), limit in 1u32..7, filter in 0usize..5) {
        block_on(async {
            let (_folder, store) = open().await;
            let mut model = Model::new();
            play(&store, &mut model, &steps, true).await;
            let filter = history::filter(filter);
            let matching = model.every_trade().into_iter().filter(|trade| matches(&filter, trade));
            let mut expected: Vec<_> = matching.map(|trade| trade.key).collect();
            expected.sort();
            expected.reverse();
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page = store.trades(filter, Position { after, limit }).await.unwrap().data;
                prop_assert!(page.items.len() <= limit as usize);
                found.extend(page.items.iter().map(|row: &TradeRow| row.trade.key));
                let Some(next) = page.next else { break };
                after = Some(next);
                // What comes in while a client reads is newer than all it still has to read.
                let (block, facts) = model.advance(&Step::empty());
                store.apply(block, facts).await.unwrap();
            }
            prop_assert_eq!(found, expected);
            Ok(())
        })?;
    }
}

fn matches(filter: &TradeFilter, trade: &Trade) -> bool {
    filter.resource.is_none_or(|resource| resource == trade.line.resource)
        && filter.provider.is_none_or(|provider| provider == trade.line.provider)
        && filter.payer.is_none_or(|payer| payer == trade.line.payer)
        && filter.job.is_none_or(|job| job == trade.line.job.0)
}

#[test]
fn other_lines_than_the_committed_ones_are_not_attached() {
    block_on(async {
        let (_folder, store) = open().await;
        let mut model = Model::new();
        let (block, facts) = model.advance(&Step::commit(3));
        store.apply(block, facts).await.unwrap();
        let (id, lines) = model.missing().pop().unwrap();
        let mut forged = lines.lines().to_vec();
        forged[0].price.0 += 1;
        let forged = protocol::batch::Lines::new(forged).unwrap();
        assert!(!store.attach(id, &forged).await.unwrap());
        store.complain(id, "not the committed ones", true).await.unwrap();
        let row = store.batch(id).await.unwrap().data.unwrap();
        assert_eq!(row.lines, LinesState::Mismatch("not the committed ones".to_owned()));
        let trades = store.trades(TradeFilter::default(), Position { after: None, limit: 10 }).await.unwrap();
        assert!(trades.data.items.is_empty());
        assert_eq!(store.wanted(id.keeper).await.unwrap().len(), 1, "the right ones are still wanted");
        assert!(store.attach(id, &lines).await.unwrap());
        assert_eq!(store.wanted(id.keeper).await.unwrap(), vec![]);
    });
}

#[test]
fn a_batch_is_proven_by_the_clock_of_the_chain_and_not_before() {
    block_on(async {
        let (_folder, store) = open().await;
        let mut model = Model::new();
        let (block, facts) = model.advance(&Step::commit(2));
        store.apply(block, facts).await.unwrap();
        let (id, _) = model.missing().pop().unwrap();
        let finality = async || store.batch(id).await.unwrap().data.unwrap().finality;
        for (passed, expected) in
            [(history::CHALLENGE_PERIOD - 1, Finality::Pending), (history::CHALLENGE_PERIOD, Finality::Proven)]
        {
            let mut later = block;
            later.number += passed;
            later.timestamp += passed;
            store.apply(later, vec![]).await.unwrap();
            assert_eq!(finality().await, expected);
        }
    });
}

#[test]
fn an_empty_store_says_so_and_blocks_must_follow_each_other() {
    block_on(async {
        let (_folder, store) = open().await;
        assert!(matches!(store.as_of().await, Err(StoreError::Empty)));
        let mut model = Model::new();
        let (first, facts) = model.advance(&Step::empty());
        store.apply(first, facts.clone()).await.unwrap();
        store.apply(first, facts).await.unwrap();
        let mut other = first;
        other.hash.0[0] ^= 1;
        let error = store.apply(other, vec![]).await.unwrap_err();
        assert!(matches!(error, StoreError::Order { .. }) && !error.is_retryable());
        assert_eq!(store.recent().await.unwrap(), vec![first]);
    });
}

#[test]
fn another_deployments_file_is_refused() {
    block_on(async {
        let (folder, store) = open().await;
        drop(store);
        let mut other = scheme();
        other.settlement = Address::repeat_byte(9);
        let error = SqliteStore::open(&folder.path().join("indexer.db"), other).await.unwrap_err();
        assert!(matches!(error, StoreError::Foreign(_)), "{error}");
    });
}

#[test]
fn a_foreign_cursor_is_refused() {
    block_on(async {
        let (_folder, store) = open().await;
        let (block, facts) = Model::new().advance(&Step::empty());
        store.apply(block, facts).await.unwrap();
        let position = Position { after: Some(vec![1, 2, 3]), limit: 5 };
        let error = store.trades(TradeFilter::default(), position.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::Cursor));
        assert!(matches!(store.batches(None, position.clone()).await.unwrap_err(), StoreError::Cursor));
        assert!(matches!(store.providers(position).await.unwrap_err(), StoreError::Cursor));
    });
}
