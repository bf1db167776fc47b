/*
 * assets_pg.h - which assets there are. One that is registered stays, with its scale, for ever:
 * amounts are counted in it. Needs a login that owns the schema.
 */
#ifndef LEDGER_ASSETS_PG_H
#define LEDGER_ASSETS_PG_H

#include "base/bytes.h"
#include "base/db_pg.h"

enum { ASSETS_MAX = 4096 };

/* Registers an asset with its world account. *added is false when it is there already with this
 * scale; ERR_REJECT when it has another one, or there are ASSETS_MAX. */
MUST_CHECK bool assets_add(struct db *db, struct text code, uint8_t scale, bool *added,
                           struct err *err);

/* Each asset, by code. */
MUST_CHECK bool assets_list(struct db *db,
                            void (*each)(void *context, struct text code, uint8_t scale),
                            void *context, struct err *err);

#endif
