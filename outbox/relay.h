/*
 * relay.h - the policy of the relay: read, publish, confirm, and only then move on. Knows neither
 * the broker nor the database: they are behind struct relay_io, so that a test can make every call
 * fail in turn.
 *
 * Ensures: 1. the cursor moves only over rows that the broker has confirmed (so none is lost);
 *          2. rows are sent in the order they are read (so an account's events stay in order).
 * It does not ensure that a row is sent once: after a failure everything beyond the confirmed
 * cursor is sent again, with the same message id. The bound is the window plus what is confirmed
 * between two saves.
 */
#ifndef OUTBOX_RELAY_H
#define OUTBOX_RELAY_H

#include "base/publisher_amqp.h"
#include "outbox/outbox_pg.h"

enum { RELAY_PAGE_ROWS = 256, RELAY_MARKS_MAX = 64 };

struct relay_io { /* each as the function of the same meaning in outbox_pg.h and publisher_amqp.h */
    void *context;
    bool events_only; /* replies and dead letters are passed over */
    bool (*read_begin)(void *context, struct cursor *cursor, struct err *err);
    bool (*read)(void *context, struct outbox_row *rows, uint32_t max, uint32_t *count, bool *end,
                 struct err *err);
    uint32_t (*room)(void *context);
    bool (*publish)(void *context, const struct outbox_row *row, uint64_t *sequence,
                    struct err *err);
    bool (*poll)(void *context, uint32_t wait_ms, struct confirm *out, uint32_t max,
                 uint32_t *count, struct err *err);
    bool (*save)(void *context, const struct cursor *cursor, struct err *err);
};

struct relay; /* cursors, the page in hand, marks of what awaits its confirm */

MUST_CHECK bool relay_open(struct relay **out, const struct relay_io *io, uint32_t save_every_ms,
                           struct err *err);
void relay_close(struct relay *relay);
/* From a cursor that was confirmed and saved; also after any failure, with the cursor of a new
 * leadership. */
void relay_start(struct relay *relay, const struct cursor *confirmed);

/* One turn: reads what is new if the last page is sent, publishes as far as there is room, takes
 * confirms (waiting at most wait_ms, and only when there is nothing else to do), moves and now and
 * then saves the cursor. *sent is what it published; *idle that all is confirmed and nothing new
 * was there. */
MUST_CHECK bool relay_turn(struct relay *relay, uint64_t now_ms, uint32_t wait_ms, uint32_t *sent,
                           bool *idle, struct err *err);
/* Waits (bounded) for what is in flight, then saves. For a clean end. */
MUST_CHECK bool relay_settle(struct relay *relay, uint32_t wait_ms, struct err *err);
const struct cursor *relay_confirmed(const struct relay *relay);
uint32_t relay_in_flight(const struct relay *relay);

#endif
