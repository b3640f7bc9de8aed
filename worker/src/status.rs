//! `capa-worker status`: what the operator and the keeper see of this worker.

use crate::config::Config;
use crate::ledger::{Ledger, LedgerError};
use protocol::wire::OfferView;
use serde_json::{Value, json};
use std::time::Duration;

/// Jobs, earnings, health and visible offers, each as far as it can be found out now.
///
/// A node may well believe that it is on the market while nobody sees its offers, so those are asked of the keeper.
pub async fn status(config: &Config) -> Result<Value, LedgerError> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().ok();
    let summary = Ledger::open_for_reading(&config.data).await?.summary().await?;
    let mut status = json!({
        "provider": config.provider,
        "jobs": summary.jobs,
        "owedByKeepers": summary.owed,
        "claimed": summary.claimed,
        "directUnredeemed": summary.unredeemed,
    });
    if let Some(http) = http {
        status["ready"] = readiness(&http, config).await;
        status["offersInBook"] = visible_offers(&http, config).await;
    }
    Ok(status)
}

async fn readiness(http: &reqwest::Client, config: &Config) -> Value {
    match http.get(format!("http://{}/readyz", config.admin)).send().await {
        Ok(response) if response.status().is_success() => json!(true),
        Ok(response) => json!(response.text().await.unwrap_or_default()),
        Err(_) => json!("the worker does not run, or its admin port is another one"),
    }
}

async fn visible_offers(http: &reqwest::Client, config: &Config) -> Value {
    let Some(url) = config.keeper.as_ref().and_then(|keeper| keeper.join("v1/offers").ok()) else {
        return Value::Null;
    };
    let offers = async { http.get(url).send().await?.error_for_status()?.json::<Vec<OfferView>>().await };
    match offers.await {
        Ok(offers) => json!(offers.iter().filter(|view| view.offer.provider == config.provider).count()),
        Err(error) => json!(format!("the keeper cannot be asked: {}", error.without_url())),
    }
}
