//! Which machine a figure was measured on.

use serde::Serialize;
use std::fs;

/// A machine, by what a reader of its figures must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model of the CPU.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: u64,
    /// Model of the GPUs; `null` where there is none, or only an emulated one.
    pub gpu: Option<String>,
    /// Version of the kernel.
    pub kernel: String,
}

impl Machine {
    /// This machine, without its GPUs: to find them, the driver would have to be loaded.
    pub fn here() -> Self {
        Self {
            cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            gpu: None,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        }
    }
}

/// The CPU's model as the kernel tells it; kernels for other architectures write it differently, or not at all.
fn cpu(text: &str) -> String {
    let value = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    value("model name").or_else(|| value("Model")).unwrap_or_else(|| format!("unnamed {}", std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_named() {
        assert_eq!(cpu("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9654\n"), "AMD EPYC 9654");
        assert!(cpu("processor\t: 0\n").starts_with("unnamed "));
        assert!(Machine::here().cores > 0);
    }
}
