/*
 * verify_internal_pg.h - what the verify_*_pg.c files share; nobody else includes it.
 */
#ifndef LEDGER_VERIFY_INTERNAL_PG_H
#define LEDGER_VERIFY_INTERNAL_PG_H

#include "ledger/verify_pg.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    VERIFY_EVENTS,
    VERIFY_CHECKPOINTS,
    VERIFY_CHECKS,
    VERIFY_CHAINS = 15,
    VERIFY_CHECKS_MAX = 16
};

struct verify_shared { /* by all jobs */
    const struct verify_options *options;
    struct verify_report *report; /* differences: under the lock, as are those of each check */
    uint64_t differences[VERIFY_CHECKS_MAX];
    pthread_mutex_t lock;
    atomic_uint checks;        /* that are somebody's */
    int64_t chained;           /* accounts up to this number are somebody's; under the lock */
    atomic_uint_fast64_t done; /* entries and events, for the progress */
    atomic_bool failed;        /* one of the jobs did: the others need not go on */
    atomic_uint ended;         /* jobs */
};

struct verify {    /* one job */
    struct db *db; /* in the read-only snapshot that all have, from the first check to the last */
    struct verify_shared *shared;
    const struct verify_report *report;
    uint32_t check; /* which one it makes now */
};

/* Counts a difference, and tells it while the check has not told too many. */
void verify_differ(const struct verify *verify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Everything about events; report->outbox_events is set. */
MUST_CHECK bool verify_outbox(const struct verify *verify, struct err *err);

/* The checkpoints, and those that were kept outside. */
MUST_CHECK bool verify_checkpoints(const struct verify *verify, struct err *err);

/* The chains of accounts that no other job has taken, until there are none left. */
MUST_CHECK bool verify_chains(const struct verify *verify, struct err *err);

#endif
