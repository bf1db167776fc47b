/*
 * dispatcher.h - the process that posts: takes events from its queue, sends each on to the queues
 * of the endpoints that want it, takes from these, posts, and puts what failed into a delay queue.
 * Any number may run.
 *
 * At least once: a message is acknowledged when what becomes of it is confirmed or was accepted.
 */
#ifndef WEBHOOKS_DISPATCHER_H
#define WEBHOOKS_DISPATCHER_H

#include "base/err.h"
#include "protocol/names.h"

#include <stdint.h>

struct dispatcher_settings { /* see --help */
    char amqp_url[512], database_url[512], database_role[64], prefix[PREFIX_LENGTH_MAX + 1];
    char http_address[64], name[64], schedule[128], ca_file[256];
    uint32_t http_port, log_level, timeout_ms;
    uint32_t post_timeout_ms, connect_timeout_ms, per_endpoint, keep_days;
    bool allow_private;
};

struct dispatcher;

MUST_CHECK bool dispatcher_open(struct dispatcher **out, const struct dispatcher_settings *settings,
                                struct err *err);
void dispatcher_close(struct dispatcher *dispatcher); /* NULL is fine */

/* One turn of the loop, some milliseconds when there is work. After a failure nothing is connected,
 * and what was under way will be delivered again: call it again, after a pause. */
MUST_CHECK bool dispatcher_turn(struct dispatcher *dispatcher, struct err *err);
/* Backoff with jitter, in small steps that end at a stop. */
void dispatcher_pause(struct dispatcher *dispatcher);
/* Takes nothing more, and ends what is under way, as far as that takes some seconds. */
void dispatcher_leave(struct dispatcher *dispatcher);

#endif
