//! GraphQL: the same views as REST, with Relay connections for lists.

use super::cursor::{checked_limit, encode, position};
use super::view::{AsOf, Batch, Candle, Candles, Interval, LineProof, Provider, Resource, Scope, Status, Trade};
use super::{Api, Problem, proofs, rest};
use alloy::primitives::{Address, B256};
use async_graphql::connection::{Connection, Edge, EmptyFields};
use async_graphql::{Context, EmptyMutation, EmptySubscription, ErrorExtensions, Object, Schema, SimpleObject};
use indexer_store::fact::{BatchId, Block};
use indexer_store::query::{CandleQuery, TradeFilter};
use indexer_store::row::{AsOf as Answer, Page};
use indexer_store::store::Store;
use protocol::resource::ResourceId;
use std::str::FromStr;

/// Deepest query.
const MAX_DEPTH: usize = 10;
/// Most fields of an answer, counted before it is made.
const MAX_COMPLEXITY: usize = 20_000;

pub(super) type ApiSchema = Schema<Query, EmptyMutation, EmptySubscription>;

/// The schema, with what it answers from; without, only to be printed.
pub(super) fn schema(api: Option<Api>) -> ApiSchema {
    let builder = Schema::build(Query, EmptyMutation, EmptySubscription)
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COMPLEXITY)
        .limit_directives(8);
    match api {
        Some(api) => builder.data(api).finish(),
        None => builder.finish(),
    }
}

impl Problem {
    fn into_graphql(self) -> async_graphql::Error {
        let code = match self {
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::NotFound(_) => "NOT_FOUND",
            Self::NotYet(_) => "NOT_YET",
            Self::Internal => "INTERNAL",
        };
        async_graphql::Error::new(self.to_string()).extend_with(|_, extensions| extensions.set("code", code))
    }
}

type Found<T> = async_graphql::Result<T>;

fn failed(error: impl Into<Problem>) -> async_graphql::Error {
    error.into().into_graphql()
}

fn parse<T: FromStr>(name: &str, text: &str) -> Found<T> {
    text.parse().map_err(|_| failed(Problem::Invalid(format!("{name} {text:?} is not 0x and hexadecimal digits"))))
}

fn parse_some<T: FromStr>(name: &str, text: Option<String>) -> Found<Option<T>> {
    text.map(|text| parse(name, &text)).transpose()
}

/// What a list is true of.
#[derive(SimpleObject)]
struct ListFields {
    /// The block that this page is true of.
    as_of: AsOf,
}

type List<T> = Connection<String, T, ListFields, EmptyFields>;

/// A page of a store as a connection.
fn connection<R, T: async_graphql::OutputType>(
    answer: Answer<Page<R>>,
    is_first: bool,
    key: impl Fn(&R) -> Vec<u8>,
    view: impl Fn(R) -> T,
) -> List<T> {
    let fields = ListFields { as_of: answer.block.into() };
    let mut list = Connection::with_additional_fields(!is_first, answer.data.next.is_some(), fields);
    list.edges.extend(answer.data.items.into_iter().map(|row| Edge::new(encode(&key(&row)), view(row))));
    list
}

/// All resources.
#[derive(SimpleObject)]
struct ResourceList {
    /// The block that this is true of.
    as_of: AsOf,
    /// By number.
    data: Vec<Resource>,
}

/// Candles of one resource.
#[derive(SimpleObject)]
struct CandleList {
    /// The block that this is true of.
    as_of: AsOf,
    /// The candles, oldest first.
    data: Candles,
}

/// One batch.
#[derive(SimpleObject)]
struct BatchAnswer {
    /// The block that this is true of.
    as_of: AsOf,
    /// The batch, if it was committed.
    data: Option<Batch>,
}

/// One provider.
#[derive(SimpleObject)]
struct ProviderAnswer {
    /// The block that this is true of.
    as_of: AsOf,
    /// The provider, if it registered or earned.
    data: Option<Provider>,
}

/// A line and its proof.
#[derive(SimpleObject)]
struct ProofAnswer {
    /// The block that this is true of.
    as_of: AsOf,
    /// The proof.
    data: LineProof,
}

/// What is indexed.
#[derive(SimpleObject)]
struct StatusAnswer {
    /// The block that this is true of.
    as_of: AsOf,
    /// The status.
    data: Status,
}

pub(super) struct Query;

/// Amounts, prices and quantities are decimal strings: nano CAPA (1e-9), nano CAPA per human unit, and base units.
#[Object]
impl Query {
    /// What is indexed, and how far.
    async fn status(&self, ctx: &Context<'_>) -> Found<StatusAnswer> {
        let api = ctx.data::<Api>()?;
        let counts = api.store.counts().await.map_err(failed)?;
        let data = Status::new(&api.network, &counts.data, api.health.ready().is_ok());
        Ok(StatusAnswer { as_of: counts.block.into(), data })
    }

    /// All resources with their newest price.
    #[graphql(complexity = "20 * child_complexity")]
    async fn resources(&self, ctx: &Context<'_>) -> Found<ResourceList> {
        let found = ctx.data::<Api>()?.store.resources().await.map_err(failed)?;
        let (as_of, rows) = split(found);
        Ok(ResourceList { as_of, data: rows.into_iter().map(Resource::from).collect() })
    }

    /// Candles of a resource, oldest first: those that start in `start..end`, or the newest before `end`.
    #[graphql(complexity = "limit.unwrap_or(100) as usize * child_complexity")]
    #[allow(clippy::too_many_arguments)]
    async fn candles(
        &self,
        ctx: &Context<'_>,
        resource: u32,
        interval: Option<Interval>,
        start: Option<u64>,
        end: Option<u64>,
        limit: Option<u32>,
        finality: Option<Scope>,
    ) -> Found<CandleList> {
        let (interval, scope) = (interval.unwrap_or_default(), finality.unwrap_or_default());
        let query = CandleQuery {
            resource: ResourceId(resource),
            interval: interval.into(),
            scope: scope.into(),
            start: start.unwrap_or(0),
            end: end.unwrap_or(u64::MAX),
            limit: checked_limit(limit).map_err(failed)?,
            newest: start.is_none(),
        };
        let found = ctx.data::<Api>()?.store.candles(query).await.map_err(failed)?;
        let (settled, now) = (found.data.settled_before, found.block.timestamp);
        let (as_of, rows) = split(found);
        let candles = rows.rows.iter().map(|row| Candle::new(row, interval, settled, now)).collect();
        Ok(CandleList { as_of, data: Candles { resource, interval, finality: scope, candles } })
    }

    /// Trades, newest first. Filters add up.
    #[graphql(complexity = "first.unwrap_or(100) as usize * child_complexity")]
    #[allow(clippy::too_many_arguments)]
    async fn trades(
        &self,
        ctx: &Context<'_>,
        first: Option<u32>,
        after: Option<String>,
        resource: Option<u32>,
        provider: Option<String>,
        payer: Option<String>,
        job: Option<String>,
    ) -> Found<List<Trade>> {
        let filter = TradeFilter {
            resource: resource.map(ResourceId),
            provider: parse_some::<Address>("provider", provider)?,
            payer: parse_some::<Address>("payer", payer)?,
            job: parse_some::<B256>("job", job)?,
        };
        let position = position(after.as_deref(), first).map_err(failed)?;
        let found = ctx.data::<Api>()?.store.trades(filter, position).await.map_err(failed)?;
        let key = |row: &indexer_store::row::TradeRow| row.trade.key.to_bytes().to_vec();
        Ok(connection(found, after.is_none(), key, |row| Trade::from(&row)))
    }

    /// A line and its proof, as `verifyLine` of the Settlement contract takes them.
    #[graphql(complexity = "100 + child_complexity")]
    async fn proof(&self, ctx: &Context<'_>, keeper: String, batch: u32, index: u32) -> Found<ProofAnswer> {
        let id = BatchId { keeper: parse("keeper", &keeper)?, number: batch };
        let proven = proofs::lines(ctx.data::<Api>()?, id).await.map_err(failed)?;
        let data = rest::line_proof(&proven, index).map_err(failed)?;
        Ok(ProofAnswer { as_of: proven.block.into(), data })
    }

    /// Batches, newest first.
    #[graphql(complexity = "first.unwrap_or(100) as usize * child_complexity")]
    async fn batches(
        &self,
        ctx: &Context<'_>,
        first: Option<u32>,
        after: Option<String>,
        keeper: Option<String>,
    ) -> Found<List<Batch>> {
        let api = ctx.data::<Api>()?;
        let position = position(after.as_deref(), first).map_err(failed)?;
        let found = api.store.batches(parse_some("keeper", keeper)?, position).await.map_err(failed)?;
        Ok(connection(found, after.is_none(), |row| row.key(), |row| Batch::new(row, &api.network)))
    }

    /// One batch.
    async fn batch(&self, ctx: &Context<'_>, keeper: String, number: u32) -> Found<BatchAnswer> {
        let api = ctx.data::<Api>()?;
        let id = BatchId { keeper: parse("keeper", &keeper)?, number };
        let (as_of, row) = split(api.store.batch(id).await.map_err(failed)?);
        Ok(BatchAnswer { as_of, data: row.map(|row| Batch::new(row, &api.network)) })
    }

    /// Providers, by address.
    #[graphql(complexity = "first.unwrap_or(100) as usize * child_complexity")]
    async fn providers(&self, ctx: &Context<'_>, first: Option<u32>, after: Option<String>) -> Found<List<Provider>> {
        let position = position(after.as_deref(), first).map_err(failed)?;
        let found = ctx.data::<Api>()?.store.providers(position).await.map_err(failed)?;
        Ok(connection(found, after.is_none(), |row| row.address.to_vec(), Provider::from))
    }

    /// One provider.
    async fn provider(&self, ctx: &Context<'_>, address: String) -> Found<ProviderAnswer> {
        let address = parse("address", &address)?;
        let (as_of, row) = split(ctx.data::<Api>()?.store.provider(address).await.map_err(failed)?);
        Ok(ProviderAnswer { as_of, data: row.map(Provider::from) })
    }
}

fn split<T>(answer: Answer<T>) -> (AsOf, T) {
    let block: Block = answer.block;
    (block.into(), answer.data)
}
