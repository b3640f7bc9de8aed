//! Blobs.

use super::problem::Named;
use super::{Api, Problem, UPLOADS};
use crate::desk::views;
use crate::error::DeskError;
use alloy::primitives::B256;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use protocol::wire::{Code, Refusal};
use tokio::sync::SemaphorePermit;

/// Stores a blob under the keccak256 of its bytes.
#[utoipa::path(put, path = "/v1/blobs/{hash}", tag = "blobs",
    params(("hash" = String, Path, description = "keccak256 of the body")),
    request_body(content_type = "application/octet-stream"),
    responses((status = 204, description = "Stored"), (status = "default", description = "A refusal, with its code")))]
pub(super) async fn put(
    State(api): State<Api>,
    Named(hash): Named<B256>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let limit = api.desk.terms().config.max_blob;
    let _turn = turn(&api, stated(request.headers()).unwrap_or(limit).min(limit)).await;
    let bytes = Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::new(Code::TooLarge, format!("a blob may have at most {limit} bytes here"))
        }
        _ => Refusal::new(Code::MalformedRequest, rejection.body_text()),
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
    let found = api.desk.blobs().open(hash).await;
    let found = found.map_err(|error| Problem(DeskError::from(error).into_refusal()))?;
    let (length, bytes) = found.ok_or_else(|| views::not_found("blob", &hash))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        // The name is the content, so it never changes. What others uploaded must not run in anybody's browser.
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// A body is held in memory until it is whole, so the bytes of all of them are bounded.
async fn turn(api: &Api, length: u64) -> Option<SemaphorePermit<'_>> {
    let length = usize::try_from(length).unwrap_or(UPLOADS).min(UPLOADS);
    // Nobody closes the semaphore, and the whole of it fits into 32 bits.
    api.uploads.acquire_many(u32::try_from(length).unwrap_or(u32::MAX)).await.ok()
}

fn stated(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
