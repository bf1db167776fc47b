/*
 * dead_turn_pg.c - see dead_turn_pg.h. The statement is that of dlq/audit_pg.c, which cannot be
 * included here: a turn is only one if both ask for the same lock.
 */
#include "outbox/dead_turn_pg.h"

#include "base/query_pg.h"

#include <string.h>

static const struct statement TAKE = {"dead_turn_take",
                                      "SELECT pg_try_advisory_lock(hashtext($1::text) # 3, 0)"};

bool dead_turn_take(struct db **db, const struct db_options *options, const char *queue,
                    struct err *err)
{
    struct param params[] = {{queue, (uint32_t)strlen(queue)}};
    PGresult *result;
    bool taken = false;

    if (!db_open(db, options, err)) return false;
    bool ok = query_one(*db, &TAKE, params, 1, &result, err);
    if (ok) {
        taken = cell_bool(result, 0, 0);
        PQclear(result);
    }
    if (taken) return true;
    db_close(*db);
    *db = NULL;
    return ok;
}
