-- The ledger's tables.
--
-- One row of `journal` is the outcome of one command: applied or refused, under its idempotency key, for
-- ever. An applied movement of money names a debited and a credited account in that one row, so a
-- transaction that does not balance cannot be written down. The view `posting` shows both sides.
--
-- Accounts of kind 'user' are locked, changed and counted (seq) under their row lock. Accounts of kind
-- 'system' (an asset's world, fees, suspense) need no floor, so nothing waits for a lock on one: their
-- changes are appended to account_delta, one row a batch, and rolled up into the account now and then.

-- Domains, because a CHECK of the table would run again each time a balance changes.
CREATE DOMAIN identifier AS text COLLATE "C" CHECK (VALUE ~ '^[A-Za-z0-9._:-]{1,64}$');
CREATE DOMAIN asset_code AS text COLLATE "C" CHECK (VALUE ~ '^[A-Z0-9.]{1,12}$');

CREATE TABLE asset (
    code  asset_code PRIMARY KEY,
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 18)
);

CREATE TABLE ledger_user (
    id         identifier PRIMARY KEY,
    name       text CHECK (octet_length(name) <= 256),
    created_at timestamptz NOT NULL
);

CREATE SEQUENCE account_number AS bigint;

-- fillfactor: a balance update stays on its page (heap-only), so no index is touched by it.
CREATE TABLE account (
    number     bigint NOT NULL,
    balance    bigint NOT NULL DEFAULT 0,
    held       bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    seq        bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    created_at timestamptz NOT NULL,
    kind       smallint NOT NULL CHECK (kind IN (0, 1)),
    id         identifier NOT NULL,
    user_id    identifier NOT NULL REFERENCES ledger_user,
    asset      asset_code NOT NULL REFERENCES asset,
    metadata   bytea CHECK (octet_length(metadata) <= 4096),
    CONSTRAINT account_pkey PRIMARY KEY (number),
    CONSTRAINT account_id_key UNIQUE (id),
    -- The last line behind the ledger's own check.
    CONSTRAINT account_not_negative CHECK (kind = 1 OR balance - held >= 0)
) WITH (fillfactor = 60);
-- text_pattern_ops: an order of its own (here the same), so that "the first accounts of a user" cannot be
-- taken for "the first accounts, if they are the user's".
CREATE INDEX account_user ON account (user_id, id text_pattern_ops);
-- Few, and asked for by every batch: is one of these ids a system account?
CREATE INDEX account_system ON account (id) WHERE kind = 1;
COMMENT ON COLUMN account.kind IS '0 user: never below zero; 1 system: no floor, balance rolled up';

-- For statements that know how many rows they must change: they fail, and their transaction with them.
CREATE FUNCTION assert_rows(changed bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF changed <> wanted THEN
        RAISE EXCEPTION '% rows changed, not %: somebody else wrote what was locked', changed, wanted;
    END IF;
END $$;

CREATE TABLE account_delta (
    account bigint NOT NULL,
    delta   bigint NOT NULL
);
CREATE INDEX account_delta_account ON account_delta (account);

CREATE TABLE journal (
    key_digest     uuid NOT NULL,        -- SHA-256 of caller and key, cut to 16 bytes
    id             uuid NOT NULL,        -- UUIDv7; the transaction's id when applied
    fingerprint    uuid NOT NULL,        -- of the command: another payload under the key is a conflict
    trace_id       uuid NOT NULL,
    created_at     timestamptz NOT NULL, -- this server's clock, read under the accounts' locks
    debit          bigint,               -- account numbers
    credit         bigint,
    amount         bigint CHECK (amount > 0),
    debit_seq      bigint,               -- the account's sequence number and balance after this row;
    debit_balance  bigint,               -- NULL for a system account
    debit_held     bigint,
    credit_seq     bigint,
    credit_balance bigint,
    credit_held    bigint,
    command        smallint NOT NULL,    -- 1 open_account, 2 deposit, 3 withdraw, 4 transfer
    result         text COLLATE "C",     -- NULL: applied; else the word of the refusal
    caller         text COLLATE "C" NOT NULL,
    key            text COLLATE "C" NOT NULL,
    metadata       bytea,
    CONSTRAINT journal_pkey PRIMARY KEY (key_digest),
    CONSTRAINT journal_movement CHECK (
        result IS NOT NULL AND debit_seq IS NULL AND credit_seq IS NULL -- what was asked for, where known
        OR result IS NULL AND command = 1 AND amount IS NULL AND credit IS NOT NULL
        OR result IS NULL AND command > 1 AND amount IS NOT NULL AND debit <> credit)
);
CREATE UNIQUE INDEX journal_id ON journal (id);
-- One account's history, and the proof that each sequence number was used once.
CREATE UNIQUE INDEX journal_debit ON journal (debit, debit_seq) WHERE debit_seq IS NOT NULL;
CREATE UNIQUE INDEX journal_credit ON journal (credit, credit_seq) WHERE credit_seq IS NOT NULL;

CREATE VIEW posting AS
    SELECT id AS transaction, debit AS account, -amount AS amount, debit_seq AS seq,
           debit_balance AS balance, created_at
      FROM journal WHERE result IS NULL AND amount IS NOT NULL
    UNION ALL
    SELECT id, credit, amount, credit_seq, credit_balance, created_at
      FROM journal WHERE result IS NULL AND amount IS NOT NULL;

-- The outbox. Rows are inserted as the last statement of a transaction, after every account lock, from a
-- sequence without cache: so their id order is commit order for each account. Nothing is updated or
-- deleted; of three partitions one is filled, one is kept as evidence, one is truncated.
CREATE SEQUENCE outbox_id AS bigint CACHE 1;

CREATE TABLE outbox (
    slot        smallint NOT NULL,
    kind        smallint NOT NULL, -- 0 event, 1 reply, 2 dead letter
    id          bigint NOT NULL DEFAULT nextval('outbox_id'),
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    destination text NOT NULL,     -- routing key, or the reply queue
    properties  bytea NOT NULL,    -- AMQP basic properties as on the wire
    body        bytea NOT NULL
) PARTITION BY LIST (slot);
CREATE TABLE outbox_0 PARTITION OF outbox FOR VALUES IN (0);
CREATE TABLE outbox_1 PARTITION OF outbox FOR VALUES IN (1);
CREATE TABLE outbox_2 PARTITION OF outbox FOR VALUES IN (2);
-- Bodies stay in the row and as they are: most are small, and compressing them costs more than it saves.
ALTER TABLE outbox_0 ALTER COLUMN properties SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE outbox_1 ALTER COLUMN properties SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE outbox_2 ALTER COLUMN properties SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX outbox_0_xid ON outbox_0 (xid);
CREATE INDEX outbox_1_xid ON outbox_1 (xid);
CREATE INDEX outbox_2_xid ON outbox_2 (xid);
-- Insert-only and truncated whole: nothing for autovacuum to do but to freeze.
ALTER TABLE outbox_0 SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE outbox_1 SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE outbox_2 SET (autovacuum_vacuum_insert_threshold = -1);

CREATE TABLE outbox_rotation (
    single     boolean PRIMARY KEY DEFAULT true CHECK (single),
    slot       smallint NOT NULL DEFAULT 0, -- the partition that is filled
    rotated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO outbox_rotation DEFAULT VALUES;

-- Each sink's progress: everything visible in `snapshot` is published and confirmed; of what `target`
-- sees beyond that, everything up to `position`. On a restored or cloned database the snapshots mean
-- nothing: the relay compares the system identifier and refuses until `ledgerctl rebase`.
CREATE TABLE outbox_cursor (
    sink              text COLLATE "C" PRIMARY KEY,
    snapshot          pg_snapshot NOT NULL,
    target            pg_snapshot,
    position          bigint NOT NULL DEFAULT 0,
    epoch             bigint NOT NULL DEFAULT 0, -- counts leaders
    system_identifier bigint NOT NULL,
    saved_at          timestamptz NOT NULL DEFAULT now()
);

-- ISO 4217 active codes with their minor units.
INSERT INTO asset (code, scale)
SELECT code, scale FROM (VALUES
    (0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'),
    (2, 'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD '
     || 'CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL '
     || 'GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD '
     || 'LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN '
     || 'PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB '
     || 'TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST YER ZAR ZMW ZWL'),
    (3, 'BHD IQD JOD KWD LYD OMR TND'),
    (4, 'CLF UYW')) AS list (scale, codes),
    LATERAL regexp_split_to_table(codes, ' +') AS code
WHERE code <> '';

-- The outside world of each asset: what is deposited comes from it, what is withdrawn goes to it.
INSERT INTO ledger_user (id, name, created_at) VALUES ('system', 'the ledger itself', now());
INSERT INTO account (number, created_at, kind, id, user_id, asset)
SELECT nextval('account_number'), now(), 1, 'world:' || code, 'system', code FROM asset ORDER BY code;
