//! Answers in their envelope: what, as of which block, how to get more, and how long it may be kept.

use super::Problem;
use super::view::AsOf;
use crate::observe;
use alloy::primitives::keccak256;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use indexer_store::fact::Block;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// An answer of the REST API.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<T> {
    /// The block that the answer is true of.
    pub(super) as_of: AsOf,
    /// The answer.
    pub(super) data: T,
    /// Where the next page is; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Ask again whether it changed.
    Revalidate,
    /// It never changes.
    Forever,
}

/// An answer with its caching headers.
pub(super) struct Reply {
    body: Vec<u8>,
    tag: String,
    keep: Keep,
}

impl Reply {
    /// The entity tag is of the data alone, so it stays the same while blocks pass that change nothing.
    pub(super) fn new<T: Serialize>(block: Block, data: &T, next: Option<String>, keep: Keep) -> Result<Self, Problem> {
        let failed = |error: serde_json::Error| {
            observe::request_failed(&error);
            Problem::Internal
        };
        let data: Box<RawValue> = serde_json::value::to_raw_value(data).map_err(failed)?;
        let tag = etag(format!("{}{}", data.get(), next.as_deref().unwrap_or_default()).as_bytes());
        let body = serde_json::to_vec(&Envelope { as_of: block.into(), data, next }).map_err(failed)?;
        Ok(Self { body, tag, keep })
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let caching = match self.keep {
            Keep::Revalidate => "no-cache",
            Keep::Forever => "public, max-age=31536000, immutable",
        };
        let headers = [
            (header::CONTENT_TYPE, "application/json"),
            (header::ETAG, self.tag.as_str()),
            (header::CACHE_CONTROL, caching),
        ];
        (headers, self.body).into_response()
    }
}

/// A weak entity tag of some bytes.
pub(crate) fn etag(bytes: &[u8]) -> String {
    format!("W/\"{}\"", hex::encode(&keccak256(bytes)[..12]))
}

/// Whether the client has what the tag stands for.
pub(crate) fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let given = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(',').map(str::trim).any(|one| one == "*" || one == tag)
}

/// Answers 304 without a body where the client has the answer already.
pub(super) async fn conditional(request: Request, next: Next) -> Response {
    let asked = request.headers().clone();
    let mut response = next.run(request).await;
    let tag = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok());
    if response.status() == StatusCode::OK && tag.is_some_and(|tag| is_known(&asked, tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = axum::body::Body::empty();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    response
}
