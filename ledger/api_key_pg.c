/*
 * api_key_pg.c - see api_key_pg.h. Every change of a key changes the version: a trigger does, so
 * that no change by hand is missed. It is read together with the keys, in one statement's snapshot.
 */
#include "ledger/api_key_pg.h"

#include "base/query_pg.h"

#include <stdlib.h>
#include <string.h>

static const struct statement version_now = {"api_key_version",
                                             "SELECT version FROM api_key_state"};
#define KEY_COLUMNS                                                                                \
    "id, digest, caller, may_read, may_write, created_at, expires_at, revoked_at, note"
/* The state's row is there even when there is no key. */
static const struct statement in_force = {
    "api_key_in_force", "SELECT version, " KEY_COLUMNS "  FROM api_key_state LEFT JOIN"
                        "       (SELECT * FROM api_key WHERE revoked_at IS NULL"
                        "           AND (expires_at IS NULL OR expires_at > now()) ORDER BY id "
                        "LIMIT 65537) AS key ON true"
                        " ORDER BY id"};
_Static_assert(API_KEYS_MAX == 65536, "one more, as it says");
static const struct statement list_keys = {"api_key_list",
                                           "SELECT 0::int8, " KEY_COLUMNS
                                           " FROM api_key ORDER BY caller, api_key.created_at, id"};
static const struct statement insert_key = {
    "api_key_add", "INSERT INTO api_key (id, digest, caller, may_read, may_write, expires_at, note)"
                   " SELECT $1::text, $2::bytea, $3::text, $4::int8 & 1 <> 0, $4::int8 & 2 <> 0,"
                   "        $5::timestamptz, nullif($6::text, '')"};
/* Rows are inserted only if the old key is there to be shortened. */
static const struct statement replace_key = {
    "api_key_rotate",
    "WITH old AS ("
    " UPDATE api_key SET expires_at = least(expires_at, now() + $4::int8 * interval '1 second')"
    "  WHERE id = $3::text AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
    " RETURNING id, caller, may_read, may_write, note)"
    " INSERT INTO api_key (id, digest, caller, may_read, may_write, expires_at, note, replaces)"
    " SELECT $1::text, $2::bytea, caller, may_read, may_write, $5::timestamptz, note, id FROM old"};
static const struct statement revoke_key = {
    "api_key_revoke",
    "UPDATE api_key SET revoked_at = now() WHERE id = $1::text AND revoked_at IS NULL"};

enum key_column {
    KEY_VERSION,
    KEY_ID,
    KEY_DIGEST,
    KEY_CALLER,
    KEY_MAY_READ,
    KEY_MAY_WRITE,
    KEY_CREATED_AT,
    KEY_EXPIRES_AT,
    KEY_REVOKED_AT,
    KEY_NOTE,
};

static int64_t time_or_never(const PGresult *rows, int row, int column)
{
    return cell_is_null(rows, row, column) ? 0 : cell_time_us(rows, row, column);
}

static bool take_key(const PGresult *rows, int row, struct api_key *out, struct err *err)
{
    struct bytes digest = cell_bytes(rows, row, KEY_DIGEST);

    *out = (struct api_key){.scopes =
                                (uint32_t)((cell_bool(rows, row, KEY_MAY_READ) ? SCOPE_READ : 0) |
                                           (cell_bool(rows, row, KEY_MAY_WRITE) ? SCOPE_WRITE : 0)),
                            .created_us = cell_time_us(rows, row, KEY_CREATED_AT),
                            .expires_us = time_or_never(rows, row, KEY_EXPIRES_AT),
                            .revoked_us = time_or_never(rows, row, KEY_REVOKED_AT)};
    if (digest.size == SHA256_SIZE &&
        text_copy(cell_text(rows, row, KEY_ID), out->id, sizeof out->id) &&
        text_copy(cell_text(rows, row, KEY_CALLER), out->caller, sizeof out->caller) &&
        text_copy(cell_text(rows, row, KEY_NOTE), out->note, sizeof out->note)) {
        memcpy(out->digest.bytes, digest.data, SHA256_SIZE);
        return true;
    }
    return err_set(err, ERR_FATAL, "could not read the API keys: %.*s is not understood",
                   TEXT_ARGS(cell_text(rows, row, KEY_ID)));
}

static bool take_keys(const PGresult *rows, struct api_key **keys, uint32_t *count, struct err *err)
{
    uint32_t rows_count = (uint32_t)PQntuples(rows);
    bool has_none = rows_count == 1 && cell_is_null(rows, 0, KEY_ID);

    *count = has_none ? 0 : rows_count;
    if (*count > API_KEYS_MAX)
        return err_set(err, ERR_FATAL, "could not read the API keys: more than %d are in force",
                       API_KEYS_MAX);
    *keys = malloc((*count + 1U) * sizeof **keys);
    if (*keys == NULL) return err_set(err, ERR_RETRY, "could not read the API keys: out of memory");
    for (uint32_t i = 0; i < *count; i++) {
        if (take_key(rows, (int)i, &(*keys)[i], err)) continue;
        free(*keys);
        *keys = NULL;
        return false;
    }
    return true;
}

bool api_keys_read(struct db *db, int64_t *version, struct api_key **keys, uint32_t *count,
                   bool *changed, struct err *err)
{
    PGresult *rows;

    *keys = NULL;
    *count = 0;
    *changed = false;
    if (!query_one(db, &version_now, NULL, 0, &rows, err)) return false;
    bool is_known = PQntuples(rows) == 1 && cell_int64(rows, 0, 0) == *version;
    PQclear(rows);
    if (is_known) return true;
    if (!query_one(db, &in_force, NULL, 0, &rows, err)) return false;
    bool ok = PQntuples(rows) > 0 ||
              err_set(err, ERR_FATAL, "could not read the API keys: their state is gone");
    if (ok && take_keys(rows, keys, count, err)) {
        *version = cell_int64(rows, 0, KEY_VERSION);
        *changed = true;
    } else {
        ok = false;
    }
    PQclear(rows);
    return ok;
}

/* --- for the owner ---------------------------------------------------------------------------- */

bool api_keys_list(struct db *db, void (*each)(void *context, const struct api_key *key),
                   void *context, struct err *err)
{
    struct api_key key;
    PGresult *rows;
    bool ok = true;

    if (!query_one(db, &list_keys, NULL, 0, &rows, err)) return false;
    for (int row = 0; ok && row < PQntuples(rows); row++) {
        ok = take_key(rows, row, &key, err);
        if (ok) each(context, &key);
    }
    PQclear(rows);
    return ok;
}

static struct param text_param(const char *text)
{
    return (struct param){text, (uint32_t)strlen(text)};
}

static struct param number_param(int64_t number, uint8_t binary[static 8])
{
    struct writer writer = writer_over(binary, 8);

    write_u64(&writer, (uint64_t)number);
    return (struct param){binary, 8};
}

/* NULL: never. */
static struct param time_param(int64_t wall_us, uint8_t binary[static 8])
{
    const int64_t epoch_us = INT64_C(946684800) * 1000000; /* PostgreSQL counts from 2000 on */

    if (wall_us == 0) return (struct param){NULL, 0};
    return number_param(wall_us - epoch_us, binary);
}

/* One statement; *changed is the number of rows it touched. */
static bool change(struct db *db, const struct statement *statement, const struct param *params,
                   uint32_t count, uint64_t *changed, struct err *err)
{
    bool ok = query_send(db, statement, params, count, err) && query_sync(db, err) &&
              query_done_rows(db, changed, err) && query_done(db, err);
    if (!ok) query_abandon(db);
    return ok;
}

bool api_key_add(struct db *db, const struct api_key *key, struct err *err)
{
    uint8_t scopes[8], expires[8];
    uint64_t changed;
    const struct param params[] = {text_param(key->id),
                                   {key->digest.bytes, SHA256_SIZE},
                                   text_param(key->caller),
                                   number_param(key->scopes, scopes),
                                   time_param(key->expires_us, expires),
                                   text_param(key->note)};

    return change(db, &insert_key, params, 6, &changed, err);
}

bool api_key_rotate(struct db *db, const char *replaced, const struct api_key *key,
                    uint32_t overlap_s, bool *found, struct err *err)
{
    uint8_t overlap[8], expires[8];
    uint64_t changed = 0;
    const struct param params[] = {text_param(key->id),
                                   {key->digest.bytes, SHA256_SIZE},
                                   text_param(replaced),
                                   number_param(overlap_s, overlap),
                                   time_param(key->expires_us, expires)};

    bool ok = change(db, &replace_key, params, 5, &changed, err);
    *found = changed > 0;
    return ok;
}

bool api_key_revoke(struct db *db, const char *id, bool *found, struct err *err)
{
    const struct param params[] = {text_param(id)};
    uint64_t changed = 0;

    bool ok = change(db, &revoke_key, params, 1, &changed, err);
    *found = changed > 0;
    return ok;
}
