/*
 * dead_watch_amqp.h - how many dead letters there are, and how old the oldest is: two metrics of
 * ledger-relay, kept by a thread of its own. It looks now and then over connections that it closes
 * at once, changes neither the order nor the number of the letters, and disturbs nobody: whatever
 * fails it tries again the next time, and while an operator looks through the queue, it does not.
 */
#ifndef OUTBOX_DEAD_WATCH_AMQP_H
#define OUTBOX_DEAD_WATCH_AMQP_H

#include "outbox/relay_process.h"

struct dead_watch;

/* Begins to look every dead_watch_s seconds; *out is NULL when that is 0. */
MUST_CHECK bool dead_watch_open(struct dead_watch **out, const struct relay_settings *settings,
                                struct err *err);
void dead_watch_close(struct dead_watch *watch); /* within a second; NULL is fine */

#endif
