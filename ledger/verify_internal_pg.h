/*
 * verify_internal_pg.h - what verify_pg.c and verify_outbox_pg.c share; nobody else includes it.
 */
#ifndef LEDGER_VERIFY_INTERNAL_PG_H
#define LEDGER_VERIFY_INTERNAL_PG_H

#include "ledger/verify_pg.h"

struct verify {
    struct db *db; /* in one read-only snapshot from the first check to the last */
    struct verify_report *report;
    uint32_t most;
    void (*difference)(void *context, const char *sentence);
    void *context;
};

/* Counts a difference, and tells it while there are not too many. */
void verify_differ(const struct verify *verify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Everything about events; report->outbox_events is set. */
MUST_CHECK bool verify_outbox(const struct verify *verify, struct err *err);

#endif
