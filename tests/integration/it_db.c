/*
 * it_db.c - the PostgreSQL edge against a real server: what comes back is what was sent, nothing
 * deadlocks, every error has its kind, and after any of them the link is either at rest or not
 * usable. All tables are temporary.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/db_pg.h"
#include "base/health.h"
#include "base/query_pg.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ANSWER_TIMEOUT_MS = 20000,
    SHORT_TIMEOUT_MS = 1000, /* for answers that are meant not to come */
    CONNINFO_SIZE = 1024,
    ARENA_SIZE = 64 << 20,
    MEMORY_SLACK_KIB = 1024,
};

static struct db *db;      /* of the current test, opened by setup */
static struct arena arena; /* the same */

static const struct statement begin = {"it_begin", "BEGIN"};
static const struct statement commit = {"it_commit", "COMMIT"};
static const struct statement select_one = {"it_one", "SELECT 1"};
static const struct statement sleep_long = {"it_sleep", "SELECT pg_sleep(30)"};

static const char *url(void)
{
    const char *value = getenv("LEDGER_DATABASE_URL");
    if (value == NULL) fail_msg("LEDGER_DATABASE_URL is not set");
    return value;
}

static struct db_options options_for(const char *conninfo)
{
    return (struct db_options){.url = conninfo,
                               .application_name = "it_db",
                               .connect_timeout_ms = 5000,
                               .answer_timeout_ms = ANSWER_TIMEOUT_MS};
}

static struct db *open_with(const struct db_options *options)
{
    struct db *opened;
    struct err err;
    if (!db_open(&opened, options, &err)) fail_msg("%s", err.text);
    return opened;
}

static struct db *open_timed(uint32_t answer_timeout_ms, uint32_t lock_timeout_ms)
{
    struct db_options options = options_for(url());
    options.answer_timeout_ms = answer_timeout_ms;
    options.lock_timeout_ms = lock_timeout_ms;
    return open_with(&options);
}

static void run(struct db *on, const char *sql)
{
    struct err err;
    if (!db_run(on, sql, &err)) fail_msg("%s", err.text);
}

static void queue(struct db *on, const struct statement *statement)
{
    struct err err;
    if (!query_send(on, statement, NULL, 0, &err)) fail_msg("%s", err.text);
}

static void sync_now(struct db *on)
{
    struct err err;
    if (!query_sync(on, &err)) fail_msg("%s", err.text);
}

static void skip_answer(struct db *on)
{
    struct err err;
    if (!query_done_rows(on, NULL, &err)) fail_msg("%s", err.text);
}

static PGresult *one(struct db *on, const struct statement *statement, const struct param *params,
                     uint32_t count)
{
    PGresult *result;
    struct err err;
    if (!query_one(on, statement, params, count, &result, &err)) fail_msg("%s", err.text);
    return result;
}

static int64_t number(struct db *on, const struct statement *statement)
{
    PGresult *result = one(on, statement, NULL, 0);
    int64_t value = cell_int64(result, 0, 0);
    PQclear(result);
    return value;
}

static pid_t backend_pid(struct db *on)
{
    static const struct statement pid = {"it_pid", "SELECT pg_backend_pid()::int8"};
    return (pid_t)number(on, &pid);
}

static void assert_works(struct db *on)
{
    assert_true(db_usable(on));
    PQclear(one(on, &select_one, NULL, 0));
}

static struct param param_of(struct bytes bytes)
{
    return (struct param){bytes.data, bytes.size};
}

static int setup(void **state)
{
    (void)state;
    struct err err;
    db = open_timed(ANSWER_TIMEOUT_MS, 0);
    if (!arena_open(&arena, ARENA_SIZE, &err)) fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    db_close(db);
    arena_close(&arena);
    return 0;
}

/* ---- What is sent comes back. ---- */

static uint64_t random_next(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

struct element { /* one value, in the form that its array type uses */
    bool null;
    int64_t value; /* also a time */
    uint32_t length;
    char text[48]; /* also the bytes */
    struct uuid uuid;
};

static void element_make(struct element *element, enum array_type type, uint64_t *seed)
{
    uint64_t random = random_next(seed);
    *element = (struct element){.null = random % 7 == 0, .length = (uint32_t)(random >> 8) % 48};
    element->value = (int64_t)random_next(seed);
    if (type == ARRAY_INT2) element->value = (int16_t)element->value;
    if (type == ARRAY_INT4) element->value = (int32_t)element->value;
    if (type == ARRAY_TIME) element->value %= INT64_C(4000000000000000); /* 1843 to 2096 */
    for (uint32_t i = 0; i < sizeof(element->text); i++)
        element->text[i] =
            (char)(type == ARRAY_TEXT ? 'a' + random_next(seed) % 26 : random_next(seed) % 256);
    for (uint32_t i = 0; i < sizeof(element->uuid.bytes); i++)
        element->uuid.bytes[i] = (uint8_t)random_next(seed);
}

static void element_add(struct array *array, enum array_type type, const struct element *element)
{
    if (element->null) {
        array_add_null(array);
        return;
    }
    switch (type) {
    case ARRAY_INT2:
    case ARRAY_INT4:
    case ARRAY_INT8:
        array_add_int(array, type, element->value);
        return;
    case ARRAY_TEXT:
        array_add_text(array, (struct text){element->text, element->length});
        return;
    case ARRAY_BYTEA:
    case ARRAY_TID:
        array_add_bytes(array, (struct bytes){(const uint8_t *)element->text, element->length});
        return;
    case ARRAY_UUID:
        array_add_uuid(array, &element->uuid);
        return;
    case ARRAY_TIME:
        array_add_time(array, element->value);
        return;
    case ARRAY_BOOL:
        array_add_bool(array, element->value % 2 != 0);
        return;
    }
}

static bool element_is(const struct element *element, enum array_type type, const PGresult *result,
                       int row)
{
    if (element->null || cell_is_null(result, row, 0))
        return element->null == cell_is_null(result, row, 0);
    switch (type) {
    case ARRAY_INT2:
        return cell_int16(result, row, 0) == element->value;
    case ARRAY_INT4:
        return cell_int32(result, row, 0) == element->value;
    case ARRAY_INT8:
        return cell_int64(result, row, 0) == element->value;
    case ARRAY_TEXT:
    case ARRAY_BYTEA:
    case ARRAY_TID:
        return text_equal(cell_text(result, row, 0), (struct text){element->text, element->length});
    case ARRAY_UUID: {
        struct uuid uuid = cell_uuid(result, row, 0);
        return uuid_compare(&uuid, &element->uuid) == 0;
    }
    case ARRAY_TIME:
        return cell_time_us(result, row, 0) == element->value;
    case ARRAY_BOOL:
        return cell_bool(result, row, 0) == (element->value % 2 != 0);
    }
    return false;
}

static const struct {
    enum array_type type;
    struct statement unnest;
} array_types[] = {
    {ARRAY_INT2, {"it_int2", "SELECT unnest($1::int2[])"}},
    {ARRAY_INT4, {"it_int4", "SELECT unnest($1::int4[])"}},
    {ARRAY_INT8, {"it_int8", "SELECT unnest($1::int8[])"}},
    {ARRAY_TEXT, {"it_text", "SELECT unnest($1::text[])"}},
    {ARRAY_BYTEA, {"it_bytea", "SELECT unnest($1::bytea[])"}},
    {ARRAY_UUID, {"it_uuid", "SELECT unnest($1::uuid[])"}},
    {ARRAY_BOOL, {"it_bool", "SELECT unnest($1::bool[])"}},
    {ARRAY_TIME, {"it_time", "SELECT unnest($1::timestamptz[])"}},
};
enum { ARRAY_TYPES = sizeof(array_types) / sizeof(array_types[0]), ELEMENTS_MAX = 10000 };

static struct element elements[ELEMENTS_MAX];

static void array_round_trip(enum array_type type, const struct statement *unnest, uint32_t count)
{
    uint64_t seed = count + (uint64_t)type;
    struct array array;
    struct bytes bytes;
    struct err err;

    arena_reset(&arena);
    array_begin(&array, &arena, type);
    for (uint32_t i = 0; i < count; i++) {
        element_make(&elements[i], type, &seed);
        element_add(&array, type, &elements[i]);
    }
    if (!array_end(&array, &bytes, &err)) fail_msg("%s", err.text);

    struct param param = param_of(bytes);
    PGresult *result = one(db, unnest, &param, 1);
    assert_int_equal(PQntuples(result), count);
    for (uint32_t i = 0; i < count; i++)
        if (!element_is(&elements[i], type, result, (int)i))
            fail_msg("%s: element %u of %u differs", unnest->name, i, count);
    PQclear(result);
}

static void test_arrays(void **state)
{
    static const uint32_t counts[] = {0, 1, 2, 7, 100, ELEMENTS_MAX};
    (void)state;
    for (uint32_t type = 0; type < ARRAY_TYPES; type++)
        for (uint32_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
            array_round_trip(array_types[type].type, &array_types[type].unnest, counts[i]);
}

static void test_scalars(void **state)
{
    static const struct statement echo = {
        "it_scalars", "SELECT $1::int8, $2::int4, $3::timestamptz, $4::text, $5::text, $6::bytea,"
                      " $1::int8 > 0, (-2)::int2"};
    static const int64_t values[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_C(0x0102030405060708)};
    (void)state;

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        int64_t time_us = values[i] % INT64_C(4000000000000000);
        const struct param params[] = {param_of(binary_int64(&arena, values[i])),
                                       param_of(binary_int32(&arena, (int32_t)values[i])),
                                       param_of(binary_time(&arena, time_us)),
                                       {"", 0},
                                       {NULL, 0},
                                       {"\0\xff", 2}};
        PGresult *result = one(db, &echo, params, 6);
        assert_int_equal(cell_int64(result, 0, 0), values[i]);
        assert_int_equal(cell_int32(result, 0, 1), (int32_t)values[i]);
        assert_int_equal(cell_time_us(result, 0, 2), time_us);
        assert_false(cell_is_null(result, 0, 3)); /* empty is not NULL */
        assert_int_equal(cell_text(result, 0, 3).length, 0);
        assert_true(cell_is_null(result, 0, 4));
        assert_true(text_equal(cell_text(result, 0, 5), TEXT_LITERAL("\0\xff")));
        assert_int_equal(cell_bool(result, 0, 6), values[i] > 0);
        assert_int_equal(cell_int16(result, 0, 7), -2);
        PQclear(result);
    }
}

/* Server and client both have more to say than the sockets hold, before either has read. */
static void test_large_both_ways(void **state)
{
    static const struct statement echo = {"it_large", "SELECT $1::bytea"};
    enum { SIZE = 8 << 20, TIMES = 4 };
    uint8_t *data = malloc(SIZE);
    uint64_t seed = 1;
    struct err err;
    PGresult *result;
    (void)state;

    assert_non_null(data);
    for (uint32_t i = 0; i < SIZE; i++) data[i] = (uint8_t)random_next(&seed);
    const struct param param = {data, SIZE};
    for (uint32_t i = 0; i < TIMES; i++) assert_true(query_send(db, &echo, &param, 1, &err));
    sync_now(db);
    for (uint32_t i = 0; i < TIMES; i++) {
        if (!query_next(db, &result, &err)) fail_msg("%s", err.text);
        struct bytes bytes = cell_bytes(result, 0, 0);
        assert_int_equal(bytes.size, SIZE);
        assert_memory_equal(bytes.data, data, SIZE);
        PQclear(result);
    }
    assert_true(query_done(db, &err));
    free(data);
}

static void test_many_statements_one_round_trip(void **state)
{
    static const struct statement create = {"it_create", "CREATE TEMP TABLE many (value int8)"};
    static const struct statement insert = {"it_insert", "INSERT INTO many SELECT generate_series"
                                                         "(1, $1::int8)"};
    uint64_t rows;
    struct err err;
    (void)state;

    const struct param none = param_of(binary_int64(&arena, 0));
    const struct param twelve = param_of(binary_int64(&arena, 12));
    run(db, create.sql);
    for (uint32_t i = 0; i < 50; i++)
        assert_true(query_send(db, &insert, i % 2 == 0 ? &twelve : &none, 1, &err));
    sync_now(db);
    for (uint32_t i = 0; i < 50; i++) {
        assert_true(query_done_rows(db, &rows, &err));
        assert_int_equal(rows, i % 2 == 0 ? 12 : 0);
    }
    assert_true(query_done(db, &err));
}

/* ---- Errors. ---- */

static const struct {
    const char *sqlstate;
    enum err_kind kind;
    bool usable; /* afterwards */
} kinds[] = {
    {"08006", ERR_RETRY, true},  {"22003", ERR_REJECT, true}, {"22P02", ERR_REJECT, true},
    {"23503", ERR_REJECT, true}, {"23505", ERR_RETRY, true},  {"23514", ERR_REJECT, true},
    {"25006", ERR_RETRY, false}, {"25P02", ERR_RETRY, true},  {"28000", ERR_FATAL, true},
    {"3F000", ERR_FATAL, true},  {"40001", ERR_RETRY, true},  {"40P01", ERR_RETRY, true},
    {"42501", ERR_FATAL, true},  {"42601", ERR_FATAL, true},  {"42P01", ERR_FATAL, true},
    {"42703", ERR_FATAL, true},  {"53100", ERR_RETRY, true},  {"53200", ERR_RETRY, true},
    {"54000", ERR_REJECT, true}, {"55P03", ERR_RETRY, true},  {"57014", ERR_RETRY, true},
    {"57P01", ERR_RETRY, true},  {"58030", ERR_RETRY, true},  {"XX000", ERR_FATAL, true},
    {"XX001", ERR_FATAL, true},  {"P0001", ERR_FATAL, true},  {"0A000", ERR_FATAL, true},
};

static void test_kinds(void **state)
{
    static const char raise_sql[] =
        "CREATE FUNCTION pg_temp.raise_state(state text) RETURNS void LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'made' USING ERRCODE = state, DETAIL = 'secret'; END $$";
    static const struct statement raise_state = {"it_raise",
                                                 "SELECT pg_temp.raise_state($1::text)"};
    PGresult *result;
    struct err err;
    (void)state;

    run(db, raise_sql);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const char *sqlstate = kinds[i].sqlstate;
        const struct param param = {sqlstate, 5};
        assert_false(query_one(db, &raise_state, &param, 1, &result, &err));
        assert_null(result);
        if (err.kind != kinds[i].kind) fail_msg("%s: kind %d", sqlstate, (int)err.kind);
        if (strstr(err.text, sqlstate) == NULL) fail_msg("%s: %s", sqlstate, err.text);
        if (strstr(err.text, "it_raise") == NULL) fail_msg("%s: %s", sqlstate, err.text);
        if (strstr(err.text, "secret") != NULL) fail_msg("%s: %s", sqlstate, err.text);
        bool hint = strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0 ||
                    strcmp(sqlstate, "42703") == 0;
        assert_int_equal(strstr(err.text, "run ledgerctl migrate") != NULL, hint);
        query_abandon(db);
        if (db_usable(db) != kinds[i].usable) fail_msg("%s: usable", sqlstate);
        if (db_usable(db)) continue;
        db_close(db);
        db = open_timed(ANSWER_TIMEOUT_MS, 0);
        run(db, raise_sql);
    }
}

static const struct statement divide = {"it_divide", "SELECT 1 / ($1::int4)"};

static bool divide_by_zero(struct err *err)
{
    struct param zero = param_of(binary_int32(&arena, 0));
    return query_send(db, &divide, &zero, 1, err);
}

/* The COMMIT behind the error is skipped; what follows must start outside that transaction. */
static void test_error_within_transaction(void **state)
{
    static const struct statement insert = {"it_kept", "INSERT INTO kept VALUES (1)"};
    static const struct statement count = {"it_count", "SELECT count(*) FROM kept"};
    struct err err, again;
    uint64_t rows = 0;
    (void)state;

    run(db, "CREATE TEMP TABLE kept (value int)");
    for (int round = 0; round < 3; round++) {
        queue(db, &begin);
        queue(db, &insert);
        assert_true(divide_by_zero(&err));
        queue(db, &insert);
        queue(db, &commit);
        sync_now(db);
        skip_answer(db);
        assert_true(query_done_rows(db, &rows, &err));
        assert_int_equal(rows, 1);
        assert_false(query_done_rows(db, NULL, &err));
        assert_int_equal(err.kind, ERR_REJECT);
        assert_non_null(strstr(err.text, "22012"));
        /* Whatever else is asked, the first error is the answer. */
        assert_false(query_done_rows(db, NULL, &again));
        assert_string_equal(again.text, err.text);
        assert_false(query_send(db, &commit, NULL, 0, &again));
        assert_string_equal(again.text, err.text);
        query_abandon(db);
        assert_int_equal(number(db, &count), 0);
    }
    queue(db, &begin);
    queue(db, &insert);
    queue(db, &commit);
    sync_now(db);
    query_abandon(db); /* too late to stop it: answers unread, but the commit was sent */
    assert_int_equal(number(db, &count), 1);
}

static void test_abandon_in_every_state(void **state)
{
    static const struct statement insert = {"it_kept", "INSERT INTO kept VALUES (1)"};
    static const struct statement count = {"it_count", "SELECT count(*) FROM kept"};
    (void)state;

    run(db, "CREATE TEMP TABLE kept (value int)");
    for (uint32_t step = 0; step < 6; step++) {
        if (step >= 1) queue(db, &begin);
        if (step >= 2) queue(db, &insert);
        if (step >= 3) sync_now(db);
        if (step >= 4) skip_answer(db);
        if (step >= 5) skip_answer(db);
        query_abandon(db);
        assert_works(db);
        if (number(db, &count) != 0) fail_msg("step %u", step);
    }
}

/* The server skips a PREPARE that stands behind an error; it must be sent again. */
static void test_prepare_behind_error(void **state)
{
    static const struct statement late = {"it_late", "SELECT 42::int8"};
    static const struct statement wrong = {"it_wrong", "SELECT nothing FROM nowhere"};
    struct err err;
    (void)state;

    assert_true(divide_by_zero(&err));
    queue(db, &late);
    sync_now(db);
    assert_false(query_done_rows(db, NULL, &err));
    query_abandon(db);
    assert_int_equal(number(db, &late), 42);

    for (int round = 0; round < 2; round++) { /* and a PREPARE that fails is not remembered */
        queue(db, &wrong);
        queue(db, &late);
        sync_now(db);
        assert_false(query_done_rows(db, NULL, &err));
        assert_int_equal(err.kind, ERR_FATAL);
        assert_non_null(strstr(err.text, "42P01"));
        query_abandon(db);
        assert_int_equal(number(db, &late), 42);
    }
}

/* Every statement succeeds, and then the commit at the sync point does not. */
static void test_error_at_the_sync_point(void **state)
{
    static const struct statement twice = {"it_twice", "INSERT INTO deferred VALUES (1), (1)"};
    struct err err;
    (void)state;

    run(db, "CREATE TEMP TABLE deferred (value int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    queue(db, &twice);
    sync_now(db);
    skip_answer(db);
    assert_false(query_done(db, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.text, "23505"));
    query_abandon(db);
    assert_works(db);
}

static void test_run(void **state)
{
    static const struct statement count = {"it_count", "SELECT count(*) FROM kept"};
    struct err err;
    (void)state;

    run(db, "CREATE TEMP TABLE kept (value int); INSERT INTO kept VALUES (1), (2); SELECT 1");
    assert_int_equal(number(db, &count), 2);
    /* One transaction, so nothing of it stays; and none is left open. */
    assert_false(db_run(db, "INSERT INTO kept VALUES (3); SELECT 1/0; SELECT 2", &err));
    assert_int_equal(err.kind, ERR_REJECT);
    assert_int_equal(number(db, &count), 2);
    assert_false(db_run(db, "BEGIN; INSERT INTO kept VALUES (3); SELECT nonsense", &err));
    assert_int_equal(number(db, &count), 2);
    assert_false(db_run(db, "COPY kept FROM STDIN", &err));
    assert_false(db_usable(db));
}

/* ---- A server that is slow, blocked, gone or unwilling. ---- */

static void test_statement_timeout(void **state)
{
    struct err err;
    PGresult *result;
    (void)state;

    db_close(db);
    db = open_timed(SHORT_TIMEOUT_MS, 0);
    uint64_t start_ms = clock_monotonic_ms();
    assert_false(query_one(db, &sleep_long, NULL, 0, &result, &err));
    assert_in_range(clock_monotonic_ms() - start_ms, SHORT_TIMEOUT_MS / 2,
                    SHORT_TIMEOUT_MS + PAUSE_MS);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.text, "57014"));
    query_abandon(db);
    assert_works(db); /* the server gave up first, so the link is at rest */
}

/* Longer than what makes a process count as stuck. */
static void test_who_waits_is_alive(void **state)
{
    static const struct statement nap = {"nap", "SELECT pg_sleep(32)"};
    char text[256];
    struct err err;

    (void)state;
    db_close(db);
    db = open_timed(60000, 0);
    health_beat();
    queue(db, &nap);
    sync_now(db);
    skip_answer(db);
    assert_true(query_done(db, &err));
    assert_int_equal(health_live(text, sizeof text), 200);
}

static void test_lock_timeout(void **state)
{
    static const struct statement lock = {"it_lock", "SELECT pg_advisory_lock(42)"};
    struct db *other = open_timed(ANSWER_TIMEOUT_MS, 0);
    struct err err;
    PGresult *result;
    (void)state;

    db_close(db);
    db = open_timed(ANSWER_TIMEOUT_MS, 100);
    PQclear(one(other, &lock, NULL, 0));
    assert_false(query_one(db, &lock, NULL, 0, &result, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_non_null(strstr(err.text, "55P03"));
    query_abandon(db);
    assert_works(db);
    db_close(other);
}

static void test_deadlock(void **state)
{
    static const struct statement first = {"it_first", "SELECT pg_advisory_xact_lock(1)"};
    static const struct statement second = {"it_second", "SELECT pg_advisory_xact_lock(2)"};
    struct db *other = open_timed(ANSWER_TIMEOUT_MS, 0);
    struct err err = {.kind = ERR_NONE}, other_err = {.kind = ERR_NONE};
    (void)state;

    run(db, "BEGIN; SELECT pg_advisory_xact_lock(1)");
    run(other, "BEGIN; SELECT pg_advisory_xact_lock(2)");
    queue(db, &second);
    sync_now(db);
    queue(other, &first);
    sync_now(other);
    bool ok = query_done_rows(db, NULL, &err);
    query_abandon(db);
    bool other_ok = query_done_rows(other, NULL, &other_err);
    assert_int_not_equal(ok, other_ok);
    assert_int_equal((ok ? &other_err : &err)->kind, ERR_RETRY);
    assert_non_null(strstr((ok ? &other_err : &err)->text, "40P01"));
    query_abandon(other);
    assert_works(db);
    assert_works(other);
    db_close(other);
}

static void terminate(pid_t pid)
{
    static const struct statement kill_it = {"it_kill",
                                             "SELECT pg_terminate_backend($1::int4, 5000)"};
    struct db *killer = open_timed(ANSWER_TIMEOUT_MS, 0);
    const struct param param = param_of(binary_int32(&arena, pid));
    PQclear(one(killer, &kill_it, &param, 1));
    db_close(killer);
}

static void test_terminated(void **state)
{
    PGresult *result;
    struct err err, again;
    (void)state;

    for (int during = 0; during < 2; during++) {
        pid_t pid = backend_pid(db);
        if (during) {
            queue(db, &sleep_long);
            sync_now(db);
            terminate(pid);
            assert_false(query_next(db, &result, &err));
        } else {
            terminate(pid);
            assert_false(query_one(db, &select_one, NULL, 0, &result, &err));
        }
        assert_null(result);
        assert_int_equal(err.kind, ERR_RETRY);
        query_abandon(db);
        assert_false(db_usable(db));
        assert_false(query_one(db, &select_one, NULL, 0, &result, &again));
        assert_string_equal(again.text, err.text);
        assert_false(db_run(db, "SELECT 1", &again));
        db_close(db);
        db = open_timed(ANSWER_TIMEOUT_MS, 0);
        assert_works(db);
    }
}

/* A server that is there but does not answer: the state of what was sent is unknown. */
static void test_stopped_server(void **state)
{
    static const uint32_t large_size = 32 << 20; /* more than the sockets hold */
    static const struct statement length = {"it_length", "SELECT length($1::bytea)"};
    struct err err;
    PGresult *result;
    (void)state;

    void *large = calloc(1, large_size);
    assert_non_null(large);
    for (int sending = 0; sending < 2; sending++) {
        db_close(db);
        db = open_timed(SHORT_TIMEOUT_MS, 0);
        pid_t pid = backend_pid(db);
        const struct param param = {large, sending ? large_size : 1};
        assert_int_equal(kill(pid, SIGSTOP), 0);
        uint64_t start_ms = clock_monotonic_ms();
        bool ok = query_one(db, &length, &param, 1, &result, &err);
        uint64_t took_ms = clock_monotonic_ms() - start_ms;
        query_abandon(db);
        assert_int_equal(kill(pid, SIGCONT), 0);
        assert_false(ok);
        assert_int_equal(err.kind, ERR_RETRY);
        assert_false(db_usable(db));
        assert_in_range(took_ms, SHORT_TIMEOUT_MS, 2 * SHORT_TIMEOUT_MS + PAUSE_MS);
    }
    free(large);
}

/* A port of this machine, taken (and listened on) or free. */
static int local_socket(bool listening, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    if (listening) assert_int_equal(listen(fd, 1), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void test_no_server(void **state)
{
    (void)state;
    for (int listening = 0; listening < 2; listening++) {
        char conninfo[CONNINFO_SIZE];
        uint16_t port;
        struct db *none;
        struct err err;
        int fd = local_socket(listening, &port);

        snprintf(conninfo, sizeof(conninfo), "postgresql://127.0.0.1:%d/x", port);
        struct db_options options = options_for(conninfo);
        options.connect_timeout_ms = 300;
        uint64_t start_ms = clock_monotonic_ms();
        assert_false(db_open(&none, &options, &err));
        uint64_t took_ms = clock_monotonic_ms() - start_ms;
        assert_null(none);
        assert_int_equal(err.kind, ERR_RETRY);
        assert_in_range(took_ms, listening ? 300 : 0, 1300 + PAUSE_MS);
        close(fd);
    }
}

/* The tests' own URL with some of its keys replaced. */
static void conninfo_with(char conninfo[static CONNINFO_SIZE], const char *changes)
{
    PQconninfoOption *options = PQconninfoParse(url(), NULL);
    size_t length = 0;

    assert_non_null(options);
    for (PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (option->val != NULL)
            length += (size_t)snprintf(conninfo + length, CONNINFO_SIZE - length, "%s='%s' ",
                                       option->keyword, option->val);
    PQconninfoFree(options);
    snprintf(conninfo + length, CONNINFO_SIZE - length, "%s", changes); /* the last one counts */
}

static void test_refused(void **state)
{
    static const struct {
        const char *changes, *role, *says;
    } cases[] = {
        {"user=it_db_login password=wrong", NULL, "28P01"},
        {"user=it_db_login password=''", NULL, "password"},
        {"user=it_db_nobody password=x", NULL, "28"},
        {"dbname=it_db_nowhere", NULL, "3D000"},
        {"", "it_db_no\"such; role", "it_db_no\"such; role"},
        {"user=it_db_login password=right", "it_db_owner", "permission denied"},
    };
    char conninfo[CONNINFO_SIZE];
    struct db *none;
    struct err err;
    (void)state;

    run(db, "CREATE ROLE it_db_login LOGIN PASSWORD 'right'; CREATE ROLE it_db_owner");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        conninfo_with(conninfo, cases[i].changes);
        struct db_options options = options_for(conninfo);
        options.role = cases[i].role;
        if (db_open(&none, &options, &err)) fail_msg("%s: let in", cases[i].changes);
        if (err.kind != ERR_FATAL) fail_msg("%s: %s", cases[i].changes, err.text);
        if (strstr(err.text, cases[i].says) == NULL) fail_msg("%s: %s", cases[i].changes, err.text);
        assert_null(strchr(err.text, '\n'));
        assert_null(strstr(err.text, "LOCATION"));
    }
    conninfo_with(conninfo, "user=it_db_login password=right");
    struct db_options options = options_for(conninfo);
    run(db, "GRANT it_db_owner TO it_db_login");
    options.role = "it_db_owner";
    struct db *member = open_with(&options);
    static const struct statement who = {"it_who",
                                         "SELECT (current_user = 'it_db_owner')::int4::int8"};
    assert_int_equal(number(member, &who), 1);
    db_close(member);

    options.url = "postgresql://user:hunter2@[::1/x"; /* not a URL, and its password stays unsaid */
    assert_false(db_open(&none, &options, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_null(strstr(err.text, "hunter2"));
}

static int drop_roles(void **state)
{
    run(db, "DROP ROLE IF EXISTS it_db_login; DROP ROLE IF EXISTS it_db_owner");
    return teardown(state);
}

static int setup_roles(void **state)
{
    int result = setup(state);
    run(db, "DROP ROLE IF EXISTS it_db_login; DROP ROLE IF EXISTS it_db_owner");
    return result;
}

static void test_settings(void **state)
{
    static const struct statement settings = {
        "it_settings",
        "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN"
        " ('application_name', 'client_encoding', 'search_path', 'statement_timeout',"
        " 'lock_timeout', 'idle_in_transaction_session_timeout')"};
    (void)state;

    db_close(db);
    db = open_timed(1000, 77);
    PGresult *result = one(db, &settings, NULL, 0);
    struct text text = cell_text(result, 0, 0);
    if (!text_equal(text, text_of("it_db UTF8 4000 77 ledger 750")))
        fail_msg("%.*s", TEXT_ARGS(text));
    PQclear(result);
}

/* ---- Streams. ---- */

static const struct statement series = {
    "it_series", "SELECT n, repeat('x', 100) FROM generate_series(1, $1::int8) n"};

static size_t resident_kib(void)
{
    size_t pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &pages, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void stream(int64_t rows, int64_t stop_after)
{
    const struct param param = param_of(binary_int64(&arena, rows));
    size_t before_kib = 0;
    PGresult *row;
    struct err err;

    if (!query_rows_begin(db, &series, &param, 1, &err)) fail_msg("%s", err.text);
    for (int64_t seen = 0;; seen++) {
        if (seen == stop_after) {
            query_abandon(db);
            return;
        }
        if (!query_rows_next(db, &row, &err)) fail_msg("%s", err.text);
        if (row == NULL) {
            assert_int_equal(seen, rows);
            break;
        }
        if (cell_int64(row, 0, 0) != seen + 1) fail_msg("row %" PRId64, seen);
        PQclear(row);
        if (seen == rows / 2) before_kib = resident_kib();
    }
    if (rows >= 1000000) assert_in_range(resident_kib(), 0, before_kib + MEMORY_SLACK_KIB);
}

static void test_stream(void **state)
{
    static const int64_t rows[] = {0, 1, 2, 1000, 1000000, 3};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        stream(rows[i], -1);
        assert_works(db); /* nothing is left to read */
    }
}

static void test_stream_stopped_early(void **state)
{
    static const int64_t stops[] = {0, 1, 5000, 99999, 100000};
    (void)state;
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        stream(100000, stops[i]);
        assert_works(db);
    }
}

static void test_stream_failing(void **state)
{
    static const struct statement breaks = {
        "it_breaks", "SELECT 1 / (5000 - n) FROM generate_series(1, 10000) n"};
    PGresult *row;
    struct err err;
    uint32_t seen = 0;
    (void)state;

    assert_true(query_rows_begin(db, &breaks, NULL, 0, &err));
    while (query_rows_next(db, &row, &err)) {
        assert_non_null(row);
        PQclear(row);
        seen++;
    }
    assert_int_equal(seen, 4999);
    assert_int_equal(err.kind, ERR_REJECT);
    query_abandon(db);
    assert_works(db);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arrays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scalars, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_statements_one_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_within_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abandon_in_every_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_prepare_behind_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_at_the_sync_point, setup, teardown),
        cmocka_unit_test_setup_teardown(test_run, setup, teardown),
        cmocka_unit_test_setup_teardown(test_statement_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_waits_is_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadlock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_terminated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup_roles, drop_roles),
        cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream_stopped_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream_failing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
