//! Batches, their lines, and the proofs that providers need.

use super::problem::Named;
use super::{Api, Problem};
use crate::desk::views;
use crate::error::DeskError;
use alloy::primitives::Address;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use keeper_store::Store;
use protocol::batch::ClosedBatch;
use protocol::voucher::BatchNumber;
use protocol::wire::{BatchView, Code, ProofView, Refusal};
use std::sync::Arc;

type Answer<T> = Result<Json<T>, Problem>;

/// The newest 200 batches, newest first.
#[utoipa::path(get, path = "/v1/batches", tag = "batches", responses((status = 200, body = [Object])))]
pub(super) async fn batches(State(api): State<Api>) -> Answer<Vec<BatchView>> {
    Ok(Json(api.desk.batch_views().await?))
}

/// A batch: state, debits, what is on chain.
#[utoipa::path(get, path = "/v1/batches/{number}", tag = "batches",
    params(("number" = u32, Path, description = "Counts from 1")),
    responses((status = 200, body = Object), (status = 404, description = "No such batch")))]
pub(super) async fn batch(State(api): State<Api>, Named(number): Named<BatchNumber>) -> Answer<BatchView> {
    Ok(Json(api.desk.batch_view(number).await?))
}

/// The lines of a batch: records of 140 bytes one after another. Their keccak256 is the batch's data hash.
#[utoipa::path(get, path = "/v1/batches/{number}/lines", tag = "batches",
    params(("number" = u32, Path, description = "Counts from 1")),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, description = "Not closed")))]
pub(super) async fn lines(State(api): State<Api>, Named(number): Named<BatchNumber>) -> Result<Response, Problem> {
    let closed = closed(&api, number).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], closed.lines.to_bytes()).into_response())
}

/// All that a provider needs to claim its earnings of a batch.
#[utoipa::path(get, path = "/v1/batches/{number}/proofs/{provider}", tag = "batches",
    params(("number" = u32, Path, description = "Counts from 1"), ("provider" = String, Path, description = "Payout address")),
    responses((status = 200, body = Object), (status = 404, description = "Not closed, or nothing earned")))]
pub(super) async fn proof(
    State(api): State<Api>,
    Named((number, provider)): Named<(BatchNumber, Address)>,
) -> Answer<ProofView> {
    let closed = closed(&api, number).await?;
    let (amount, proof) = closed
        .proof(provider)
        .ok_or_else(|| Refusal::new(Code::NotFound, format!("provider {provider} earned nothing in batch {number}")))?;
    Ok(Json(ProofView { batch: number, provider, amount, proof }))
}

async fn closed(api: &Api, number: BatchNumber) -> Result<Arc<ClosedBatch>, Problem> {
    let found = async {
        let _turn = api.desk.public_read().await;
        let batch = api.desk.store().batch(number).await?;
        let batch = batch.ok_or_else(|| views::not_found("batch", &number))?;
        let not_yet = || Refusal::new(Code::NotFound, format!("batch {number} is not ready to be committed yet"));
        Ok::<_, DeskError>(api.publisher.closed(&batch).await?.ok_or_else(not_yet)?)
    };
    found.await.map_err(|error| Problem(error.into_refusal()))
}
