//! What surrounds the jobs: devices, isolation, the market's view, and money that waits.

use crate::fleet::{Device, DeviceState};
use crate::ledger::Unsettled;
use crate::monitor::DeviceSample;
use crate::visibility::Sight;
use protocol::wire::Isolation;

pub(crate) fn unsettled(waiting: &Unsettled) {
    metrics::gauge!("capa_worker_receipts_unsettled").set(waiting.jobs as f64);
    metrics::gauge!("capa_worker_receipts_unsettled_nano").set(waiting.amount.get() as f64);
    metrics::gauge!("capa_worker_receipts_unsettled_age_seconds").set(waiting.age_s as f64);
}

pub(crate) fn market_seen(sight: &Sight) {
    let visible = match sight {
        Sight::Seen => 1.0,
        Sight::Nothing => return,
        Sight::Missing(resources) => {
            tracing::warn!(?resources, "buyers do not see what is on offer here; it is offered again");
            0.0
        }
    };
    metrics::gauge!("capa_worker_market_visible").set(visible);
}

pub(crate) fn isolation(isolation: &Isolation) {
    // As a number, so that an alert can compare it: 0 process, 1 confined, 2 isolated.
    metrics::gauge!("capa_worker_isolation_level").set(f64::from(isolation.level() as u8));
    for (part, in_force) in [
        ("rlimits", isolation.rlimits),
        ("landlock", isolation.landlock),
        ("seccomp", isolation.seccomp),
        ("user", isolation.user),
        ("network", isolation.network),
        ("cgroup", isolation.cgroup > 0),
    ] {
        metrics::gauge!("capa_worker_isolation", "part" => part).set(f64::from(u8::from(in_force)));
    }
}

pub(crate) fn device(device: &Device, state: &DeviceState) {
    let name = device.to_string();
    for (label, is_it) in [
        ("free", matches!(state, DeviceState::Free)),
        ("busy", matches!(state, DeviceState::Busy)),
        ("quarantined", matches!(state, DeviceState::Quarantined(_))),
    ] {
        metrics::gauge!("capa_worker_device_state", "device" => name.clone(), "state" => label)
            .set(f64::from(u8::from(is_it)));
    }
}

pub(crate) fn devices_sampled(devices: &[DeviceSample]) {
    for device in devices {
        let number = device.number.to_string();
        if let Some(percent) = device.utilization {
            metrics::gauge!("capa_worker_gpu_utilization_ratio", "device" => number.clone())
                .set(f64::from(percent) / 100.0);
        }
        if let Some(bytes) = device.memory_used {
            metrics::gauge!("capa_worker_gpu_memory_used_bytes", "device" => number.clone()).set(bytes as f64);
        }
        if let Some(bytes) = device.memory_total {
            metrics::gauge!("capa_worker_gpu_memory_bytes", "device" => number.clone()).set(bytes as f64);
        }
        metrics::gauge!("capa_worker_gpu_processes", "device" => number.clone()).set(device.processes.len() as f64);
        metrics::gauge!("capa_worker_gpu_lost", "device" => number).set(f64::from(u8::from(device.lost.is_some())));
    }
}

pub(crate) fn xid(device: u32, code: Option<u64>) {
    let text = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    metrics::counter!("capa_worker_gpu_xid_errors_total", "device" => device.to_string(), "xid" => text.clone())
        .increment(1);
    tracing::warn!(device, xid = text, "the driver reported an error of a GPU");
}

pub(crate) fn device_alarm(device: u32, reason: &str) {
    tracing::error!(device, reason, "a GPU must not be given jobs");
}

pub(crate) fn monitor_failed(reason: &str, retry_s: u64) {
    metrics::counter!("capa_worker_monitor_failures_total").increment(1);
    tracing::warn!(reason, retry_s, "the GPU monitor failed and is started again");
}
