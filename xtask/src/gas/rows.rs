//! The rows of the table and their bars.

/// A row of the table. Its key names the snapshot that the gas tests write, and the entry of the JSON document.
pub(super) struct Row {
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) ceiling: u64,
}

/// EIP-170's limit less a margin of 2 kB.
pub(super) const SIZE_CEILING: u64 = 24_576 - 2_048;

pub(super) const ROWS: [Row; 15] = [
    row("collect_marginal", "collect, each further channel", 11_000),
    row("collect_bytes", "collect, bytes of each channel", 128),
    row("commit_fixed", "commit", 105_000),
    row("distribute_marginal", "distribute, each further provider", 9_500),
    row("redeem_marginal", "redeem, each further voucher", 13_000),
    row("challenge", "challenge", 60_000),
    row("answer", "answer, 2^14 providers", 60_000),
    row("claim_2e10", "claim one batch, 2^10 providers", 68_000),
    row("claim_2e20", "claim one batch, 2^20 providers", 78_000),
    row("claim_next", "claim, each further batch, 2^14 providers", 22_000),
    row("open_first", "open with permit, first time", 125_000),
    row("open_later", "open with permit, later", 85_000),
    row("per_job_1k", "per job: 1k jobs, 50 clients, 20 providers", 960),
    row("per_job_100k", "per job: 100k jobs, 500 clients, 100 providers", 70),
    row("per_job_1m", "per job: 1M jobs, 1,000 clients, 500 providers", 17),
];

const fn row(key: &'static str, label: &'static str, ceiling: u64) -> Row {
    Row { key, label, ceiling }
}

/// A row with its number.
pub(super) struct Measured {
    pub(super) key: String,
    pub(super) label: String,
    pub(super) value: u64,
    pub(super) ceiling: u64,
}

impl Measured {
    pub(super) fn passes(&self) -> bool {
        self.value <= self.ceiling
    }
}
