-- Grows a ledger's journal, or its accounts, by copies of a row that the ledger wrote itself: what such a row has
-- for itself (key, id, account, number in the account's history) is new, everything else is as it was. Whatever
-- columns there are, the rows are as wide as real ones. Chains of hashes are not continued: no `verify` of this.
--
--   psql -v what=journal -v first=0 -v last=999999 -v accounts=10000      what: journal, account
\set ON_ERROR_STOP on
SET search_path = ledger;
SET synchronous_commit = off;
SET client_min_messages = warning;
SET session_replication_role = replica; -- no trigger: foreign keys are known to hold

-- Of row i: the column's value where it has one of its own.
CREATE TEMP TABLE own (what text, name text, value text);
INSERT INTO own VALUES
    ('journal', 'key_digest', 'gen_random_uuid()'),
    ('journal', 'id', '(lpad(to_hex(1700000000000 + i / 10), 12, ''0'') || ''7'' || substr(md5(i::text), 1, 3) || ''b'' || substr(md5(i::text), 4, 15))::uuid'),
    ('journal', 'fingerprint', 'md5(i::text)::uuid'),
    ('journal', 'trace_id', 'md5(i::text)::uuid'),
    ('journal', 'credit', 'opened.number'),
    ('journal', 'credit_seq', 'opened.seq + 1 + i / :accounts'),
    ('journal', 'credit_balance', '1000000 + i'),
    ('journal', 'credit_hash', 'sha256(int8send(i))'),
    ('journal', 'key', 'to_hex(i) || ''-0123456789abcdef-'''),
    ('account', 'number', 'nextval(''account_number'')'),
    ('account', 'id', '''bench-'' || lpad(i::text, greatest(6, length(i::text)), ''0'')'),
    ('account', 'head', 'sha256(int8send(i))'),
    ('account', 'room', 'decode(repeat(''00'', 44), ''hex'')'); -- as of one that is new

CREATE TEMP TABLE opened AS
    SELECT row_number() OVER (ORDER BY id) - 1 AS place, number, seq FROM account
     WHERE kind = 0 AND id LIKE 'bench-%' ORDER BY id LIMIT :accounts;
CREATE UNIQUE INDEX ON opened (place);
ANALYZE opened;
CREATE TEMP TABLE template_journal AS SELECT * FROM journal WHERE command = 2 AND result IS NULL LIMIT 1;
CREATE TEMP TABLE template_account AS SELECT * FROM account WHERE kind = 0 AND id LIKE 'bench-%' LIMIT 1;

SELECT format('INSERT INTO %I (%s) SELECT %s FROM generate_series(%s::bigint, %s::bigint) AS i CROSS JOIN template_%s AS template %s',
              :'what', string_agg(quote_ident(attname), ', ' ORDER BY attnum),
              replace(string_agg(coalesce(value, 'template.' || quote_ident(attname)), ', ' ORDER BY attnum), ':accounts', :'accounts'),
              :'first', :'last', :'what',
              CASE WHEN :'what' = 'journal' THEN format('JOIN opened ON place = i %% %s', :'accounts') ELSE '' END)
  FROM pg_attribute LEFT JOIN own ON what = :'what' AND name = attname
 WHERE attrelid = :'what'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''
\gexec
