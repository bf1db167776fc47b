-- Who an account is, apart from what is in it.
--
-- Each change of a balance writes a new version of its row. While somebody holds an old snapshot (a long
-- report, a dump) no version can go, new ones need new pages, and with them entries in every index of the
-- table. A unique index must look at all versions of an id before it takes one more: that is work which
-- grows with every change for as long as the snapshot is held. So what must be unique lives in rows that
-- never change, and the indexes of the balances are plain.
--
-- The order of two equal entries of a plain index is the order of their rows' pages: the youngest version
-- is found by scanning it backwards.

CREATE TABLE account_identity (
    id     identifier PRIMARY KEY,
    number bigint NOT NULL UNIQUE
);
INSERT INTO account_identity (id, number) SELECT id, number FROM account;

ALTER TABLE account DROP CONSTRAINT account_pkey;
ALTER TABLE account DROP CONSTRAINT account_id_key;
CREATE INDEX account_by_number ON account (number);
CREATE INDEX account_by_id ON account (id);

-- Whoever inserts an account: its id and number are taken in the same statement, or it fails.
CREATE FUNCTION account_take_identity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.account_identity (id, number) SELECT id, number FROM opened;
    RETURN NULL;
END $$;
CREATE TRIGGER account_identity AFTER INSERT ON account REFERENCING NEW TABLE AS opened
    FOR EACH STATEMENT EXECUTE FUNCTION account_take_identity();

GRANT INSERT ON account_identity TO ledger_worker;
GRANT SELECT ON account_identity TO ledger_reader;
