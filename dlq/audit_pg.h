/*
 * audit_pg.h - the record of what operators did to dead letters, and whose turn it is. Who looks
 * through the queue, or changes it, holds a session lock in PostgreSQL meanwhile: two at a time
 * would each see only a part of it. The lock goes with the connection, so a tool that was killed
 * leaves an operation that is 'running' and locked by nobody: the next one marks it interrupted.
 */
#ifndef DLQ_AUDIT_PG_H
#define DLQ_AUDIT_PG_H

#include "base/query_pg.h"
#include "dlq/letter.h"

struct audit;

struct audit_options {
    const char *url;
    const char *role; /* taken on after login; "" keeps the login's */
    const char *who;  /* who acts, as they say; also part of the application_name */
    const char *queue;
    uint32_t timeout_ms;
};

MUST_CHECK bool audit_open(struct audit **out, const struct audit_options *options,
                           struct err *err);
void audit_close(struct audit *audit); /* gives the turn back; NULL is fine */

/* Takes the turn, waiting at most wait_ms for it. ERR_RETRY when somebody else has it: the text
 * says who, since when and with what, as far as can be known. Operations that were interrupted are
 * marked so. */
MUST_CHECK bool audit_take_turn(struct audit *audit, uint32_t wait_ms, struct err *err);

enum operation_state {
    OPERATION_DONE,
    OPERATION_STOPPED, /* by the operator */
    OPERATION_FAILED,
};

/* Begins an operation; reason may be NULL. */
MUST_CHECK bool audit_begin(struct audit *audit, const char *verb, const char *filter,
                            const char *reason, int64_t *operation, struct err *err);
/* Commits which letters come next, before anything is done to them. */
MUST_CHECK bool audit_stage(struct audit *audit, int64_t operation, const struct letter *letters,
                            uint32_t count, struct arena *arena, struct err *err);
/* So many of the staged ones, in their order, are done with. */
MUST_CHECK bool audit_finish(struct audit *audit, int64_t operation, uint32_t count,
                             struct err *err);
MUST_CHECK bool audit_end(struct audit *audit, int64_t operation, enum operation_state state,
                          const char *note, struct err *err);

/* For each letter the operation in which it is staged and not finished, or 0. */
MUST_CHECK bool audit_pending(struct audit *audit, const struct letter *letters, uint32_t count,
                              int64_t *operations, struct arena *arena, struct err *err);

struct operation { /* one line of the history; good until the next one */
    int64_t id;
    struct text verb, state, who, login, reason, filter, note;
    int64_t started_us, ended_us; /* 0: not ended */
    int64_t staged, finished;
};
/* The latest first, at most limit; with a letter's id only those that staged it. */
MUST_CHECK bool audit_history(struct audit *audit, const char *letter, uint32_t limit,
                              void (*each)(void *context, const struct operation *operation),
                              void *context, struct err *err);

#endif
