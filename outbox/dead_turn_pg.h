/*
 * dead_turn_pg.h - whose turn it is to look into the dead-letter queue: one who looks has the
 * letters he has passed, so a second one at the same time would see a part of them. The operators'
 * tool takes the same session lock (dlq/audit_pg.h). It ends with its connection.
 */
#ifndef OUTBOX_DEAD_TURN_PG_H
#define OUTBOX_DEAD_TURN_PG_H

#include "base/db_pg.h"

/* Connects, and tries to take the turn. *db is NULL when somebody else has it; else db_close gives
 * it back. */
MUST_CHECK bool dead_turn_take(struct db **db, const struct db_options *options, const char *queue,
                               struct err *err);

#endif
