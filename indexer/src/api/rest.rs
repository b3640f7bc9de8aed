//! REST under `/v1`.

use super::cursor::{checked_limit, encode, link, position};
use super::problem::{PROBLEM, ProblemBody};
use super::proofs::{self, Proven};
use super::reply::{Envelope, Keep, Reply, conditional};
use super::view::{Batch, Candle, Candles, Finality, Interval, LineProof, Provider, Resource, Scope, Status, Trade};
use super::{Api, Problem};
use alloy::primitives::{Address, B256, hex};
use axum::extract::{FromRequestParts, State};
use indexer_store::fact::BatchId;
use indexer_store::query::{CandleQuery, TradeFilter};
use indexer_store::row::{AsOf, CandleRows};
use indexer_store::store::Store;
use protocol::resource::ResourceId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Query parameters. Unknown ones are refused, because a misspelt filter would answer with everything.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
struct Query<T>(T);

/// Path parameters.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
struct Path<T>(T);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(resources))
        .routes(routes!(candles))
        .routes(routes!(trades))
        .routes(routes!(proof))
        .routes(routes!(batches))
        .routes(routes!(batch))
        .routes(routes!(providers))
        .routes(routes!(provider))
        .route_layer(axum::middleware::from_fn(conditional))
}

/// What is indexed, and how far.
#[utoipa::path(get, path = "/v1/status", tag = "indexer", responses(
    (status = 200, body = Envelope<Status>), (status = 503, body = ProblemBody, content_type = PROBLEM)))]
async fn status(State(api): State<Api>) -> Result<Reply, Problem> {
    let counts = api.store.counts().await?;
    let status = Status::new(&api.network, &counts.data, api.health.ready().is_ok());
    Reply::new(counts.block, &status, None, Keep::Revalidate)
}

/// All resources with their newest price.
#[utoipa::path(get, path = "/v1/resources", tag = "market", responses(
    (status = 200, body = Envelope<Vec<Resource>>), (status = 503, body = ProblemBody, content_type = PROBLEM)))]
async fn resources(State(api): State<Api>) -> Result<Reply, Problem> {
    let found = api.store.resources().await?;
    let resources: Vec<Resource> = found.data.into_iter().map(Resource::from).collect();
    Reply::new(found.block, &resources, None, Keep::Revalidate)
}

/// Which candles.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CandleParameters {
    /// How long each candle is; default 1m.
    #[param(inline)]
    interval: Option<Interval>,
    /// Candles that start at or after this second. Without it, the newest before `end`.
    start: Option<u64>,
    /// Candles that start before this second; default: all.
    end: Option<u64>,
    /// Most candles, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `proven` trades only (default), or `all`, which adds those still pending.
    #[param(inline)]
    finality: Option<Scope>,
}

/// Candles of a resource, oldest first.
#[utoipa::path(get, path = "/v1/resources/{id}/candles", tag = "market",
    params(("id" = u32, Path, description = "Number of the resource"), CandleParameters), responses(
    (status = 200, body = Envelope<Candles>), (status = 400, body = ProblemBody, content_type = PROBLEM)))]
async fn candles(
    State(api): State<Api>,
    Path(id): Path<u32>,
    Query(asked): Query<CandleParameters>,
) -> Result<Reply, Problem> {
    let query = asked.query(ResourceId(id))?;
    let found = api.store.candles(query).await?;
    let (interval, scope) = (asked.interval.unwrap_or_default(), asked.finality.unwrap_or_default());
    let next = found.data.next_start.map(|start| asked.next(id, start));
    let keep = if asked.is_settled(&found) { Keep::Forever } else { Keep::Revalidate };
    let (settled, now) = (found.data.settled_before, found.block.timestamp);
    let candles = found.data.rows.iter().map(|row| Candle::new(row, interval, settled, now)).collect();
    Reply::new(found.block, &Candles { resource: id, interval, finality: scope, candles }, next, keep)
}

impl CandleParameters {
    fn query(&self, resource: ResourceId) -> Result<CandleQuery, Problem> {
        let (start, end) = (self.start.unwrap_or(0), self.end.unwrap_or(u64::MAX));
        if start > end {
            return Err(Problem::Invalid(format!("start {start} is after end {end}: exchange them")));
        }
        Ok(CandleQuery {
            resource,
            interval: self.interval.unwrap_or_default().into(),
            scope: self.finality.unwrap_or_default().into(),
            start,
            end,
            limit: checked_limit(self.limit)?,
            newest: self.start.is_none(),
        })
    }

    /// Whether the answer to exactly this question can never change.
    fn is_settled(&self, found: &AsOf<CandleRows>) -> bool {
        let length = indexer_store::candle::Interval::from(self.interval.unwrap_or_default()).seconds();
        // The last candle may begin one second before `end`.
        self.end.is_some_and(|end| end.saturating_add(length) <= found.data.settled_before)
    }

    fn next(&self, id: u32, start: u64) -> String {
        let pairs = [
            ("interval", self.interval.map(|interval| interval.as_str().to_owned())),
            ("start", Some(start.to_string())),
            ("end", self.end.map(|end| end.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("finality", self.finality.map(|scope| scope.as_str().to_owned())),
        ];
        link(&format!("/v1/resources/{id}/candles"), pairs)
    }
}

/// Which trades. Filters add up.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TradeParameters {
    /// Number of a resource.
    resource: Option<u32>,
    /// Address of a provider.
    #[param(value_type = Option<String>)]
    provider: Option<Address>,
    /// Address of a client.
    #[param(value_type = Option<String>)]
    payer: Option<Address>,
    /// A job: hash of its order.
    #[param(value_type = Option<String>)]
    job: Option<B256>,
    /// From `next` of the page before.
    cursor: Option<String>,
    /// Most trades, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Trades, newest first.
#[utoipa::path(get, path = "/v1/trades", tag = "market", params(TradeParameters), responses(
    (status = 200, body = Envelope<Vec<Trade>>), (status = 400, body = ProblemBody, content_type = PROBLEM)))]
async fn trades(State(api): State<Api>, Query(asked): Query<TradeParameters>) -> Result<Reply, Problem> {
    let filter = TradeFilter {
        resource: asked.resource.map(ResourceId),
        provider: asked.provider,
        payer: asked.payer,
        job: asked.job,
    };
    let found = api.store.trades(filter, position(asked.cursor.as_deref(), asked.limit)?).await?;
    let trades: Vec<Trade> = found.data.items.iter().map(Trade::from).collect();
    let next = found.data.next.map(|key| {
        let pairs = [
            ("resource", asked.resource.map(|id| id.to_string())),
            ("provider", asked.provider.map(|address| address.to_string())),
            ("payer", asked.payer.map(|address| address.to_string())),
            ("job", asked.job.map(|hash| hash.to_string())),
            ("limit", asked.limit.map(|limit| limit.to_string())),
            ("cursor", Some(encode(&key))),
        ];
        link("/v1/trades", pairs)
    });
    Reply::new(found.block, &trades, next, Keep::Revalidate)
}

/// A line and its proof, as `verifyLine` of the Settlement contract takes them.
#[utoipa::path(get, path = "/v1/trades/{keeper}/{batch}/{index}/proof", tag = "settlement",
    params(("keeper" = String, Path), ("batch" = u32, Path), ("index" = u32, Path)), responses(
    (status = 200, body = Envelope<LineProof>), (status = 404, body = ProblemBody, content_type = PROBLEM),
    (status = 503, body = ProblemBody, content_type = PROBLEM, description = "The lines are not known yet")))]
async fn proof(
    State(api): State<Api>,
    Path((keeper, batch, index)): Path<(Address, u32, u32)>,
) -> Result<Reply, Problem> {
    let proven = proofs::lines(&api, BatchId { keeper, number: batch }).await?;
    let proof = line_proof(&proven, index)?;
    let keep = if proof.finality == Finality::Proven { Keep::Forever } else { Keep::Revalidate };
    Reply::new(proven.block, &proof, None, keep)
}

/// The proof of one of the lines.
pub(super) fn line_proof(proven: &Proven, index: u32) -> Result<LineProof, Problem> {
    let (batch, lines) = (&proven.batch, &proven.lines);
    let found = lines.proof(index).zip(lines.lines().get(index as usize));
    let Some((proof, line)) = found else {
        let count = lines.lines().len();
        return Err(Problem::NotFound(format!("batch {} has {count} lines, counted from 0", batch.id.number)));
    };
    Ok(LineProof {
        keeper: batch.id.keeper.to_string(),
        batch: batch.id.number,
        line: hex::encode_prefixed(line.to_bytes()),
        index,
        proof: hex::encode_prefixed(proof.to_bytes()),
        lines_root: batch.commitment.lines_root.to_string(),
        lines_sum: batch.commitment.lines_sum.to_string(),
        finality: batch.finality.into(),
    })
}

/// Which batches.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BatchParameters {
    /// Address of a keeper.
    #[param(value_type = Option<String>)]
    keeper: Option<Address>,
    /// From `next` of the page before.
    cursor: Option<String>,
    /// Most batches, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Batches, newest first.
#[utoipa::path(get, path = "/v1/batches", tag = "settlement", params(BatchParameters), responses(
    (status = 200, body = Envelope<Vec<Batch>>), (status = 400, body = ProblemBody, content_type = PROBLEM)))]
async fn batches(State(api): State<Api>, Query(asked): Query<BatchParameters>) -> Result<Reply, Problem> {
    let found = api.store.batches(asked.keeper, position(asked.cursor.as_deref(), asked.limit)?).await?;
    let next = found.data.next.map(|key| {
        let pairs = [
            ("keeper", asked.keeper.map(|address| address.to_string())),
            ("limit", asked.limit.map(|limit| limit.to_string())),
            ("cursor", Some(encode(&key))),
        ];
        link("/v1/batches", pairs)
    });
    let batches: Vec<Batch> = found.data.items.into_iter().map(|row| Batch::new(row, &api.network)).collect();
    Reply::new(found.block, &batches, next, Keep::Revalidate)
}

/// One batch.
#[utoipa::path(get, path = "/v1/batches/{keeper}/{number}", tag = "settlement",
    params(("keeper" = String, Path), ("number" = u32, Path)), responses(
    (status = 200, body = Envelope<Batch>), (status = 404, body = ProblemBody, content_type = PROBLEM)))]
async fn batch(State(api): State<Api>, Path((keeper, number)): Path<(Address, u32)>) -> Result<Reply, Problem> {
    let found = api.store.batch(BatchId { keeper, number }).await?;
    let Some(row) = found.data else {
        return Err(Problem::NotFound(format!("keeper {keeper} has not committed a batch {number}")));
    };
    Reply::new(found.block, &Batch::new(row, &api.network), None, Keep::Revalidate)
}

/// Which providers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProviderParameters {
    /// From `next` of the page before.
    cursor: Option<String>,
    /// Most providers, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Providers, by address.
#[utoipa::path(get, path = "/v1/providers", tag = "settlement", params(ProviderParameters), responses(
    (status = 200, body = Envelope<Vec<Provider>>), (status = 400, body = ProblemBody, content_type = PROBLEM)))]
async fn providers(State(api): State<Api>, Query(asked): Query<ProviderParameters>) -> Result<Reply, Problem> {
    let found = api.store.providers(position(asked.cursor.as_deref(), asked.limit)?).await?;
    let next = found.data.next.map(|key| {
        let limit = asked.limit.map(|limit| limit.to_string());
        link("/v1/providers", [("limit", limit), ("cursor", Some(encode(&key)))])
    });
    let providers: Vec<Provider> = found.data.items.into_iter().map(Provider::from).collect();
    Reply::new(found.block, &providers, next, Keep::Revalidate)
}

/// One provider.
#[utoipa::path(get, path = "/v1/providers/{address}", tag = "settlement", params(("address" = String, Path)), responses(
    (status = 200, body = Envelope<Provider>), (status = 404, body = ProblemBody, content_type = PROBLEM)))]
async fn provider(State(api): State<Api>, Path(address): Path<Address>) -> Result<Reply, Problem> {
    let found = api.store.provider(address).await?;
    let Some(row) = found.data else {
        return Err(Problem::NotFound(format!("{address} has neither registered nor earned")));
    };
    Reply::new(found.block, &Provider::from(row), None, Keep::Revalidate)
}
