-- What was imported has an id of when it happened, so among what is new the notary does not find it. Accounts it finds
-- by their numbers; movements between two system accounts, which are in no chain, by this.
CREATE INDEX journal_imported ON journal (id)
    WHERE import IS NOT NULL AND result IS NULL AND debit_seq IS NULL AND credit_seq IS NULL;
