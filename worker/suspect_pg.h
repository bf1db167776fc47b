/*
 * suspect_pg.h - who is suspected of killing workers, and how many died over it. Kept in the
 * database, because a process that dies cannot tell; and counted there rather than by the broker's
 * x-delivery-count, which also grows when the broker, the network or PostgreSQL is at fault.
 */
#ifndef WORKER_SUSPECT_PG_H
#define WORKER_SUSPECT_PG_H

#include "base/query_pg.h"

/* Notes, in a transaction of its own, that this process begins the message. *times: how many
 * processes have begun it, this one included, and neither settled it nor gave it back; one process
 * counts once. */
MUST_CHECK bool suspect_begin(struct db *db, const struct uuid *process, const struct uuid *digest,
                              uint32_t *times, struct err *err);
/* This process, which has begun it, is alive and lets go of it: it counts no more, until it begins
 * it again. */
MUST_CHECK bool suspect_give_back(struct db *db, const struct uuid *process,
                                  const struct uuid *digest, struct err *err);
/* It is settled. What is forgotten here goes away with suspect_clean. */
MUST_CHECK bool suspect_settle(struct db *db, const struct uuid *digest, struct err *err);
/* Drops notes older than a week: of messages that were settled by a process that then died. */
MUST_CHECK bool suspect_clean(struct db *db, struct err *err);

#endif
