-- What a reorganisation of the chain can still take back is told apart from what it cannot.

-- 1 once the chain's safe head shows that a claimed or recovered batch is paid.
ALTER TABLE batches ADD COLUMN safe INTEGER NOT NULL DEFAULT 0;
-- What `recover` paid for it, in nano.
ALTER TABLE batches ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;

-- Total of the newest voucher that is redeemed at the chain's safe head.
ALTER TABLE vouchers ADD COLUMN safe INTEGER NOT NULL DEFAULT 0;

-- 1 on the receipt that carries a job's result. The index allows one of them per job, whatever the program does.
ALTER TABLE receipts ADD COLUMN final INTEGER NOT NULL DEFAULT 0;
UPDATE receipts SET final = 1
    WHERE json_extract(body, '$.statement.result') <> '0x0000000000000000000000000000000000000000000000000000000000000000';
CREATE UNIQUE INDEX receipts_final ON receipts (job) WHERE final = 1;

-- Where each keeper was reached: after a change of keeper, the old one is still asked for its proofs.
CREATE TABLE keepers (
    address BLOB NOT NULL PRIMARY KEY,
    url     TEXT NOT NULL
) STRICT;
