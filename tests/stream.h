/*
 * stream.h - random messages for the ledger and the model, from a seed: every command there is,
 * with whatever may go wrong with it, aimed at the edges of what the model knows at the time: the
 * last cent, the next sequence number, the microsecond at which a hold is due.
 *
 * Messages come in spans. Within one the clock stands still, the policy stays as it is, and no
 * command names a transaction made in it: no caller knows an id before its reply. So a span may be
 * cut into batches anywhere; only what is imported is a batch of its own.
 */
#ifndef TESTS_STREAM_H
#define TESTS_STREAM_H

#include "tests/model.h"

enum { STREAM_POLICIES = 64, STREAM_DUE = 64 };

struct stream_policy {
    struct model_rule rules[MODEL_RULES];
    uint32_t rules_count; /* 0: it is off */
};

struct stream {
    uint64_t random;
    uint32_t wanted; /* how many commands there are to be, about: accounts come and go with them */
    uint32_t count;  /* made, legs counted */
    uint32_t span;   /* the first of this span */
    int64_t now_us;
    bool imports;           /* some is imported */
    bool schedules_batches; /* they have no body, and cannot be kept */
    bool executes;          /* what is due comes in its turn; else stream_execute says when */
    uint32_t due[STREAM_DUE], due_at, due_count;
    struct model_rule rules[MODEL_RULES];
    struct stream_policy policies[STREAM_POLICIES]; /* one after the other; the first is off */
    uint32_t policies_count;                        /* the last one is in force */
    struct message messages[MODEL_COMMANDS];
};

void stream_begin(struct stream *stream, uint64_t seed, uint32_t wanted, int64_t now_us);
/* Begins a span at this time. */
void stream_at(struct stream *stream, int64_t now_us);
/* The same at a time of its own: somewhat later, or just when a hold or a command is due. */
void stream_tick(struct stream *stream, const struct model *model);
/* Makes one more message, with its legs behind it; `room` is for how many at most, at least 2. */
const struct message *stream_next(struct stream *stream, const struct model *model, uint32_t room);
/* Now that command is due and executed; with its legs behind it. */
const struct message *stream_execute(struct stream *stream, uint32_t scheduled);
/* Sometimes another policy from now on; true: it changed. */
bool stream_change_policy(struct stream *stream);
const struct stream_policy *stream_policy(const struct stream *stream);
uint32_t stream_dice(struct stream *stream, uint32_t sides);

#endif
