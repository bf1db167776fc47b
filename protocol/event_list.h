/*
 * event_list.h - the events of one batch in one message, "batch.applied": who publishes a thousand
 * commands at once is told of them at once. Each event in it reads as it would alone.
 */
#ifndef PROTOCOL_EVENT_LIST_H
#define PROTOCOL_EVENT_LIST_H

#include "protocol/event.h"

enum {
    EVENT_LIST_MAX = 2 * LEGS_MAX, /* a leg has two at most */
    /* Of one message, as msgpack: it is ended when it is longer. Whatever is in it, it is then
       within what a decoder takes: no value has less than one byte, nor one byte more than six
       characters of JSON. */
    EVENT_LIST_SIZE = 112 << 10,
    EVENT_SIZE_MAX = 8 << 10, /* of any one event, as msgpack */
};
_Static_assert(EVENT_LIST_SIZE + EVENT_SIZE_MAX < BODY_ITEMS_MAX, "said above");
_Static_assert(6 * (EVENT_LIST_SIZE + EVENT_SIZE_MAX) < BODY_SIZE_MAX, "said above");
#define EVENT_LIST_WORD "batch.applied" /* its event_type, and the routing key */

struct event_list {
    struct uuid batch;     /* the batch's id */
    struct uuid scheduled; /* that it is the execution of; zero: of none */
    struct text caller, key;
    int64_t timestamp_us;
    struct uuid trace_id;
    const struct event *events; /* in the order of the batch */
    uint32_t count;
};

/* As many of the events as one message should hold, at least one if there is any: *taken. */
MUST_CHECK bool event_list_encode(const struct event_list *list, enum encoding encoding,
                                  struct arena *arena, struct bytes *out, uint32_t *taken);

/* The events that a message tells, be it a list's or one event alone. */
MUST_CHECK bool event_list_decode(struct codec *codec, struct bytes body, enum encoding encoding,
                                  struct arena *arena, struct event_list *out,
                                  char problem[static PROBLEM_SIZE]);

#endif
