//! Watching the GPUs from outside their jobs, by NVML: what is in use, and errors that jobs cannot see.
//!
//! NVML calls into the driver, and a driver that is ill may never return. So [`nvml`] runs in a process of its own,
//! the hidden verb `monitor`, that prints one [`Line`] of JSON after the other; [`watch`] reads them, and starts that
//! process anew when it falls silent. Nothing in the worker waits for it. What it reports is judged here: an error of
//! the hardware or the driver quarantines its device, an error that a job's kernel can cause by itself does not.

mod nvml;
mod watch;

pub use nvml::report;
pub(crate) use watch::watch;

use serde::{Deserialize, Serialize};

/// Xid errors that a program can cause by itself, and after which the device works on: graphics engine exception (a
/// fault of a kernel), MMU fault (an address that is not mapped), channel stopped or cleaned up after such a fault,
/// video processor, and a context switch that timed out. NVIDIA's device plugin for Kubernetes ignores the same.
const CAUSED_BY_PROGRAMS: [u64; 6] = [13, 31, 43, 45, 68, 109];

/// One line of the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum Line {
    /// How all devices are, every few seconds.
    Sample {
        /// In NVML's order, which is the one of the PCI bus.
        devices: Vec<DeviceSample>,
    },
    /// The driver reported an error of a device.
    Xid {
        /// Which device.
        device: u32,
        /// The number of the error; `None` where the driver does not tell it.
        code: Option<u64>,
    },
    /// There is nothing to watch here: no NVML, or no device.
    Nothing {
        /// Why, in a sentence.
        reason: String,
    },
}

/// How one device is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceSample {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Share of the last moments in which a kernel ran, in percent.
    pub utilization: Option<u32>,
    /// Memory in use, in bytes.
    pub memory_used: Option<u64>,
    /// All of its memory, in bytes.
    pub memory_total: Option<u64>,
    /// Processes that hold a context.
    pub processes: Vec<u32>,
    /// Set when the device can no longer be reached, or must be reset: why.
    pub lost: Option<String>,
}

/// A device that must not be given jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// Which.
    pub(crate) device: u32,
    /// Why, for the operator.
    pub(crate) reason: String,
}

/// What a line means for the devices.
pub(crate) fn alarms(line: &Line) -> Vec<Alarm> {
    match line {
        Line::Sample { devices } => {
            let lost = devices.iter().filter_map(|device| {
                let reason = device.lost.as_ref()?;
                Some(Alarm { device: device.number, reason: format!("{} is lost: {reason}", device.name) })
            });
            lost.collect()
        }
        Line::Xid { device, code } if !code.is_some_and(|code| CAUSED_BY_PROGRAMS.contains(&code)) => {
            let code = code.map_or_else(|| "of an unknown number".to_owned(), |code| code.to_string());
            let reason = format!("the driver reported Xid {code}: see dmesg, and NVIDIA's list of Xid errors");
            vec![Alarm { device: *device, reason }]
        }
        Line::Xid { .. } | Line::Nothing { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_a_kernel_does_not_take_the_device_away() {
        for code in CAUSED_BY_PROGRAMS {
            assert_eq!(alarms(&Line::Xid { device: 0, code: Some(code) }), []);
        }
        for code in [Some(48), Some(79), None] {
            let alarms = alarms(&Line::Xid { device: 3, code });
            assert_eq!(alarms.iter().map(|alarm| alarm.device).collect::<Vec<_>>(), [3], "{code:?}");
        }
    }

    #[test]
    fn a_lost_device_is_an_alarm_and_a_busy_one_is_not() {
        let busy = DeviceSample { number: 0, utilization: Some(100), ..DeviceSample::default() };
        let lost = DeviceSample { number: 1, name: "H200".into(), lost: Some("GpuLost".into()), ..busy.clone() };
        let alarms = alarms(&Line::Sample { devices: vec![busy, lost] });
        assert_eq!(alarms, [Alarm { device: 1, reason: "H200 is lost: GpuLost".into() }]);
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let sample = Line::Sample { devices: vec![DeviceSample { processes: vec![7], ..DeviceSample::default() }] };
        for line in [sample, Line::Xid { device: 1, code: Some(79) }, Line::Nothing { reason: "no GPU".into() }] {
            let text = serde_json::to_string(&line).unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        }
        assert!(serde_json::from_str::<Line>(r#"{"type":"xid","device":1,"code":79,"more":0}"#).is_err());
    }
}
