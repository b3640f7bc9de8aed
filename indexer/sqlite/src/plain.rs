//! Facts that only add a row.

use crate::codec::to_i64;
use crate::fault::Fault;
use alloy::primitives::{Address, B256};
use indexer_store::fact::{Block, Class, PaidBy};
use protocol::amount::Amount;
use sqlx::SqliteConnection;

pub(crate) async fn provider(
    conn: &mut SqliteConnection,
    block: Block,
    log_index: u64,
    provider: &Address,
    endpoint: &str,
    terms: &B256,
) -> Result<(), Fault> {
    let (block, log_index) = (to_i64(block.number), to_i64(log_index));
    let (provider, terms) = (provider.as_slice(), terms.as_slice());
    sqlx::query!(
        "INSERT INTO provider_records (block, log_index, provider, endpoint, terms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        block,
        log_index,
        provider,
        endpoint,
        terms,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn worker(
    conn: &mut SqliteConnection,
    block: Block,
    log_index: u64,
    provider: &Address,
    worker: &Address,
    added: bool,
) -> Result<(), Fault> {
    let (block, log_index) = (to_i64(block.number), to_i64(log_index));
    let (provider, worker) = (provider.as_slice(), worker.as_slice());
    sqlx::query!(
        "INSERT INTO worker_changes (block, log_index, provider, worker, added) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        block,
        log_index,
        provider,
        worker,
        added,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn resource(conn: &mut SqliteConnection, block: Block, class: &Class) -> Result<(), Fault> {
    let (id, block) = (i64::from(class.id.0), to_i64(block.number));
    let (scale, weight) = (to_i64(class.scale.get()), to_i64(class.scu_weight.get()));
    sqlx::query!(
        "INSERT INTO resources (id, block, name, unit, scale, scu_weight) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING",
        id,
        block,
        class.name,
        class.unit,
        scale,
        weight,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn payment(
    conn: &mut SqliteConnection,
    block: Block,
    log_index: u64,
    provider: &Address,
    amount: Amount,
    way: PaidBy,
) -> Result<(), Fault> {
    let (block, log_index) = (to_i64(block.number), to_i64(log_index));
    let (provider, amount, way) = (provider.as_slice(), to_i64(amount.get()), way.code());
    sqlx::query!(
        "INSERT INTO payments (block, log_index, provider, way, amount) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        block,
        log_index,
        provider,
        way,
        amount,
    )
    .execute(conn)
    .await?;
    Ok(())
}
