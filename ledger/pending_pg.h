/*
 * pending_pg.h - what was scheduled and has not ended, for who looks after the ledger. A role that
 * may read suffices.
 */
#ifndef LEDGER_PENDING_PG_H
#define LEDGER_PENDING_PG_H

#include "base/query_pg.h"
#include "protocol/command.h"

struct pending { /* views, good during the call */
    struct uuid id;
    enum command_type type;
    int64_t due_us, accepted_us;
    bool is_due; /* by the database's clock */
    struct text caller, key;
    struct bytes body; /* msgpack, as it will be decided */
};

/* The first due first; memory stays flat. */
MUST_CHECK bool pending_list(struct db *db,
                             void (*each)(void *context, const struct pending *pending),
                             void *context, struct err *err);

#endif
