-- Unsigned 64-bit figures are stored as the signed integer of the same bits, sums of 128 bits as decimal text.
-- Every row that comes from the chain carries its block, so that taking a block back means deleting its rows.

CREATE TABLE scheme (
    only_row         INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    chain_id         INTEGER NOT NULL,
    settlement       BLOB    NOT NULL,
    challenge_period INTEGER NOT NULL,
    lateness         INTEGER NOT NULL
);

CREATE TABLE blocks (
    number    INTEGER NOT NULL PRIMARY KEY,
    hash      BLOB    NOT NULL,
    timestamp INTEGER NOT NULL
);

CREATE TABLE batches (
    keeper       BLOB    NOT NULL,
    number       INTEGER NOT NULL,
    block        INTEGER NOT NULL,
    log_index    INTEGER NOT NULL,
    tx           BLOB    NOT NULL,
    committed_at INTEGER NOT NULL,
    root         BLOB    NOT NULL,
    sum          INTEGER NOT NULL,
    fee          INTEGER NOT NULL,
    lines_root   BLOB    NOT NULL,
    lines_sum    INTEGER NOT NULL,
    line_count   INTEGER NOT NULL,
    data_hash    BLOB    NOT NULL,
    -- 0 pending, 1 proven, 2 void; a batch leaves 0 once, in the block `finality_block`.
    finality       INTEGER NOT NULL DEFAULT 0,
    finality_block INTEGER,
    -- 0 missing, 1 mismatch, 2 verified.
    lines   INTEGER NOT NULL DEFAULT 0,
    problem TEXT,
    PRIMARY KEY (keeper, number)
) WITHOUT ROWID;

CREATE UNIQUE INDEX batches_by_block ON batches (block, log_index);
CREATE INDEX batches_by_keeper ON batches (keeper, block, log_index);
CREATE INDEX batches_by_finality_block ON batches (finality_block) WHERE finality_block IS NOT NULL;
CREATE INDEX batches_by_standing ON batches (finality, lines);
CREATE INDEX batches_without_lines ON batches (keeper, block, log_index) WHERE lines < 2;

-- What a challenge did to a batch: one row when it opened and one when it was answered.
CREATE TABLE challenges (
    block     INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    keeper    BLOB    NOT NULL,
    number    INTEGER NOT NULL,
    provider  BLOB    NOT NULL,
    opened    INTEGER NOT NULL,
    PRIMARY KEY (block, log_index)
) WITHOUT ROWID;

CREATE INDEX challenges_by_batch ON challenges (keeper, number, provider, block, log_index);

-- `key` is time, keeper, batch and index, big-endian: it sorts trades by time and is their cursor.
CREATE TABLE trades (
    key      BLOB    NOT NULL PRIMARY KEY,
    keeper   BLOB    NOT NULL,
    number   INTEGER NOT NULL,
    idx      INTEGER NOT NULL,
    line     BLOB    NOT NULL,
    job      BLOB    NOT NULL,
    payer    BLOB    NOT NULL,
    provider BLOB    NOT NULL,
    resource INTEGER NOT NULL,
    counted  INTEGER NOT NULL,
    related  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX trades_by_batch ON trades (keeper, number, idx);
CREATE INDEX trades_by_resource ON trades (resource, key);
CREATE INDEX trades_by_provider ON trades (provider, key);
CREATE INDEX trades_by_payer ON trades (payer, key);
CREATE INDEX trades_by_job ON trades (job, key);

CREATE TABLE candles (
    resource    INTEGER NOT NULL,
    seconds     INTEGER NOT NULL,
    scope       INTEGER NOT NULL,
    start       INTEGER NOT NULL,
    open_key    BLOB    NOT NULL,
    open_price  INTEGER NOT NULL,
    high        INTEGER NOT NULL,
    low         INTEGER NOT NULL,
    close_key   BLOB    NOT NULL,
    close_price INTEGER NOT NULL,
    volume      TEXT    NOT NULL,
    quote       TEXT    NOT NULL,
    amount      TEXT    NOT NULL,
    trades      INTEGER NOT NULL,
    PRIMARY KEY (resource, seconds, scope, start)
) WITHOUT ROWID;

CREATE TABLE totals (
    provider BLOB    NOT NULL,
    scope    INTEGER NOT NULL,
    amount   TEXT    NOT NULL,
    lines    INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    PRIMARY KEY (provider, scope)
) WITHOUT ROWID;

-- Verified lines files by their hash. They come from keepers, not from the chain, so no block takes them back.
CREATE TABLE files (
    data_hash BLOB NOT NULL PRIMARY KEY,
    bytes     BLOB NOT NULL
);

CREATE TABLE provider_records (
    block     INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    provider  BLOB    NOT NULL,
    endpoint  TEXT    NOT NULL,
    terms     BLOB    NOT NULL,
    PRIMARY KEY (block, log_index)
) WITHOUT ROWID;

CREATE INDEX provider_records_by_provider ON provider_records (provider, block, log_index);

CREATE TABLE worker_changes (
    block     INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    provider  BLOB    NOT NULL,
    worker    BLOB    NOT NULL,
    added     INTEGER NOT NULL,
    PRIMARY KEY (block, log_index)
) WITHOUT ROWID;

CREATE INDEX worker_changes_by_provider ON worker_changes (provider, worker, block, log_index);

CREATE TABLE resources (
    id         INTEGER NOT NULL PRIMARY KEY,
    block      INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    unit       TEXT    NOT NULL,
    scale      INTEGER NOT NULL,
    scu_weight INTEGER NOT NULL
);

-- `way`: 0 claim, 1 recovery, 2 redemption.
CREATE TABLE payments (
    block     INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    provider  BLOB    NOT NULL,
    way       INTEGER NOT NULL,
    amount    INTEGER NOT NULL,
    PRIMARY KEY (block, log_index)
) WITHOUT ROWID;

CREATE INDEX payments_by_provider ON payments (provider, way, amount);

-- What this indexer saw, in its order, for streams. Never taken back: a reverted block adds a row.
CREATE TABLE changes (
    id     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind   INTEGER NOT NULL,
    keeper BLOB    NOT NULL,
    number INTEGER NOT NULL
);
