/*
 * schedule.h - what is kept of a command until its time: a message with which it can be decided as
 * if it had come then, from the same caller, in the same trace, under the same name for its key.
 * Nobody waits for a reply by then, and its deadline was for being accepted.
 */
#ifndef LEDGER_SCHEDULE_H
#define LEDGER_SCHEDULE_H

#include "ledger/ledger.h"

/* AMQP properties in their wire form, and a body of canonical msgpack without not_before, which is
 * never longer than the one that came. False when the arena is full. */
MUST_CHECK bool schedule_keep(struct codec *codec, const struct request *request,
                              struct arena *arena, struct bytes *properties, struct bytes *body);

#endif
