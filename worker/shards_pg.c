/*
 * shards_pg.c - advisory locks (class, number), where the class is made of the prefix and of what
 * is locked, so that two ledgers in one database do not meet.
 */
#include "worker/shards_pg.h"

#include <assert.h>
#include <string.h>

enum lock_class { CLASS_WORKER = 1, CLASS_SHARD = 2 };

static const struct statement REGISTER = {
    "shards_register",
    "SELECT pg_backend_pid(), pg_advisory_lock(hashtext($1::text) # $2::int4, pg_backend_pid())"};
static const struct statement SURVEY = {
    "shards_survey",
    "SELECT classid = ((hashtext($1::text) # $2::int4)::int8 & 4294967295)::oid, "
    "objid::int8::int4, pid"
    "  FROM pg_locks"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    "   AND classid IN (((hashtext($1::text) # $2::int4)::int8 & 4294967295)::oid,"
    "                   ((hashtext($1::text) # $3::int4)::int8 & 4294967295)::oid)"};
static const struct statement LOCK = {
    "shards_lock", "SELECT pg_try_advisory_lock(hashtext($1::text) # $2::int4, $3::int4)"};
static const struct statement UNLOCK = {
    "shards_unlock", "SELECT pg_advisory_unlock(hashtext($1::text) # $2::int4, $3::int4)"};

struct int4 {
    uint8_t bytes[4];
};

static struct int4 int4_of(uint32_t value)
{
    return (struct int4){
        {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value}};
}

static struct param param_text(const char *text)
{
    return (struct param){text, (uint32_t)strlen(text)};
}

static struct param param_int4(const struct int4 *value)
{
    return (struct param){value->bytes, sizeof value->bytes};
}

bool shards_register(struct db *db, const char *prefix, int32_t *self, struct err *err)
{
    struct int4 class = int4_of(CLASS_WORKER);
    struct param params[] = {param_text(prefix), param_int4(&class)};
    PGresult *result;

    if (!query_one(db, &REGISTER, params, 2, &result, err)) return false;
    *self = cell_int32(result, 0, 0);
    PQclear(result);
    return true;
}

bool shards_survey(struct db *db, const char *prefix, struct survey *survey, struct err *err)
{
    struct int4 worker = int4_of(CLASS_WORKER), shard = int4_of(CLASS_SHARD);
    struct param params[] = {param_text(prefix), param_int4(&worker), param_int4(&shard)};
    PGresult *result;
    bool ok = true;

    memset(survey->owner, 0, sizeof survey->owner);
    survey->workers_count = 0;
    if (!query_one(db, &SURVEY, params, 3, &result, err)) return false;
    for (int row = 0; row < PQntuples(result) && ok; row++) {
        int32_t number = cell_int32(result, row, 1), pid = cell_int32(result, row, 2);
        if (!cell_bool(result, row, 0)) {
            if (number >= 0 && (uint32_t)number < survey->shards) survey->owner[number] = pid;
        } else if (survey->workers_count < WORKERS_MAX) {
            survey->workers[survey->workers_count++] = pid;
        } else {
            ok = err_set(err, ERR_FATAL, "could not share shards: over %d workers", WORKERS_MAX);
        }
    }
    PQclear(result);
    return ok;
}

static bool shard_call(struct db *db, const struct statement *statement, const char *prefix,
                       uint32_t shard, bool *answer, struct err *err)
{
    struct int4 class = int4_of(CLASS_SHARD), number = int4_of(shard);
    struct param params[] = {param_text(prefix), param_int4(&class), param_int4(&number)};
    PGresult *result;

    if (!query_one(db, statement, params, 3, &result, err)) return false;
    *answer = cell_bool(result, 0, 0);
    PQclear(result);
    return true;
}

bool shards_lock(struct db *db, const char *prefix, uint32_t shard, bool *locked, struct err *err)
{
    return shard_call(db, &LOCK, prefix, shard, locked, err);
}

bool shards_unlock(struct db *db, const char *prefix, uint32_t shard, struct err *err)
{
    bool unlocked = false;

    if (!shard_call(db, &UNLOCK, prefix, shard, &unlocked, err)) return false;
    assert(unlocked); /* given up by its holder alone */
    return true;
}
