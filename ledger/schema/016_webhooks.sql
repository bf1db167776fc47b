-- Endpoints that are told of events over HTTP, what was tried there, and what waits for its turn.

CREATE TABLE webhook_endpoint (
    id              text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    url             text NOT NULL CHECK (octet_length(url) <= 2000),
    secret          bytea NOT NULL CHECK (octet_length(secret) BETWEEN 24 AND 64), -- as it is: it signs
    previous_secret bytea CHECK (octet_length(previous_secret) BETWEEN 24 AND 64),
    previous_until  timestamptz, -- it signs beside the new one until then
    types           text NOT NULL DEFAULT '' CHECK (octet_length(types) <= 500),     -- transaction.*,hold.placed; empty: all
    account         text NOT NULL DEFAULT '' CHECK (octet_length(account) <= 65),    -- shop:*; empty: all
    ordered         boolean NOT NULL DEFAULT false,
    paused          boolean NOT NULL DEFAULT false,
    pause_reason    text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text NOT NULL DEFAULT session_user,
    removed_at      timestamptz -- a dispatcher deletes its queue, and then this row
);

CREATE TABLE webhook_attempt (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint     text COLLATE "C" NOT NULL,
    event        text NOT NULL, -- the header webhook-id
    type         text NOT NULL,
    attempted_at timestamptz NOT NULL,
    try          integer NOT NULL,
    status       integer NOT NULL, -- of HTTP; 0: there was no answer
    error        text,             -- why it was not accepted
    took_ms      integer NOT NULL,
    trace_id     text
);
CREATE INDEX webhook_attempt_endpoint ON webhook_attempt (endpoint, id);
COMMENT ON TABLE webhook_attempt IS 'deleted by age, the oldest first, by a dispatcher';

-- For endpoints that want an account's events in order. The first one is in a delay queue, or on its way; those behind
-- it, which have their bytes here, wait until it was accepted or given up.
CREATE TABLE webhook_waiting (
    endpoint   text COLLATE "C" NOT NULL,
    account    text COLLATE "C" NOT NULL,
    position   bigint NOT NULL,
    waits_from timestamptz NOT NULL DEFAULT now(),
    properties bytea,
    body       bytea,
    PRIMARY KEY (endpoint, account, position)
);

-- The dispatcher's role: it reads endpoints with their secrets, which those that read all may not; nothing of the
-- books is open to it.
DO $$
BEGIN
    CREATE ROLE ledger_webhooks NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
GRANT USAGE ON SCHEMA ledger TO ledger_webhooks;
GRANT SELECT ON schema_migration TO ledger_webhooks;
GRANT SELECT, DELETE ON webhook_endpoint TO ledger_webhooks;
GRANT UPDATE (paused, pause_reason) ON webhook_endpoint TO ledger_webhooks;
GRANT SELECT, INSERT, DELETE ON webhook_attempt TO ledger_webhooks;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_waiting TO ledger_webhooks;
