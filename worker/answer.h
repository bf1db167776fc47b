/*
 * answer.h - replies sent past the outbox: to repeats that Redis knows, and of a batch so small
 * that somebody may be waiting. A shortcut that may fail at any time: the caller then takes the
 * long way. A connection of its own, opened when first needed; not used while the broker says
 * blocked.
 */
#ifndef WORKER_ANSWER_H
#define WORKER_ANSWER_H

#include "base/publisher_amqp.h"
#include "outbox/row.h"

struct answer;

struct answer_options {
    const char *url, *name;
    uint32_t heartbeat_s, timeout_ms;
};

MUST_CHECK bool answer_open(struct answer **out, const struct answer_options *options,
                            struct err *err);
void answer_close(struct answer *answer); /* NULL is fine */
/* Nothing is known that would keep answer_send from it. */
bool answer_is_ready(const struct answer *answer);
/* True when the broker has confirmed all of them. */
bool answer_send(struct answer *answer, const struct outbox_row *rows, uint32_t count);
/* Serves the connection's heartbeat; call once a turn. */
void answer_idle(struct answer *answer);

#endif
