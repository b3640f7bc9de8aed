//! The monitor's own process: asks NVML, prints lines.

use super::{DeviceSample, Line};
use crate::execute::inventory::NVML;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;
use nvml_wrapper::{Device, Nvml};
use std::ffi::OsStr;
use std::io::Write;
use std::time::{Duration, Instant};

/// Time between two samples.
const SAMPLE: Duration = Duration::from_secs(5);
/// Longest wait for an event, so that samples come in time.
const WAIT_MS: u32 = 1_000;

/// Watches every device and writes lines to `out` until nobody reads them, or until the driver fails.
pub fn report(out: &mut impl Write) -> anyhow::Result<()> {
    let nvml = match Nvml::builder().lib_path(OsStr::new(NVML)).init() {
        Ok(nvml) => nvml,
        Err(error) => return say(out, &Line::Nothing { reason: format!("NVML cannot be used: {error}") }),
    };
    let devices = devices(&nvml)?;
    if devices.is_empty() {
        return say(out, &Line::Nothing { reason: "NVML knows of no device".into() });
    }
    let mut events = subscribe(&nvml, &devices)?;
    let mut due = Instant::now();
    loop {
        if Instant::now() >= due {
            say(
                out,
                &Line::Sample { devices: devices.iter().map(|(number, device)| sample(*number, device)).collect() },
            )?;
            due = Instant::now() + SAMPLE;
        }
        match events.as_mut().map(|events| events.wait(WAIT_MS)) {
            Some(Ok(event)) => {
                let code = match event.event_data {
                    Some(XidError::Value(code)) => Some(code),
                    Some(XidError::Unknown) | None => None,
                };
                say(out, &Line::Xid { device: event.device.index()?, code })?;
            }
            // A lost device shows in the next sample.
            Some(Err(NvmlError::Timeout)) => {}
            Some(Err(_)) | None => std::thread::sleep(Duration::from_millis(WAIT_MS.into())),
        }
    }
}

fn devices(nvml: &Nvml) -> Result<Vec<(u32, Device<'_>)>, NvmlError> {
    (0..nvml.device_count()?).map(|number| Ok((number, nvml.device_by_index(number)?))).collect()
}

/// Asks to be told of critical errors; `None` where the devices cannot tell, as virtual ones.
fn subscribe<'nvml>(nvml: &'nvml Nvml, devices: &[(u32, Device<'nvml>)]) -> Result<Option<EventSet<'nvml>>, NvmlError> {
    let mut events = nvml.create_event_set()?;
    for (_, device) in devices {
        match device.register_events(EventTypes::CRITICAL_XID_ERROR, events) {
            Ok(set) => events = set,
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(events))
}

fn sample(number: u32, device: &Device<'_>) -> DeviceSample {
    let memory = device.memory_info();
    let lost = match &memory {
        Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired)) => Some(error.to_string()),
        _ => None,
    };
    let memory = memory.ok();
    DeviceSample {
        number,
        name: device.name().unwrap_or_else(|_| format!("device {number}")),
        utilization: device.utilization_rates().ok().map(|rates| rates.gpu),
        memory_used: memory.as_ref().map(|memory| memory.used),
        memory_total: memory.as_ref().map(|memory| memory.total),
        processes: device
            .running_compute_processes()
            .map(|processes| processes.into_iter().map(|process| process.pid).collect())
            .unwrap_or_default(),
        lost,
    }
}

fn say(out: &mut impl Write, line: &Line) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
