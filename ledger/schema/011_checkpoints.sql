-- Checkpoints: what the notary signed of the accounts' chains, see protocol/checkpoint.h. The same goes out
-- as an event: what is kept of it elsewhere cannot be changed here.

CREATE TABLE checkpoint (
    number     bigint PRIMARY KEY,          -- 1, 2, 3, ...
    previous   bytea NOT NULL,              -- the hash of the header before
    root       bytea NOT NULL,              -- of the tree over the leaves
    leaves     bigint NOT NULL CHECK (leaves > 0),
    created_at timestamptz NOT NULL,
    key        bytea NOT NULL,              -- id of the key that signed
    signature  bytea NOT NULL
);

-- An account that had changed since the checkpoint before, as it stood then; or a movement between two
-- system accounts, which is in no account's chain.
CREATE TABLE checkpoint_leaf (
    checkpoint  bigint NOT NULL,
    position    bigint NOT NULL,            -- its place in the tree, from 0
    account     bigint,
    seq         bigint,
    head        bytea,
    transaction uuid,
    content     bytea,
    PRIMARY KEY (checkpoint, position),
    CONSTRAINT checkpoint_leaf_kind CHECK (
        CASE WHEN transaction IS NULL THEN account IS NOT NULL AND seq IS NOT NULL AND head IS NOT NULL
             ELSE account IS NULL AND content IS NOT NULL END)
);
-- Which checkpoint covers an entry; what was notarised of an account last.
CREATE UNIQUE INDEX checkpoint_leaf_account ON checkpoint_leaf (account, seq) WHERE account IS NOT NULL;
CREATE UNIQUE INDEX checkpoint_leaf_transaction ON checkpoint_leaf (transaction) WHERE transaction IS NOT NULL;

DO $$
BEGIN
    CREATE ROLE ledger_notary NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- It reads what it attests, and can add; it can change nothing.
GRANT USAGE ON SCHEMA ledger TO ledger_notary;
GRANT SELECT ON schema_migration, journal, account, outbox_rotation, checkpoint, checkpoint_leaf TO ledger_notary;
GRANT INSERT ON checkpoint, checkpoint_leaf, outbox TO ledger_notary;
GRANT USAGE ON SEQUENCE outbox_id TO ledger_notary;
GRANT SELECT ON checkpoint, checkpoint_leaf TO ledger_reader;
