/*
 * db_pg.c - opening, closing and setting up a connection. Ensures:
 *  1. every wait ends at a deadline (but for the resolver, when the URL has a host name: give an
 *     address, or bound it in resolv.conf);
 *  2. the server gives a statement up before we give the server up, so that a slow statement costs
 *     a batch and not the link;
 *  3. the server notices a dead client, so that its locks do not outlive it for long.
 */
#include "base/db_pg.h"
#include "base/clock.h"
#include "base/db_internal_pg.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SETTINGS_SIZE = 1024,
    NUMBER_SIZE = 12,
    IDLE_IN_TRANSACTION_FACTOR = 4, /* times the answer timeout */
    CLIENT_CHECK_MS = 1000,         /* how often a busy server looks whether we still live */
};

uint64_t db_deadline_ms(const struct db *db)
{
    return clock_monotonic_ms() + db->answer_timeout_ms;
}

bool db_failed(struct db *db, const struct err *err)
{
    assert(err->kind != ERR_NONE);
    if (db->failure.kind == ERR_NONE) db->failure = *err;
    return false;
}

bool db_lost(struct db *db, const struct err *err)
{
    db->usable = false;
    return db_failed(db, err);
}

static void notice_drop(void *context, const char *message)
{
    (void)context;
    (void)message;
}

/* The three quarters of invariant 2. */
static uint32_t statement_timeout_ms(const struct db_options *options)
{
    uint32_t ms = options->answer_timeout_ms - options->answer_timeout_ms / 4;
    assert(ms > 0); /* 0 would mean none */
    return ms;
}

/* No JIT: statements here are short, and to compile one costs a hundred times what it runs. */
static bool settings_write(PGconn *conn, const struct db_options *options,
                           char sql[static SETTINGS_SIZE], struct err *err)
{
    int length = snprintf(sql, SETTINGS_SIZE,
                          "SET search_path TO ledger; SET jit TO off; SET statement_timeout TO %u;"
                          "SET lock_timeout TO %u;"
                          "SET idle_in_transaction_session_timeout TO %ju;"
                          "SET client_connection_check_interval TO %d; SET tcp_user_timeout TO %u;"
                          /* Locks of a client whose host is gone must not outlive it by hours. */
                          "SET tcp_keepalives_idle TO 10; SET tcp_keepalives_interval TO 5;"
                          "SET tcp_keepalives_count TO 3",
                          statement_timeout_ms(options), options->lock_timeout_ms,
                          (uintmax_t)options->answer_timeout_ms * IDLE_IN_TRANSACTION_FACTOR,
                          CLIENT_CHECK_MS, options->answer_timeout_ms);
    assert(length > 0 && length < SETTINGS_SIZE);
    if (options->role == NULL || options->role[0] == '\0') return true;

    char *role = PQescapeIdentifier(conn, options->role, strlen(options->role));
    if (role == NULL)
        return err_set(err, ERR_FATAL, "could not quote the role: %s", PQerrorMessage(conn));
    size_t room = SETTINGS_SIZE - (size_t)length;
    bool ok = (size_t)snprintf(sql + length, room, "; SET ROLE %s", role) < room;
    PQfreemem(role);
    if (!ok) return err_set(err, ERR_FATAL, "could not set the role: its name is too long");
    return true;
}

/* Starts to connect. What the URL says is overridden only where this program depends on it. */
static PGconn *connect_start(const struct db_options *options)
{
    char timeout_ms[NUMBER_SIZE];
    snprintf(timeout_ms, sizeof(timeout_ms), "%u", options->answer_timeout_ms);
    const char *const names[] = {"dbname",           "application_name", "client_encoding",
                                 "keepalives",       "keepalives_idle",  "keepalives_interval",
                                 "keepalives_count", "tcp_user_timeout", NULL};
    const char *const values[] = {
        options->url, options->application_name, "UTF8", "1", "10", "5", "3", timeout_ms, NULL};
    _Static_assert(sizeof(names) == sizeof(values), "one value a name");

    return PQconnectStartParams(names, values, 1);
}

static bool connect_finish(struct db *db, const struct db_options *options, struct err *err)
{
    char settings[SETTINGS_SIZE];
    uint64_t deadline_ms = clock_monotonic_ms() + options->connect_timeout_ms;

    PQsetNoticeProcessor(db->conn, notice_drop, NULL);
    PQsetErrorVerbosity(db->conn, PQERRORS_VERBOSE); /* for db_kind_of_connect */
    if (!db_link_connect(db->conn, deadline_ms, err)) return false;
    if (PQsetnonblocking(db->conn, 1) != 0 || PQenterPipelineMode(db->conn) != 1)
        return err_set(err, ERR_FATAL, "could not set the link up: %s", PQerrorMessage(db->conn));
    db->usable = true;
    if (!settings_write(db->conn, options, settings, err)) return false;
    return db_run(db, settings, err);
}

bool db_open(struct db **out, const struct db_options *options, struct err *err)
{
    assert(options->url != NULL && options->application_name != NULL);
    assert(options->connect_timeout_ms > 0 && options->answer_timeout_ms > 0);
    *out = NULL;

    char *problem = NULL;
    PQconninfoOption *parsed = PQconninfoParse(options->url, &problem);
    if (parsed == NULL) {
        /* libpq's words quote the URL, which may hold a password. */
        PQfreemem(problem);
        return err_set(err, ERR_FATAL, "could not read the database URL: it is not one");
    }
    PQconninfoFree(parsed);

    struct db *db = calloc(1, sizeof(*db));
    if (db == NULL) return err_set(err, ERR_FATAL, "could not open the database: out of memory");
    db->answer_timeout_ms = options->answer_timeout_ms;
    db->conn = connect_start(options);
    if (db->conn == NULL) {
        db_close(db);
        return err_set(err, ERR_FATAL, "could not open the database: out of memory");
    }
    if (!connect_finish(db, options, err)) {
        db_close(db);
        if (err->kind == ERR_REJECT) err->kind = ERR_FATAL; /* a setting, not a batch, is wrong */
        return false;
    }
    *out = db;
    return true;
}

void db_close(struct db *db)
{
    if (db == NULL) return;
    PQfinish(db->conn); /* NULL is fine */
    free(db);
}

bool db_usable(const struct db *db)
{
    return db->usable;
}

bool db_verifier(struct db *db, const char *login, const char *password, char *out, size_t size,
                 struct err *err)
{
    char *made = PQencryptPasswordConn(db->conn, password, login, "scram-sha-256");
    bool ok = made != NULL && snprintf(out, size, "%s", made) < (int)size;

    PQfreemem(made);
    return ok || err_set(err, ERR_FATAL, "could not make a verifier of the password of %s", login);
}

/* Reads the answers to the end and keeps the first error; the rest of the text was skipped then. */
static bool run_answers(struct db *db, struct err *err)
{
    uint64_t deadline_ms = db_deadline_ms(db);
    PGresult *result;
    struct err ignored;

    for (bool ok = true;;) {
        if (!db_link_result(db->conn, deadline_ms, &result, ok ? err : &ignored))
            return db_lost(db, ok ? err : &ignored);
        if (result == NULL) return ok;
        ExecStatusType status = PQresultStatus(result);
        bool done =
            status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
        if (!done && ok) ok = db_kind_of_result(result, NULL, err);
        bool ends_link = !done && db_kind_ends_link(result); /* COPY has no SQLSTATE: so does it */
        PQclear(result);
        if (ends_link) return db_lost(db, err);
    }
}

bool db_run(struct db *db, const char *sql, struct err *err)
{
    if (db->failure.kind != ERR_NONE) {
        *err = db->failure;
        return false;
    }
    assert(db->state == DB_IDLE);
    if (PQexitPipelineMode(db->conn) != 1 || PQsendQuery(db->conn, sql) != 1) {
        db_link_failed(db->conn, "send SQL", err);
        return db_lost(db, err);
    }
    if (!db_link_flush(db->conn, db_deadline_ms(db), err)) return db_lost(db, err);
    bool ok = run_answers(db, err);
    if (!db->usable) return false;
    if (PQenterPipelineMode(db->conn) != 1) {
        db_link_failed(db->conn, "resume the pipeline", err);
        return db_lost(db, err);
    }
    if (!ok) query_abandon(db); /* a BEGIN in the text may have left a transaction open */
    return ok;
}
