/*
 * sweep_pg.h - what is due: holds, and the commands that expire them; commands that were scheduled.
 * Both are commands like any other: what they meet when their turn comes, a capture that was faster
 * or a cancellation, decides.
 */
#ifndef WORKER_SWEEP_PG_H
#define WORKER_SWEEP_PG_H

#include "base/query_pg.h"
#include "protocol/request.h"

/* With bodies of 1 MiB in all; the last may take it over that. */
enum { SWEEP_MOST = 256, SWEEP_ARENA_SIZE = 4 << 20 };

/* The longest due first, at most SWEEP_MOST; everything points into the arena. Their keys are new
 * each time: nobody can have used them before, and that a hold is settled once is not theirs to see
 * to. */
MUST_CHECK bool sweep_find(struct db *db, struct codec *codec, struct arena *arena,
                           struct incoming out[static SWEEP_MOST], uint32_t *count,
                           struct err *err);

struct sweep_place { /* in the order in which they are due */
    int64_t due_us, number;
};
struct sweep {
    struct incoming incoming[SWEEP_MOST];
    struct sweep_place places[SWEEP_MOST];
    uint32_t count;
    uint64_t waited_us; /* the first of all that are due, for how long it has been; 0: none is */
};

/* The longest due first, and of those due at once the one that was accepted first; only those
 * behind a place ({0}: all). */
MUST_CHECK bool sweep_scheduled(struct db *db, struct arena *arena, struct sweep_place behind,
                                struct sweep *out, struct err *err);

#endif
