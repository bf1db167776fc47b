/*
 * unpublished_pg.h - what the saved cursor says of what is not published: for a relay that does not
 * lead, or not yet.
 */
#ifndef OUTBOX_UNPUBLISHED_PG_H
#define OUTBOX_UNPUBLISHED_PG_H

#include "base/db_pg.h"

struct unpublished {
    bool some;         /* rows that the cursor has not passed, perhaps on their way by now */
    uint64_t saved_ms; /* so long ago it was saved; 0: never */
};

MUST_CHECK bool unpublished_look(struct db *db, const char *sink, struct unpublished *out,
                                 struct err *err);

#endif
