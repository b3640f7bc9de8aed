//! `capa-worker status`: the worker's own view of itself beside the market's view of it.
//!
//! A node may well believe that it is on the market while nobody sees its offers, so the keeper and the indexer are
//! asked what they see. Whatever cannot be found out now says why instead.

use crate::config::Config;
use crate::ledger::{Earnings, KeeperEarnings, Ledger, LedgerError};
use crate::lookout::Local;
use crate::node::now;
use crate::visibility::{IndexedView, Onlooker, Sight, compare};
use protocol::order::Offer;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Longest that the worker's own admin port may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both views.
#[derive(Debug, Clone)]
pub struct Status {
    provider: alloy::primitives::Address,
    ready: Result<(), String>,
    local: Result<Local, String>,
    jobs: BTreeMap<String, u64>,
    money: Earnings,
    market: Market,
}

/// How the market sees the node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Market {
    /// Offers of this provider in the keeper's book; `None` without a keeper.
    offers_in_book: Option<Result<usize, String>>,
    /// Whether buyers see what this node has on offer; `None` while that is unknown.
    visible: Option<bool>,
    /// What the indexer knows; `None` where none is named.
    indexer: Option<Result<IndexedView, String>>,
}

/// Asks the ledger, the running worker, the keeper and the indexer.
pub async fn status(config: &Config) -> Result<Status, LedgerError> {
    let ledger = Ledger::open_for_reading(&config.data).await?;
    let (jobs, money) = (ledger.summary().await?.jobs, ledger.earnings(config.provider).await?);
    let offered: Vec<Offer> = ledger.live_offers(now()).await?.into_iter().map(|signed| signed.offer).collect();
    ledger.close().await;
    let (ready, local, market) = tokio::join!(readiness(config), local(config), market(config, &offered));
    Ok(Status { provider: config.provider, ready, local, jobs, money, market })
}

fn admin() -> Result<reqwest::Client, String> {
    reqwest::Client::builder().timeout(PATIENCE).build().map_err(|error| error.to_string())
}

async fn readiness(config: &Config) -> Result<(), String> {
    match admin()?.get(format!("http://{}/readyz", config.admin)).send().await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(response.text().await.unwrap_or_default()),
        Err(_) => Err("the worker does not run, or its admin port is another one".into()),
    }
}

async fn local(config: &Config) -> Result<Local, String> {
    let asking = admin()?.get(format!("http://{}/status", config.admin)).send();
    let answer = asking.await.map_err(|_| "the worker does not run, or its admin port is another one".to_owned())?;
    answer.json().await.map_err(|_| "what answers at the admin port is no worker of this version".to_owned())
}

async fn market(config: &Config, offered: &[Offer]) -> Market {
    let onlooker = match Onlooker::new() {
        Ok(onlooker) => onlooker,
        Err(error) => {
            return Market { offers_in_book: Some(Err(error.to_string())), visible: None, indexer: None };
        }
    };
    let book = match &config.keeper {
        Some(keeper) => Some(onlooker.book(keeper, config.provider).await.map_err(|error| error.to_string())),
        None => None,
    };
    let visible = match book.as_ref().and_then(|book| book.as_ref().ok()).map(|book| compare(offered, book)) {
        Some(Sight::Seen) => Some(true),
        Some(Sight::Missing(_)) => Some(false),
        Some(Sight::Nothing) | None => None,
    };
    let indexer = match &config.indexer {
        Some(indexer) => Some(onlooker.indexed(indexer, config.provider).await.map_err(|error| error.to_string())),
        None => None,
    };
    Market { offers_in_book: book.map(|book| book.map(|book| book.offers.len())), visible, indexer }
}

impl Status {
    /// As one JSON document.
    pub fn document(&self) -> Value {
        let indexer = match &self.market.indexer {
            None => Value::Null,
            Some(Ok(view)) => json!(view),
            Some(Err(reason)) => json!({ "unknown": reason }),
        };
        json!({
            "provider": self.provider,
            "ready": either(&self.ready.clone().map(|()| true)),
            "local": either(&self.local),
            "jobs": self.jobs,
            "money": self.money,
            "market": {
                "offersInBook": self.market.offers_in_book.as_ref().map(either),
                "visible": self.market.visible,
                "indexer": indexer,
            },
        })
    }
}

/// A value, or why there is none.
fn either<T: Serialize>(known: &Result<T, String>) -> Value {
    match known {
        Ok(value) => json!(value),
        Err(reason) => json!({ "unknown": reason }),
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "provider    {}", self.provider)?;
        match &self.ready {
            Ok(()) => writeln!(f, "ready       yes")?,
            Err(reason) => writeln!(f, "ready       no: {}", reason.trim())?,
        }
        match &self.local {
            Ok(local) => show_local(f, local)?,
            Err(reason) => writeln!(f, "local       unknown: {reason}")?,
        }
        let jobs: Vec<_> = self.jobs.iter().map(|(state, count)| format!("{count} {state}")).collect();
        writeln!(f, "jobs        {}", if jobs.is_empty() { "none yet".to_owned() } else { jobs.join(", ") })?;
        for keeper in &self.money.keepers {
            show_keeper(f, keeper)?;
        }
        let direct = &self.money.direct;
        let (unaccepted, unredeemed) = (direct.unaccepted.to_capa(), direct.unredeemed.to_capa());
        writeln!(f, "direct      {unaccepted} CAPA not accepted, {unredeemed} not redeemed")?;
        show_market(f, &self.market)
    }
}

fn show_local(f: &mut fmt::Formatter<'_>, local: &Local) -> fmt::Result {
    let (kinds, version) = (local.kinds.join(", "), &local.version);
    writeln!(f, "runs        {kinds} ({}), version {version}", local.toolchains.join(", "))?;
    writeln!(f, "isolation   {}", local.isolation)?;
    if let Some(reason) = &local.refuses_strangers {
        writeln!(f, "            strangers are refused: {reason}")?;
    }
    writeln!(f, "slots       {} of {} free", local.free_slots, local.slots)?;
    for device in &local.devices {
        let reason = device.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        writeln!(f, "device      {} {}{reason}", device.device, device.state)?;
    }
    for gpu in &local.gpus {
        let percent = gpu.utilization.map_or_else(|| "unknown".to_owned(), |percent| format!("{percent} %"));
        let used = gpu.memory_used.map_or_else(|| "unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        writeln!(f, "gpu {:<7} {}: {percent} busy, {used} in use", gpu.number, gpu.name)?;
    }
    Ok(())
}

fn show_keeper(f: &mut fmt::Formatter<'_>, keeper: &KeeperEarnings) -> fmt::Result {
    let KeeperEarnings { keeper, unaccepted, accepted, unclaimed, claimed, void, .. } = keeper;
    let [unaccepted, accepted, unclaimed, claimed, void] =
        [unaccepted, accepted, unclaimed, claimed, void].map(|amount| amount.to_capa());
    writeln!(f, "keeper      {keeper}")?;
    writeln!(f, "            {unaccepted} CAPA not accepted, {accepted} accepted and not final")?;
    writeln!(f, "            {unclaimed} final and not claimed, {claimed} claimed, {void} to be recovered")
}

fn show_market(f: &mut fmt::Formatter<'_>, market: &Market) -> fmt::Result {
    match &market.offers_in_book {
        None => writeln!(f, "market      no keeper is named: direct clients only")?,
        Some(Ok(count)) => {
            let visible = match market.visible {
                Some(true) => "buyers see this node",
                Some(false) => "buyers do NOT see what this node has on offer",
                None => "this node has nothing on offer now",
            };
            writeln!(f, "market      {count} offers in the keeper's book; {visible}")?;
        }
        Some(Err(reason)) => writeln!(f, "market      unknown: {reason}")?,
    }
    match &market.indexer {
        None => write!(f, "indexer     none is named"),
        Some(Ok(view)) => {
            write!(f, "indexer     {} newest trades", view.trades.len())?;
            for trade in view.trades.iter().take(3) {
                let part = |name: &str| trade[name].as_str().map_or_else(|| trade[name].to_string(), str::to_owned);
                write!(f, "\n            job {}: {} nano, {}", part("job"), part("amount"), part("finality"))?;
            }
            Ok(())
        }
        Some(Err(reason)) => write!(f, "indexer     unknown: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookout::LocalDevice;
    use alloy::primitives::Address;
    use protocol::amount::Amount;

    fn sample() -> Status {
        let device = LocalDevice {
            device: "GPU 0".into(),
            state: "quarantined".into(),
            reason: Some("the driver reported Xid 79".into()),
        };
        let local = Local {
            version: "0.1.0".into(),
            kinds: vec!["wasm".into()],
            toolchains: vec!["wasmtime-48".into()],
            isolation: "confined".into(),
            refuses_strangers: None,
            slots: 2,
            free_slots: 1,
            devices: vec![device],
            gpus: vec![],
        };
        let keeper = KeeperEarnings {
            keeper: Address::repeat_byte(6),
            unaccepted: Amount(1),
            accepted: Amount(1_500_000_000),
            unclaimed: Amount(0),
            claimed: Amount(0),
            void: Amount(0),
            recovered: Amount(0),
            batches: vec![],
        };
        let trades = vec![json!({ "job": "0x01", "amount": "70", "finality": "proven" })];
        Status {
            provider: Address::repeat_byte(0x70),
            ready: Err("the worker does not run".into()),
            local: Ok(local),
            jobs: BTreeMap::from([("closed".to_owned(), 3)]),
            money: Earnings { keepers: vec![keeper], direct: Default::default() },
            market: Market {
                offers_in_book: Some(Ok(0)),
                visible: Some(false),
                indexer: Some(Ok(IndexedView { provider: Value::Null, trades })),
            },
        }
    }

    #[test]
    fn both_views_stand_side_by_side() {
        let text = sample().to_string();
        for part in [
            "ready       no: the worker does not run",
            "device      GPU 0 quarantined: the driver reported Xid 79",
            "0.000000001 CAPA not accepted, 1.500000000 accepted and not final",
            "buyers do NOT see",
            "job 0x01: 70 nano, proven",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_document_has_the_same() {
        let document = sample().document();
        assert_eq!(document["ready"]["unknown"], "the worker does not run");
        assert_eq!(document["local"]["devices"][0]["state"], "quarantined");
        assert_eq!(document["market"]["visible"], false);
        assert_eq!(document["market"]["offersInBook"], 0);
        assert_eq!(document["jobs"]["closed"], 3);
        assert_eq!(document["money"]["keepers"][0]["accepted"], "1500000000");
    }
}
