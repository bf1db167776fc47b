/*
 * split.h - what a message of the exchange ledger.events tells, event by event, each as the JSON
 * that is posted: {"type": ..., "timestamp": ..., "data": the event}. Pure.
 */
#ifndef WEBHOOKS_SPLIT_H
#define WEBHOOKS_SPLIT_H

#include "protocol/codec.h"
#include "protocol/command.h"

struct split_event {
    struct text type, account; /* account is empty where there is none */
    struct bytes json;
};

struct split {
    struct split_event *events;
    uint32_t count;
    bool is_list; /* a batch's */
};

/* An event is passed on as it is, keys that are unknown here too. One that does not tell its type
 * has that of the message. False: problem says why it is none. */
MUST_CHECK bool split_message(struct codec *codec, struct bytes body, struct text type,
                              struct arena *arena, struct split *out,
                              char problem[static PROBLEM_SIZE]);

#endif
