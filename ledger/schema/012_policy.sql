-- Who may do what. Off until it is enabled; from then on a command that no rule allows is forbidden.

CREATE TABLE policy (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    enabled boolean NOT NULL DEFAULT false,
    version bigint NOT NULL DEFAULT 1 -- of the rules: whoever has read them asks for it
);
INSERT INTO policy DEFAULT VALUES;

CREATE TABLE policy_rule (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    caller      text COLLATE "C" NOT NULL CHECK (octet_length(caller) BETWEEN 1 AND 255), -- user_id; *: any
    commands    text[] NOT NULL CHECK (cardinality(commands) > 0),                        -- words; {*}: all
    account     text COLLATE "C" NOT NULL CHECK (account ~ '^([A-Za-z0-9._:-]{1,64}|[A-Za-z0-9._:-]{0,64}\*)$'),
    asset       asset_code,                            -- NULL: any
    max_amount  bigint CHECK (max_amount > 0),         -- a command, in minor units; NULL: no limit
    daily_limit bigint CHECK (daily_limit > 0),        -- a caller and UTC day, likewise
    note        text CHECK (octet_length(note) <= 256),
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL DEFAULT session_user,
    -- Minor units of several assets do not add up.
    CONSTRAINT policy_rule_limits CHECK (asset IS NOT NULL OR (max_amount IS NULL AND daily_limit IS NULL))
);

CREATE FUNCTION policy_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger.policy SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER policy_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON policy_rule
    FOR EACH STATEMENT EXECUTE FUNCTION policy_changed();

-- What was used of daily limits. Rows stay, as a record; `rule` may be of one that was removed since.
CREATE TABLE policy_usage (
    day    date NOT NULL, -- UTC
    rule   bigint NOT NULL,
    caller text COLLATE "C" NOT NULL,
    used   bigint NOT NULL CHECK (used >= 0),
    PRIMARY KEY (day, rule, caller)
) WITH (fillfactor = 50);

GRANT SELECT ON policy, policy_rule, policy_usage TO ledger_worker, ledger_reader;
GRANT INSERT ON policy_usage TO ledger_worker;
GRANT UPDATE (used) ON policy_usage TO ledger_worker;
