//! Terms, offers, orders, jobs, books and channels.

use super::problem::{Asked, Body, Named};
use super::{Api, Problem};
use alloy::primitives::{Address, B256};
use axum::Json;
use axum::extract::State;
use protocol::order::{JobId, SignedOffer, SignedOrder};
use protocol::resource::ResourceId;
use protocol::voucher::ChannelId;
use protocol::wire::{Book, ChannelView, Info, JobView, OfferTaken, OfferView, OrderTaken};
use serde::Deserialize;
use utoipa::IntoParams;

type Answer<T> = Result<Json<T>, Problem>;

/// The keeper's terms: identity, batch being filled, fees, resources, limits.
#[utoipa::path(get, path = "/v1/info", tag = "market", responses((status = 200, body = Object)))]
pub(super) async fn info(State(api): State<Api>) -> Json<Info> {
    Json(api.desk.info().await)
}

/// Offers that rest in the book.
#[utoipa::path(get, path = "/v1/offers", tag = "market", responses((status = 200, body = [Object])))]
pub(super) async fn offers(State(api): State<Api>) -> Json<Vec<OfferView>> {
    Json(api.desk.offers().await)
}

/// Puts a provider's signed offer into the book. The same offer again is taken once.
#[utoipa::path(post, path = "/v1/offers", tag = "market", request_body = Object,
    responses((status = 200, body = Object), (status = "default", description = "A refusal, with its code")))]
pub(super) async fn offer(State(api): State<Api>, Body(signed): Body<SignedOffer>) -> Answer<OfferTaken> {
    Ok(Json(api.desk.offer(signed).await?))
}

/// Places a session key's signed order. The same order again answers the same job.
#[utoipa::path(post, path = "/v1/orders", tag = "market", request_body = Object,
    responses((status = 200, body = Object), (status = "default", description = "A refusal, with its code")))]
pub(super) async fn order(State(api): State<Api>, Body(signed): Body<SignedOrder>) -> Answer<OrderTaken> {
    Ok(Json(api.desk.order(signed).await?))
}

/// Whose jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct JobQuery {
    /// Whose channel pays.
    #[param(value_type = Option<String>)]
    payer: Option<Address>,
    /// Which session key ordered.
    #[param(value_type = Option<String>)]
    signer: Option<Address>,
}

/// The newest 200 jobs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "market", params(JobQuery),
    responses((status = 200, body = [Object])))]
pub(super) async fn jobs(State(api): State<Api>, Asked(query): Asked<JobQuery>) -> Answer<Vec<JobView>> {
    Ok(Json(api.desk.job_views(query.payer, query.signer).await?))
}

/// A job: state, usage, amounts, result.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "market", params(("id" = String, Path, description = "Job id")),
    responses((status = 200, body = Object), (status = 404, description = "No such job")))]
pub(super) async fn job(State(api): State<Api>, Named(id): Named<B256>) -> Answer<JobView> {
    Ok(Json(api.desk.job_view(JobId(id)).await?))
}

/// Price levels of a resource, best first.
#[utoipa::path(get, path = "/v1/book/{resource}", tag = "market",
    params(("resource" = u32, Path, description = "Number in the ResourceCatalog")),
    responses((status = 200, body = Object)))]
pub(super) async fn book(State(api): State<Api>, Named(resource): Named<u32>) -> Answer<Book> {
    Ok(Json(api.desk.book(ResourceId(resource)).await?))
}

/// A channel's account, with its newest voucher and acceptance as evidence.
#[utoipa::path(get, path = "/v1/vouchers/{channel}", tag = "market",
    params(("channel" = String, Path, description = "Channel id")),
    responses((status = 200, body = Object), (status = 404, description = "No order of it was ever taken here")))]
pub(super) async fn vouchers(State(api): State<Api>, Named(channel): Named<B256>) -> Answer<ChannelView> {
    Ok(Json(api.desk.channel_view(ChannelId(channel)).await?))
}
