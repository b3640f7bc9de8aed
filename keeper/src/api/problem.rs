//! Refusals as RFC 9457 problem details, and the readers of requests that answer with them.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use problem_details::ProblemDetails;
use protocol::wire::{Code, Refusal};
use serde::Serialize;

/// A refusal, as it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub Refusal);

#[derive(Serialize)]
struct Extension {
    code: Code,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

/// The one match from a refusal to a status.
fn status(code: Code) -> StatusCode {
    match code {
        Code::MalformedRequest | Code::BadEnvelope | Code::WrongBlobHash => StatusCode::BAD_REQUEST,
        Code::BadSignature | Code::NotAWorker => StatusCode::FORBIDDEN,
        Code::UnknownChannel | Code::InsufficientFunds => StatusCode::PAYMENT_REQUIRED,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict | Code::BatchClosed | Code::ChannelClosing => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Limited => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Refusal { code, detail } = self.0;
        ProblemDetails::from_status_code(status(code))
            .with_detail(detail)
            .with_extensions(Extension { code })
            .into_response()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
            _ => Code::MalformedRequest,
        };
        Self(Refusal::new(code, rejection.body_text()))
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self(Refusal::new(Code::MalformedRequest, rejection.body_text()))
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self(Refusal::new(Code::MalformedRequest, rejection.body_text()))
    }
}

/// A JSON body.
#[derive(FromRequest)]
#[from_request(via(Json), rejection(Problem))]
pub(super) struct Body<T>(pub(super) T);

/// Parts of the path.
#[derive(FromRequestParts)]
#[from_request(via(Path), rejection(Problem))]
pub(super) struct Named<T>(pub(super) T);

/// The query.
#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
pub(super) struct Asked<T>(pub(super) T);
