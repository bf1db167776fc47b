/*
 * stream.h - random messages for the ledger and the model, from a seed: every command there is,
 * with whatever may go wrong with it, aimed at the edges of what the model knows at the time: the
 * last cent, the next sequence number, the microsecond at which a hold is due.
 *
 * Messages come in spans. Within one the clock stands still, and no command names a transaction
 * made in it: no caller knows an id before its reply. So a span may be cut into batches anywhere.
 */
#ifndef TESTS_STREAM_H
#define TESTS_STREAM_H

#include "tests/model.h"

struct stream {
    uint64_t random;
    uint32_t wanted; /* how many commands there are to be, about: accounts come and go with them */
    uint32_t count;  /* made, legs counted */
    uint32_t span;   /* the first of this span */
    int64_t now_us;
    struct message messages[MODEL_COMMANDS];
};

void stream_begin(struct stream *stream, uint64_t seed, uint32_t wanted, int64_t now_us);
/* Begins a span at this time. */
void stream_at(struct stream *stream, int64_t now_us);
/* The same at a time of its own: somewhat later, or just when a hold is due. */
void stream_tick(struct stream *stream, const struct model *model);
/* Makes one more message, with its legs behind it; `room` is for how many at most, at least 2. */
const struct message *stream_next(struct stream *stream, const struct model *model, uint32_t room);
uint32_t stream_dice(struct stream *stream, uint32_t sides);

#endif
