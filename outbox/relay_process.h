/*
 * relay_process.h - one relay of the outbox to RabbitMQ or Kafka: its connections, its lead, and
 * the policy of relay.h that runs over them. Any number may run; one of each sink leads, the others
 * stand by.
 */
#ifndef OUTBOX_RELAY_PROCESS_H
#define OUTBOX_RELAY_PROCESS_H

#include "base/err.h"

#include <stdint.h>

struct relay_settings { /* see --help */
    char amqp_url[512], database_url[512];
    char database_role[64], prefix[33], name[64];
    char http_address[64];
    uint32_t http_port, log_level;
    uint32_t shards, topology_mode;
    uint32_t window, save_every_ms, poll_ms;
    uint32_t rows_max, age_max_s, dead_watch_s;
    uint32_t sink; /* SINK_CHOICES */
    char kafka_brokers[512], kafka_topic[250], kafka_settings[4096];
    uint32_t heartbeat_s, timeout_ms, answer_timeout_ms, read_timeout_ms;
};

#define SINK_CHOICES "amqp|kafka"
enum { SINK_AMQP, SINK_KAFKA };

struct relay_process;

MUST_CHECK bool relay_process_open(struct relay_process **out,
                                   const struct relay_settings *settings, struct err *err);
void relay_process_close(struct relay_process *process); /* NULL is fine */

/* Connects what is not connected, leads or stands by, relays. After a failure nothing is connected,
 * and nothing is lost: call it again, after a pause. */
MUST_CHECK bool relay_process_turn(struct relay_process *process, struct err *err);
/* Backoff with jitter, in small steps that end at a stop. */
void relay_process_pause(struct relay_process *process);
/* Waits, a second at most, for what is in flight, and saves the cursor. */
MUST_CHECK bool relay_process_settle(struct relay_process *process, struct err *err);

#endif
