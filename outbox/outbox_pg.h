/*
 * outbox_pg.h - the outbox table and a sink's cursor over it.
 *
 * What is new is the difference of two snapshots: rows that `target` sees and `snapshot` did not,
 * in id order. That is commit order for each account, misses no row however late its transaction
 * commits, and does not wait for strangers' transactions. See docs/architecture.md.
 */
#ifndef OUTBOX_OUTBOX_PG_H
#define OUTBOX_OUTBOX_PG_H

#include "base/query_pg.h"
#include "ledger/store_pg.h"
#include "outbox/row.h"

/* Queues one insert of all rows, as the last statement before the commit. */
MUST_CHECK bool outbox_append(struct db *db, const struct outbox_row *rows, uint32_t count,
                              struct arena *arena, struct answers *answers, struct err *err);

enum { SNAPSHOT_TEXT_SIZE = 8192 };

struct cursor {
    char snapshot[SNAPSHOT_TEXT_SIZE]; /* everything it sees is done */
    char target[SNAPSHOT_TEXT_SIZE];   /* of what this one sees beyond it ... */
    int64_t position; /* ... rows up to this id are done; target is "" when none is begun */
};

struct leadership {
    uint64_t epoch;
    struct cursor cursor;
};

/* Tries to become the sink's one relay: advisory lock, then the next epoch. *led says whether; it
 * lasts as long as the connection. ERR_FATAL when the cursor belongs to another database (restored
 * or cloned: system identifier or transaction ids differ), saying what to run. The sink amqp, seen
 * for the first time, starts at the oldest row; others are registered (sinks_pg.h), or ERR_REJECT.
 */
MUST_CHECK bool outbox_lead(struct db *db, const char *sink, bool *led, struct leadership *out,
                            struct err *err);
/* A row's bytes at most: an arena for outbox_read has room for one at least. */
enum { OUTBOX_ROW_SIZE_MAX = BODY_SIZE_MAX + 256 * 1024 };

/* Once, for a connection that reads or rotates: without it a look at ten rows may cost 100 ms and
 * more. It lifts the server's limit on a statement's time, as a stream lasts as long as its reader
 * takes. */
MUST_CHECK bool outbox_tune(struct db *db, struct err *err);
struct outbox_reader; /* one read at a time */
/* stream: nothing else may be sent on it between begin and end; other: for rows that are large, at
 * any time. Both stay the caller's, and outlive the reader. close takes NULL. */
MUST_CHECK bool outbox_reader_open(struct outbox_reader **out, struct db *stream, struct db *other,
                                   struct err *err);
void outbox_reader_close(struct outbox_reader *reader);
/* Rows of cursor->target beyond the cursor: begin, then read until *end. Without a target: all that
 * are visible now, and begin sets it; equal to the snapshot, nothing at all has happened, and there
 * are none. A page ends after max rows, or when another row might not fit into the arena, which the
 * views point into. */
MUST_CHECK bool outbox_read_begin(struct outbox_reader *reader, struct cursor *cursor,
                                  struct err *err);
MUST_CHECK bool outbox_read(struct outbox_reader *reader, struct arena *arena,
                            struct outbox_row *rows, uint32_t max, uint32_t *count, bool *end,
                            struct err *err);

MUST_CHECK bool outbox_save(struct db *db, const char *sink, const struct cursor *cursor,
                            struct err *err);
enum { SINK_NAME_SIZE = 64 };

struct rotation {
    bool is_done;                /* the next partition was begun */
    bool is_held;                /* it should have been, and cannot yet be emptied ... */
    char holder[SINK_NAME_SIZE]; /* ... because of this sink; "": of somebody's lock */
    uint64_t size;               /* of all partitions with their indexes, in bytes */
};

/* Starts to fill the next partition when the current one holds more than rows_max rows or is older
 * than age_max_s, and the next one can be truncated: every sink's saved cursor is past all it
 * holds, and its lock is to be had at once. */
MUST_CHECK bool outbox_rotate(struct db *db, uint64_t rows_max, uint32_t age_max_s,
                              struct rotation *out, struct err *err);
/* Moves the cursor of a restored or cloned database to "everything here is new" (from_start) or
 * "everything here is published"; for ledgerctl rebase, logged in as the owner. ERR_RETRY while a
 * relay leads. */
MUST_CHECK bool outbox_rebase(struct db *db, const char *sink, bool from_start, struct err *err);

#endif
