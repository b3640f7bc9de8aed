//! What a child may claim to have used: never less than before, and never more than it can have.
//!
//! Fuel counts instructions, so time does not bound it; the executor does, by the units that the order allows.

use protocol::amount::Quantity;
use protocol::job::{Envelope, Program};
use protocol::resource::{FUEL_PER_CPU_MS, Usage};
use std::time::Duration;

/// Holds the claims of one device's share of a job.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    fuel: bool,
    gpu: bool,
    memory_mib: u64,
    /// Bytes of all inputs; a WebAssembly guest may read them again and again, and burns fuel for each.
    bytes_in: Option<u64>,
    work: u64,
    last: Usage,
    clamped: bool,
}

impl Bounds {
    pub(super) fn new(envelope: &Envelope) -> Self {
        let inputs = envelope.inputs.iter().map(|input| input.length.get()).fold(0, u64::saturating_add);
        let wasm = matches!(envelope.program, Program::Wasm { .. });
        Self {
            fuel: wasm,
            gpu: !wasm,
            memory_mib: envelope.limits.memory.get().div_ceil(1 << 20).max(1),
            bytes_in: (!wasm).then_some(inputs),
            work: match &envelope.program {
                Program::Builtin { call, .. } => call.work(),
                _ => 0,
            },
            last: Usage::default(),
            clamped: false,
        }
    }

    /// The part of a claim that is believed after so much time. `delivered` is what the supervisor itself counted.
    pub(super) fn admit(&mut self, claim: &Usage, wall: Duration, delivered: u64) -> Usage {
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let gpu_most = if self.gpu { wall_ms.saturating_add(wall_ms / 100).saturating_add(1) } else { 0 };
        let fuel = claim.fuel.get().min(if self.fuel { u64::MAX } else { 0 });
        let gpu_ms = claim.gpu_ms.get().min(gpu_most);
        let cpu_ms = claim.cpu_ms.get().min(fuel.div_ceil(FUEL_PER_CPU_MS));
        let held = u128::from(self.memory_mib) * u128::from(gpu_ms.max(cpu_ms));
        let memory = u64::try_from(held.div_ceil(1000)).unwrap_or(u64::MAX);
        let believed = Usage {
            gpu_ms: Quantity(gpu_ms),
            cpu_ms: Quantity(cpu_ms),
            memory_mib_s: Quantity(claim.memory_mib_s.get().min(memory)),
            bytes_in: Quantity(claim.bytes_in.get().min(self.bytes_in.unwrap_or(u64::MAX))),
            bytes_out: Quantity(delivered),
            fuel: Quantity(fuel),
            work: Quantity(claim.work.get().min(self.work)),
            lease_s: Quantity::ZERO,
        };
        let claimed = Usage { bytes_out: Quantity(delivered), ..*claim };
        let admitted = most(&believed, &self.last);
        self.clamped |= admitted != claimed;
        self.last = admitted;
        admitted
    }

    /// Whether any claim was not believed as it was.
    pub(super) const fn has_clamped(&self) -> bool {
        self.clamped
    }
}

/// The larger of each component.
fn most(one: &Usage, other: &Usage) -> Usage {
    combine(one, other, Ord::max)
}

/// The sum of each component.
pub(super) fn sum(one: &Usage, other: &Usage) -> Usage {
    combine(one, other, |a, b| Quantity(a.get().saturating_add(b.get())))
}

fn combine(one: &Usage, other: &Usage, join: impl Fn(Quantity, Quantity) -> Quantity) -> Usage {
    Usage {
        gpu_ms: join(one.gpu_ms, other.gpu_ms),
        cpu_ms: join(one.cpu_ms, other.cpu_ms),
        memory_mib_s: join(one.memory_mib_s, other.memory_mib_s),
        bytes_in: join(one.bytes_in, other.bytes_in),
        bytes_out: join(one.bytes_out, other.bytes_out),
        fuel: join(one.fuel, other.fuel),
        work: join(one.work, other.work),
        lease_s: join(one.lease_s, other.lease_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;
    use protocol::job::{Blob, Language, Limits, Verify};

    fn envelope(program: Program) -> Envelope {
        let input = Blob { hash: B256::ZERO, length: Quantity(10) };
        Envelope {
            version: 1,
            program,
            inputs: vec![input, input],
            outputs: vec![],
            limits: Limits { memory: Quantity(2 << 20), wall_ms: Quantity(1_000) },
            verify: Verify::None,
        }
    }

    fn cuda() -> Bounds {
        Bounds::new(&envelope(Program::Cuda {
            source: Blob { hash: B256::ZERO, length: Quantity(1) },
            language: Language::Cuda,
            toolchain: String::new(),
            devices: 1,
            scratch: vec![],
            stages: vec![],
        }))
    }

    fn wasm() -> Bounds {
        let module = Blob { hash: B256::ZERO, length: Quantity(1) };
        Bounds::new(&envelope(Program::Wasm { module, toolchain: String::new() }))
    }

    #[test]
    fn a_gpu_is_not_busy_for_longer_than_it_was_held() {
        let mut bounds = cuda();
        let honest = Usage { gpu_ms: Quantity(90), memory_mib_s: Quantity(1), ..Usage::default() };
        assert_eq!(bounds.admit(&honest, Duration::from_millis(100), 0), honest);
        assert!(!bounds.has_clamped());
        let liar = Usage { gpu_ms: Quantity(9_000), memory_mib_s: Quantity(9_000), ..Usage::default() };
        let admitted = bounds.admit(&liar, Duration::from_millis(1_000), 0);
        assert_eq!((admitted.gpu_ms, admitted.memory_mib_s), (Quantity(1_012), Quantity(3)));
        assert!(bounds.has_clamped());
    }

    #[test]
    fn usage_never_falls() {
        let mut bounds = wasm();
        let usage = |ms: u64| Usage { fuel: Quantity(ms * FUEL_PER_CPU_MS), cpu_ms: Quantity(ms), ..Usage::default() };
        bounds.admit(&usage(50), Duration::ZERO, 0);
        assert!(!bounds.has_clamped(), "fuel is not bounded by time");
        assert_eq!(bounds.admit(&usage(20), Duration::ZERO, 0), usage(50));
        assert!(bounds.has_clamped());
    }

    #[test]
    fn each_kind_uses_what_it_can() {
        let everything = Usage {
            gpu_ms: Quantity(1),
            cpu_ms: Quantity(1),
            memory_mib_s: Quantity(1),
            bytes_in: Quantity(21),
            bytes_out: Quantity(9),
            fuel: Quantity(1),
            work: Quantity(1),
            lease_s: Quantity(1),
        };
        let cpu = wasm().admit(&everything, Duration::from_secs(1), 4);
        let expected = Usage { gpu_ms: Quantity(0), work: Quantity(0), lease_s: Quantity(0), ..everything };
        assert_eq!(cpu, Usage { bytes_out: Quantity(4), ..expected });
        let gpu = cuda().admit(&everything, Duration::from_secs(1), 4);
        let expected = Usage { gpu_ms: Quantity(1), memory_mib_s: Quantity(1), ..Usage::default() };
        assert_eq!(gpu, Usage { bytes_in: Quantity(20), bytes_out: Quantity(4), ..expected });
    }
}
