-- When an account was changed last. A server's clock may be set back, or another server take over; an
-- account's history never runs backwards, so that a time has one place in it and is found by halving. For
-- accounts that are there it is now, which is no less than the time of any change they had.
ALTER TABLE account ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();
GRANT UPDATE (changed_at) ON account TO ledger_worker;
