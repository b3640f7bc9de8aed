//! This machine: what separates jobs from it, its GPUs, and whether both work together.
//!
//! That a driver is installed proves nothing, nor that it lists a GPU: so real jobs with known answers are run where
//! strangers' jobs run, in a locked process.

use super::samples::{Exercise, SAMPLES, Sample, SampleError};
use super::trial::Trial;
use super::{Check, Class, Options, Report};
use crate::Config;
use crate::config::SandboxConfig;
use crate::execute::inventory::{Device, Inventory};
use crate::execute::{CudaConfig, ExecuteConfig, ExecuteError};
use crate::sandbox;
use alloy::primitives::Address;
use protocol::job::Kind;
use protocol::resource::Usage;
use protocol::wire::Isolation;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest that loading all libraries may take.
const INVENTORY: Duration = Duration::from_secs(60);
/// Name of the test kit's device.
const EMULATED: &str = "emulated";

/// Looks at the machine as a worker with this configuration would use it; with the defaults where there is none.
pub(super) async fn examine(report: &mut Report, config: Option<&Config>, options: &Options) {
    for part in sandbox::report() {
        let id = format!("sandbox.{}", part.name);
        report.add(match part.available {
            true => Check::ok(Class::Sandbox, id, part.detail),
            false => Check::warn(Class::Sandbox, id, "not available to this user on this machine", part.detail),
        });
    }
    let execute = config.map(|config| config.execute.clone()).unwrap_or_default();
    let limits = config.map(|config| config.sandbox.clone()).unwrap_or_default();
    super::users::examine(report, &limits, &execute.oci);
    let sells_gpu = config.is_some_and(|config| config.offers.iter().any(|offer| needs_gpu(&offer.resource)));
    gpu(report, &options.program, &execute.cuda, sells_gpu).await;
    trial(report, options, &execute, &limits, sells_gpu).await;
}

/// Whether selling a resource takes a GPU, by its name in the catalog.
fn needs_gpu(resource: &str) -> bool {
    !["cpu.", "memory", "storage", "egress", "lease.x86"].iter().any(|plain| resource.starts_with(plain))
}

async fn gpu(report: &mut Report, program: &Path, config: &CudaConfig, sells: bool) {
    if !config.enabled {
        report.add(Check::skipped(Class::Gpu, "gpu.driver", "turned off (execute.cuda.enabled)"));
        return;
    }
    match inventory(program, config).await {
        Ok(inventory) => judge(report, &inventory, config, sells),
        Err(reason) => {
            let advice = "the driver may hang: look at `dmesg`, and restart the machine if it does";
            report.add(Check::fail(Class::Gpu, "gpu.driver", reason, advice));
        }
    }
}

/// The libraries and devices, found out by a process that may hang.
async fn inventory(program: &Path, config: &CudaConfig) -> Result<Inventory, String> {
    let text = serde_json::to_vec(config).map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .arg("inventory")
        .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("a process that looks for libraries cannot be started: {error}"))?;
    let mut input = child.stdin.take().ok_or("a process that looks for libraries has no input")?;
    let asking = async move {
        input.write_all(&text).await?;
        drop(input);
        child.wait_with_output().await
    };
    let output = timeout(INVENTORY, asking).await;
    let output = output.map_err(|_| format!("loading the libraries took more than {} s", INVENTORY.as_secs()))?;
    let output = output.map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("the process that loads the libraries ended with {}", output.status))
}

fn judge(report: &mut Report, inventory: &Inventory, config: &CudaConfig, sells: bool) {
    let driver = inventory.library("libcuda");
    if driver.is_none_or(|library| library.version.is_err()) {
        let reason = driver.and_then(|library| library.version.clone().err()).unwrap_or_default();
        let found = format!("libcuda.so.1: {reason}");
        report.add(match sells {
            true => Check::fail(Class::Gpu, "gpu.driver", found, "install NVIDIA's driver, 570 or newer"),
            false => Check::skipped(Class::Gpu, "gpu.driver", format!("{found}; this machine sells no GPU")),
        });
        return;
    }
    for (library, id, advice) in [
        ("libcuda", "gpu.driver", "install NVIDIA's driver, 570 or newer"),
        ("libnvrtc", "gpu.compiler", "install NVRTC of CUDA 12.8 or newer, and name its folder in cuda.libraries"),
        ("libnvrtc-builtins", "gpu.builtins", "it must lie beside NVRTC and be of the same version"),
        ("libcublasLt", "gpu.cublaslt", "install cuBLAS and name its folder in cuda.libraries; only `gemm` needs it"),
        ("libnvidia-ml", "gpu.nvml", "it comes with the driver; without it errors of the GPU are not noticed early"),
    ] {
        let Some(library) = inventory.library(library) else { continue };
        let place = library.path.as_ref().map_or_else(|| library.name.clone(), |path| path.display().to_string());
        let needed = matches!(id, "gpu.driver" | "gpu.compiler" | "gpu.builtins") && sells;
        report.add(match &library.version {
            Ok(version) => Check::ok(Class::Gpu, id, format!("{place}: {version}")),
            Err(reason) if needed => Check::fail(Class::Gpu, id, format!("{place}: {reason}"), advice),
            Err(reason) => Check::warn(Class::Gpu, id, format!("{place}: {reason}"), advice),
        });
    }
    if inventory.devices.is_empty() {
        let advice = "see whether `nvidia-smi` lists one; in a container, hand its devices in";
        let found = "the driver offers no device";
        report.add(match sells {
            true => Check::fail(Class::Gpu, "gpu.device", found, advice),
            false => Check::warn(Class::Gpu, "gpu.device", found, advice),
        });
    }
    for (number, device) in inventory.devices.iter().enumerate() {
        report.add(one_device(number, device, inventory.ptx.as_deref(), config));
    }
}

fn one_device(number: usize, device: &Device, ptx: Option<&str>, config: &CudaConfig) -> Check {
    let id = format!("gpu.device.{number}");
    let Device { name, capability, memory } = device;
    let ptx = ptx.unwrap_or("unknown");
    let found = format!("{name}, compute capability {capability}, {} MiB, takes PTX up to {ptx}", memory >> 20);
    if name == EMULATED && !config.allow_emulated {
        let advice = "remove the test kit's driver from cuda.libraries: no network accepts its results";
        return Check::fail(Class::Gpu, id, found, advice);
    }
    Check::ok(Class::Gpu, id, found)
}

/// Starts a fleet as the worker would, and runs jobs with known answers on it.
async fn trial(
    report: &mut Report,
    options: &Options,
    execute: &ExecuteConfig,
    limits: &SandboxConfig,
    sells_gpu: bool,
) {
    let trial = match Trial::start(&options.program, execute, limits).await {
        Ok(trial) => trial,
        Err(error) => {
            report.add(Check::fail(Class::Sandbox, "sandbox.level", error, "see the checks of the sandbox above"));
            return;
        }
    };
    let inventory = trial.fleet.inventory();
    report.add(level(inventory.isolation, &inventory.missing, limits));
    if sells_gpu && !inventory.kinds.contains(&Kind::Cuda) {
        let found = "no process for GPU jobs is ready, though a GPU's work is on offer";
        let advice = "see the checks of the GPU above; the worker's log names the reason";
        report.add(Check::fail(Class::Gpu, "kernel.cuda", found, advice));
    }
    for kind in inventory.kinds {
        let samples = SAMPLES.iter().filter_map(|sample| Some((sample, sample.exercise(kind).transpose()?)));
        for (sample, exercise) in samples.take(if options.full { SAMPLES.len() } else { 1 }) {
            report.add(kernel(&trial, sample, kind, exercise).await);
        }
    }
    trial.close().await;
}

/// What holds around a job, against what strangers' jobs need.
fn level(isolation: Isolation, missing: &[String], limits: &SandboxConfig) -> Check {
    let Isolation { rlimits, landlock, seccomp, user, network, cgroup } = isolation;
    let parts = [
        (rlimits, "limits"),
        (landlock, "Landlock"),
        (seccomp, "seccomp"),
        (user, "own user"),
        (network, "own network"),
        (cgroup > 0, "control group"),
    ];
    let list = |wanted: bool| {
        let names: Vec<_> = parts.iter().filter(|(holds, _)| *holds == wanted).map(|(_, name)| *name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    let found = format!("{:?}: in force {}; missing {}", isolation.level(), list(true), list(false));
    // Nobody is the zero address, so this is what a stranger is told.
    match limits.admit(Address::ZERO, isolation) {
        Ok(()) => Check::ok(Class::Sandbox, "sandbox.level", found),
        Err(_) => {
            let advice = format!("strangers' jobs are refused below {:?} (sandbox.require): ", limits.require);
            let advice = advice + &missing.join("; ");
            Check::fail(Class::Sandbox, "sandbox.level", found, advice)
        }
    }
}

/// Runs one sample in a locked process and compares the answer.
async fn kernel(trial: &Trial, sample: &Sample, kind: Kind, exercise: Result<Exercise, SampleError>) -> Check {
    let class = match kind {
        Kind::Cuda | Kind::Builtin => Class::Gpu,
        Kind::Wasm | Kind::Oci => Class::Sandbox,
    };
    let id = format!("kernel.{kind}.{}", sample.name);
    let exercise = match exercise {
        Ok(exercise) => exercise,
        Err(error) => {
            return Check::fail(class, id, error, "this program was built from a broken tree: build it again");
        }
    };
    let started = Instant::now();
    let progress = watch::channel(Usage::default()).0;
    let running = trial.fleet.execute(Address::ZERO, exercise.job.clone(), progress, CancellationToken::new());
    let advice = "jobs of this kind would fail like this: do not sell them until it passes";
    match running.await {
        Ok(delivered) if exercise.is_solved_by(&delivered.outputs) => {
            let (elapsed, unit) = (started.elapsed().as_millis(), exercise.job.unit);
            let quantity = delivered.usage.quantity(unit);
            Check::ok(class, id, format!("the right answer after {elapsed} ms, {quantity} {unit}"))
        }
        Ok(_) => {
            let found = "the answer is wrong: the device or its driver computes falsely";
            Check::fail(class, id, found, advice)
        }
        Err(error @ ExecuteError::Unsupported(_)) => Check::warn(class, id, error, advice),
        Err(error) => Check::fail(class, id, error, advice),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::execute::inventory::Library;
    use protocol::wire::IsolationLevel;

    fn library(name: &str, version: Result<&str, &str>) -> Library {
        let version = version.map(str::to_owned).map_err(str::to_owned);
        Library { name: name.into(), path: Some(format!("/lib/{name}.so").into()), version }
    }

    fn judged(inventory: &Inventory, sells: bool) -> Vec<(String, State)> {
        let mut report = Report::default();
        judge(&mut report, inventory, &CudaConfig::default(), sells);
        report.checks.into_iter().map(|check| (check.id, check.state)).collect()
    }

    #[test]
    fn a_machine_that_sells_no_gpu_needs_none() {
        let nothing = Inventory { libraries: vec![library("libcuda", Err("not found"))], ..Inventory::default() };
        assert_eq!(judged(&nothing, false), [("gpu.driver".into(), State::Skipped)]);
        assert_eq!(judged(&nothing, true), [("gpu.driver".into(), State::Fail)]);
        assert!(needs_gpu("gpu.h200") && needs_gpu("gemm.bf16") && !needs_gpu("cpu.x86-64"));
    }

    #[test]
    fn libraries_are_named_with_their_place() {
        let inventory = Inventory {
            libraries: vec![
                library("libcuda", Ok("for CUDA 13.0")),
                library("libnvrtc", Err("not found")),
                library("libcublasLt", Err("not found")),
            ],
            ptx: Some("9.0".into()),
            devices: vec![Device { name: "NVIDIA H200".into(), capability: "9.0".into(), memory: 1 << 37 }],
        };
        let states: Vec<State> = judged(&inventory, true).into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, [State::Ok, State::Fail, State::Warn, State::Ok]);
        let mut report = Report::default();
        judge(&mut report, &inventory, &CudaConfig::default(), true);
        assert_eq!(report.checks[0].found, "/lib/libcuda.so: for CUDA 13.0");
        assert!(report.checks[3].found.contains("131072 MiB, takes PTX up to 9.0"), "{report}");
    }

    #[test]
    fn an_emulated_device_is_a_failure() {
        let device = Device { name: EMULATED.into(), capability: "9.0".into(), memory: 1 };
        assert_eq!(one_device(0, &device, None, &CudaConfig::default()).state, State::Fail);
        let allowed = CudaConfig { allow_emulated: true, ..CudaConfig::default() };
        assert_eq!(one_device(0, &device, None, &allowed).state, State::Ok);
    }

    #[test]
    fn the_level_is_held_against_what_is_required() {
        let confined = Isolation { rlimits: true, landlock: true, seccomp: true, ..Isolation::default() };
        let check = level(confined, &[], &SandboxConfig::default());
        assert_eq!(check.state, State::Ok);
        assert_eq!(
            check.found,
            "Confined: in force limits, Landlock, seccomp; missing own user, own network, control group"
        );
        let strict = SandboxConfig { require: IsolationLevel::Isolated, ..SandboxConfig::default() };
        let refused = level(confined, &["start the worker as root".into()], &strict);
        assert_eq!(refused.state, State::Fail);
        assert!(refused.advice.unwrap().ends_with("start the worker as root"));
    }
}
