/*
 * totals_pg.h - what the ledger holds after an import, asset by asset, to be held against what the
 * other ledger said.
 */
#ifndef IMPORT_TOTALS_PG_H
#define IMPORT_TOTALS_PG_H

#include "base/query_pg.h"
#include "protocol/command.h"

enum { TOTAL_TEXT_SIZE = 48 };

struct total { /* of one asset; sums are decimal, as they may be larger than any one balance */
    char asset[ASSET_LENGTH_MAX + 1];
    uint8_t scale;
    uint64_t accounts;             /* all but its world */
    uint64_t imported;             /* movements of these imports */
    char balance[TOTAL_TEXT_SIZE]; /* of all accounts but its world, in minor units */
    char decimal[TOTAL_TEXT_SIZE]; /* the same in major units */
};

/* As the transaction sees it, if one is open. Calls found for each asset that has an account
 * besides its world, or was imported: of the imports with these numbers. */
MUST_CHECK bool totals_read(struct db *db, const int32_t *imports, uint32_t count,
                            bool (*found)(void *context, const struct total *total), void *context,
                            struct err *err);

#endif
