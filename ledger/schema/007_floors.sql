-- How far below zero what is available of a user account may go: an overdraft.

ALTER TABLE account ADD COLUMN floor bigint NOT NULL DEFAULT 0 CHECK (floor <= 0);
ALTER TABLE account DROP CONSTRAINT account_not_negative;
-- Still the last line behind the ledger's own check.
ALTER TABLE account ADD CONSTRAINT account_not_negative CHECK (kind = 1 OR balance - held >= floor);
COMMENT ON COLUMN account.kind IS '0 user: what is available never goes below the floor; 1 system: no floor,'
    ' balance rolled up';

ALTER TABLE journal ADD COLUMN floor bigint CHECK (floor <= 0);
ALTER TABLE journal ADD CONSTRAINT journal_floor
    CHECK ((command = 14 AND result IS NULL) = (floor IS NOT NULL));
COMMENT ON COLUMN journal.floor IS 'that a set_floor (14) set';

GRANT UPDATE (floor) ON account TO ledger_worker;
