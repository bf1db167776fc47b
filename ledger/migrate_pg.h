/*
 * migrate_pg.h - the schema's versions. The texts of ledger/schema/NNN_name.sql are part of the
 * program (scripts/embed), so that program and schema cannot be told apart by accident.
 *
 * A migration that was released is never edited: its checksum is kept with it. It may hold no
 * BEGIN, COMMIT or anything that cannot run in a transaction.
 */
#ifndef LEDGER_MIGRATE_PG_H
#define LEDGER_MIGRATE_PG_H

#include "base/db_pg.h"

struct migration {
    uint32_t version; /* 1, 2, 3, ... without a gap */
    const char *name; /* the file's: 001_ledger */
    const char *sql;
};

/* Made by scripts/embed. */
extern const struct migration migrations[];
extern const uint32_t migrations_count;

/* Brings the schema to the newest version, each migration in a transaction of its own; progress
 * (may be NULL) hears the name of each before it runs. Safe to run twice, also at the same time:
 * the second waits for the first. ERR_FATAL when what was applied is not what this program holds.
 * Needs a login that owns the schema, and on db an answer timeout that is long enough for the
 * slowest migration: it bounds that, and the wait for another one (then ERR_RETRY). */
MUST_CHECK bool migrate_run(struct db *db, uint32_t *applied, void (*progress)(const char *name),
                            struct err *err);

/* For processes at start: ERR_FATAL, saying what to run, unless the schema is at exactly the
 * version that this program was built for. */
MUST_CHECK bool migrate_check(struct db *db, struct err *err);

#endif
