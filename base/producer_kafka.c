/*
 * producer_kafka.c - see producer_kafka.h. Invariants:
 *  1. no record is given up (message.timeout.ms is 0), and what would leave a gap all the same ends
 *     the producer (enable.gapless.guarantee): what came after it cannot be there before it;
 *  2. librdkafka's queue holds records_max, and so does tags: one poll has room for all.
 */
#include "base/producer_kafka.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

enum { REASON_SIZE = 256, NUMBER_SIZE = 16, PURGE_WAIT_MS = 1000 };

struct producer {
    rd_kafka_t *kafka;
    rd_kafka_topic_t *topic;
    uint32_t timeout_ms, in_flight;

    uint64_t *tags; /* delivered during the poll under way */
    uint32_t tags_count, records_max;
    bool has_failed;
    char failure[REASON_SIZE];

    pthread_mutex_t lock; /* of complaint: librdkafka's threads log */
    char complaint[REASON_SIZE], shown[REASON_SIZE];
};

/* --- settings ---------------------------------------------------------------------------- */

/* What the promise rests on is not to be set from outside. */
static const char *const RESERVED[] = {
    "bootstrap.servers",
    "metadata.broker.list",
    "client.id",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "transactional.id",
    "acks",
    "request.required.acks",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "retries",
    "message.send.max.retries",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "partitioner",
    "queuing.strategy",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
};

static bool is_reserved(const char *name)
{
    for (size_t i = 0; i < sizeof RESERVED / sizeof RESERVED[0]; i++)
        if (strcmp(RESERVED[i], name) == 0) return true;
    return false;
}

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err)
{
    char reason[REASON_SIZE] = "";

    if (rd_kafka_conf_set(conf, name, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return true;
    return err_set(err, ERR_FATAL, "could not set %s of librdkafka: %s", name, reason);
}

/* One "name=value"; empty lines and those with a # are nothing. */
static bool set_line(rd_kafka_conf_t *conf, char *line, struct err *err)
{
    char *value = strchr(line, '=');

    if (line[0] == '\0' || line[0] == '#') return true;
    if (value == NULL)
        return err_set(err, ERR_FATAL, "could not read a setting of librdkafka: no '='");
    *value++ = '\0';
    if (is_reserved(line))
        return err_set(err, ERR_FATAL, "could not set %s of librdkafka: it is not to be changed",
                       line);
    return set(conf, line, value, err);
}

static bool set_lines(rd_kafka_conf_t *conf, const char *lines, struct err *err)
{
    char *copy, *rest;
    bool ok = true;

    if (lines == NULL) return true;
    copy = rest = strdup(lines);
    if (copy == NULL) return err_set(err, ERR_RETRY, "could not open producer: out of memory");
    for (char *line; ok && (line = strsep(&rest, "\n")) != NULL;) ok = set_line(conf, line, err);
    free(copy);
    return ok;
}

/* murmur2_random: the partition of a key is the one that Kafka's own Java clients would choose. */
static bool configure(rd_kafka_conf_t *conf, const struct producer_options *options,
                      struct err *err)
{
    char records[NUMBER_SIZE];

    (void)snprintf(records, sizeof records, "%u", options->records_max);
    return set(conf, "linger.ms", "2", err) && set_lines(conf, options->settings, err) &&
           set(conf, "bootstrap.servers", options->brokers, err) &&
           set(conf, "client.id", options->name, err) &&
           set(conf, "enable.idempotence", "true", err) && set(conf, "acks", "all", err) &&
           set(conf, "enable.gapless.guarantee", "true", err) &&
           set(conf, "message.timeout.ms", "0", err) &&
           set(conf, "partitioner", "murmur2_random", err) &&
           set(conf, "queue.buffering.max.messages", records, err) &&
           set(conf, "queue.buffering.max.kbytes", "2097151", err);
}

/* --- callbacks --------------------------------------------------------------------------- */

static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
    struct producer *producer = opaque;

    (void)kafka;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (!producer->has_failed)
            (void)snprintf(producer->failure, sizeof producer->failure, "%s",
                           rd_kafka_err2str(message->err));
        producer->has_failed = true;
        return;
    }
    assert(producer->tags_count < producer->records_max);
    producer->tags[producer->tags_count++] = (uintptr_t)message->_private;
}

/* From any thread of librdkafka. */
static void on_log(const rd_kafka_t *kafka, int level, const char *facility, const char *text)
{
    struct producer *producer = rd_kafka_opaque(kafka);

    (void)level;
    (void)facility;
    (void)pthread_mutex_lock(&producer->lock);
    (void)snprintf(producer->complaint, sizeof producer->complaint, "%s", text);
    (void)pthread_mutex_unlock(&producer->lock);
}

/* --- opening and closing ----------------------------------------------------------------- */

static bool start(struct producer *producer, const struct producer_options *options,
                  struct err *err)
{
    char reason[REASON_SIZE] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (!configure(conf, options, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    producer->kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (producer->kafka == NULL) {
        rd_kafka_conf_destroy(conf);
        return err_set(err, ERR_FATAL, "could not open Kafka producer: %s", reason);
    }
    producer->topic = rd_kafka_topic_new(producer->kafka, options->topic, NULL);
    if (producer->topic != NULL) return true;
    return err_set(err, ERR_FATAL, "could not use Kafka topic %s: %s", options->topic,
                   rd_kafka_err2str(rd_kafka_last_error()));
}

bool producer_open(struct producer **out, const struct producer_options *options, struct err *err)
{
    struct producer *producer = calloc(1, sizeof *producer);

    *out = NULL;
    assert(options->records_max > 0);
    if (producer == NULL) return err_set(err, ERR_RETRY, "could not open producer: out of memory");
    (void)pthread_mutex_init(&producer->lock, NULL);
    producer->timeout_ms = options->timeout_ms;
    producer->records_max = options->records_max;
    producer->tags = calloc(options->records_max, sizeof *producer->tags);
    if (producer->tags == NULL)
        (void)err_set(err, ERR_RETRY, "could not open producer: out of memory");
    else if (start(producer, options, err))
        *out = producer;
    if (*out == NULL) producer_close(producer);
    return *out != NULL;
}

void producer_close(struct producer *producer)
{
    if (producer == NULL) return;
    if (producer->kafka != NULL) {
        (void)rd_kafka_purge(producer->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        producer->tags_count = 0;
        (void)rd_kafka_flush(producer->kafka,
                             PURGE_WAIT_MS); /* takes the reports of what is gone */
        if (producer->topic != NULL) rd_kafka_topic_destroy(producer->topic);
        rd_kafka_destroy(producer->kafka);
    }
    (void)pthread_mutex_destroy(&producer->lock);
    free(producer->tags);
    free(producer);
}

bool producer_check(struct producer *producer, struct err *err)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(producer->kafka, 0, producer->topic, &metadata,
                                                 (int)producer->timeout_ms);
    const char *name = rd_kafka_topic_name(producer->topic);

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return err_set(err, ERR_RETRY, "could not reach Kafka: %s (%s)", rd_kafka_err2str(code),
                       producer_complaint(producer));
    bool is_there = metadata->topic_cnt == 1 && metadata->topics[0].partition_cnt > 0;
    code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN;
    rd_kafka_metadata_destroy(metadata);
    if (is_there && code == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
    return err_set(err, ERR_RETRY, "could not use Kafka topic %s: %s", name,
                   rd_kafka_err2str(code));
}

/* --- records ----------------------------------------------------------------------------- */

static bool refused(const struct producer *producer, rd_kafka_error_t *error, struct err *err)
{
    char reason[REASON_SIZE] = "";
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    enum err_kind kind = code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? ERR_REJECT : ERR_RETRY;

    (void)snprintf(reason, sizeof reason, "%s", rd_kafka_error_string(error));
    if (code == RD_KAFKA_RESP_ERR__FATAL)
        (void)rd_kafka_fatal_error(producer->kafka, reason, sizeof reason);
    rd_kafka_error_destroy(error);
    return err_set(err, kind, "could not send a record to Kafka: %s", reason);
}

/* librdkafka copies what it is given, and yet asks for a pointer that it might write through. */
static void *of_const(const void *data)
{
    return (void *)(uintptr_t)data;
}

bool producer_send(struct producer *producer, const struct record *record, uint64_t tag,
                   struct err *err)
{
    enum { OTHERS_MAX = 5 };
    rd_kafka_vu_t parts[OTHERS_MAX + RECORD_HEADERS_MAX];
    const void *body = record->body.size == 0 ? "" : (const void *)record->body.data;
    size_t count = 0;

    assert(record->headers_count <= RECORD_HEADERS_MAX);
    parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = producer->topic};
    parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
    parts[count++] =
        (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)tag};
    parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE,
                                     .u.mem = {of_const(body), record->body.size}};
    if (record->key.length > 0)
        parts[count++] =
            (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY,
                            .u.mem = {of_const(record->key.bytes), record->key.length}};
    for (uint32_t i = 0; i < record->headers_count; i++)
        parts[count++] =
            (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADER,
                            .u.header = {.name = record->headers[i].name,
                                         .val = record->headers[i].value.bytes,
                                         .size = (ssize_t)record->headers[i].value.length}};
    rd_kafka_error_t *error = rd_kafka_produceva(producer->kafka, parts, count);
    if (error != NULL) return refused(producer, error, err);
    producer->in_flight++;
    return true;
}

bool producer_poll(struct producer *producer, uint32_t wait_ms, const uint64_t **tags,
                   uint32_t *count, struct err *err)
{
    producer->tags_count = 0;
    *count = 0;
    (void)rd_kafka_poll(producer->kafka, (int)wait_ms);
    if (producer->has_failed)
        return err_set(err, ERR_RETRY, "could not deliver a record to Kafka: %s",
                       producer->failure);
    *tags = producer->tags;
    *count = producer->tags_count;
    assert(*count <= producer->in_flight);
    producer->in_flight -= *count;
    return true;
}

uint32_t producer_in_flight(const struct producer *producer)
{
    return producer->in_flight;
}

const char *producer_complaint(struct producer *producer)
{
    (void)pthread_mutex_lock(&producer->lock);
    (void)snprintf(producer->shown, sizeof producer->shown, "%s", producer->complaint);
    (void)pthread_mutex_unlock(&producer->lock);
    return producer->shown;
}
