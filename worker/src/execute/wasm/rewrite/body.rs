//! A function's body: where its floats come from and go to, where its loops are, and the body as it is compiled.

mod operator;
mod flow;
mod loops;
mod emit;

use super::Unknown;
use super::module::{Body, Layout, Value, value};
use super::reader::Reader;
use emit::Plan;
use flow::Flow;
use std::collections::{BTreeMap, HashSet};

/// How often the locals' kinds are found out before all are taken for [`Kind::Moved`](flow): a hostile body would have it
/// done once for each local.
const PASSES: usize = 6;
/// The most locals that a function may have, by the limits that wasmtime follows.
const MOST_LOCALS: u64 = 50_000;

/// How many operators copies of loops may add to a module, so that one of many functions takes not much longer to compile.
const MOST_COPIED: usize = 1 << 18;
/// How much longer a module may become: as many times as it was, and as many bytes, which is more than the copies take.
const MOST_GROWTH: (usize, usize) = (6, 4 << 20);

/// What the bodies of a module may still add to it, together.
pub(super) struct Budget {
    /// Operators that are copied.
    operators: usize,
    /// Bytes of all bodies as they are compiled.
    bytes: usize,
}

impl Budget {
    /// For a module of so many bytes.
    pub(super) const fn new(length: usize) -> Self {
        let (times, more) = MOST_GROWTH;
        Self { operators: MOST_COPIED, bytes: length.saturating_mul(times).saturating_add(more) }
    }
}

/// A body as it is compiled.
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    /// Whether that differs from how it came in more than its fuel's place.
    pub(super) is_worthwhile: bool,
}

/// The locals of a function, its parameters first, as runs of one type: a few bytes can declare thousands.
pub(super) struct Locals {
    /// Each with the number of the first local after it.
    runs: Vec<(u32, Value)>,
    parameters: u32,
}

impl Locals {
    fn read(parameters: &[Value], reader: &mut Reader<'_>) -> Result<Self, Unknown> {
        let mut end = u32::try_from(parameters.len()).map_err(|_| Unknown)?;
        let mut runs: Vec<_> = (1..).zip(parameters).map(|(end, value)| (end, *value)).collect();
        let parameters = end;
        for _ in 0..reader.index()? {
            end = end.checked_add(reader.index()?).ok_or(Unknown)?;
            runs.push((end, value(reader.byte()?)?));
        }
        // Two more are added, and must not be too many.
        if u64::from(end) + 2 > MOST_LOCALS { Err(Unknown) } else { Ok(Self { runs, parameters }) }
    }

    fn count(&self) -> u32 {
        self.runs.last().map_or(0, |(end, _)| *end)
    }

    fn value(&self, number: u32) -> Result<Value, Unknown> {
        let index = self.runs.partition_point(|(end, _)| *end <= number);
        self.runs.get(index).map(|(_, value)| *value).ok_or(Unknown)
    }

    const fn is_parameter(&self, number: u32) -> bool {
        number < self.parameters
    }
}

pub(super) fn rewrite(layout: &Layout<'_>, body: &Body<'_>, budget: &mut Budget) -> Result<Rewritten, Unknown> {
    let signature = layout.signature(body.signature)?;
    let mut reader = Reader::new(body.bytes);
    let locals = Locals::read(&signature.parameters, &mut reader)?;
    let start = reader.at();
    let mut moved = HashSet::new();
    for pass in 0.. {
        let all = pass == PASSES;
        let flow = Flow::follow(layout, signature, &locals, &moved, all, reader)?;
        // Only what is still taken to be computed can turn out to be moved.
        if flow.moved.is_empty() || all {
            let loops = loops::find(reader, &locals, &mut budget.operators)?;
            let is_worthwhile = flow.has_arithmetic || !loops.is_empty();
            let (first, most_memory) = (locals.count(), layout.most_memory());
            let bytes = Plan { first, most_memory, checks: &flow.checks, loops: &loops }.emit(body.bytes, start)?;
            budget.bytes = budget.bytes.checked_sub(bytes.len()).ok_or(Unknown)?;
            return Ok(Rewritten { bytes, is_worthwhile });
        }
        moved.extend(flow.moved);
    }
    Err(Unknown)
}

/// Where checks go: behind the operator at that place, whose result is of that type.
type Checks = BTreeMap<usize, Value>;
