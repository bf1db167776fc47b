/*
 * migrate_pg.c - applies the embedded migrations. Ensures:
 *  1. a migration and the row that says so commit together, or neither does;
 *  2. one runs at a time (a session lock, which ends with the connection, whatever dies);
 *  3. nothing is applied onto a history that differs from the program's.
 */
#include "ledger/migrate_pg.h"
#include "base/query_pg.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { CHECKSUM_LENGTH = 64 }; /* SHA-256 in hex */

/* The key is "ledger" in ASCII: what else takes advisory locks must not use it. */
#define LOCK_KEY "x'6c6564676572'::int8"

static const char lock_take[] = "SELECT pg_advisory_lock(" LOCK_KEY ")";
static const char lock_drop[] = "SELECT pg_advisory_unlock(" LOCK_KEY ")";

static const struct statement history_read = {
    "migrate_history",
    "SELECT version, name, checksum FROM ledger.schema_migration ORDER BY version"};
static const struct statement history_add = {
    "migrate_add", "INSERT INTO ledger.schema_migration (version, name, checksum)"
                   " VALUES ($1::int4, $2::text, $3::text)"};
static const struct statement version_read = {
    "migrate_version", "SELECT coalesce(max(version), 0) FROM ledger.schema_migration"};

/* CREATE ... IF NOT EXISTS asks for the right to create even where there is nothing to do. */
static const char history_create[] =
    "DO $$ BEGIN"
    " IF to_regnamespace('ledger') IS NULL THEN CREATE SCHEMA ledger; END IF;"
    " IF to_regclass('ledger.schema_migration') IS NULL THEN"
    "  CREATE TABLE ledger.schema_migration ("
    "   version int PRIMARY KEY,"
    "   name text NOT NULL,"
    "   checksum text NOT NULL,"
    "   applied_at timestamptz NOT NULL DEFAULT now(),"
    "   applied_by text NOT NULL DEFAULT current_user);"
    " END IF; END $$";

static bool checksum_make(const char *sql, char checksum[static CHECKSUM_LENGTH + 1],
                          struct err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;

    if (EVP_Digest(sql, strlen(sql), digest, &digest_size, EVP_sha256(), NULL) != 1)
        return err_set(err, ERR_FATAL, "could not make a checksum: no SHA-256");
    assert(digest_size * 2 == CHECKSUM_LENGTH);
    for (unsigned i = 0; i < digest_size; i++)
        snprintf(checksum + (size_t)i * 2, 3, "%02x", digest[i]);
    return true;
}

/* One row of the history against the program's own list. */
static bool history_match(const PGresult *rows, int row, struct err *err)
{
    int32_t version = cell_int32(rows, row, 0);
    struct text name = cell_text(rows, row, 1);
    struct text checksum = cell_text(rows, row, 2);
    char expected[CHECKSUM_LENGTH + 1];

    if (version != row + 1)
        return err_set(err, ERR_FATAL,
                       "could not migrate: schema_migration has version %d where %d belongs",
                       (int)version, row + 1);
    if ((uint32_t)version > migrations_count)
        return err_set(err, ERR_FATAL,
                       "could not migrate: the database has %.*s, this program ends at version %u; "
                       "use the newer program",
                       TEXT_ARGS(name), migrations_count);
    const struct migration *migration = &migrations[row];
    assert(migration->version == (uint32_t)version);
    if (!checksum_make(migration->sql, expected, err)) return false;
    if (!text_equal(checksum, text_of(expected)))
        return err_set(err, ERR_FATAL,
                       "could not migrate: %.*s was applied with checksum %.*s, but this program's "
                       "%s has %s; a released migration may not change",
                       TEXT_ARGS(name), TEXT_ARGS(checksum), migration->name, expected);
    return true;
}

static bool history_check(struct db *db, uint32_t *applied, struct err *err)
{
    PGresult *rows;
    bool ok = true;

    if (!query_one(db, &history_read, NULL, 0, &rows, err)) return false;
    for (int row = 0; ok && row < PQntuples(rows); row++) ok = history_match(rows, row, err);
    *applied = (uint32_t)PQntuples(rows);
    PQclear(rows);
    return ok;
}

static bool record(struct db *db, const struct migration *migration, struct err *err)
{
    uint8_t version[sizeof(uint32_t)];
    struct writer writer = writer_over(version, sizeof(version));
    char checksum[CHECKSUM_LENGTH + 1];
    PGresult *result;

    write_u32(&writer, migration->version);
    if (!checksum_make(migration->sql, checksum, err)) return false;
    const struct param params[] = {{version, sizeof(version)},
                                   {migration->name, (uint32_t)strlen(migration->name)},
                                   {checksum, CHECKSUM_LENGTH}};
    if (!query_one(db, &history_add, params, 3, &result, err)) return false;
    PQclear(result);
    return true;
}

static bool apply(struct db *db, const struct migration *migration, struct err *err)
{
    if (db_run(db, "BEGIN", err) && db_run(db, migration->sql, err) && record(db, migration, err) &&
        db_run(db, "COMMIT", err))
        return true;
    query_abandon(db);
    return err_wrap(err, "could not apply %s", migration->name);
}

static bool run_locked(struct db *db, uint32_t *applied, void (*progress)(const char *name),
                       struct err *err)
{
    uint32_t there = 0;

    if (!db_run(db, history_create, err)) return false;
    if (!history_check(db, &there, err)) return false;
    for (uint32_t i = there; i < migrations_count; i++) {
        if (progress != NULL) progress(migrations[i].name);
        if (!apply(db, &migrations[i], err)) return false;
        (*applied)++;
    }
    return true;
}

bool migrate_run(struct db *db, uint32_t *applied, void (*progress)(const char *name),
                 struct err *err)
{
    struct err unlock_err;

    *applied = 0;
    if (!db_run(db, lock_take, err))
        return err_wrap(err, "could not get the migration lock, is another migration running");
    bool ok = run_locked(db, applied, progress, err);
    if (!ok) query_abandon(db);
    if (!ok && err->kind == ERR_REJECT) err->kind = ERR_FATAL; /* there is no batch to isolate */
    /* It fails only on a lost link, and then the lock is gone with the session. */
    if (!db_run(db, lock_drop, &unlock_err)) assert(!db_usable(db));
    return ok;
}

bool migrate_check(struct db *db, struct err *err)
{
    PGresult *result;

    if (!query_one(db, &version_read, NULL, 0, &result, err)) {
        query_abandon(db);
        return false;
    }
    int32_t version = cell_int32(result, 0, 0);
    PQclear(result);
    if (version < 0 || (uint32_t)version > migrations_count)
        return err_set(err, ERR_FATAL,
                       "could not use the schema: it is at version %d, newer than this program "
                       "(version %u); use the newer program",
                       (int)version, migrations_count);
    if ((uint32_t)version < migrations_count)
        return err_set(err, ERR_FATAL,
                       "could not use the schema: it is at version %d, this program needs %u; "
                       "run ledgerctl migrate",
                       (int)version, migrations_count);
    return true;
}
