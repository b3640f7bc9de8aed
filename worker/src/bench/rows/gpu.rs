//! Bars that need a GPU, measured by a process of its own: the driver may hang, and this process never loads it.

use super::super::MeasureError;
use super::{Measured, Missing, Outcome, Selection, Sheet};
use crate::execute::CudaConfig;
use crate::execute::anchor::{Anchors, Pair, Sizes};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Rows, and the figures that they show.
const ROWS: [(&str, &str); 7] = [
    ("gemm_bf16_8192", GEMM),
    (RATE, GEMM),
    ("pinned_copy_h2d", "copy_to_device"),
    ("pinned_copy_d2h", "copy_from_device"),
    ("tiny_launches_loop", "launch_loop"),
    ("tiny_launches_graph", "launch_graph"),
    ("compile_cached", "compile_cached"),
];
const GEMM: &str = "gemm_bf16";
const RATE: &str = "gemm_bf16_8192_rate";
/// The device that the absolute bar is about.
const FASTEST: &str = "H200";
/// Far more than the measurements take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Enters every wanted row.
pub(super) async fn measure(sheet: &mut Sheet, selection: &Selection, program: &Path, config: &CudaConfig) {
    if !ROWS.iter().any(|(key, _)| selection.wants(key)) {
        return;
    }
    let anchors = anchors(program, config).await;
    if let Ok(anchors) = &anchors {
        sheet.machine.gpu = Some(anchors.device.clone());
    }
    for (key, figure) in ROWS {
        let outcome = match &anchors {
            Ok(anchors) => outcome(anchors, key, figure),
            Err(missing) => Err(missing.clone()),
        };
        sheet.enter(key, outcome);
    }
}

fn outcome(anchors: &Anchors, key: &'static str, figure: &str) -> Outcome {
    let none = || Err("it was not measured".to_owned());
    let pair = anchors.figures.get(figure).cloned().unwrap_or_else(none);
    let Pair { measured, reference } = pair.map_err(|reason| MeasureError::new(key, reason))?;
    if key != RATE {
        return Ok(Measured { measured, reference: Some(reference) });
    }
    if !anchors.device.contains(FASTEST) {
        return Err(Missing::Skipped(format!("this bar is about an {FASTEST}, and this is an {}", anchors.device)));
    }
    // Operations in a nanosecond are thousands of millions in a second.
    let operations = 2 * u64::from(Sizes::FULL.side).pow(3);
    Ok(Measured { measured: operations / measured.max(1), reference: None })
}

/// All figures of the first GPU, by a process that loads the driver.
pub(crate) async fn anchors(program: &Path, config: &CudaConfig) -> Result<Anchors, Missing> {
    let failed = |reason: &dyn std::fmt::Display| Missing::from(MeasureError::new("a GPU", reason));
    // An emulated device is no GPU.
    let config = CudaConfig { allow_emulated: false, ..config.clone() };
    let text = serde_json::to_vec(&config).map_err(|error| failed(&error))?;
    let mut child = Command::new(program)
        .arg("anchors")
        .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut input = child.stdin.take().ok_or_else(|| failed(&"its process has no input"))?;
    let asking = async move {
        input.write_all(&text).await?;
        drop(input);
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(PATIENCE, asking).await;
    let output = output.map_err(|_| failed(&"the driver hangs"))?.map_err(|error| failed(&error))?;
    let told: Result<Anchors, String> = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed(&format!("the process that measures it ended with {}", output.status)))?;
    told.map_err(Missing::Skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchors(device: &str) -> Anchors {
        let pair = |measured, reference| Ok(Pair { measured, reference });
        let figures = [
            (GEMM.to_owned(), pair(1_430_000, 1_420_000)),
            ("launch_loop".to_owned(), pair(25, 20)),
            ("copy_to_device".to_owned(), Err("out of memory".to_owned())),
        ];
        Anchors { device: device.into(), figures: figures.into() }
    }

    #[test]
    fn figures_become_rows() {
        let h200 = anchors("NVIDIA H200");
        let rate = outcome(&h200, RATE, GEMM).unwrap();
        assert_eq!((rate.measured, rate.reference), (768_889, None));
        let launches = outcome(&h200, "tiny_launches_loop", "launch_loop").unwrap();
        assert_eq!((launches.measured, launches.reference), (25, Some(20)));
        let other = outcome(&anchors("NVIDIA L4"), RATE, GEMM);
        assert!(matches!(other, Err(Missing::Skipped(why)) if why.contains("NVIDIA L4")));
        let failed = outcome(&h200, "pinned_copy_h2d", "copy_to_device");
        assert!(matches!(failed, Err(Missing::Failed(error)) if error.to_string().contains("out of memory")));
        assert!(matches!(outcome(&h200, "pinned_copy_d2h", "copy_from_device"), Err(Missing::Failed(_))));
    }

    #[test]
    fn every_row_is_one_of_the_table() {
        assert!(ROWS.iter().all(|(key, _)| super::super::find(key).is_some()));
    }
}
