/*
 * sweep_pg.h - holds that are due, and the commands that expire them. An expiry is a command like
 * any other: what it meets when its turn comes, a capture that was faster too, decides.
 */
#ifndef WORKER_SWEEP_PG_H
#define WORKER_SWEEP_PG_H

#include "base/query_pg.h"
#include "protocol/request.h"

enum { SWEEP_MOST = 256 };

/* The longest due first, at most SWEEP_MOST; everything points into the arena. Their keys are new
 * each time: nobody can have used them before, and that a hold is settled once is not theirs to see
 * to. */
MUST_CHECK bool sweep_find(struct db *db, struct codec *codec, struct arena *arena,
                           struct incoming out[static SWEEP_MOST], uint32_t *count,
                           struct err *err);

#endif
