/*
 * producer_kafka.h - records out to one Kafka topic, deliveries in: an idempotent producer that
 * waits for all in-sync replicas.
 *
 * Within one producer the records of a partition arrive in the order in which they were sent,
 * without a gap: a record is never given up, so none can overtake one that failed. An outage is
 * waited for. After any error every record that was not delivered has an unknown outcome: send it
 * again, with another producer.
 */
#ifndef BASE_PRODUCER_KAFKA_H
#define BASE_PRODUCER_KAFKA_H

#include "base/bytes.h"

struct producer;

struct producer_options {
    const char *brokers; /* host:port,host:port */
    const char *name;    /* client.id */
    const char *topic;
    const char *settings; /* further ones of librdkafka, "name=value" each on a line; or NULL */
    uint32_t timeout_ms;  /* of producer_check */
    uint32_t records_max; /* sent and not reported, at most */
};

struct record_header {
    const char *name;
    struct text value;
};
enum { RECORD_HEADERS_MAX = 16 };

struct record {
    struct text key; /* those of one key go to one partition; empty: to any */
    struct bytes body;
    const struct record_header *headers;
    uint32_t headers_count;
};

/* Connects by itself, and again whenever it must. ERR_FATAL: a setting is wrong, or one of those
 * that the promise above rests on. */
MUST_CHECK bool producer_open(struct producer **out, const struct producer_options *options,
                              struct err *err);
void producer_close(struct producer *producer); /* NULL is fine; what is in flight is let go */
/* Asks the brokers for the topic: ERR_RETRY, in Kafka's words, when none answers or it is not
 * there. */
MUST_CHECK bool producer_check(struct producer *producer, struct err *err);

/* Copies the record. `tag` comes back once it is delivered. ERR_REJECT: this record is too large
 * for Kafka, nothing was sent. */
MUST_CHECK bool producer_send(struct producer *producer, const struct record *record, uint64_t tag,
                              struct err *err);
/* Waits at most wait_ms for the first delivery; *tags is a view, good until the next call. */
MUST_CHECK bool producer_poll(struct producer *producer, uint32_t wait_ms, const uint64_t **tags,
                              uint32_t *count, struct err *err);
/* Sent, and not yet given out by producer_poll. */
uint32_t producer_in_flight(const struct producer *producer);
/* What librdkafka complained of last, "" at first; the view is good until the next call. */
const char *producer_complaint(struct producer *producer);

#endif
