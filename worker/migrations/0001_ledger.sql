-- The worker's ledger: what it ran, what it billed, and every promise of payment it holds.
-- Addresses and hashes are blobs, amounts are nano CAPA, bodies are the JSON of the protocol's own types.

CREATE TABLE jobs (
    id         BLOB    NOT NULL PRIMARY KEY,
    -- Of a direct job this is the provider itself.
    keeper     BLOB    NOT NULL,
    channel    BLOB    NOT NULL,
    payer      BLOB    NOT NULL,
    signer     BLOB    NOT NULL,
    assignment TEXT    NOT NULL,
    kind       TEXT    NOT NULL DEFAULT '',
    state      TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'delivered', 'failed', 'closed')),
    -- What the client has paid of it, by vouchers that count.
    paid       INTEGER NOT NULL DEFAULT 0,
    debited    INTEGER NOT NULL DEFAULT 0,
    outputs    TEXT    NOT NULL DEFAULT '[]',
    refusal    TEXT,
    -- Whether the keeper was told of the failure.
    reported   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;

CREATE INDEX jobs_by_state ON jobs (keeper, state);
CREATE INDEX jobs_by_signer ON jobs (signer, created_at);
CREATE INDEX jobs_by_channel ON jobs (channel, created_at);

CREATE TABLE receipts (
    job      BLOB    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    amount   INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    PRIMARY KEY (job, sequence)
) STRICT, WITHOUT ROWID;

-- The newest accepted voucher of each channel and batch: what `challenge` and `recover` need.
CREATE TABLE acceptances (
    keeper  BLOB    NOT NULL,
    batch   INTEGER NOT NULL,
    channel BLOB    NOT NULL,
    earned  INTEGER NOT NULL,
    owed    INTEGER NOT NULL,
    total   INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (keeper, batch, channel)
) STRICT, WITHOUT ROWID;

-- What became of each batch in which something is owed.
CREATE TABLE batches (
    keeper     BLOB    NOT NULL,
    number     INTEGER NOT NULL,
    state      TEXT    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'proven', 'final', 'claimed', 'void', 'recovered')),
    amount     INTEGER NOT NULL DEFAULT 0,
    proof      TEXT,
    -- The highest `owed` that was put on chain as a challenge.
    challenged INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (keeper, number)
) STRICT, WITHOUT ROWID;

-- The newest voucher of each direct channel.
CREATE TABLE vouchers (
    channel  BLOB    NOT NULL PRIMARY KEY,
    payer    BLOB    NOT NULL,
    signer   BLOB    NOT NULL,
    total    INTEGER NOT NULL,
    earned   INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    -- Total of the newest voucher that was redeemed on chain.
    redeemed INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Offers that were signed: until they expire they bind, whatever the configuration says by then.
CREATE TABLE offers (
    hash   BLOB    NOT NULL PRIMARY KEY,
    expiry INTEGER NOT NULL,
    body   TEXT    NOT NULL
) STRICT;

-- The transaction manager's own record.
CREATE TABLE transactions (
    key   TEXT    NOT NULL PRIMARY KEY,
    nonce INTEGER NOT NULL,
    done  INTEGER NOT NULL,
    body  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX transactions_open ON transactions (done, nonce);
