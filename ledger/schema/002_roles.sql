-- Least privilege. The processes log in as users of your choosing that are members of one of these roles,
-- and take the role on. None of them may change or delete a row of the journal; the relay may not touch
-- an account; the reader may not write at all. Roles belong to the whole cluster, so they may be there.

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ledger_worker', 'ledger_relay', 'ledger_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA ledger TO ledger_worker, ledger_relay, ledger_reader;
GRANT SELECT ON schema_migration TO ledger_worker, ledger_relay, ledger_reader;

GRANT SELECT ON asset, ledger_user, account, account_delta, journal, posting,
    outbox_rotation TO ledger_worker;
GRANT INSERT ON ledger_user, account, account_delta, journal, outbox TO ledger_worker;
GRANT UPDATE (name) ON ledger_user TO ledger_worker;
GRANT UPDATE (balance, held, seq) ON account TO ledger_worker;
GRANT DELETE ON account_delta TO ledger_worker; -- the roll-up takes them out as it adds them up
GRANT USAGE ON SEQUENCE account_number, outbox_id TO ledger_worker;

GRANT SELECT ON outbox, outbox_0, outbox_1, outbox_2, outbox_rotation, outbox_cursor TO ledger_relay;
GRANT TRUNCATE ON outbox_0, outbox_1, outbox_2 TO ledger_relay;
GRANT UPDATE ON outbox_rotation TO ledger_relay;
GRANT INSERT, UPDATE ON outbox_cursor TO ledger_relay;

GRANT SELECT ON asset, ledger_user, account, account_delta, journal, posting,
    outbox, outbox_0, outbox_1, outbox_2, outbox_rotation, outbox_cursor TO ledger_reader;
