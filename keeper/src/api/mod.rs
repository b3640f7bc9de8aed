//! The API: `/v1` over HTTP and WebSocket, described by `/openapi.json`.

mod batches;
mod blobs;
mod client_socket;
mod market;
mod problem;
mod socket;
mod worker_socket;

pub use problem::Problem;

use crate::desk::Desk;
use crate::publish::Publisher;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use protocol::wire::{Code, Refusal};
use service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::cors::{Any, CorsLayer};
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Largest JSON body.
const MAX_JSON: usize = 64 * 1024;
/// A request that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Sockets that may be open without a login.
const LOGINS: usize = 1024;
/// Bytes of all uploads that are being received; more wait for their turn.
const UPLOADS: usize = 512 * 1024 * 1024;

/// What every handler works with.
#[derive(Clone)]
pub struct Api {
    /// The desk.
    pub desk: Arc<Desk>,
    /// Closed batches.
    pub publisher: Publisher,
    /// Ends the sockets.
    pub shutdown: Shutdown,
    logins: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

impl Api {
    /// What the handlers of one server share.
    pub fn new(desk: Arc<Desk>, publisher: Publisher, shutdown: Shutdown) -> Self {
        let (logins, uploads) = (Arc::new(Semaphore::new(LOGINS)), Arc::new(Semaphore::new(UPLOADS)));
        Self { desk, publisher, shutdown, logins, uploads }
    }

    /// A place among the sockets that have not logged in yet.
    fn login(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let full = |_| Refusal::new(Code::Limited, "too many sockets are logging in: try again in a few seconds");
        Arc::clone(&self.logins).try_acquire_owned().map_err(full)
    }
}

/// The document's head.
#[derive(OpenApi)]
#[openapi(info(
    title = "Capa keeper",
    description = "Market and ledger of a Capa keeper. Amounts, prices, quantities and times are decimal strings. \
        Refusals are RFC 9457 problem details with a `code`.",
    license(name = "Apache-2.0 OR MIT")
))]
struct Document;

fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(market::info))
        .routes(routes!(market::offers, market::offer))
        .routes(routes!(market::order))
        .routes(routes!(market::jobs))
        .routes(routes!(market::job))
        .routes(routes!(market::book))
        .routes(routes!(market::vouchers))
        .routes(routes!(batches::batches))
        .routes(routes!(batches::batch))
        .routes(routes!(batches::lines))
        .routes(routes!(batches::proof))
        .routes(routes!(worker_socket::worker))
        .routes(routes!(client_socket::client))
}

/// The OpenAPI document.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, mut document) = described().routes(routes!(blobs::put, blobs::get)).split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    document
}

/// The whole API.
pub fn router(api: Api) -> Router {
    let max_blob = usize::try_from(api.desk.terms().config.max_blob).unwrap_or(usize::MAX);
    let document = document();
    let small = described().layer(DefaultBodyLimit::max(MAX_JSON));
    let large = OpenApiRouter::new().routes(routes!(blobs::put, blobs::get)).layer(DefaultBodyLimit::max(max_blob));
    let (router, _) = small.merge(large).split_for_parts();
    // Anyone may read; what is written is signed, so a page of another origin cannot write in anybody's name.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT])
        .allow_headers([header::CONTENT_TYPE]);
    router
        .route("/openapi.json", get(move || async move { axum::Json(document) }))
        .fallback(|| async { Problem(Refusal::new(Code::NotFound, "there is no such path: see /openapi.json")) })
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(in_time))
        .layer(cors)
        .layer(TraceLayer::new_for_http())
        .with_state(api)
}

async fn wrong_method() -> Problem {
    Problem(Refusal::new(Code::MalformedRequest, "this path does not take that method: see /openapi.json"))
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
        let detail = format!("the request took longer than {} s and was given up: try again", TIMEOUT.as_secs());
        Problem(Refusal::new(Code::Internal, detail)).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let text = document().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == text, "keeper/openapi.json is stale: run this test with UPDATE_SNAPSHOTS=1");
    }
}
