-- What operators and crashes leave on record.

-- A message that was delivered again and again is suspected of killing workers. A worker notes here that
-- it begins one, and takes the note out when it has settled it: what stays was the last thing it did.
CREATE TABLE suspect (
    digest  uuid PRIMARY KEY,     -- SHA-256 of message_id, correlation_id and body, cut to 16 bytes
    process uuid NOT NULL,        -- who began it last
    times   integer NOT NULL,     -- how many processes began it
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- Each action of an operator on the dead letters. One that is 'running' while nobody holds its lock was
-- interrupted: what was staged and not finished is still in the queue.
CREATE TABLE operation (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    verb       text NOT NULL CHECK (verb IN ('replay', 'drop', 'export', 'import')),
    queue      text NOT NULL,
    operator   text NOT NULL,                      -- as they say
    login      text NOT NULL DEFAULT session_user, -- as PostgreSQL knows
    reason     text,
    filter     text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'stopped', 'failed', 'interrupted')),
    staged     bigint NOT NULL DEFAULT 0,
    finished   bigint NOT NULL DEFAULT 0,          -- published (or dropped) and confirmed, of the staged ones
    note       text
);
CREATE INDEX operation_started ON operation (started_at);

-- The letters of an action, in its order, written before anything is done to them.
CREATE TABLE operation_letter (
    operation bigint NOT NULL REFERENCES operation,
    ordinal   bigint NOT NULL,
    letter    text NOT NULL,
    key       text,
    caller    text,
    PRIMARY KEY (operation, ordinal)
);
CREATE INDEX operation_letter_letter ON operation_letter (letter);

DO $$
BEGIN
    CREATE ROLE ledger_operator NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON suspect TO ledger_worker;
GRANT USAGE ON SCHEMA ledger TO ledger_operator;
GRANT SELECT ON schema_migration TO ledger_operator;
GRANT SELECT, INSERT ON operation, operation_letter TO ledger_operator;
GRANT UPDATE (ended_at, state, staged, finished, note) ON operation TO ledger_operator;
GRANT SELECT ON suspect, operation, operation_letter TO ledger_reader;
