-- What is written is not written again: no row of the journal, nor of what the notary signed, is changed or
-- deleted, by whomever. The roles have no right to; this holds the owner too, against a slip and against a stolen
-- login that does not know. A repair says so first: SET ledger.rewrite_history = on. Its owner can drop a trigger;
-- what such a one changes, the chain of hashes and the notary's signatures show.

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('ledger.rewrite_history', true), '') <> 'on' THEN
        RAISE EXCEPTION '% of % is refused: rows are only added', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege', HINT = 'for a repair, SET ledger.rewrite_history = on';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoint_leaf
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
