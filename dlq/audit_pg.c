/*
 * audit_pg.c - see audit_pg.h. A letter is staged by one insert and finished by a number in its
 * operation's row: the letters' rows are never updated.
 */
#include "dlq/audit_pg.h"

#include "base/array.h"
#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURN_CLASS = 3, TURN_POLL_MS = 200, NAME_SIZE = 64 }; /* classes 1 and 2: shards_pg.c */

struct audit {
    struct db *db;
    const char *who, *queue;
    char name[NAME_SIZE];
};

static const struct statement TAKE = {
    "audit_take", "SELECT pg_try_advisory_lock(hashtext($1::text) # $2::int4, 0)"};
/* The holder's name is shown only to those who may see it. */
static const struct statement HOLDER = {
    "audit_holder",
    "SELECT coalesce(activity.application_name, ''), coalesce(running.id, 0),"
    "       coalesce(running.verb, ''), coalesce(running.operator, ''),"
    "       coalesce(running.started_at, now())"
    "  FROM pg_locks AS lock LEFT JOIN pg_stat_activity AS activity USING (pid)"
    "  LEFT JOIN LATERAL (SELECT * FROM operation WHERE state = 'running' AND queue = $1::text"
    "                      ORDER BY id DESC LIMIT 1) AS running ON true"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND objid = 0"
    "   AND classid = ((hashtext($1::text) # $2::int4)::int8 & 4294967295)::oid"
    "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"};
static const struct statement REAP = {"audit_reap",
                                      "UPDATE operation SET state = 'interrupted', ended_at = now()"
                                      " WHERE queue = $1::text AND state = 'running'"};
static const struct statement BEGIN = {
    "audit_begin", "INSERT INTO operation (verb, queue, operator, filter, reason)"
                   " VALUES ($1::text, $2::text, $3::text, $4::text, $5::text) RETURNING id"};
static const struct statement STAGE = {
    "audit_stage", "WITH before AS (UPDATE operation SET staged = staged + cardinality($2::text[])"
                   "                 WHERE id = $1::int8"
                   "                RETURNING staged - cardinality($2::text[]) AS count)"
                   " INSERT INTO operation_letter (operation, ordinal, letter, key, caller)"
                   " SELECT $1::int8, before.count + row.number, row.letter, row.key, row.caller"
                   "   FROM before, unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY"
                   "        AS row (letter, key, caller, number)"};
static const struct statement FINISH = {
    "audit_finish", "UPDATE operation SET finished = finished + $2::int8 WHERE id = $1::int8"};
static const struct statement END = {
    "audit_end", "UPDATE operation SET state = $2::text, note = $3::text, ended_at = now()"
                 " WHERE id = $1::int8"};
static const struct statement PENDING = {
    "audit_pending",
    "SELECT wanted.at, max(operation.id)"
    "  FROM unnest($1::text[]) WITH ORDINALITY AS wanted (letter, at)"
    "  JOIN operation_letter AS staged ON staged.letter = wanted.letter"
    "  JOIN operation ON operation.id = staged.operation AND staged.ordinal > operation.finished"
    "   AND operation.queue = $2::text AND operation.state <> 'done'"
    " GROUP BY wanted.at"};
static const struct statement HISTORY = {
    "audit_history",
    "SELECT id, verb, state, operator, login, reason, filter, note, started_at, ended_at, staged,"
    "       finished"
    "  FROM operation"
    " WHERE queue = $1::text AND ($2::text IS NULL OR id IN"
    "       (SELECT operation FROM operation_letter WHERE letter = $2::text))"
    " ORDER BY id DESC LIMIT $3::int8"};

static struct param param_text(const char *text) /* NULL is NULL */
{
    return (struct param){text, text == NULL ? 0 : (uint32_t)strlen(text)};
}

static struct param param_bytes(struct bytes bytes)
{
    return (struct param){bytes.data, bytes.size};
}

struct number {
    uint8_t bytes[8];
};

static struct param param_int8(struct number *memory, int64_t value)
{
    struct writer writer = writer_over(memory->bytes, sizeof memory->bytes);

    write_u64(&writer, (uint64_t)value);
    return (struct param){memory->bytes, sizeof memory->bytes};
}

static const uint8_t turn_class[] = {0, 0, 0, TURN_CLASS};
static const struct param TURN = {turn_class, sizeof turn_class};

static bool run(struct audit *audit, const struct statement *statement, const struct param *params,
                uint32_t count, struct err *err)
{
    PGresult *result;

    if (!query_one(audit->db, statement, params, count, &result, err)) return false;
    PQclear(result);
    return true;
}

bool audit_open(struct audit **out, const struct audit_options *options, struct err *err)
{
    struct audit *audit = calloc(1, sizeof *audit);

    *out = audit;
    if (audit == NULL) return err_set(err, ERR_FATAL, "could not open the record: out of memory");
    (void)snprintf(audit->name, sizeof audit->name, "ledger-dlq %s", options->who);
    audit->who = options->who;
    audit->queue = options->queue;
    struct db_options db = {.url = options->url,
                            .application_name = audit->name,
                            .role = options->role,
                            .connect_timeout_ms = options->timeout_ms,
                            .answer_timeout_ms = options->timeout_ms};
    return db_open(&audit->db, &db, err);
}

void audit_close(struct audit *audit)
{
    if (audit == NULL) return;
    db_close(audit->db);
    free(audit);
}

/* --- whose turn it is -------------------------------------------------------------------- */

static bool say_who(struct audit *audit, struct err *err)
{
    struct param params[] = {param_text(audit->queue), TURN};
    char since[TIME_TEXT_SIZE];
    PGresult *result;

    if (!query_one(audit->db, &HOLDER, params, 2, &result, err)) return false;
    (void)err_set(err, ERR_RETRY, "could not look into %s: somebody else does; try again",
                  audit->queue);
    if (PQntuples(result) > 0 && cell_int64(result, 0, 1) > 0) {
        time_format(cell_time_us(result, 0, 4), since);
        (void)err_set(err, ERR_RETRY,
                      "could not look into %s: %.*s is busy with operation %" PRId64
                      " (%.*s) since %s; see history",
                      audit->queue, TEXT_ARGS(cell_text(result, 0, 3)), cell_int64(result, 0, 1),
                      TEXT_ARGS(cell_text(result, 0, 2)), since);
    } else if (PQntuples(result) > 0 && cell_text(result, 0, 0).length > 0) {
        (void)err_set(err, ERR_RETRY, "could not look into %s: %.*s is looking; try again",
                      audit->queue, TEXT_ARGS(cell_text(result, 0, 0)));
    }
    PQclear(result);
    return false;
}

bool audit_take_turn(struct audit *audit, uint32_t wait_ms, struct err *err)
{
    struct param params[] = {param_text(audit->queue), TURN};
    uint64_t deadline_ms = clock_monotonic_ms() + wait_ms;

    for (;;) {
        PGresult *result;
        if (!query_one(audit->db, &TAKE, params, 2, &result, err)) return false;
        bool taken = cell_bool(result, 0, 0);
        PQclear(result);
        if (taken) return run(audit, &REAP, params, 1, err);
        if (clock_monotonic_ms() >= deadline_ms) return say_who(audit, err);
        clock_sleep_ms(TURN_POLL_MS);
    }
}

/* --- operations -------------------------------------------------------------------------- */

bool audit_begin(struct audit *audit, const char *verb, const char *filter, const char *reason,
                 int64_t *operation, struct err *err)
{
    struct param params[] = {param_text(verb), param_text(audit->queue), param_text(audit->who),
                             param_text(filter), param_text(reason)};
    PGresult *result;

    if (!query_one(audit->db, &BEGIN, params, 5, &result, err)) return false;
    *operation = cell_int64(result, 0, 0);
    PQclear(result);
    return true;
}

/* Whatever the message held: PostgreSQL takes no text that is not UTF-8 or has a NUL. */
static void add_text(struct array *array, struct text text)
{
    bool storable =
        text.length > 0 && utf8_is_valid(text) && memchr(text.bytes, '\0', text.length) == NULL;

    if (storable)
        array_add_text(array, text);
    else
        array_add_null(array);
}

static bool ids_array(const struct letter *letters, uint32_t count, struct arena *arena,
                      struct bytes *out, struct err *err)
{
    struct array array;

    array_begin(&array, arena, ARRAY_TEXT);
    for (uint32_t i = 0; i < count; i++) array_add_text(&array, text_of(letters[i].id));
    return array_end(&array, out, err);
}

bool audit_stage(struct audit *audit, int64_t operation, const struct letter *letters,
                 uint32_t count, struct arena *arena, struct err *err)
{
    struct bytes ids, keys, callers;
    struct number number;
    struct array array;

    assert(count > 0);
    if (!ids_array(letters, count, arena, &ids, err)) return false;
    array_begin(&array, arena, ARRAY_TEXT);
    for (uint32_t i = 0; i < count; i++) add_text(&array, letters[i].key);
    if (!array_end(&array, &keys, err)) return false;
    array_begin(&array, arena, ARRAY_TEXT);
    for (uint32_t i = 0; i < count; i++) add_text(&array, letters[i].caller);
    if (!array_end(&array, &callers, err)) return false;
    struct param params[] = {param_int8(&number, operation), param_bytes(ids), param_bytes(keys),
                             param_bytes(callers)};
    return run(audit, &STAGE, params, 4, err);
}

bool audit_finish(struct audit *audit, int64_t operation, uint32_t count, struct err *err)
{
    struct number numbers[2];
    struct param params[] = {param_int8(&numbers[0], operation), param_int8(&numbers[1], count)};

    return run(audit, &FINISH, params, 2, err);
}

bool audit_end(struct audit *audit, int64_t operation, enum operation_state state, const char *note,
               struct err *err)
{
    static const char *const words[] = {
        [OPERATION_DONE] = "done", [OPERATION_STOPPED] = "stopped", [OPERATION_FAILED] = "failed"};
    struct number number;
    struct param params[] = {param_int8(&number, operation), param_text(words[state]),
                             param_text(note)};

    return run(audit, &END, params, 3, err);
}

bool audit_pending(struct audit *audit, const struct letter *letters, uint32_t count,
                   int64_t *operations, struct arena *arena, struct err *err)
{
    struct bytes ids;
    PGresult *result;

    memset(operations, 0, count * sizeof *operations);
    if (!ids_array(letters, count, arena, &ids, err)) return false;
    struct param params[] = {param_bytes(ids), param_text(audit->queue)};
    if (!query_one(audit->db, &PENDING, params, 2, &result, err)) return false;
    for (int row = 0; row < PQntuples(result); row++) {
        int64_t at = cell_int64(result, row, 0);
        assert(at >= 1);
        assert(at <= count);
        operations[at - 1] = cell_int64(result, row, 1);
    }
    PQclear(result);
    return true;
}

/* --- history ----------------------------------------------------------------------------- */

static struct text cell_text_or_empty(const PGresult *result, int row, int column)
{
    return cell_is_null(result, row, column) ? (struct text){0} : cell_text(result, row, column);
}

bool audit_history(struct audit *audit, const char *letter, uint32_t limit,
                   void (*each)(void *context, const struct operation *operation), void *context,
                   struct err *err)
{
    struct number number;
    struct param params[] = {param_text(audit->queue), param_text(letter),
                             param_int8(&number, limit)};
    PGresult *result;

    if (!query_one(audit->db, &HISTORY, params, 3, &result, err)) return false;
    for (int row = 0; row < PQntuples(result); row++) {
        struct operation operation = {
            .id = cell_int64(result, row, 0),
            .verb = cell_text(result, row, 1),
            .state = cell_text(result, row, 2),
            .who = cell_text(result, row, 3),
            .login = cell_text(result, row, 4),
            .reason = cell_text_or_empty(result, row, 5),
            .filter = cell_text(result, row, 6),
            .note = cell_text_or_empty(result, row, 7),
            .started_us = cell_time_us(result, row, 8),
            .ended_us = cell_is_null(result, row, 9) ? 0 : cell_time_us(result, row, 9),
            .staged = cell_int64(result, row, 10),
            .finished = cell_int64(result, row, 11)};
        each(context, &operation);
    }
    PQclear(result);
    return true;
}
