-- An account's past, found by halving. Its entries are numbered 1, 2, 3, ... and their times never
-- decrease, so neither a time nor a page of entries needs an index beside the two that keep the numbers
-- unique, and either costs the same however long the history is (a time some more: its logarithm).
--
-- STABLE: all that a call reads is of one snapshot, that of the statement it is part of.

CREATE FUNCTION seq_last(wanted bigint) RETURNS bigint STABLE LANGUAGE plpgsql AS $$
DECLARE
    debited bigint;
    credited bigint;
BEGIN
    SELECT debit_seq INTO debited FROM ledger.journal
     WHERE debit = wanted AND debit_seq IS NOT NULL ORDER BY debit_seq DESC LIMIT 1;
    SELECT credit_seq INTO credited FROM ledger.journal
     WHERE credit = wanted AND credit_seq IS NOT NULL ORDER BY credit_seq DESC LIMIT 1;
    RETURN greatest(debited, credited, 0);
END $$;

-- The number of the last entry at or before a time; 0: there is none.
CREATE FUNCTION seq_as_of(wanted bigint, moment timestamptz) RETURNS bigint STABLE LANGUAGE plpgsql AS $$
DECLARE
    low bigint := 0;                                -- at or before it
    high bigint := ledger.seq_last(wanted) + 1;     -- after it
    middle bigint;
    time_there timestamptz;
BEGIN
    WHILE high - low > 1 LOOP
        middle := low + (high - low) / 2;
        SELECT created_at INTO time_there FROM ledger.journal WHERE debit = wanted AND debit_seq = middle;
        IF NOT FOUND THEN
            SELECT created_at INTO time_there FROM ledger.journal WHERE credit = wanted AND credit_seq = middle;
        END IF;
        IF time_there <= moment THEN low := middle; ELSE high := middle; END IF;
    END LOOP;
    RETURN low;
END $$;

-- Which entries a page looks at: at most `scan` of those from `since` and before `until`, behind that of
-- number `behind` (0: from the first on, or backwards from the last); and whether there are more of them.
CREATE FUNCTION page_bounds(wanted bigint, since timestamptz, until timestamptz, behind bigint, ascending boolean,
    scan integer, OUT low bigint, OUT high bigint, OUT beyond boolean) STABLE LANGUAGE plpgsql AS $$
DECLARE
    lowest bigint := 1;
    highest bigint;
BEGIN
    IF since IS NOT NULL THEN lowest := ledger.seq_as_of(wanted, since - interval '1 microsecond') + 1; END IF;
    IF until IS NOT NULL THEN highest := ledger.seq_as_of(wanted, until - interval '1 microsecond');
    ELSIF ascending OR behind = 0 THEN highest := ledger.seq_last(wanted);
    END IF;
    IF ascending THEN
        low := greatest(lowest, behind + 1);
        high := least(highest, low + scan - 1);
        beyond := high < highest;
    ELSE
        high := CASE WHEN behind = 0 THEN highest ELSE least(highest, behind - 1) END;
        low := greatest(lowest, high - scan + 1);
        beyond := low > lowest;
    END IF;
END $$;

-- Names the counterparty of an entry.
GRANT SELECT ON account_identity TO ledger_worker;
