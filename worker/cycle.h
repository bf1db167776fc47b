/*
 * cycle.h - what a worker does again and again: take what has arrived, decide it, commit,
 * acknowledge. Knows neither broker nor database nor Redis: they are behind struct cycle_io, so
 * that a test can make every call fail in turn.
 *
 * Ensures: 1. a delivery is acknowledged only after the transaction that holds its outcome has
 * committed;
 *          2. a batch that failed for a passing reason stays in hand and is run again, whole;
 *          3. one bad command does not hold up the others: the batch is halved until it stands
 * alone, and it is dead-lettered through the outbox;
 *          4. a message that kills the process takes no other along: one that came back twice
 * without being settled is a suspect, decided alone, and noted in the database before it is
 * touched; when so many processes have died over it, it is dead-lettered unread. A crash anywhere
 * is repaired by the redelivery that follows, because the key in the journal decides.
 */
#ifndef WORKER_CYCLE_H
#define WORKER_CYCLE_H

#include "base/consumer_amqp.h"
#include "outbox/compose.h"

struct cycle_io {
    void *context;
    /* consumer_fetch */
    bool (*fetch)(void *context, uint32_t wait_ms, struct delivery *out, uint32_t max,
                  struct arena *arena, uint32_t *count, struct err *err);
    /* seen_lookup and seen_remember: cannot fail */
    void (*lookup)(void *context, struct batch *batch);
    void (*remember)(void *context, struct batch *batch);
    /* How many replies of a batch may be sent past the outbox now; 0: none. */
    uint32_t (*direct)(void *context);
    /* Sends replies past the outbox and waits for their confirms; false: none may be counted on. */
    bool (*answer)(void *context, const struct outbox_row *rows, uint32_t count);
    /* store_resolve, only when a batch has targets; store_load; store_save, outbox_append and
     * store_commit, which fails (ERR_RETRY) over a key that is known and was taken for new;
     * query_abandon */
    bool (*resolve)(void *context, struct batch *batch, struct err *err);
    bool (*load)(void *context, struct batch *batch, struct err *err);
    bool (*commit)(void *context, const struct batch *batch, const struct outbox_row *rows,
                   uint32_t rows_count, struct err *err);
    void (*abandon)(void *context);
    /* consumer_reject; consumer_ack with multiple */
    bool (*reject)(void *context, uint64_t tag, struct err *err);
    bool (*ack)(void *context, uint64_t tag, struct err *err);
    /* suspect_begin; suspect_give_back and suspect_settle, which cannot fail */
    bool (*suspect)(void *context, const struct uuid *digest, uint32_t *times, struct err *err);
    void (*give_back)(void *context, const struct uuid *digest);
    void (*acquit)(void *context, const struct uuid *digest);
    /* Logs and counts what was settled: cannot fail. */
    void (*report)(void *context, const struct batch *batch);
};

struct cycle;

struct cycle_options {
    const struct cycle_io *io;
    const struct names *names;
    enum encoding event_encoding;
    uint32_t batch_max;   /* deliveries, at most BATCH_COMMANDS_MAX */
    uint32_t crash_limit; /* so many processes may die over a suspect */
};

MUST_CHECK bool cycle_open(struct cycle **out, const struct cycle_options *options,
                           struct err *err);
void cycle_close(struct cycle *cycle); /* NULL is fine */

/* One turn: what is in hand, else what arrives within wait_ms. *taken is the number of deliveries
 * settled; on success none is in hand. */
MUST_CHECK bool cycle_turn(struct cycle *cycle, uint32_t wait_ms, uint32_t *taken, struct err *err);

struct decided { /* by cycle_decide: the first `settled + left` */
    uint32_t settled;
    uint32_t
        left; /* could not be stored, or wait behind one that could not; they stay as they are */
    struct err why;
};

/* Commands that no queue brought, at most BATCH_COMMANDS_MAX, while nothing is in hand: decided and
 * committed as others are, and nothing is acknowledged. As many of the first as fit. Of what was
 * scheduled and cannot be stored, the outcome is that. When not even that can be, it is left, and
 * what was scheduled behind it for one of its accounts is left too, until cycle_forget_left.
 * `alone`: a process may have died over one of them, so each is decided as a suspect is. */
MUST_CHECK bool cycle_decide(struct cycle *cycle, const struct incoming *incoming, uint32_t count,
                             bool alone, struct decided *out, struct err *err);
void cycle_forget_left(struct cycle *cycle); /* from now on they are tried again */
bool cycle_holds(const struct cycle *cycle); /* deliveries in hand, not acknowledged */
/* Takes what has arrived unless there is something in hand, for a turn to come: while there can be
 * no turn, it is known what waits. */
MUST_CHECK bool cycle_take(struct cycle *cycle, struct err *err);
/* For how long the oldest delivery in hand has waited, since its timestamp if that is to be
 * believed (not of the future, at most 30 days old), else since it was taken; 0: none. */
uint64_t cycle_oldest_us(const struct cycle *cycle);
/* The broker has them again, or will have as soon as their connection is closed. A suspect among
 * them that was begun is given back: not by a process that ends over it. */
void cycle_drop(struct cycle *cycle);

#endif
