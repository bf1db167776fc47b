/*
 * db_internal_pg.h - what db_pg.c, db_link_pg.c, db_kind_pg.c and query_pg.c share; nobody else
 * includes it.
 *
 * One segment (statements, then a sync point) is under way at a time:
 *
 *     IDLE --query_send--> FILLING --query_sync--> READING --query_done--> IDLE
 *
 * The first failure stays in `failure`, and every call returns it again, until query_abandon has
 * read to the sync point and rolled back. On a link that is not usable it stays for good.
 */
#ifndef BASE_DB_INTERNAL_PG_H
#define BASE_DB_INTERNAL_PG_H

#include "base/query_pg.h"

enum {
    DB_STATEMENTS_MAX = 128, /* prepared on one connection */
    DB_PENDING_MAX = 256,    /* answers due in one segment, those to PREPAREs included */
};

enum db_state { DB_IDLE, DB_FILLING, DB_READING };

struct db_pending { /* one answer that is due */
    const struct statement *statement;
    bool prepares;
};

struct db {
    PGconn *conn;
    uint32_t answer_timeout_ms;
    bool usable;
    enum db_state state;
    struct err failure; /* ERR_NONE: none */

    /* In the order they were sent. A PREPARE behind an error is skipped by the server, so only the
     * first prepared_known of them are certain. */
    const struct statement *prepared[DB_STATEMENTS_MAX];
    uint32_t prepared_count, prepared_known;

    struct db_pending pending[DB_PENDING_MAX]; /* first to end are due, in order */
    uint32_t pending_first, pending_end;
};

uint64_t db_deadline_ms(const struct db *db); /* for an answer, from now */

/* Keeps *err as the failure if it is the first; returns false. */
bool db_failed(struct db *db, const struct err *err);
/* The same, and the link is not usable any more. */
bool db_lost(struct db *db, const struct err *err);

/* The three waits. They leave alone what the connection has become: on failure call db_lost. */
MUST_CHECK bool db_link_connect(PGconn *conn, uint64_t deadline_ms, struct err *err);
/* Sends what is queued, reading meanwhile: a server that waits for us to read stops reading. */
MUST_CHECK bool db_link_flush(PGconn *conn, uint64_t deadline_ms, struct err *err);
/* What PQgetResult gives next, NULL included, without its unbounded wait. */
MUST_CHECK bool db_link_result(PGconn *conn, uint64_t deadline_ms, PGresult **out, struct err *err);
/* ERR_RETRY, "could not <verb>: <libpq's reason>"; returns false. */
bool db_link_failed(const PGconn *conn, const char *verb, struct err *err);

/* SQLSTATEs become kinds in these two, which return false. A statement's name (NULL for plain SQL)
 * becomes part of the text, and a hint what to do about a missing table. */
bool db_kind_of_result(const PGresult *result, const char *statement, struct err *err);
bool db_kind_of_connect(const PGconn *conn, struct err *err);
/* Adds to a text what to do, or says it better, when TLS is why there is no connection. */
void db_explain_tls(PGconn *conn, struct err *err);
/* The server ends the session with such an error, or a new session may reach a better server. */
bool db_kind_ends_link(const PGresult *result);

#endif
