/*
 * worker.h - one worker: its three connections, its shards, and the cycle that runs over them.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "base/topology_amqp.h"
#include "protocol/codec.h"

struct worker_settings { /* see --help */
    char amqp_url[512], database_url[512], redis_url[512];
    char database_role[64], prefix[33], name[64];
    char http_address[64];
    uint32_t http_port, log_level, log_commands;
    uint32_t shards, prefetch, batch_max, direct_replies, crash_limit;
    uint32_t topology_mode, event_encoding;
    uint32_t heartbeat_s, timeout_ms, answer_timeout_ms;
    uint32_t redis_timeout_ms, redis_ttl_s, redis_batch_min;
    uint32_t balance_every_ms;
};

struct worker;

MUST_CHECK bool worker_open(struct worker **out, const struct worker_settings *settings,
                            struct err *err);
void worker_close(struct worker *worker); /* NULL is fine */

/* Connects what is not connected, keeps its fair share of the shards, runs one cycle. After a
 * failure call it again: what is broken is opened anew, what is in hand is kept. */
MUST_CHECK bool worker_turn(struct worker *worker, struct err *err);
/* Waits before the next try after a failure: backoff with jitter, in small steps that keep the
 * broker's heartbeat going and end at a stop. */
void worker_pause(struct worker *worker);
/* Finishes the batch in hand; gives everything else that was delivered back, and then the shards.
 */
MUST_CHECK bool worker_drain(struct worker *worker, struct err *err);

#endif
