/*
 * outbox.h - what the tests of the outbox on real servers share: a database of their own with the
 * ledger's schema, sessions on it, and rows that tell their account and their number in it.
 *
 * Needs LEDGER_DATABASE_URL, with the right to create databases.
 */
#ifndef TESTS_OUTBOX_H
#define TESTS_OUTBOX_H

#include "base/clock.h"
#include "base/query_pg.h"
#include "ledger/migrate_pg.h"
#include "outbox/outbox_pg.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTBOX_ACCOUNTS = 8, OUTBOX_SQL_SIZE = 4096, OUTBOX_ANSWER_MS = 20000 };

static char outbox_url[1024]; /* of the test's own database */
static char outbox_database[64];
static struct err err;

#define must(call)                                                                                 \
    do {                                                                                           \
        if (!(call)) fail_msg("%s", err.text);                                                     \
    } while (0)

static inline struct db *session_at(const char *url, const char *role)
{
    struct db_options options = {.url = url,
                                 .application_name = "it_outbox",
                                 .role = role,
                                 .connect_timeout_ms = 5000,
                                 .answer_timeout_ms = OUTBOX_ANSWER_MS};
    struct db *db = NULL;

    must(db_open(&db, &options, &err));
    /* The owner of a test tampers with what is append-only. */
    if (role == NULL) must(db_run(db, "SET ledger.rewrite_history = on", &err));
    return db;
}

static inline struct db *session_as(const char *role)
{
    return session_at(outbox_url, role);
}

static inline void sql(struct db *db, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void sql(struct db *db, const char *format, ...)
{
    char text[OUTBOX_SQL_SIZE];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert_in_range(length, 1, OUTBOX_SQL_SIZE - 1);
    must(db_run(db, text, &err));
}

static inline int64_t number(struct db *db, const struct statement *statement)
{
    PGresult *result;
    int64_t value;

    must(query_one(db, statement, NULL, 0, &result, &err));
    value = cell_int64(result, 0, 0);
    PQclear(result);
    return value;
}

/* Rows first..last of an account: bodies are the two numbers, message ids <account>:<number>. The
 * transaction, if one is open, stays open. */
static inline void insert_rows(struct db *db, uint32_t account, uint32_t first, uint32_t last)
{
    sql(db,
        "INSERT INTO outbox (slot, kind, destination, properties, body)"
        " SELECT (SELECT slot FROM outbox_rotation), 0, 'transaction.created',"
        "        '\\x108002'::bytea || decode(lpad(to_hex(length(name)), 2, '0'), 'hex')"
        "        || convert_to(name, 'UTF8'),"
        "        int4send(%u) || int4send(n) || '\\x00'::bytea"
        "   FROM generate_series(%u, %u) AS n, LATERAL (SELECT '%u:' || n) AS name (name) ORDER BY "
        "n",
        account, first, last, account);
}

static inline uint32_t row_number(struct bytes body, uint32_t *account)
{
    uint32_t value = 0;

    assert_true(body.size >= 8);
    *account = 0;
    for (uint32_t i = 0; i < 4; i++) *account = *account << 8 | body.data[i];
    for (uint32_t i = 4; i < 8; i++) value = value << 8 | body.data[i];
    return value;
}

static inline int database_make(void **state)
{
    const char *url = getenv("LEDGER_DATABASE_URL");
    uint32_t random;
    struct db *db;

    (void)state;
    if (url == NULL) fail_msg("LEDGER_DATABASE_URL is not set");
    random_bytes(&random, sizeof random);
    (void)snprintf(outbox_database, sizeof outbox_database, "it_outbox_%08x", random);
    db = session_at(url, NULL);
    sql(db, "CREATE DATABASE %s", outbox_database);
    db_close(db);
    const char *slash = strrchr(url, '/');
    assert_non_null(slash);
    (void)snprintf(outbox_url, sizeof outbox_url, "%.*s/%s", (int)(slash - url), url,
                   outbox_database);
    db = session_as(NULL);
    uint32_t applied = 0;
    must(migrate_run(db, &applied, NULL, &err));
    db_close(db);
    return 0;
}

static inline int database_drop(void **state)
{
    struct db *db = session_at(getenv("LEDGER_DATABASE_URL"), NULL);

    (void)state;
    sql(db, "DROP DATABASE %s WITH (FORCE)", outbox_database);
    db_close(db);
    return 0;
}

#endif
