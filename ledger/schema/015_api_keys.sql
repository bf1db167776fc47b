-- Keys of those who call the gateway. What a key is made of is not here: only a digest of it.

CREATE TABLE api_key (
    id         text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32), -- SHA-256 of the secret
    caller     identifier NOT NULL, -- whose idempotency keys and permissions a command has
    may_read   boolean NOT NULL,
    may_write  boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT session_user,
    expires_at timestamptz,
    revoked_at timestamptz,
    replaces   text COLLATE "C" REFERENCES api_key,
    note       text CHECK (octet_length(note) <= 256),
    CONSTRAINT api_key_scope CHECK (may_read OR may_write)
);
COMMENT ON TABLE api_key IS 'rows stay, as a record of who could call';

CREATE TABLE api_key_state (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL DEFAULT 1 -- of the keys: whoever has read them asks for it
);
INSERT INTO api_key_state DEFAULT VALUES;

CREATE FUNCTION api_key_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger.api_key_state SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER api_key_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_key
    FOR EACH STATEMENT EXECUTE FUNCTION api_key_changed();

-- The gateway's role: it reads the keys, and nothing else of the ledger. Those that read all may not.
DO $$
BEGIN
    CREATE ROLE ledger_gateway NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
GRANT USAGE ON SCHEMA ledger TO ledger_gateway;
GRANT SELECT ON schema_migration, api_key, api_key_state TO ledger_gateway;
