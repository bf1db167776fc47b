/*
 * store_pg.c - see store_pg.h.
 */
#include "webhooks/store_pg.h"

#include "base/array.h"
#include "base/query_pg.h"

#include <string.h>

enum { NUMBER_SIZE = 8 };

static const struct statement read_endpoints = {
    "webhook_endpoints", "SELECT id, url, types, account, ordered, paused,"
                         "       removed_at IS NOT NULL, secret,"
                         "       CASE WHEN previous_until > now() THEN previous_secret END"
                         "  FROM webhook_endpoint ORDER BY created_at, id LIMIT 250"};
_Static_assert(ENDPOINTS_MAX == 250, "as it says, there and below");
static const struct statement pause_endpoint = {
    "webhook_pause", "UPDATE webhook_endpoint SET paused = true, pause_reason = $2::text"
                     " WHERE id = $1::text AND NOT paused AND removed_at IS NULL"};
static const struct statement resume_endpoint = {
    "webhook_resume", "WITH still AS (UPDATE webhook_waiting SET waits_from = now()"
                      "               WHERE endpoint = $1::text)"
                      " UPDATE webhook_endpoint SET paused = false, pause_reason = NULL"
                      "  WHERE id = $1::text AND paused AND removed_at IS NULL"};
static const struct statement forget_endpoint = {
    "webhook_forget", "WITH gone AS (DELETE FROM webhook_waiting WHERE endpoint = $1::text)"
                      " DELETE FROM webhook_endpoint WHERE id = $1::text"
                      "    AND removed_at IS NOT NULL"};
static const struct statement add_attempts = {
    "webhook_attempts_add",
    "INSERT INTO webhook_attempt (endpoint, event, type, attempted_at, try, status, error, took_ms,"
    "       trace_id)"
    " SELECT e, v, t, a, n, s, nullif(r, ''), m, nullif(x, '')"
    "  FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::int4[], $6::int4[],"
    "       $7::text[], $8::int4[], $9::text[]) AS row(e, v, t, a, n, s, r, m, x)"};
static const struct statement expire_attempts = {
    "webhook_attempts_expire",
    "DELETE FROM webhook_attempt"
    " WHERE id IN (SELECT id FROM webhook_attempt ORDER BY id LIMIT 10000)"
    "   AND attempted_at < now() - $1::int8 * interval '1 day'"};
static const struct statement expire_waiting = {
    "webhook_waiting_expire",
    "DELETE FROM webhook_waiting WHERE waits_from < now() - $1::int8 * interval '1 second'"
    "   AND body IS NULL AND endpoint IN (SELECT id FROM webhook_endpoint WHERE NOT paused)"};
static const struct statement look_behind = {
    "webhook_behind", "SELECT EXISTS (SELECT 1 FROM webhook_waiting WHERE endpoint = $1::text"
                      "    AND account = $2::text AND position < $3::int8)"};
static const struct statement take_place = {
    "webhook_wait", "INSERT INTO webhook_waiting (endpoint, account, position, properties, body)"
                    " VALUES ($1::text, $2::text, $3::int8, $4::bytea, $5::bytea)"
                    " ON CONFLICT (endpoint, account, position) DO UPDATE SET waits_from = now(),"
                    "    properties = excluded.properties, body = excluded.body"};
static const struct statement next_parked = {
    "webhook_next", "UPDATE webhook_waiting SET waits_from = now()"
                    " WHERE endpoint = $1::text AND account = $2::text AND body IS NOT NULL"
                    "   AND position = (SELECT min(position) FROM webhook_waiting"
                    "                    WHERE endpoint = $1::text AND account = $2::text)"
                    " RETURNING endpoint, account, properties, body"};
static const struct statement missed_parked = {
    "webhook_missed",
    "UPDATE webhook_waiting AS w SET waits_from = now()"
    "  FROM (SELECT endpoint, account, position FROM webhook_waiting AS one"
    "         WHERE body IS NOT NULL AND waits_from < now() - $1::int8 * interval '1 second'"
    "           AND endpoint IN (SELECT id FROM webhook_endpoint WHERE NOT paused)"
    "           AND NOT EXISTS (SELECT 1 FROM webhook_waiting AS earlier"
    "                            WHERE earlier.endpoint = one.endpoint"
    "                              AND earlier.account = one.account"
    "                              AND earlier.position < one.position) LIMIT 1) AS missed"
    " WHERE (w.endpoint, w.account, w.position)"
    "     = (missed.endpoint, missed.account, missed.position)"
    " RETURNING w.endpoint, w.account, w.properties, w.body"};
static const struct statement leave_place = {
    "webhook_done", "DELETE FROM webhook_waiting WHERE endpoint = $1::text AND account = $2::text"
                    "   AND position = $3::int8"};
static const struct statement list_endpoints = {
    "webhook_list",
    "SELECT e.id, url, types, account, ordered, paused, removed_at IS NOT NULL, created_at,"
    "       pause_reason, attempted_at, status, error"
    "  FROM webhook_endpoint AS e LEFT JOIN LATERAL"
    "       (SELECT attempted_at, status, error FROM webhook_attempt"
    "         WHERE endpoint = e.id ORDER BY id DESC LIMIT 1) AS last ON true"
    " ORDER BY created_at, e.id"};
static const struct statement insert_endpoint = {
    "webhook_add", "INSERT INTO webhook_endpoint (id, url, secret, types, account, ordered)"
                   " SELECT $1::text, $2::text, $3::bytea, $4::text, $5::text, $6::int8 = 1"
                   "  WHERE (SELECT count(*) FROM webhook_endpoint) < 250"};
static const struct statement rotate_secret = {
    "webhook_rotate", "UPDATE webhook_endpoint SET previous_secret = secret, secret = $2::bytea,"
                      "       previous_until = now() + $3::int8 * interval '1 second'"
                      " WHERE id = $1::text AND removed_at IS NULL"};
static const struct statement remove_endpoint = {"webhook_remove",
                                                 "UPDATE webhook_endpoint SET removed_at = now()"
                                                 " WHERE id = $1::text AND removed_at IS NULL"};
static const struct statement list_attempts = {
    "webhook_attempts", "SELECT endpoint, event, type, attempted_at, try, status, error, took_ms,"
                        "       trace_id"
                        "  FROM webhook_attempt WHERE endpoint = $1::text"
                        "   AND ($2::text = '' OR event = $2::text)"
                        " ORDER BY id DESC LIMIT $3::int8"};

/* --- parameters ------------------------------------------------------------------------------- */

static struct param param_text(struct text text)
{
    return (struct param){text.bytes == NULL ? "" : text.bytes, text.length};
}

static struct param param_number(int64_t number, uint8_t binary[static NUMBER_SIZE])
{
    struct writer writer = writer_over(binary, NUMBER_SIZE);

    write_u64(&writer, (uint64_t)number);
    return (struct param){binary, NUMBER_SIZE};
}

static bool change(struct db *db, const struct statement *statement, const struct param *params,
                   uint32_t count, uint64_t *changed, struct err *err)
{
    bool ok = query_send(db, statement, params, count, err) && query_sync(db, err) &&
              query_done_rows(db, changed, err) && query_done(db, err);
    if (!ok) query_abandon(db);
    return ok;
}

static bool change_one(struct db *db, const struct statement *statement, const struct param *params,
                       uint32_t count, bool *found, struct err *err)
{
    uint64_t changed = 0;
    bool ok = change(db, statement, params, count, &changed, err);

    *found = changed > 0;
    return ok;
}

/* --- endpoints -------------------------------------------------------------------------------- */

enum column {
    COLUMN_ID,
    COLUMN_URL,
    COLUMN_TYPES,
    COLUMN_ACCOUNT,
    COLUMN_ORDERED,
    COLUMN_PAUSED,
    COLUMN_REMOVED,
    COLUMN_SECRET,
    COLUMN_PREVIOUS
};
enum list_column {
    LIST_CREATED = COLUMN_REMOVED + 1,
    LIST_REASON,
    LIST_LAST,
    LIST_STATUS,
    LIST_ERROR
};

static bool take_endpoint(const PGresult *rows, int row, struct endpoint *out, struct err *err)
{
    *out = (struct endpoint){.ordered = cell_bool(rows, row, COLUMN_ORDERED),
                             .paused = cell_bool(rows, row, COLUMN_PAUSED),
                             .removed = cell_bool(rows, row, COLUMN_REMOVED)};
    if (text_copy(cell_text(rows, row, COLUMN_ID), out->id, sizeof out->id) &&
        text_copy(cell_text(rows, row, COLUMN_URL), out->url, sizeof out->url) &&
        text_copy(cell_text(rows, row, COLUMN_TYPES), out->types, sizeof out->types) &&
        text_copy(cell_text(rows, row, COLUMN_ACCOUNT), out->account, sizeof out->account))
        return true;
    return err_set(err, ERR_FATAL, "could not read webhook endpoints: %.*s is not understood",
                   TEXT_ARGS(cell_text(rows, row, COLUMN_ID)));
}

static void take_secret(const PGresult *rows, int row, int column, struct secret *out)
{
    struct bytes bytes = cell_bytes(rows, row, column);

    if (cell_is_null(rows, row, column) || bytes.size > SECRET_SIZE_MAX) return;
    memcpy(out->bytes, bytes.data, bytes.size);
    out->size = bytes.size;
}

bool endpoints_read(struct db *db, struct endpoint *out, uint32_t *count, struct err *err)
{
    PGresult *rows;
    bool ok = true;

    *count = 0;
    if (!query_one(db, &read_endpoints, NULL, 0, &rows, err)) return false;
    for (int row = 0; ok && row < PQntuples(rows); row++) {
        ok = take_endpoint(rows, row, &out[*count], err);
        take_secret(rows, row, COLUMN_SECRET, &out[*count].secret);
        take_secret(rows, row, COLUMN_PREVIOUS, &out[*count].previous);
        ++*count;
    }
    PQclear(rows);
    return ok;
}

bool endpoint_pause(struct db *db, const char *id, const char *reason, bool *found, struct err *err)
{
    const struct param params[] = {param_text(text_of(id)), param_text(text_of(reason))};

    return change_one(db, &pause_endpoint, params, 2, found, err);
}

bool endpoint_resume(struct db *db, const char *id, bool *found, struct err *err)
{
    const struct param params[] = {param_text(text_of(id))};

    return change_one(db, &resume_endpoint, params, 1, found, err);
}

bool endpoint_forget(struct db *db, const char *id, struct err *err)
{
    const struct param params[] = {param_text(text_of(id))};

    return change(db, &forget_endpoint, params, 1, NULL, err);
}

bool endpoint_add(struct db *db, const struct endpoint *endpoint, struct err *err)
{
    uint8_t ordered[NUMBER_SIZE];
    const struct param params[] = {param_text(text_of(endpoint->id)),
                                   param_text(text_of(endpoint->url)),
                                   {endpoint->secret.bytes, endpoint->secret.size},
                                   param_text(text_of(endpoint->types)),
                                   param_text(text_of(endpoint->account)),
                                   param_number(endpoint->ordered, ordered)};
    bool found;

    if (!change_one(db, &insert_endpoint, params, 6, &found, err)) return false;
    return found || err_set(err, ERR_REJECT, "could not add an endpoint: there are %d, no more fit",
                            ENDPOINTS_MAX);
}

bool endpoint_rotate(struct db *db, const char *id, const struct secret *secret, uint32_t overlap_s,
                     bool *found, struct err *err)
{
    uint8_t overlap[NUMBER_SIZE];
    const struct param params[] = {
        param_text(text_of(id)), {secret->bytes, secret->size}, param_number(overlap_s, overlap)};

    return change_one(db, &rotate_secret, params, 3, found, err);
}

bool endpoint_remove(struct db *db, const char *id, bool *found, struct err *err)
{
    const struct param params[] = {param_text(text_of(id))};

    return change_one(db, &remove_endpoint, params, 1, found, err);
}

bool endpoints_list(struct db *db, void (*each)(void *context, const struct endpoint_state *state),
                    void *context, struct err *err)
{
    PGresult *rows;
    bool ok = true;

    if (!query_one(db, &list_endpoints, NULL, 0, &rows, err)) return false;
    for (int row = 0; ok && row < PQntuples(rows); row++) {
        struct endpoint_state state = {.created_us = cell_time_us(rows, row, LIST_CREATED),
                                       .pause_reason = cell_text(rows, row, LIST_REASON),
                                       .last_error = cell_text(rows, row, LIST_ERROR)};
        ok = take_endpoint(rows, row, &state.endpoint, err);
        if (!cell_is_null(rows, row, LIST_LAST)) {
            state.last_us = cell_time_us(rows, row, LIST_LAST);
            state.last_status = cell_int32(rows, row, LIST_STATUS);
        }
        if (ok) each(context, &state);
    }
    PQclear(rows);
    return ok;
}

/* --- attempts --------------------------------------------------------------------------------- */

static bool pack_texts(const struct attempt *attempts, uint32_t count, size_t offset,
                       struct arena *arena, struct param *out, struct err *err)
{
    struct array array;
    struct bytes packed;

    array_begin(&array, arena, ARRAY_TEXT);
    for (uint32_t i = 0; i < count; i++) {
        struct text text;
        memcpy(&text, (const char *)&attempts[i] + offset, sizeof text);
        array_add_text(&array, text);
    }
    if (!array_end(&array, &packed, err)) return false;
    *out = (struct param){packed.data, packed.size};
    return true;
}

static bool pack_numbers(const struct attempt *attempts, uint32_t count, size_t offset,
                         struct arena *arena, struct param *out, struct err *err)
{
    struct array array;
    struct bytes packed;

    array_begin(&array, arena, ARRAY_INT4);
    for (uint32_t i = 0; i < count; i++) {
        int32_t number;
        memcpy(&number, (const char *)&attempts[i] + offset, sizeof number);
        array_add_int(&array, ARRAY_INT4, number);
    }
    if (!array_end(&array, &packed, err)) return false;
    *out = (struct param){packed.data, packed.size};
    return true;
}

static bool pack_times(const struct attempt *attempts, uint32_t count, struct arena *arena,
                       struct param *out, struct err *err)
{
    struct array array;
    struct bytes packed;

    array_begin(&array, arena, ARRAY_TIME);
    for (uint32_t i = 0; i < count; i++) array_add_time(&array, attempts[i].attempted_us);
    if (!array_end(&array, &packed, err)) return false;
    *out = (struct param){packed.data, packed.size};
    return true;
}

bool attempts_add(struct db *db, const struct attempt *attempts, uint32_t count,
                  struct arena *arena, struct err *err)
{
    static const size_t texts[] = {offsetof(struct attempt, endpoint),
                                   offsetof(struct attempt, event), offsetof(struct attempt, type)};
    struct param params[9];

    for (uint32_t i = 0; i < 3; i++)
        if (!pack_texts(attempts, count, texts[i], arena, &params[i], err)) return false;
    return pack_times(attempts, count, arena, &params[3], err) &&
           pack_numbers(attempts, count, offsetof(struct attempt, tries), arena, &params[4], err) &&
           pack_numbers(attempts, count, offsetof(struct attempt, status), arena, &params[5],
                        err) &&
           pack_texts(attempts, count, offsetof(struct attempt, error), arena, &params[6], err) &&
           pack_numbers(attempts, count, offsetof(struct attempt, took_ms), arena, &params[7],
                        err) &&
           pack_texts(attempts, count, offsetof(struct attempt, trace_id), arena, &params[8],
                      err) &&
           change(db, &add_attempts, params, 9, NULL, err);
}

bool attempts_expire(struct db *db, uint32_t keep_days, uint32_t lost_s, struct err *err)
{
    uint8_t days[NUMBER_SIZE], seconds[NUMBER_SIZE];
    const struct param keep = param_number(keep_days, days), lost = param_number(lost_s, seconds);

    return change(db, &expire_attempts, &keep, 1, NULL, err) &&
           change(db, &expire_waiting, &lost, 1, NULL, err);
}

bool attempts_list(struct db *db, const char *id, const char *event, uint32_t limit,
                   void (*each)(void *context, const struct attempt *attempt), void *context,
                   struct err *err)
{
    enum { ENDPOINT, EVENT, TYPE, ATTEMPTED, TRY, STATUS, ERROR, TOOK, TRACE };
    uint8_t most[NUMBER_SIZE];
    const struct param params[] = {param_text(text_of(id)), param_text(text_of(event)),
                                   param_number(limit, most)};
    PGresult *rows;

    if (!query_one(db, &list_attempts, params, 3, &rows, err)) return false;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct attempt attempt = {.endpoint = cell_text(rows, row, ENDPOINT),
                                  .event = cell_text(rows, row, EVENT),
                                  .type = cell_text(rows, row, TYPE),
                                  .error = cell_text(rows, row, ERROR),
                                  .trace_id = cell_text(rows, row, TRACE),
                                  .attempted_us = cell_time_us(rows, row, ATTEMPTED),
                                  .tries = cell_int32(rows, row, TRY),
                                  .status = cell_int32(rows, row, STATUS),
                                  .took_ms = cell_int32(rows, row, TOOK)};
        each(context, &attempt);
    }
    PQclear(rows);
    return true;
}

/* --- order ------------------------------------------------------------------------------------ */

static void place_params(const struct place *place, uint8_t position[static NUMBER_SIZE],
                         struct param params[static 3])
{
    params[0] = param_text(place->endpoint);
    params[1] = param_text(place->account);
    params[2] = param_number(place->position, position);
}

bool place_is_behind(struct db *db, const struct place *place, bool *behind, struct err *err)
{
    uint8_t position[NUMBER_SIZE];
    struct param params[3];
    PGresult *rows;

    place_params(place, position, params);
    if (!query_one(db, &look_behind, params, 3, &rows, err)) return false;
    *behind = PQntuples(rows) == 1 && cell_bool(rows, 0, 0);
    PQclear(rows);
    return true;
}

bool place_park(struct db *db, const struct place *place, struct bytes properties,
                struct bytes body, struct err *err)
{
    uint8_t position[NUMBER_SIZE];
    struct param params[5] = {
        [3] = {properties.data, properties.size}, [4] = {body.data, body.size}};

    place_params(place, position, params);
    return change(db, &take_place, params, 5, NULL, err);
}

bool place_take(struct db *db, const struct place *place, struct err *err)
{
    return place_park(db, place, (struct bytes){0}, (struct bytes){0}, err);
}

bool place_leave(struct db *db, const struct place *place, struct err *err)
{
    uint8_t position[NUMBER_SIZE];
    struct param params[3];

    place_params(place, position, params);
    return change(db, &leave_place, params, 3, NULL, err);
}

static bool take_parked(const PGresult *rows, struct arena *arena, struct parked *out,
                        struct err *err)
{
    enum { ENDPOINT, ACCOUNT, PROPERTIES, BODY };

    *out = (struct parked){0};
    if (PQntuples(rows) == 0 || cell_is_null(rows, 0, BODY)) return true;
    struct bytes properties = cell_bytes(rows, 0, PROPERTIES), body = cell_bytes(rows, 0, BODY);
    *out = (struct parked){.endpoint = arena_text(arena, cell_text(rows, 0, ENDPOINT)),
                           .account = arena_text(arena, cell_text(rows, 0, ACCOUNT)),
                           .properties = arena_copy(arena, properties.data, properties.size),
                           .body = arena_copy(arena, body.data, body.size)};
    return (out->body.data != NULL && out->properties.data != NULL) ||
           err_set(err, ERR_FATAL, "could not read what waits: it is too large");
}

bool parked_next(struct db *db, const struct place *place, struct arena *arena, struct parked *out,
                 struct err *err)
{
    const struct param params[] = {param_text(place->endpoint), param_text(place->account)};
    PGresult *rows;

    if (!query_one(db, &next_parked, params, 2, &rows, err)) return false;
    bool ok = take_parked(rows, arena, out, err);
    PQclear(rows);
    return ok;
}

bool parked_missed(struct db *db, uint32_t missed_s, struct arena *arena, struct parked *out,
                   struct err *err)
{
    uint8_t seconds[NUMBER_SIZE];
    const struct param missed = param_number(missed_s, seconds);
    PGresult *rows;

    if (!query_one(db, &missed_parked, &missed, 1, &rows, err)) return false;
    bool ok = take_parked(rows, arena, out, err);
    PQclear(rows);
    return ok;
}
