-- Each user account's entries form a chain of SHA-256 hashes, so that whoever changes, removes or inserts
-- one by hand is found by `ledgerctl verify`. What is hashed is written in ledger/chain.h.

ALTER TABLE journal ADD COLUMN debit_hash bytea, ADD COLUMN credit_hash bytea;
COMMENT ON COLUMN journal.debit_hash IS 'of this entry in the debited account''s chain; NULL: a system account';
ALTER TABLE account ADD COLUMN head bytea;
COMMENT ON COLUMN account.head IS 'the hash of its last entry; NULL: a system account';

-- What is there already is chained as it stands now.
CREATE FUNCTION pg_temp.field(number integer, value bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN value IS NULL THEN ''::bytea
                ELSE set_byte('\x00', 0, number) || int4send(octet_length(value)) || value END
$$;
CREATE FUNCTION pg_temp.field(number integer, value text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.field(number, convert_to(value, 'UTF8'))
$$;
CREATE FUNCTION pg_temp.field(number integer, value bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.field(number, int8send(value))
$$;
CREATE FUNCTION pg_temp.field(number integer, value uuid) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.field(number, uuid_send(value))
$$;

DO $$
DECLARE
    words CONSTANT text[] := ARRAY['open_account', 'deposit', 'withdraw', 'transfer', 'hold', 'capture', 'release',
        'expire_hold', 'reverse', 'freeze_account', 'unfreeze_account', 'close_account', 'batch', 'set_floor'];
    nothing CONSTANT bytea := decode(repeat('00', 32), 'hex');
    step record;
    last bigint;
    hash bytea;
BEGIN
    FOR step IN
        SELECT own.number, key_digest, is_debit,
               pg_temp.field(1, own.id::text) || pg_temp.field(2, own.asset::text)
               || pg_temp.field(3, CASE WHEN command = 1 THEN own.user_id::text END)
               || pg_temp.field(4, CASE WHEN is_debit THEN 'debit' ELSE 'credit' END)
               || pg_temp.field(5, side.seq) || pg_temp.field(6, side.balance) || pg_temp.field(7, side.held)
               || pg_temp.field(8, journal.id)
               || pg_temp.field(9, (extract(epoch FROM journal.created_at) * 1000000)::bigint)
               || pg_temp.field(10, words[command]) || pg_temp.field(11, amount)
               || pg_temp.field(12, other.id::text) || pg_temp.field(13, refers)
               || pg_temp.field(14, set_byte('\x00', 0, settles::integer)) || pg_temp.field(15, batch)
               || pg_temp.field(16, leg::bigint) || pg_temp.field(17, trace_id) || pg_temp.field(18, caller)
               || pg_temp.field(19, key) || pg_temp.field(20, fingerprint)
               || pg_temp.field(21, journal.metadata) || pg_temp.field(22, journal.floor)
               || pg_temp.field(23, import::bigint) AS fields
          FROM journal CROSS JOIN LATERAL
               (VALUES (debit, credit, true, debit_seq, debit_balance, debit_held),
                       (credit, debit, false, credit_seq, credit_balance, credit_held))
               AS side (number, other, is_debit, seq, balance, held)
               JOIN account AS own ON own.number = side.number
               LEFT JOIN account AS other ON other.number = side.other
         WHERE result IS NULL AND side.seq IS NOT NULL
         ORDER BY own.number, side.seq
    LOOP
        hash := sha256('\x03' || CASE WHEN step.number = last THEN hash ELSE nothing END
                       || sha256('\x02' || step.fields));
        UPDATE journal SET debit_hash = CASE WHEN step.is_debit THEN hash ELSE debit_hash END,
                           credit_hash = CASE WHEN step.is_debit THEN credit_hash ELSE hash END
         WHERE key_digest = step.key_digest;
        last := step.number;
    END LOOP;
    UPDATE account
       SET head = coalesce((SELECT debit_hash FROM journal WHERE debit = number AND debit_seq = account.seq),
                           (SELECT credit_hash FROM journal WHERE credit = number AND credit_seq = account.seq),
                           nothing)
     WHERE kind = 0;
END $$;

ALTER TABLE account ADD CONSTRAINT account_head CHECK (kind = 1 OR coalesce(octet_length(head), 0) = 32);

GRANT UPDATE (head) ON account TO ledger_worker;
