//! Errors of the API, in the form of RFC 9457.

use crate::observe;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use indexer_store::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// The content type of errors.
pub(super) const PROBLEM: &str = "application/problem+json";

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The request cannot be understood.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is not there yet; the same request may succeed later.
    #[error("{0}")]
    NotYet(String),
    /// A failure inside.
    #[error("the indexer failed; its operator finds the reason in its log")]
    Internal,
}

/// An error, as `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// For programs: `invalid_request`, `not_found`, `not_yet` or `internal`.
    #[schema(example = "not_found")]
    code: &'static str,
    /// The kind of problem.
    title: &'static str,
    /// What is wrong, and what to do.
    detail: String,
}

impl Problem {
    const fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request", "The request cannot be understood"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", "There is no such thing"),
            Self::NotYet(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_yet", "Not there yet"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The indexer failed"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title) = self.kind();
        let body = ProblemBody { status: status.as_u16(), code, title, detail: self.to_string() };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(PROBLEM));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Empty | StoreError::Unavailable(_) => Self::NotYet(error.to_string()),
            StoreError::Cursor => Self::Invalid(error.to_string()),
            StoreError::Foreign(_) | StoreError::Order { .. } | StoreError::Overflow(_) | StoreError::Damaged(_) => {
                observe::request_failed(&error);
                Self::Internal
            }
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::Invalid(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::Invalid(rejection.body_text())
    }
}
