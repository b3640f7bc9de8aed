//! Timing by medians, with the two sides of a comparison taking turns.

use std::time::{Duration, Instant};

/// The middle value.
pub(super) fn median(values: &mut [u64]) -> u64 {
    percentile(values, 500)
}

/// The value that so many thousandths of all do not exceed.
pub(super) fn percentile(values: &mut [u64], thousandths: usize) -> u64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get(last * thousandths / 1000).copied().unwrap_or(0)
}

/// How long something takes, in nanoseconds.
pub(super) fn nanoseconds<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let started = Instant::now();
    let done = work();
    (nanos(started.elapsed()), done)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The medians of two measurements that take turns, and take turns in who begins: whatever else the machine does
/// meanwhile meets both alike.
pub(super) fn by_turns<E>(
    rounds: usize,
    mut measured: impl FnMut() -> Result<u64, E>,
    mut reference: impl FnMut() -> Result<u64, E>,
) -> Result<(u64, u64), E> {
    let (mut ours, mut theirs) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 0..rounds {
        if round % 2 == 0 {
            ours.push(measured()?);
            theirs.push(reference()?);
        } else {
            theirs.push(reference()?);
            ours.push(measured()?);
        }
    }
    Ok((median(&mut ours), median(&mut theirs)))
}

/// How many units of work are done in a second: the median of several tries, each at least so long.
pub(super) fn per_second(tries: usize, least: Duration, mut work: impl FnMut() -> u64) -> u64 {
    let mut rates: Vec<u64> = (0..tries)
        .map(|_| {
            let started = Instant::now();
            let mut done: u64 = 0;
            while started.elapsed() < least {
                done += work();
            }
            rate(done, started.elapsed())
        })
        .collect();
    median(&mut rates)
}

/// Units a second, rounded down.
pub(super) fn rate(units: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(units) * 1_000_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_values_that_were_measured() {
        assert_eq!(median(&mut [9, 1, 5]), 5);
        assert_eq!(median(&mut []), 0);
        let mut values: Vec<u64> = (1..=1000).rev().collect();
        assert_eq!(percentile(&mut values, 990), 990);
        assert_eq!(percentile(&mut values, 1000), 1000);
    }

    #[test]
    fn both_sides_are_measured_equally_often() {
        let (mut ours, mut theirs) = (0, 0);
        let medians = by_turns::<()>(
            5,
            || {
                ours += 1;
                Ok(ours)
            },
            || {
                theirs += 1;
                Ok(10 * theirs)
            },
        );
        assert_eq!(medians, Ok((3, 30)));
    }

    #[test]
    fn rates_are_by_the_second() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2_000);
        assert!(per_second(1, Duration::from_millis(1), || 1) > 0);
    }
}
