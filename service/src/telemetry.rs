//! Logs to standard error and metrics for Prometheus.

use std::io::IsTerminal;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Upper bounds in seconds for every `*_seconds` histogram: from a signature check to a settlement.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

static RECORDER: OnceLock<Metrics> = OnceLock::new();

/// The metrics of this process, to be rendered for a scraper.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        // Without upkeep histograms keep every sample ever taken.
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Starts logging (standard error, level by `RUST_LOG`, default `info`; one JSON object a line if `json`) and
/// metrics for `service`.
///
/// A process has one log and one recorder: later calls, as several services in one test make them, return the
/// first recorder and only add their name to `build_info`.
pub fn init(service: &'static str, json: bool) -> Metrics {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The error says only that a log is there already, which is what a second call wants.
    let _ = if json { log.json().try_init() } else { log.try_init() };
    let metrics = RECORDER.get_or_init(install).clone();
    metrics::gauge!("build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics
}

fn install() -> Metrics {
    let suffix = metrics_exporter_prometheus::Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix, &SECONDS)
        .expect("the list of bounds is a constant and not empty");
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is installed in this process: /metrics will be empty");
    }
    Metrics(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_service_in_the_process_shares_the_recorder() {
        let first = init("first", false);
        let second = init("second", true);
        metrics::counter!("telemetry_test_total").increment(3);
        metrics::histogram!("telemetry_test_seconds").record(0.02);
        for rendered in [first.render(), second.render()] {
            assert!(rendered.contains("telemetry_test_total 3"), "{rendered}");
            assert!(rendered.contains("telemetry_test_seconds_bucket{le=\"0.05\"} 1"), "{rendered}");
            assert!(rendered.contains("telemetry_test_seconds_bucket{le=\"0.01\"} 0"), "{rendered}");
            assert!(rendered.contains("service=\"first\""), "{rendered}");
            assert!(rendered.contains("service=\"second\""), "{rendered}");
        }
    }
}
