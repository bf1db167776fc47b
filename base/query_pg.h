/*
 * query_pg.h - prepared statements sent as one pipeline, answers read in order. The one header that
 * shows a libpq type to those above.
 *
 *     query_send(db, &LOAD, params, 2, err) ... query_sync(db, err)      one network round trip
 *     query_next(db, &result, err); ...; PQclear(result)                 once per query_send
 *     query_done(db, err)                                                the sync point
 *
 * After a failure anywhere: query_abandon(db), which reads to the sync point and rolls back; until
 * then every call gives the same failure again. All parameters and results are binary. SQLSTATEs
 * become err kinds here and nowhere else.
 */
#ifndef BASE_QUERY_PG_H
#define BASE_QUERY_PG_H

#include "base/bytes.h"
#include "base/db_pg.h"
#include "base/uuid.h"

#include <libpq-fe.h>

struct statement { /* const, one per SQL text; the name must be unique in the program */
    const char *name;
    const char *sql; /* parameters carry casts ($1::text[]) so that no OIDs are needed */
};

struct param { /* binary; a NULL data with size 0 is SQL NULL; "" with size 0 is empty */
    const void *data;
    uint32_t size;
};

/* Queues one execution; prepares the statement on this connection the first time. The params'
 * memory must stay until query_sync returns. */
MUST_CHECK bool query_send(struct db *db, const struct statement *statement,
                           const struct param *params, uint32_t params_count, struct err *err);
MUST_CHECK bool query_sync(struct db *db, struct err *err);
/* The next answer. ERR_RETRY for a lost link, serialization, deadlock, unique violation, shutdown,
 * resources; ERR_REJECT for what the data of this batch caused (classes 22, 23 apart from unique);
 * ERR_FATAL otherwise. On failure *out is NULL. */
MUST_CHECK bool query_next(struct db *db, PGresult **out, struct err *err);
/* The same for a statement whose rows do not matter; *rows (may be NULL) is what it affected. */
MUST_CHECK bool query_done_rows(struct db *db, uint64_t *rows, struct err *err);
/* Without an explicit COMMIT it is the sync point that commits, so this can fail as well. */
MUST_CHECK bool query_done(struct db *db, struct err *err);
/* Takes an answer timeout at most; see db_usable afterwards. On a link at rest it does nothing. */
void query_abandon(struct db *db);

/* One statement, one round trip: send, sync, next; the caller PQclears, then nothing is left. */
MUST_CHECK bool query_one(struct db *db, const struct statement *statement,
                          const struct param *params, uint32_t params_count, PGresult **out,
                          struct err *err);

/* Streams one statement's rows in single-row mode, memory flat. query_rows_next gives one row,
 * which the caller PQclears, or NULL after the last one; then nothing is left. Between the calls
 * nothing else may be sent on this connection. query_abandon ends a stream early, by reading the
 * rest. The server counts the whole stream as one statement, which its statement_timeout bounds. */
MUST_CHECK bool query_rows_begin(struct db *db, const struct statement *statement,
                                 const struct param *params, uint32_t params_count,
                                 struct err *err);
MUST_CHECK bool query_rows_next(struct db *db, PGresult **row, struct err *err);

/* Cells of a binary result; they assert that the column is of that width. */
bool cell_is_null(const PGresult *result, int row, int column);
int64_t cell_int64(const PGresult *result, int row, int column);
int32_t cell_int32(const PGresult *result, int row, int column);
int16_t cell_int16(const PGresult *result, int row, int column);
bool cell_bool(const PGresult *result, int row, int column);
struct uuid cell_uuid(const PGresult *result, int row, int column);
/* Views into the result, good until PQclear. */
struct text cell_text(const PGresult *result, int row, int column);
struct bytes cell_bytes(const PGresult *result, int row, int column);
int64_t cell_time_us(const PGresult *result, int row,
                     int column); /* timestamptz, as clock_wall_us */

#endif
