/*
 * db_pg.h - one connection to PostgreSQL, always direct (session locks and prepared statements do
 * not survive a transaction pooler), in pipeline mode, non-blocking, every wait bounded.
 */
#ifndef BASE_DB_PG_H
#define BASE_DB_PG_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct db;

struct db_options {
    const char *url;              /* postgresql://... or key=value */
    const char *application_name; /* seen in pg_stat_activity */
    const char *role;             /* SET ROLE after login; NULL or "" keeps the login's */
    uint32_t connect_timeout_ms;
    uint32_t answer_timeout_ms; /* the longest wait for any answer; the server gives a statement up
                                 * after three quarters of it, which leaves the link usable */
    uint32_t lock_timeout_ms;   /* 0: none */
};

/* ERR_RETRY when the server is away or starting, ERR_FATAL when it refuses us (password, role,
 * database). search_path is set to "ledger"; TCP keepalives and tcp_user_timeout are on. */
MUST_CHECK bool db_open(struct db **out, const struct db_options *options, struct err *err);
void db_close(struct db *db); /* NULL is fine */
/* False after any error that lost the link or left its state unknown: close it and open another. */
bool db_usable(const struct db *db);
/* Runs one or more statements without parameters, outside the pipeline, results dropped. They are
 * one transaction unless they say otherwise; after a failure none is left open. */
MUST_CHECK bool db_run(struct db *db, const char *sql, struct err *err);
/* What the server keeps instead of a login's password (SCRAM-SHA-256), made here. */
MUST_CHECK bool db_verifier(struct db *db, const char *login, const char *password, char *out,
                            size_t size, struct err *err);

#endif
