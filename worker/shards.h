/*
 * shards.h - who should hold which shard. Pure: every worker computes the same plan from the same
 * survey, and moves only what must move.
 */
#ifndef WORKER_SHARDS_H
#define WORKER_SHARDS_H

#include "protocol/names.h"

enum { WORKERS_MAX = 1024 };

struct survey {                   /* what the locks say */
    int32_t self;                 /* this worker's backend */
    int32_t workers[WORKERS_MAX]; /* every live worker, in any order; self is among them */
    uint32_t workers_count;
    int32_t owner[SHARDS_MAX]; /* 0: free */
    uint32_t shards;
};

struct plan {
    uint32_t quota;               /* how many shards self should hold in the end */
    uint32_t release[SHARDS_MAX]; /* give up now */
    uint32_t release_count;
    uint32_t acquire[SHARDS_MAX]; /* free ones to try for, in this order, until the quota is met */
    uint32_t acquire_count;
};

void shards_plan(const struct survey *survey, struct plan *plan);

#endif
