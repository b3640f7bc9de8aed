-- Whose database this is: one row.
CREATE TABLE identity (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    chain_id   INTEGER NOT NULL,
    settlement BLOB    NOT NULL,
    keeper     BLOB    NOT NULL
) STRICT;

CREATE TABLE offers (
    sequence  INTEGER NOT NULL PRIMARY KEY,
    id        BLOB    NOT NULL UNIQUE,
    signed    TEXT    NOT NULL,
    remaining INTEGER NOT NULL,
    expiry    INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
    sequence      INTEGER NOT NULL PRIMARY KEY,
    id            BLOB    NOT NULL UNIQUE,
    signed        TEXT    NOT NULL,
    payer         BLOB    NOT NULL,
    signer        BLOB    NOT NULL,
    channel       BLOB    NOT NULL,
    kind          TEXT    NOT NULL,
    memory        INTEGER NOT NULL,
    cap           INTEGER NOT NULL,
    state         TEXT    NOT NULL,
    terminal      INTEGER NOT NULL,
    offer         BLOB,
    price         INTEGER,
    provider      BLOB,
    worker        BLOB,
    newest        TEXT,
    outputs       TEXT    NOT NULL,
    paid_sequence INTEGER NOT NULL,
    paid_amount   INTEGER NOT NULL,
    paid_quantity INTEGER NOT NULL,
    debited       INTEGER NOT NULL,
    failure       TEXT,
    reason        TEXT,
    created_at    INTEGER NOT NULL,
    ended_at      INTEGER
) STRICT;
CREATE INDEX jobs_by_payer  ON jobs (payer, sequence);
CREATE INDEX jobs_by_signer ON jobs (signer, sequence);
CREATE INDEX jobs_open      ON jobs (sequence) WHERE terminal = 0;

CREATE TABLE receipts (
    job      INTEGER NOT NULL REFERENCES jobs (sequence),
    sequence INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    receipt  TEXT    NOT NULL,
    PRIMARY KEY (job, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE channels (
    id     BLOB    NOT NULL PRIMARY KEY,
    payer  BLOB    NOT NULL,
    signer BLOB    NOT NULL,
    total  INTEGER NOT NULL,
    batch  INTEGER NOT NULL,
    earned TEXT    NOT NULL
) STRICT;

CREATE TABLE batches (
    number       INTEGER NOT NULL PRIMARY KEY,
    state        TEXT    NOT NULL,
    debits       INTEGER NOT NULL,
    vouchers     INTEGER NOT NULL,
    first_at     INTEGER,
    prepared     TEXT,
    "transaction" BLOB,
    gas          INTEGER,
    committed_at INTEGER
) STRICT;

-- Every voucher ever accepted, with the acceptance: the evidence of all that follows from it.
CREATE TABLE vouchers (
    id           INTEGER NOT NULL PRIMARY KEY,
    batch        INTEGER NOT NULL,
    channel      BLOB    NOT NULL,
    job          INTEGER NOT NULL REFERENCES jobs (sequence),
    debit        INTEGER NOT NULL,
    total        INTEGER NOT NULL,
    accepted     TEXT    NOT NULL
) STRICT;
CREATE INDEX vouchers_by_job ON vouchers (job, id);
-- The newest voucher of each channel in each batch is what is collected.
CREATE TABLE newest_vouchers (
    batch   INTEGER NOT NULL,
    channel BLOB    NOT NULL,
    voucher INTEGER NOT NULL REFERENCES vouchers (id),
    PRIMARY KEY (batch, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX newest_vouchers_by_channel ON newest_vouchers (channel, batch);

CREATE TABLE owed (
    batch    INTEGER NOT NULL,
    provider BLOB    NOT NULL,
    amount   INTEGER NOT NULL,
    PRIMARY KEY (batch, provider)
) STRICT, WITHOUT ROWID;

CREATE TABLE lines (
    batch    INTEGER NOT NULL,
    job      INTEGER NOT NULL REFERENCES jobs (sequence),
    quantity INTEGER NOT NULL,
    amount   INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    result   BLOB    NOT NULL,
    PRIMARY KEY (batch, job)
) STRICT, WITHOUT ROWID;

-- Transactions that this keeper sends, by their idempotency key.
CREATE TABLE transactions (
    key     TEXT    NOT NULL PRIMARY KEY,
    nonce   INTEGER NOT NULL,
    open    INTEGER NOT NULL,
    stored  TEXT    NOT NULL
) STRICT;
CREATE INDEX transactions_by_nonce ON transactions (nonce);
CREATE INDEX transactions_open ON transactions (nonce) WHERE open = 1;
