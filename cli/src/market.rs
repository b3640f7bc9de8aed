//! `capa market`: what is traded, at which prices.

use crate::context::Context;
use crate::error::CliError;
use crate::output::table;
use client::keeper::Keeper;
use protocol::amount::{Amount, Quantity};
use protocol::resource::{Resource, Unit};
use protocol::wire::OfferView;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Verbs of `market`.
#[derive(Debug, clap::Subcommand)]
pub enum MarketCommand {
    /// Print the resources that the keeper trades
    Resources,
    /// Print the price levels of a resource
    Book {
        /// Name, such as cpu.x86-64, or number
        resource: String,
    },
    /// Print the offers in the keeper's book
    Offers,
    /// Print the price history of a resource, from the indexer
    Candles {
        /// Name, such as cpu.x86-64, or number
        resource: String,
        /// How long each candle is
        #[arg(long, default_value = "1h", value_parser = ["1m", "5m", "15m", "1h", "4h", "1d"])]
        interval: String,
        /// At most so many
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Also count trades of batches that can still be challenged
        #[arg(long)]
        pending: bool,
    },
}

/// A candle of the indexer, as far as a table shows it.
#[derive(Debug, Deserialize)]
struct Candle {
    start: u64,
    open: String,
    high: String,
    low: String,
    close: String,
    volume: String,
    trades: u64,
}

/// Runs a verb.
pub async fn run(command: MarketCommand, context: &Context) -> Result<(), CliError> {
    match command {
        MarketCommand::Resources => resources(context).await,
        MarketCommand::Book { resource } => book(context, &resource).await,
        MarketCommand::Offers => offers(context).await,
        MarketCommand::Candles { resource, interval, limit, pending } => {
            candles(context, &resource, &interval, limit, pending).await
        }
    }
}

async fn resources(context: &Context) -> Result<(), CliError> {
    let keeper = context.keeper()?;
    let resources = keeper.info().await?.resources;
    let mut view = table(&["number", "name", "metered in", "priced per"]);
    for resource in &resources {
        view.add_row([resource.id.to_string(), resource.name.clone(), resource.unit.to_string(), per(resource)]);
    }
    context.output.data(&resources, &view)
}

async fn book(context: &Context, name: &str) -> Result<(), CliError> {
    let keeper = context.keeper()?;
    let resources = keeper.info().await?.resources;
    let resource = find(&resources, name)?;
    let book = keeper.book(resource.id).await?;
    let mut view = table(&["side", "price in CAPA", "quantity", "count"]);
    for (side, levels) in [("ask", &book.asks), ("bid", &book.bids)] {
        for level in levels {
            let quantity = format!("{} {}", level.quantity, resource.unit);
            view.add_row([side.into(), Amount(level.price.get()).to_capa(), quantity, level.count.to_string()]);
        }
    }
    context.output.data(&book, &view)
}

async fn offers(context: &Context) -> Result<(), CliError> {
    let keeper = context.keeper()?;
    let (offers, resources) = (keeper.offers().await?, keeper.info().await?.resources);
    let mut view = table(&["provider", "resource", "price in CAPA", "left", "until"]);
    for resting in &offers {
        let offer = &resting.offer;
        let resource = resources.iter().find(|resource| resource.id == offer.resource);
        let name = resource.map_or_else(|| offer.resource.to_string(), |resource| resource.name.clone());
        view.add_row([
            offer.provider.to_string(),
            name,
            Amount(offer.price.get()).to_capa(),
            resting.remaining.to_string(),
            offer.expiry.to_string(),
        ]);
    }
    context.output.data(&offers, &view)
}

async fn candles(context: &Context, name: &str, interval: &str, limit: u32, pending: bool) -> Result<(), CliError> {
    let number = match name.parse::<u32>() {
        Ok(number) => number,
        Err(_) => find(&context.keeper()?.info().await?.resources, name)?.id.0,
    };
    let finality = if pending { "all" } else { "proven" };
    let path = format!("v1/resources/{number}/candles?interval={interval}&limit={limit}&finality={finality}");
    let document = indexer(context, &path).await?;
    let list = document.pointer("/data/candles").cloned().unwrap_or_default();
    let candles: Vec<Candle> = serde_json::from_value(list)
        .map_err(|error| CliError::Failed(format!("the indexer's answer cannot be read: {error}")))?;
    let mut view = table(&["start", "open", "high", "low", "close", "volume", "trades"]);
    let capa = |nano: &str| nano.parse().map_or_else(|_| nano.to_owned(), |nano| Amount(nano).to_capa());
    for candle in &candles {
        view.add_row([
            candle.start.to_string(),
            capa(&candle.open),
            capa(&candle.high),
            capa(&candle.low),
            capa(&candle.close),
            candle.volume.clone(),
            candle.trades.to_string(),
        ]);
    }
    context.output.data(&document, &view)
}

/// Asks the indexer; its refusals are problem documents like a keeper's.
async fn indexer(context: &Context, path: &str) -> Result<Value, CliError> {
    let base = context.indexer_url()?;
    let url = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    let failed = |error: reqwest::Error| CliError::Network(format!("the indexer at {base} does not answer: {error}"));
    let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().map_err(failed)?;
    let response = http.get(&url).send().await.map_err(failed)?;
    let status = response.status();
    let bytes = response.bytes().await.map_err(failed)?;
    let answer: Value = serde_json::from_slice(&bytes)
        .map_err(|_| CliError::Failed(format!("{url} answered {status}, but not as an indexer does")))?;
    if status.is_success() {
        return Ok(answer);
    }
    let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
    let text = format!("the indexer refused ({status}): {detail}");
    Err(match status.as_u16() {
        404 => CliError::NotFound(text),
        500.. => CliError::Network(text),
        _ => CliError::Refused(text),
    })
}

/// A resource by its name or number.
pub fn find<'a>(resources: &'a [Resource], name: &str) -> Result<&'a Resource, CliError> {
    let found = resources.iter().find(|resource| resource.name == name || resource.id.to_string() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = resources.iter().map(|resource| resource.name.as_str()).collect();
        CliError::NotFound(format!("resource {name:?} is not traded here; there are: {}", names.join(", ")))
    })
}

/// The cheapest offer of a resource. A direct endpoint keeps no book, but it states its offers as a keeper does.
pub async fn best_ask(keeper: &Keeper, resource: &Resource) -> Result<Option<OfferView>, CliError> {
    let offers = keeper.offers().await?.into_iter();
    let open = offers.filter(|resting| resting.offer.resource == resource.id && resting.remaining > Quantity::ZERO);
    Ok(open.min_by_key(|resting| (resting.offer.price, std::cmp::Reverse(resting.remaining))))
}

/// What a price of the resource is for.
pub fn per(resource: &Resource) -> String {
    match (resource.unit, resource.scale.get()) {
        (Unit::GpuMs, 3_600_000) => "GPU-hour".into(),
        (Unit::CpuMs, 3_600_000) => "vCPU-hour".into(),
        (Unit::MemoryMibS, 3_686_400) => "GiB-hour".into(),
        (Unit::BytesOut, 1_073_741_824) => "GiB".into(),
        (Unit::Flop, 1_000_000_000_000_000) => "PFLOP".into(),
        (Unit::Path | Unit::Hash | Unit::Key, 1_000_000_000) => format!("G{}", resource.unit),
        (Unit::Path | Unit::Hash | Unit::Key, 1_000_000_000_000) => format!("T{}", resource.unit),
        (Unit::LeaseS, 3_600) => "lease-hour".into(),
        (unit, scale) => format!("{scale} {unit}"),
    }
}
