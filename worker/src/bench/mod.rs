//! `capa-worker bench`: what this machine can do, measured, and signed by the worker key.
//!
//! [`cpu`] measures plain rates of this machine, [`rows`] holds the worker against the same work done without it, in
//! the same run, and says whether each bar is met. Every figure is an integer; times are in nanoseconds. What needs a
//! GPU is skipped, by name, where there is none: an emulated one is none.

pub mod machine;
mod timing;
pub mod cpu;
pub mod rows;

use machine::Machine;
use protocol::benchmark::{BenchmarkError, SignedBenchmark};
use protocol::signature::{Domain, SigningKey};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A figure with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// How much.
    pub value: u64,
    /// Of what.
    pub unit: &'static str,
}

/// Something could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be measured: {reason}")]
pub struct MeasureError {
    what: &'static str,
    reason: String,
}

impl MeasureError {
    /// That it cannot be measured, and why.
    pub fn new(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { what, reason: reason.to_string() }
    }
}

/// What the plain driver does on the first GPU, in nanoseconds, and the GPU's name; nothing where there is none.
pub async fn gpu_figures(
    program: &std::path::Path,
    config: &crate::execute::CudaConfig,
) -> (Option<String>, BTreeMap<&'static str, Figure>) {
    const NAMES: [(&str, &str); 6] = [
        ("gemm_bf16", "gpuGemmBf16Side8192"),
        ("copy_to_device", "gpuCopyToDevice1GiB"),
        ("copy_from_device", "gpuCopyFromDevice1GiB"),
        ("launch_loop", "gpuLaunches10000"),
        ("graph_loop", "gpuGraphLaunches10000"),
        ("noop", "gpuLaunchAndWait"),
    ];
    let Ok(anchors) = rows::anchors(program, config).await else { return (None, BTreeMap::new()) };
    let figure = |(from, name)| {
        let value = anchors.figures.get(from)?.as_ref().ok()?.reference;
        Some((name, Figure { value, unit: "ns" }))
    };
    let figures = NAMES.into_iter().filter_map(figure).collect();
    (Some(anchors.device), figures)
}

/// The document that is signed: the machine, this program, and what was measured.
pub fn document(machine: &Machine, figures: &BTreeMap<&'static str, Figure>) -> Value {
    json!({
        "version": 1,
        "worker": env!("CARGO_PKG_VERSION"),
        "machine": machine,
        "figures": figures,
    })
}

/// The document with the worker's signature.
pub fn signed(
    document: Value,
    provider: alloy::primitives::Address,
    domain: &Domain,
    key: &SigningKey,
) -> Result<SignedBenchmark, BenchmarkError> {
    SignedBenchmark::sign(document, provider, crate::node::now(), domain, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::Address;

    #[test]
    fn what_is_measured_can_be_signed() {
        let figures = BTreeMap::from([("copy", Figure { value: 12_000_000_000, unit: "byte/s" })]);
        let document = document(&Machine::here(), &figures);
        let domain = Domain::new(1, Address::repeat_byte(1));
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let signed = signed(document, Address::repeat_byte(2), &domain, &key).unwrap();
        signed.verify(&domain).unwrap();
        assert_eq!(signed.document["figures"]["copy"]["value"], 12_000_000_000u64);
    }
}
