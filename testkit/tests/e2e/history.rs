//! Price history is made of proven lines only: every price in a candle traces to a line under a root on chain.

use crate::support::order;
use alloy::primitives::Bytes;
use protocol::amount::Quantity;
use protocol::job::Kind;
use protocol::wire::JobState;
use serde_json::Value;
use testkit::layout::http;
use testkit::world::{World, eventually, quick, resource, sample};

async fn get(world: &World, path: &str) -> anyhow::Result<Value> {
    let url = http(world.layout.indexer())?.join(path)?;
    Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
}

fn integer(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no decimal string"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_price_in_a_candle_is_proven_on_chain() -> anyhow::Result<()> {
    let world = World::with_services(&quick()).await?;
    let (_, session) = world.keeper_session().await?;
    let mut quantity = Quantity::ZERO;
    for name in ["sha256", "n-body"] {
        let status = session.finished(order(&session, &sample(name, Kind::Wasm)?).await?).await?;
        assert_eq!(status.view.as_ref().map(|view| view.state), Some(JobState::Done));
        let used = status.record.paid.as_ref().expect("a done job is paid").usage.cpu_ms;
        quantity = quantity.plus(used)?;
    }
    let cpu = resource("cpu.x86-64")?;
    let path = format!("v1/resources/{}/candles?interval=1m&finality=proven", cpu.id);
    let candles = eventually("proven candles of all that was used", async || {
        let candles = get(&world, &path).await?["data"]["candles"].as_array().cloned().unwrap_or_default();
        let volume: u64 = candles.iter().map(|candle| integer(&candle["volume"])).sum();
        Ok((volume == quantity.get()).then_some(candles))
    })
    .await?;

    let mut proven = Vec::new();
    let trades = get(&world, &format!("v1/trades?resource={}&limit=100", cpu.id)).await?;
    let settlement = world.facts().settlement();
    for trade in trades["data"].as_array().expect("a list of trades") {
        assert_eq!(trade["finality"], "proven");
        let (keeper, batch, index) = (&trade["keeper"], &trade["batch"], &trade["index"]);
        let path = format!("v1/trades/{}/{batch}/{index}/proof", keeper.as_str().expect("an address"));
        let proof = get(&world, &path).await?;
        let bytes = |key: &str| serde_json::from_value::<Bytes>(proof["data"][key].clone());
        let (line, siblings) = (bytes("line")?, bytes("proof")?);
        let number = u32::try_from(batch.as_u64().expect("a number"))?;
        let position = u32::try_from(index.as_u64().expect("a number"))?;
        let keeper = serde_json::from_value(keeper.clone())?;
        let holds = settlement.verifyLine(keeper, number, line.clone(), position, siblings).call().await?;
        assert!(holds, "the chain does not confirm {trade}");
        let line = protocol::batch::Line::from_bytes(line[..].try_into()?);
        assert_eq!(line.price.get(), integer(&trade["price"]));
        proven.push(line);
    }
    let total = proven.iter().try_fold(Quantity::ZERO, |sum, line| sum.plus(line.quantity))?;
    assert_eq!(total, quantity, "the lines are all that was used, once");
    for candle in &candles {
        for key in ["open", "high", "low", "close"] {
            let price = integer(&candle[key]);
            assert!(proven.iter().any(|line| line.price.get() == price), "{key} {price} is in no proven line");
        }
    }
    Ok(())
}
