//! What the indexer serves: REST, GraphQL, events and the web page, all from the same views.

mod cursor;
mod graphql;
mod problem;
mod proofs;
mod reply;
mod rest;
mod stream;
mod view;

pub(crate) use problem::Problem;
pub(crate) use reply::{etag, is_known};

use crate::assets;
use crate::network::Network;
use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use indexer_sqlite::SqliteStore;
use proofs::Proofs;
use service::health::Health;
use service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tower_http::cors::{Any, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest request body: a GraphQL query.
const MAX_BODY: usize = 64 * 1024;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    store: SqliteStore,
    network: Arc<Network>,
    health: Health,
    changed: watch::Receiver<()>,
    proofs: Arc<Proofs>,
    shutdown: Shutdown,
}

impl Api {
    pub(crate) fn new(
        store: SqliteStore,
        network: Arc<Network>,
        health: Health,
        changed: &watch::Sender<()>,
        shutdown: Shutdown,
    ) -> Self {
        Self { store, network, health, changed: changed.subscribe(), proofs: Arc::default(), shutdown }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Capa indexer",
        description = "Resources, candles, trades, batches and providers of a Capa network.\n\n\
            Amounts, prices and quantities are decimal strings: nano CAPA (1e-9), nano CAPA per human unit, and base \
            units. Every answer carries `asOf`, the block that it is true of. A trade is `pending` while its batch \
            can be challenged, `proven` once the batch is final, and `void` if the batch was voided.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    components(schemas(problem::ProblemBody)),
    tags(
        (name = "market", description = "Resources, candles and trades"),
        (name = "settlement", description = "Batches, providers and proofs"),
        (name = "indexer", description = "The indexer itself"),
    )
)]
struct Description;

fn rest_router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi()).merge(rest::routes()).merge(stream::routes())
}

/// The OpenAPI 3.1 description of the REST API, as JSON.
pub fn openapi() -> String {
    let (_, description) = rest_router().split_for_parts();
    description.to_pretty_json().unwrap_or_default() + "\n"
}

/// The schema of the GraphQL API, in its definition language.
pub fn graphql_schema() -> String {
    graphql::schema(None).sdl()
}

/// Everything on the public address.
pub(crate) fn router(api: Api) -> Router {
    let (rest, description) = rest_router().split_for_parts();
    let graphql = async_graphql_axum::GraphQL::new(graphql::schema(Some(api.clone())));
    rest.route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(api)
        .route_service("/graphql", graphql)
        .route("/schema.graphql", get(|| async { graphql_schema() }))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", description))
        .fallback(assets::serve)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(
            CorsLayer::new()
                .allow_origin(Any)
                .allow_methods([Method::GET, Method::POST])
                .allow_headers([header::CONTENT_TYPE, header::IF_NONE_MATCH])
                .expose_headers([header::ETAG]),
        )
        .layer(TraceLayer::new_for_http())
}

/// Whether the index is as far as the chain.
async fn ready(State(api): State<Api>) -> Response {
    match api.health.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(parts) => {
            let text: String = parts.iter().map(|(part, reason)| format!("{part}: {reason}\n")).collect();
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}
