//! Blobs.

use super::problem::Named;
use super::{Api, Problem};
use crate::desk::views;
use crate::error::DeskError;
use alloy::primitives::B256;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use protocol::wire::{Code, Refusal};

/// Stores a blob under the keccak256 of its bytes.
#[utoipa::path(put, path = "/v1/blobs/{hash}", tag = "blobs",
    params(("hash" = String, Path, description = "keccak256 of the body")),
    request_body(content_type = "application/octet-stream"),
    responses((status = 204, description = "Stored"), (status = "default", description = "A refusal, with its code")))]
pub(super) async fn put(
    State(api): State<Api>,
    Named(hash): Named<B256>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let bytes = body.map_err(|rejection| {
        let limit = api.desk.terms().config.max_blob;
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Refusal::new(Code::TooLarge, format!("a blob may have at most {limit} bytes here"))
            }
            _ => Refusal::new(Code::MalformedRequest, rejection.body_text()),
        }
    })?;
    let stored = api.desk.blobs().put(hash, bytes).await;
    stored.map_err(|error| Problem(DeskError::from(error).into_refusal()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The bytes of a blob.
#[utoipa::path(get, path = "/v1/blobs/{hash}", tag = "blobs",
    params(("hash" = String, Path, description = "keccak256 of the bytes")),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, description = "No such blob")))]
pub(super) async fn get(State(api): State<Api>, Named(hash): Named<B256>) -> Result<Response, Problem> {
    let found = api.desk.blobs().get(hash).await;
    let found = found.map_err(|error| Problem(DeskError::from(error).into_refusal()))?;
    let bytes = found.ok_or_else(|| views::not_found("blob", &hash))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        // The name is the content, so it never changes. What others uploaded must not run in anybody's browser.
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "attachment"),
    ];
    Ok((headers, bytes).into_response())
}
