//! The REST side of the direct endpoint. Errors are problem documents (RFC 9457) with the wire's `code`.

use super::{Direct, DirectError, socket};
use crate::observe;
use alloy::primitives::{Address, B256};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use protocol::job::Blob;
use protocol::order::{JobId, SignedOrder};
use protocol::voucher::ChannelId;
use protocol::wire::{ChannelView, Code, Info, JobView, OfferView, OrderTaken, Refusal};
use serde::Deserialize;
use std::sync::Arc;
use tower_http::cors::CorsLayer;

/// Largest body that is not a blob.
const MAX_BODY: usize = 64 * 1024;
/// Largest frame of a client.
const MAX_FRAME: usize = 64 * 1024;

type Shared = State<Arc<Direct>>;

pub(crate) fn router(direct: Arc<Direct>) -> Router {
    let max_blob = usize::try_from(direct.config.max_blob.get()).unwrap_or(usize::MAX);
    Router::new()
        .route("/v1/info", get(async |State(direct): Shared| Json::<Info>(direct.info())))
        .route("/v1/offers", get(async |State(direct): Shared| Json::<Vec<OfferView>>(direct.offers())))
        .route("/v1/orders", post(take_order).layer(DefaultBodyLimit::max(MAX_BODY)))
        .route("/v1/jobs", get(read_jobs))
        .route("/v1/jobs/{id}", get(read_job))
        .route("/v1/vouchers/{channel}", get(read_channel))
        .route("/v1/blobs/{hash}", get(read_blob).put(write_blob).layer(DefaultBodyLimit::max(max_blob)))
        .route("/v1/client", get(open_socket))
        .layer(CorsLayer::permissive())
        .with_state(direct)
}

async fn take_order(
    State(direct): Shared,
    order: Result<Json<SignedOrder>, JsonRejection>,
) -> Result<Json<OrderTaken>, DirectError> {
    let Json(order) = order.map_err(|error| Refusal::new(Code::MalformedRequest, error.body_text()))?;
    Ok(Json(direct.take_order(order).await?))
}

async fn read_job(State(direct): Shared, Path(id): Path<JobId>) -> Result<Json<JobView>, DirectError> {
    Ok(Json(direct.job(id).await?))
}

#[derive(Deserialize)]
struct JobsQuery {
    signer: Address,
}

async fn read_jobs(State(direct): Shared, Query(query): Query<JobsQuery>) -> Result<Json<Vec<JobView>>, DirectError> {
    Ok(Json(direct.jobs_of(query.signer).await?))
}

async fn read_channel(State(direct): Shared, Path(channel): Path<ChannelId>) -> Result<Json<ChannelView>, DirectError> {
    Ok(Json(direct.channel_by_id(channel).await?))
}

async fn read_blob(State(direct): Shared, Path(hash): Path<B256>) -> Result<Response, DirectError> {
    let bytes = match direct.blobs.get(hash, u64::MAX).await {
        Ok(bytes) => bytes,
        Err(crate::outlet::BlobError::Missing(_)) => {
            return Err(Refusal::new(Code::NotFound, format!("there is no blob {hash} here")).into());
        }
        Err(error) => return Err(error.into()),
    };
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

async fn write_blob(
    State(direct): Shared,
    Path(hash): Path<B256>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Blob>), DirectError> {
    let bytes = bytes.map_err(|error| {
        let code =
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE { Code::TooLarge } else { Code::MalformedRequest };
        Refusal::new(code, error.body_text())
    })?;
    Ok((StatusCode::CREATED, Json(direct.blobs.put(hash, bytes).await?)))
}

async fn open_socket(State(direct): Shared, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(MAX_FRAME).on_upgrade(move |socket| socket::serve(direct, socket))
}

impl IntoResponse for DirectError {
    fn into_response(self) -> Response {
        if let Self::Ledger(_) | Self::Chain(_) = &self {
            observe::failing("direct", &self);
        }
        let refusal = self.refusal();
        let status = status_of(refusal.code);
        let problem = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": refusal.detail,
            "code": refusal.code,
        });
        (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
    }
}

/// The HTTP status of each refusal.
const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::MalformedRequest => StatusCode::BAD_REQUEST,
        Code::BadSignature => StatusCode::UNAUTHORIZED,
        Code::InsufficientFunds => StatusCode::PAYMENT_REQUIRED,
        Code::NotFound | Code::UnknownChannel => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Limited => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
