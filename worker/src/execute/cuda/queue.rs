//! Making launches in groups, so that the device never waits for the next and still can be stopped soon.
//!
//! A group is as many launches as take about ten milliseconds. Two are in the queue: while the device works on one, the
//! next is put behind it, and events between them tell how long each took.

use super::is_fault;
use super::meter::{Meter, Stop};
use super::module::{Call, Graph};
use super::prepare::Refusal;
use super::stream::{Event, Stream};
use crate::execute::ExecuteError;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;
use std::collections::VecDeque;
use std::time::Instant;

/// How long a group shall take: long enough to keep the device busy, short enough to stop soon.
const GROUP_MS: f32 = 10.0;
/// Groups in the queue of the device.
const DEPTH: usize = 2;
/// Most launches, or graphs, that a group puts into the queue, which is finite.
const MAX_ENTRIES: usize = 512;
/// Most launches of a group, those of its graphs counted each; and how much faster than the last it may be.
const MAX_LAUNCHES: usize = 1 << 15;
const GROWTH: usize = 16;
/// A graph of fewer launches is recorded several times over: to launch a graph costs as much as a few kernels.
const GRAPH_LAUNCHES: usize = 128;

/// Why the launches were not all made.
pub(super) enum Break {
    Stopped(ExecuteError),
    Refused(Refusal),
    /// A kernel still runs, and cannot be stopped.
    Stuck(ExecuteError),
}

impl From<DriverError> for Break {
    fn from(error: DriverError) -> Self {
        Self::Refused(Refusal::Device(error))
    }
}

/// What a stage has still to launch.
pub(super) enum Stage<'k> {
    /// One launch after another.
    Plain { calls: Vec<Call<'k>>, next: usize, left: usize },
    /// Graphs of all its launches.
    Graph { calls: Vec<Call<'k>>, once: Graph, often: Option<(Graph, usize)>, left: usize },
}

impl<'k> Stage<'k> {
    /// # Safety
    /// The calls' addresses are of buffers that live until the device has worked off the queue; their values fit.
    pub(super) unsafe fn new(calls: Vec<Call<'k>>, repeat: u32, graph: bool) -> Result<Self, DriverError> {
        let repeat = repeat as usize;
        if !graph {
            let left = calls.len().saturating_mul(repeat);
            return Ok(Self::Plain { calls, next: 0, left });
        }
        // SAFETY: by the promise above; the kernels' module is borrowed for as long as this value lives.
        let once = unsafe { Graph::record(&calls, 1) }?;
        Ok(Self::Graph { calls, once, often: None, left: repeat })
    }

    const fn is_over(&self) -> bool {
        match self {
            Self::Plain { left, .. } | Self::Graph { left, .. } => *left == 0,
        }
    }

    /// Puts launches into the queue until the budget or the stage is used up.
    fn put(&mut self, stream: &Stream, budget: &mut Budget) -> Result<(), DriverError> {
        while !self.is_over() && !budget.is_empty() {
            match self {
                Self::Plain { calls, next, left } => {
                    // SAFETY: as was promised to `new`.
                    unsafe { calls[*next].launch(stream) }?;
                    *next = (*next + 1) % calls.len();
                    *left -= 1;
                    budget.take(1);
                }
                Self::Graph { calls, once, often, left } => {
                    let times = GRAPH_LAUNCHES.div_ceil(calls.len());
                    let fits = times > 1 && *left >= times && budget.launches >= times * calls.len();
                    if fits && often.is_none() {
                        // SAFETY: as in `new`.
                        *often = Some((unsafe { Graph::record(calls, times) }?, times));
                    }
                    let (graph, times) = match often {
                        Some((graph, times)) if fits => (&*graph, *times),
                        _ => (&*once, 1),
                    };
                    graph.launch(stream)?;
                    *left -= times;
                    budget.take(times * calls.len());
                }
            }
        }
        Ok(())
    }
}

/// What a group may still put into the queue.
struct Budget {
    launches: usize,
    entries: usize,
    taken: usize,
}

impl Budget {
    const fn is_empty(&self) -> bool {
        self.launches == 0 || self.entries == 0
    }

    /// Takes an entry of so many launches; the last may be more than was left.
    const fn take(&mut self, launches: usize) {
        self.launches = self.launches.saturating_sub(launches);
        self.entries -= 1;
        self.taken += launches;
    }
}

/// Launches between two events.
struct Group {
    start: Event,
    end: Event,
    launches: usize,
}

/// The groups that the device has still to work off.
pub(super) struct Queue<'s> {
    stream: &'s Stream,
    groups: VecDeque<Group>,
    spare: Vec<(Event, Event)>,
    /// How many launches the next group may have.
    pace: usize,
    /// When the last group was over.
    settled: Instant,
}

impl<'s> Queue<'s> {
    pub(super) fn new(stream: &'s Stream) -> Self {
        Self { stream, groups: VecDeque::new(), spare: Vec::new(), pace: 1, settled: Instant::now() }
    }

    /// Makes all launches of all stages, in order, and returns when the device is done with them.
    pub(super) fn work_off(
        &mut self,
        stages: &mut [Stage<'_>],
        stop: &mut Stop,
        meter: &mut Meter,
    ) -> Result<(), Break> {
        let mut first = 0;
        while first < stages.len() {
            if stop.check(meter.usage()).and_then(|()| meter.check()).is_err() {
                // What is under way is used, and billed.
                self.finish(stop, meter)?;
                stop.check(meter.usage()).and_then(|()| meter.check()).map_err(Break::Stopped)?;
            }
            meter.begin();
            if let Err(error) = self.put(&mut stages[first..]) {
                self.finish(stop, meter)?;
                return Err(Break::Refused(of_launch(error)));
            }
            first += stages[first..].iter().take_while(|stage| stage.is_over()).count();
            if self.groups.len() >= DEPTH {
                self.settle(stop, meter)?;
            }
        }
        self.finish(stop, meter)
    }

    /// Puts one group into the queue.
    fn put(&mut self, stages: &mut [Stage<'_>]) -> Result<(), DriverError> {
        let (start, end) = match self.spare.pop() {
            Some(events) => events,
            None => (Event::new()?, Event::new()?),
        };
        if self.groups.is_empty() {
            self.settled = Instant::now();
        }
        let mut budget = Budget { launches: self.pace, entries: MAX_ENTRIES, taken: 0 };
        start.record(self.stream)?;
        let put = stages.iter_mut().try_for_each(|stage| stage.put(self.stream, &mut budget));
        // What was put before an error is over, and counted, like any group.
        end.record(self.stream)?;
        self.groups.push_back(Group { start, end, launches: budget.taken });
        put
    }

    /// Waits until all groups are over.
    fn finish(&mut self, stop: &mut Stop, meter: &mut Meter) -> Result<(), Break> {
        while !self.groups.is_empty() {
            self.settle(stop, meter)?;
        }
        Ok(())
    }

    /// Waits for the oldest group and counts its time.
    fn settle(&mut self, stop: &mut Stop, meter: &mut Meter) -> Result<(), Break> {
        let Some(group) = self.groups.pop_front() else { return Ok(()) };
        let mut seen = None;
        let ended = group.end.wait(|| {
            if seen.is_none() && group.start.reached() == Ok(true) {
                seen = Some(Instant::now());
            }
            if let Some(since) = seen {
                meter.tell_running(since);
            }
            stop.is_past_grace()
        });
        let milliseconds = match ended {
            Ok(true) => group.start.until(&group.end),
            Ok(false) => {
                meter.add_unfinished(self.settled);
                let usage = meter.usage();
                let ended = stop.check(usage).err().unwrap_or(ExecuteError::Cancelled { usage });
                return Err(Break::Stuck(ended));
            }
            Err(error) => Err(error),
        };
        let milliseconds = milliseconds.inspect_err(|error| {
            // After a fault the events tell nothing; the device was the job's alone until now.
            if is_fault(error.0) {
                meter.add_unfinished(self.settled);
            }
        })?;
        meter.add_milliseconds(milliseconds);
        self.settled = Instant::now();
        self.pace = next_pace(self.pace, group.launches, milliseconds);
        self.spare.push((group.start, group.end));
        Ok(())
    }
}

/// Whose mistake it is that a launch is not taken. All buffers are there by then: what a launch needs besides is memory
/// for the variables of its threads, which is as much as its source makes it.
fn of_launch(error: DriverError) -> Refusal {
    match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            Refusal::Program("a launch needs more memory for its threads' variables than the device has".into())
        }
        _ => Refusal::Device(error),
    }
}

/// How many launches take as long as a group shall, if they are like those of the last group.
fn next_pace(pace: usize, launches: usize, milliseconds: f32) -> usize {
    let fitting = GROUP_MS / milliseconds.max(f32::MIN_POSITIVE) * launches as f32;
    // A float beyond the integer's range becomes its greatest value.
    (fitting as usize).clamp(pace.div_ceil(2), pace.saturating_mul(GROWTH)).clamp(1, MAX_LAUNCHES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_grow_and_shrink_to_their_time() {
        assert_eq!(next_pace(1, 1, 0.002), 16);
        assert_eq!(next_pace(16, 16, 0.032), 256);
        assert_eq!(next_pace(256, 256, 0.512), 4096);
        assert_eq!(next_pace(4096, 512, 1.0), 5120);
        assert_eq!(next_pace(100, 100, 10.0), 100);
        assert_eq!(next_pace(100, 100, 4000.0), 50);
        assert_eq!(next_pace(1, 1, 4000.0), 1);
        assert_eq!(next_pace(MAX_LAUNCHES, 512, 0.0), MAX_LAUNCHES);
    }
}
