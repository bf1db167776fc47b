/*
 * sinks_pg.h - the sinks that the outbox is kept for: it is not emptied before all of them are past
 * what it holds. For ledgerctl, logged in as the owner.
 */
#ifndef OUTBOX_SINKS_PG_H
#define OUTBOX_SINKS_PG_H

#include "outbox/outbox_pg.h"

struct sink_state {
    char name[SINK_NAME_SIZE];
    bool leads; /* a relay of it is running */
    uint64_t epoch, saved_s /* so long ago its cursor was saved */;
    uint64_t rows; /* that its cursor has not passed */
};
enum { SINKS_MAX = 16 };

/* *added: false when it was there before, and then nothing is changed. From the oldest row that the
 * outbox holds, or with what is committed from now on. ERR_REJECT: there is no such sink. */
MUST_CHECK bool sinks_add(struct db *db, const char *name, bool from_start, bool *added,
                          struct err *err);
/* *dropped: false when it was not there. ERR_RETRY while its relay leads; ERR_REJECT: of amqp,
 * which replies depend on. */
MUST_CHECK bool sinks_drop(struct db *db, const char *name, bool *dropped, struct err *err);
MUST_CHECK bool sinks_list(struct db *db, struct sink_state out[static SINKS_MAX], uint32_t *count,
                           struct err *err);

#endif
