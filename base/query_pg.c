/*
 * query_pg.c - statements out, answers in, in the same order. Ensures:
 *  1. each statement is prepared once on each connection, in the same round trip as its first use;
 *  2. the caller sees one answer for each query_send: those to PREPAREs and libpq's separators are
 *     read over here;
 *  3. what is reported is the error that came first, never that the pipeline was aborted after it;
 *  4. after query_abandon the link is at rest, outside any transaction, or it is not usable.
 *
 * An error in a pipeline skips everything up to the sync point, an explicit COMMIT too: the
 * transaction is then open and failed until a ROLLBACK in a segment of its own.
 */
#include "base/query_pg.h"
#include "base/db_internal_pg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS_MAX = 32, RESULTS_BINARY = 1 };

static const struct statement rollback = {"rollback", "ROLLBACK"};

static bool failed_before(const struct db *db, struct err *err)
{
    if (db->failure.kind == ERR_NONE) return false;
    *err = db->failure;
    return true;
}

static bool lost(struct db *db, const char *verb, struct err *err)
{
    db_link_failed(db->conn, verb, err);
    return db_lost(db, err);
}

static void pending_push(struct db *db, const struct statement *statement, bool prepares)
{
    assert(db->pending_end < DB_PENDING_MAX);
    db->pending[db->pending_end++] = (struct db_pending){statement, prepares};
}

static bool is_prepared(const struct db *db, const struct statement *statement)
{
    for (uint32_t i = 0; i < db->prepared_count; i++)
        if (db->prepared[i] == statement) return true;
    return false;
}

static bool prepare(struct db *db, const struct statement *statement, struct err *err)
{
    if (is_prepared(db, statement)) return true;
    assert(db->prepared_count < DB_STATEMENTS_MAX);
    if (PQsendPrepare(db->conn, statement->name, statement->sql, 0, NULL) != 1)
        return lost(db, "send a statement", err);
    db->prepared[db->prepared_count++] = statement;
    pending_push(db, statement, true);
    return true;
}

bool query_send(struct db *db, const struct statement *statement, const struct param *params,
                uint32_t params_count, struct err *err)
{
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];

    if (failed_before(db, err)) return false;
    assert(db->state != DB_READING);
    assert(params_count <= PARAMS_MAX);
    for (uint32_t i = 0; i < params_count; i++) {
        assert(params[i].data != NULL || params[i].size == 0);
        assert(params[i].size <= INT32_MAX);
        values[i] = params[i].data;
        lengths[i] = (int)params[i].size;
        formats[i] = RESULTS_BINARY;
    }
    if (!prepare(db, statement, err)) return false;
    db->state = DB_FILLING;
    if (PQsendQueryPrepared(db->conn, statement->name, (int)params_count, values, lengths, formats,
                            RESULTS_BINARY) != 1)
        return lost(db, "send a statement", err);
    pending_push(db, statement, false);
    return true;
}

static bool segment_end(struct db *db, uint64_t deadline_ms, struct err *err)
{
    if (PQpipelineSync(db->conn) != 1) return lost(db, "end a pipeline", err);
    db->state = DB_READING;
    if (!db_link_flush(db->conn, deadline_ms, err)) return db_lost(db, err);
    return true;
}

bool query_sync(struct db *db, struct err *err)
{
    if (failed_before(db, err)) return false;
    assert(db->state == DB_FILLING);
    return segment_end(db, db_deadline_ms(db), err);
}

/* The next result that is one, and the statement it belongs to (NULL at the sync point). */
static bool result_read(struct db *db, uint64_t deadline_ms, PGresult **out, struct db_pending *of,
                        struct err *err)
{
    assert(db->state == DB_READING);
    if (!db_link_result(db->conn, deadline_ms, out, err)) return db_lost(db, err);
    if (*out == NULL && !db_link_result(db->conn, deadline_ms, out, err)) return db_lost(db, err);
    if (*out == NULL) { /* one separates two answers; a second one says that nothing is due */
        err_set(err, ERR_RETRY, "could not read an answer: PostgreSQL owes none");
        return db_lost(db, err);
    }

    ExecStatusType status = PQresultStatus(*out);
    *of = (struct db_pending){NULL, false};
    if (status == PGRES_PIPELINE_SYNC) {
        db->state = DB_IDLE;
        db->pending_first = db->pending_end = 0;
    } else if (db->pending_first < db->pending_end) {
        *of = db->pending[db->pending_first];
        if (status != PGRES_SINGLE_TUPLE) db->pending_first++;
        if (of->prepares && status == PGRES_COMMAND_OK) db->prepared_known++;
    }
    return true;
}

/* Takes the result: clears it, says what was wrong with it. */
static bool result_failed(struct db *db, PGresult *result, const struct db_pending *of,
                          struct err *err)
{
    db_kind_of_result(result, of->statement == NULL ? "the commit" : of->statement->name, err);
    bool ends_link = db_kind_ends_link(result);
    PQclear(result);
    return ends_link ? db_lost(db, err) : db_failed(db, err);
}

bool query_next(struct db *db, PGresult **out, struct err *err)
{
    uint64_t deadline_ms = db_deadline_ms(db);
    struct db_pending of = {NULL, false};
    PGresult *result = NULL;

    *out = NULL;
    if (failed_before(db, err)) return false;
    do {                                             /* once more for each PREPARE */
        assert(db->pending_first < db->pending_end); /* one query_next for each query_send */
        if (!result_read(db, deadline_ms, &result, &of, err)) return false;
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_SINGLE_TUPLE)
            return result_failed(db, result, &of, err);
        if (of.prepares) PQclear(result);
    } while (of.prepares);
    *out = result;
    return true;
}

bool query_done_rows(struct db *db, uint64_t *rows, struct err *err)
{
    PGresult *result = NULL;

    if (!query_next(db, &result, err)) return false;
    if (rows != NULL) *rows = strtoull(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return true;
}

/* Without an explicit COMMIT the sync point commits, so it can fail: a deferred constraint. */
bool query_done(struct db *db, struct err *err)
{
    struct db_pending of = {NULL, false};
    PGresult *result = NULL;

    if (failed_before(db, err)) return false;
    assert(db->pending_first == db->pending_end);
    if (!result_read(db, db_deadline_ms(db), &result, &of, err)) return false;
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) return result_failed(db, result, &of, err);
    PQclear(result);
    return true;
}

/* Reads to the sync point, whatever comes. */
static bool segment_drain(struct db *db, uint64_t deadline_ms, struct err *err)
{
    struct db_pending of = {NULL, false};
    PGresult *result = NULL;

    while (db->state != DB_IDLE) {
        if (db->state == DB_FILLING && !segment_end(db, deadline_ms, err)) return false;
        if (!result_read(db, deadline_ms, &result, &of, err)) return false;
        PQclear(result);
    }
    db->prepared_count = db->prepared_known;
    return true;
}

static bool roll_back(struct db *db, uint64_t deadline_ms, struct err *err)
{
    if (PQtransactionStatus(db->conn) == PQTRANS_IDLE) return true;
    if (PQsendQueryParams(db->conn, rollback.sql, 0, NULL, NULL, NULL, NULL, 0) != 1)
        return lost(db, "roll back", err);
    db->state = DB_FILLING;
    pending_push(db, &rollback, false);
    if (!segment_drain(db, deadline_ms, err)) return false;
    if (PQtransactionStatus(db->conn) == PQTRANS_IDLE) return true;
    return lost(db, "roll back", err);
}

void query_abandon(struct db *db)
{
    struct err err;
    uint64_t deadline_ms = db_deadline_ms(db);

    if (!db->usable) return;
    if (!segment_drain(db, deadline_ms, &err)) return;
    if (!roll_back(db, deadline_ms, &err)) return;
    db->failure = (struct err){.kind = ERR_NONE};
    assert(db->state == DB_IDLE);
}

bool query_one(struct db *db, const struct statement *statement, const struct param *params,
               uint32_t params_count, PGresult **out, struct err *err)
{
    *out = NULL;
    if (query_send(db, statement, params, params_count, err) && query_sync(db, err) &&
        query_next(db, out, err) && query_done(db, err))
        return true;
    PQclear(*out); /* NULL is fine */
    *out = NULL;
    return false;
}

/* The answer to a PREPARE and its separator, so that the statement's own answer is the next thing:
 * only there does libpq take to single rows. */
static bool prepare_answer_read(struct db *db, struct err *err)
{
    struct db_pending of = {NULL, false};
    PGresult *result = NULL;
    uint64_t deadline_ms = db_deadline_ms(db);

    if (!db->pending[db->pending_first].prepares) return true;
    if (!result_read(db, deadline_ms, &result, &of, err)) return false;
    if (PQresultStatus(result) != PGRES_COMMAND_OK) return result_failed(db, result, &of, err);
    PQclear(result);
    if (!db_link_result(db->conn, deadline_ms, &result, err)) return db_lost(db, err);
    assert(result == NULL);
    return true;
}

bool query_rows_begin(struct db *db, const struct statement *statement, const struct param *params,
                      uint32_t params_count, struct err *err)
{
    if (!query_send(db, statement, params, params_count, err) || !query_sync(db, err)) return false;
    assert(db->pending_end <= 2); /* alone in its segment, but for a PREPARE */
    if (!prepare_answer_read(db, err)) return false;
    if (PQsetSingleRowMode(db->conn) != 1) return lost(db, "stream rows", err);
    return true;
}

bool query_rows_next(struct db *db, PGresult **row, struct err *err)
{
    if (!query_next(db, row, err)) return false;
    if (PQresultStatus(*row) == PGRES_SINGLE_TUPLE) return true;
    PQclear(*row); /* the last answer holds no row */
    *row = NULL;
    return query_done(db, err);
}
