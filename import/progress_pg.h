/*
 * progress_pg.h - how far each import has come: the table `import`. What it says moves in the
 * transaction of the lines that it counts.
 */
#ifndef IMPORT_PROGRESS_PG_H
#define IMPORT_PROGRESS_PG_H

#include "base/query_pg.h"
#include "base/sha256.h"
#include "ledger/store_pg.h"

enum { IMPORT_NAME_MAX = 64 };

struct progress {
    int32_t id;
    struct sha256 digest; /* of the file */
    uint64_t size;
    uint64_t position, line; /* of the file: up to here it is done */
    uint64_t applied, repeated, refused;
    bool events;
    bool ended;
};

/* One session at a time imports under a name; *locked says whether this one may. Ends with the
 * connection. */
MUST_CHECK bool progress_lock(struct db *db, struct text name, bool *locked, struct err *err);
/* What there is under the name; when there is nothing, what `progress` says of the file is put
 * there. */
MUST_CHECK bool progress_begin(struct db *db, struct text name, struct progress *progress,
                               struct err *err);
/* From the beginning, with the file that progress tells of. */
MUST_CHECK bool progress_again(struct db *db, struct progress *progress, struct err *err);
/* Queues one statement, which fails (ERR_FATAL, see store_commit) when `from` is not where it is.
 */
MUST_CHECK bool progress_advance(struct db *db, const struct progress *from,
                                 const struct progress *to, struct arena *arena,
                                 struct answers *answers, struct err *err);
/* To the last byte, and on disk, with all that was committed before. */
MUST_CHECK bool progress_end(struct db *db, struct progress *progress, struct err *err);

#endif
