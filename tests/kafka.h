/*
 * kafka.h - a Kafka cluster for a test: librdkafka's own, which speaks the protocol over TCP and
 * can be told to refuse and to go away; and a consumer that reads all of a topic. It runs in the
 * test's process; what is tested connects to it as to any other.
 */
#ifndef TESTS_KAFKA_H
#define TESTS_KAFKA_H

#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#define KAFKA_TOPIC "ledger.events"
enum {
    KAFKA_BROKERS = 3,
    KAFKA_PARTITIONS = 4,
    KAFKA_PRODUCE = 0 /* its number in the protocol */
};

static struct {
    rd_kafka_t *host, *reader;
    rd_kafka_mock_cluster_t *cluster;
} kafka;

static inline rd_kafka_conf_t *kafka_conf(const char *const (*settings)[2], size_t count)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[200];

    for (size_t i = 0; i < count; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], reason, sizeof reason) !=
            RD_KAFKA_CONF_OK)
            fail_msg("%s", reason);
    return conf;
}

static inline void kafka_quiet(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    (void)rk, (void)level, (void)fac, (void)text;
}

static inline rd_kafka_t *kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char reason[200];

    rd_kafka_conf_set_log_cb(conf, kafka_quiet);
    rd_kafka_t *made = rd_kafka_new(type, conf, reason, sizeof reason);
    if (made == NULL) fail_msg("%s", reason);
    return made;
}

/* The addresses are then in LEDGER_KAFKA_BROKERS. */
static inline void kafka_begin(void)
{
    kafka.host = kafka_new(RD_KAFKA_PRODUCER, kafka_conf(NULL, 0));
    kafka.cluster = rd_kafka_mock_cluster_new(kafka.host, KAFKA_BROKERS);
    assert_non_null(kafka.cluster);
    assert_int_equal(
        rd_kafka_mock_topic_create(kafka.cluster, KAFKA_TOPIC, KAFKA_PARTITIONS, KAFKA_BROKERS),
        RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(
        setenv("LEDGER_KAFKA_BROKERS", rd_kafka_mock_cluster_bootstraps(kafka.cluster), 1), 0);
}

static inline void kafka_end(void)
{
    if (kafka.reader != NULL) rd_kafka_destroy(kafka.reader);
    rd_kafka_mock_cluster_destroy(kafka.cluster);
    rd_kafka_destroy(kafka.host);
    memset(&kafka, 0, sizeof kafka);
}

static inline void kafka_down(void)
{
    assert_int_equal(rd_kafka_mock_broker_set_down(kafka.cluster, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static inline void kafka_up(void)
{
    assert_int_equal(rd_kafka_mock_broker_set_up(kafka.cluster, -1), RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* All that the topic holds, from its beginning, each partition in order. */
static inline void kafka_read(void (*each)(const rd_kafka_message_t *message))
{
    const char *const settings[][2] = {
        {"bootstrap.servers", getenv("LEDGER_KAFKA_BROKERS")},
        {"group.id", "a test"},
        {"enable.auto.commit", "false"},
        {"enable.partition.eof", "true"},
        {"fetch.wait.max.ms", "50"},
    };
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(KAFKA_PARTITIONS);
    uint32_t ended = 0;

    kafka.reader =
        kafka_new(RD_KAFKA_CONSUMER, kafka_conf(settings, sizeof settings / sizeof settings[0]));
    for (int32_t i = 0; i < KAFKA_PARTITIONS; i++)
        rd_kafka_topic_partition_list_add(all, KAFKA_TOPIC, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    assert_int_equal(rd_kafka_assign(kafka.reader, all), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(all);
    while (ended < KAFKA_PARTITIONS) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(kafka.reader, 20000);
        if (message == NULL) fail_msg("nothing came from Kafka");
        ended += message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) each(message);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_destroy(kafka.reader);
    kafka.reader = NULL;
}

/* A header's value as text; "" when it is not there. */
static inline void kafka_header(const rd_kafka_message_t *message, const char *name, char *out,
                                size_t out_size)
{
    rd_kafka_headers_t *headers = NULL;
    const void *value = NULL;
    size_t size = 0;

    out[0] = '\0';
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    if (rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    (void)snprintf(out, out_size, "%.*s", (int)size, (const char *)value);
}

#endif
