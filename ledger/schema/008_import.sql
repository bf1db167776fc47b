-- What came from another ledger: see docs/import.md.

-- One row for each file, by its name. `position` moves in the transaction of the lines it counts, so whatever
-- dies, an import goes on where it was, and no line is taken twice.
CREATE TABLE import (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text COLLATE "C" NOT NULL UNIQUE,
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32), -- SHA-256 of the file
    size       bigint NOT NULL CHECK (size >= 0),                -- bytes
    position   bigint NOT NULL DEFAULT 0 CHECK (position BETWEEN 0 AND size),
    line       bigint NOT NULL DEFAULT 0,  -- of the file, the last one before position
    applied    bigint NOT NULL DEFAULT 0,  -- commands, one or more a line
    repeated   bigint NOT NULL DEFAULT 0,  -- commands whose key was there
    refused    bigint NOT NULL DEFAULT 0,  -- lines that were left out
    events     boolean NOT NULL,           -- whether what is applied is told in events
    login      text NOT NULL DEFAULT session_user,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz                 -- NULL: not at its end yet
);

-- Of what was imported: by which import. Such a row has the time at which it happened, not at which it was
-- written, and its events are in the outbox only if that import has them.
ALTER TABLE journal ADD COLUMN import integer;

GRANT SELECT, INSERT ON import TO ledger_worker;
GRANT UPDATE (digest, size, position, line, applied, repeated, refused, ended_at) ON import TO ledger_worker;
GRANT SELECT ON import TO ledger_reader;
