-- A user's name and metadata may be changed by a command, whose row names no account.

ALTER TABLE ledger_user ADD COLUMN metadata bytea CHECK (octet_length(metadata) <= 4096);
GRANT UPDATE (metadata) ON ledger_user TO ledger_worker;

COMMENT ON COLUMN journal.command IS '1 open_account, 2 deposit, 3 withdraw, 4 transfer, 5 hold, 6 capture,'
    ' 7 release, 8 expire_hold, 9 reverse, 10 freeze_account, 11 unfreeze_account, 12 close_account,'
    ' 13 batch, 14 set_floor, 15 cancel, 16 update_user';

ALTER TABLE journal DROP CONSTRAINT journal_movement;
ALTER TABLE journal ADD CONSTRAINT journal_movement CHECK (
    CASE WHEN result IS NOT NULL THEN debit_seq IS NULL AND credit_seq IS NULL AND settles IS NULL
         WHEN command IN (2, 3, 4, 6, 9) THEN amount IS NOT NULL AND debit <> credit
         WHEN command = 5 THEN amount IS NOT NULL AND debit_seq IS NOT NULL AND credit IS NULL
         WHEN command IN (7, 8) THEN amount IS NOT NULL AND debit IS NULL AND credit_seq IS NOT NULL
         WHEN command IN (13, 15, 16) THEN amount IS NULL AND debit IS NULL AND credit IS NULL
         WHEN command = 1 THEN amount IS NULL AND debit IS NULL AND credit IS NOT NULL
         ELSE amount IS NULL AND debit IS NULL AND credit_seq IS NOT NULL END
    AND ((command IN (6, 7, 8, 9) AND result IS NULL) = (refers IS NOT NULL))
    AND ((refers IS NULL) = (settles IS NULL)));
