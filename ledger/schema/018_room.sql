-- Room on an account's page for the versions of its rows that are to come.

-- Where a fillfactor keeps it, PostgreSQL clears a page of old versions as soon as it is fuller than that: at each
-- access, once the page has been filled. So half of the room is in the row itself, and its first update takes it: then
-- a page has some for half a dozen versions before it is three quarters full, and is cleared once in as many updates.
-- Rows that are there already have it by the fillfactor of before.
ALTER TABLE account ADD COLUMN room bytea;
ALTER TABLE account ALTER COLUMN room SET STORAGE EXTERNAL; -- as it is, not compressed
ALTER TABLE account ALTER COLUMN room SET DEFAULT decode(repeat('00', 44), 'hex');
ALTER TABLE account SET (fillfactor = 75);
COMMENT ON COLUMN account.room IS 'nothing: keeps room on the page until the first update';
GRANT UPDATE (room) ON account TO ledger_worker;
