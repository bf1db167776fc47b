-- Commands that are accepted now and decided at their time.

-- The journal has a row of each under its key, whose result is 'scheduled'. What ends it, its execution or a
-- cancellation, has a row of its own that names it: one of them, for two that race meet in the unique index.
ALTER TABLE journal ADD COLUMN scheduled uuid;
CREATE UNIQUE INDEX journal_scheduled ON journal (scheduled) WHERE scheduled IS NOT NULL;
COMMENT ON COLUMN journal.result IS 'NULL: applied; ''scheduled''; else the word of the refusal';
COMMENT ON COLUMN journal.scheduled IS 'the command, scheduled before, that this row executed or cancelled';
COMMENT ON COLUMN journal.command IS '1 open_account, 2 deposit, 3 withdraw, 4 transfer, 5 hold, 6 capture,'
    ' 7 release, 8 expire_hold, 9 reverse, 10 freeze_account, 11 unfreeze_account, 12 close_account,'
    ' 13 batch, 14 set_floor, 15 cancel';

ALTER TABLE journal DROP CONSTRAINT journal_movement;
ALTER TABLE journal ADD CONSTRAINT journal_movement CHECK (
    CASE WHEN result IS NOT NULL THEN debit_seq IS NULL AND credit_seq IS NULL AND settles IS NULL
         WHEN command IN (2, 3, 4, 6, 9) THEN amount IS NOT NULL AND debit <> credit
         WHEN command = 5 THEN amount IS NOT NULL AND debit_seq IS NOT NULL AND credit IS NULL
         WHEN command IN (7, 8) THEN amount IS NOT NULL AND debit IS NULL AND credit_seq IS NOT NULL
         WHEN command IN (13, 15) THEN amount IS NULL AND debit IS NULL AND credit IS NULL
         WHEN command = 1 THEN amount IS NULL AND debit IS NULL AND credit IS NOT NULL
         ELSE amount IS NULL AND debit IS NULL AND credit_seq IS NOT NULL END
    AND ((command IN (6, 7, 8, 9) AND result IS NULL) = (refers IS NOT NULL))
    AND ((refers IS NULL) = (settles IS NULL)));
-- What cancels says what; a refusal to cancel ends nothing, nor does what is yet to come.
ALTER TABLE journal ADD CONSTRAINT journal_ends CHECK (
    CASE WHEN command = 15 THEN (result IS NULL) = (scheduled IS NOT NULL)
         ELSE result IS DISTINCT FROM 'scheduled' OR scheduled IS NULL END);

-- What is kept of each: a message as a caller might send it at that time. `number` is the order of acceptance.
CREATE TABLE scheduled (
    id         uuid PRIMARY KEY,   -- of the journal's row
    due_at     timestamptz NOT NULL,
    number     bigint GENERATED ALWAYS AS IDENTITY,
    done       boolean NOT NULL DEFAULT false,
    properties bytea NOT NULL,     -- AMQP basic properties as on the wire: type, caller, key, trace
    body       bytea NOT NULL CHECK (octet_length(body) <= 1048576) -- msgpack
);
CREATE INDEX scheduled_due ON scheduled (due_at, number) WHERE NOT done;
COMMENT ON COLUMN scheduled.done IS 'executed or cancelled; the journal says which';

GRANT SELECT, INSERT ON scheduled TO ledger_worker;
GRANT UPDATE (done) ON scheduled TO ledger_worker;
GRANT SELECT ON scheduled TO ledger_reader;
