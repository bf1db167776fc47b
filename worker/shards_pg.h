/*
 * shards_pg.h - the locks that share the shards out: session-level advisory locks, which end with
 * their connection, so a dead worker's shards are free at once and no clock is involved.
 */
#ifndef WORKER_SHARDS_PG_H
#define WORKER_SHARDS_PG_H

#include "base/query_pg.h"
#include "worker/shards.h"

/* Makes this connection known as a live worker of the ledger with this prefix. */
MUST_CHECK bool shards_register(struct db *db, const char *prefix, int32_t *self, struct err *err);
/* Fills workers and owner; self and shards are the caller's. Workers over WORKERS_MAX are
 * ERR_FATAL. */
MUST_CHECK bool shards_survey(struct db *db, const char *prefix, struct survey *survey,
                              struct err *err);
MUST_CHECK bool shards_lock(struct db *db, const char *prefix, uint32_t shard, bool *locked,
                            struct err *err);
MUST_CHECK bool shards_unlock(struct db *db, const char *prefix, uint32_t shard, struct err *err);

#endif
