-- Holds, reversals, and what may no longer be done with an account.

-- Bits: 1 frozen in, 2 frozen out, 4 closed.
ALTER TABLE account ADD COLUMN state smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 7);

-- What is still held of each hold. The journal says who placed it and who ended it; this row counts, under
-- the account's lock.
CREATE TABLE hold (
    id         uuid PRIMARY KEY,           -- of the transaction that placed it
    account    bigint NOT NULL,
    amount     bigint NOT NULL CHECK (amount > 0),
    remaining  bigint NOT NULL CHECK (remaining BETWEEN 0 AND amount),
    expires_at timestamptz
);
CREATE INDEX hold_due ON hold (expires_at) WHERE remaining > 0 AND expires_at IS NOT NULL;
COMMENT ON COLUMN hold.remaining IS '0: it was captured, released or has expired';

-- The hold that a capture, release or expiry is about; the transaction that a reversal undoes. One of them
-- settles it: two that race for it meet in the unique index, whatever the code thinks.
ALTER TABLE journal ADD COLUMN refers uuid, ADD COLUMN settles boolean;
-- Of a command that came in a batch: which one, and its place in it, from 0. Of an atomic batch that was
-- refused: which leg was the reason.
ALTER TABLE journal ADD COLUMN batch uuid, ADD COLUMN leg smallint;
CREATE UNIQUE INDEX journal_settles ON journal (refers) WHERE settles;
CREATE INDEX journal_refers ON journal (refers) WHERE refers IS NOT NULL;
COMMENT ON COLUMN journal.command IS '1 open_account, 2 deposit, 3 withdraw, 4 transfer, 5 hold, 6 capture,'
    ' 7 release, 8 expire_hold, 9 reverse, 10 freeze_account, 11 unfreeze_account, 12 close_account,'
    ' 13 batch';

-- A side whose sequence number is known is that of a user account.
ALTER TABLE journal DROP CONSTRAINT journal_movement;
ALTER TABLE journal ADD CONSTRAINT journal_movement CHECK (
    CASE WHEN result IS NOT NULL THEN debit_seq IS NULL AND credit_seq IS NULL AND settles IS NULL
         WHEN command IN (2, 3, 4, 6, 9) THEN amount IS NOT NULL AND debit <> credit
         WHEN command = 5 THEN amount IS NOT NULL AND debit_seq IS NOT NULL AND credit IS NULL
         WHEN command IN (7, 8) THEN amount IS NOT NULL AND debit IS NULL AND credit_seq IS NOT NULL
         WHEN command = 13 THEN amount IS NULL AND debit IS NULL AND credit IS NULL
         WHEN command = 1 THEN amount IS NULL AND debit IS NULL AND credit IS NOT NULL
         ELSE amount IS NULL AND debit IS NULL AND credit_seq IS NOT NULL END
    AND ((command IN (6, 7, 8, 9) AND result IS NULL) = (refers IS NOT NULL))
    AND ((refers IS NULL) = (settles IS NULL)));

-- Each change of an account, with what it is to its balance: of a hold, for example, nothing.
CREATE VIEW entry AS
    SELECT id AS transaction, debit AS account, CASE WHEN credit IS NULL THEN 0 ELSE -amount END AS amount,
           debit_seq AS seq, debit_balance AS balance, debit_held AS held, command, created_at
      FROM journal WHERE result IS NULL AND debit IS NOT NULL
    UNION ALL
    SELECT id, credit, CASE WHEN debit IS NULL THEN 0 ELSE amount END,
           credit_seq, credit_balance, credit_held, command, created_at
      FROM journal WHERE result IS NULL AND credit IS NOT NULL AND command <> 1;

-- Those that move money, both sides of each.
CREATE OR REPLACE VIEW posting AS
    SELECT id AS transaction, debit AS account, -amount AS amount, debit_seq AS seq,
           debit_balance AS balance, created_at
      FROM journal WHERE result IS NULL AND amount IS NOT NULL AND debit IS NOT NULL AND credit IS NOT NULL
    UNION ALL
    SELECT id, credit, amount, credit_seq, credit_balance, created_at
      FROM journal WHERE result IS NULL AND amount IS NOT NULL AND debit IS NOT NULL AND credit IS NOT NULL;

GRANT SELECT ON hold TO ledger_worker, ledger_reader;
GRANT SELECT ON entry TO ledger_worker, ledger_reader;
GRANT INSERT ON hold TO ledger_worker;
GRANT UPDATE (remaining) ON hold TO ledger_worker;
GRANT UPDATE (state) ON account TO ledger_worker;
