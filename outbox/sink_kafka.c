/*
 * sink_kafka.c - the relay's events to a Kafka topic, each under its account. Invariants:
 *  1. a row is confirmed when all of its records are delivered;
 *  2. what is in flight is bounded in rows, records and bytes, so an outage costs no memory;
 *  3. what Kafka cannot carry is replaced by a record that tells so.
 *
 * An outage is waited for by the producer, which keeps the order and repeats little; only one that
 * lasts, or what the producer cannot mend, ends the connection.
 */
#include "base/clock.h"
#include "base/log.h"
#include "outbox/deliveries.h"
#include "outbox/records.h"
#include "outbox/relay_process.h"
#include "outbox/relay_report.h"
#include "outbox/sink.h"
#include "protocol/event_list.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ARENA_BYTES = 4 * BODY_SIZE_MAX, /* one row, decoded */
    IN_FLIGHT_BYTES_MAX = 16 << 20,
    BLOCKED_SIZE = 320,
};

struct sink_kafka {
    const struct relay_settings *settings;
    struct codec *codec;
    struct arena arena;
    struct producer *producer;
    struct deliveries deliveries;
    struct records records; /* of the row in hand */

    uint64_t progress_ms; /* something arrived then, or nothing was in flight */
    bool is_blocked;
    char blocked[BLOCKED_SIZE];
};

static bool open_producer(struct sink_kafka *sink, struct err *err)
{
    const struct relay_settings *settings = sink->settings;
    struct producer_options options = {.brokers = settings->kafka_brokers,
                                       .name = settings->name,
                                       .topic = settings->kafka_topic,
                                       .settings = settings->kafka_settings,
                                       .timeout_ms = settings->timeout_ms,
                                       .records_max = settings->window + EVENT_LIST_MAX};

    deliveries_reset(&sink->deliveries);
    return producer_open(&sink->producer, &options, err);
}

/* --- records ----------------------------------------------------------------------------- */

static bool send_remains(struct sink_kafka *sink, const struct outbox_row *row, uint64_t epoch,
                         struct record *record, uint64_t sequence, struct err *err)
{
    log_error("outbox row %jd goes to Kafka as a record without a body: %s", (intmax_t)row->id,
              err->text);
    relay_report_unpublishable();
    records_remains(&sink->records, row, epoch, err->text, record);
    return producer_send(sink->producer, record, sequence, err);
}

static bool send_records(struct sink_kafka *sink, const struct outbox_row *row, uint64_t epoch,
                         uint64_t sequence, struct err *err)
{
    size_t used = sink->arena.used; /* each record's bytes are copied */

    while (sink->records.taken < sink->records.count) {
        struct record record = {0};
        bool sent = records_take(&sink->records, &sink->arena, &record, err) &&
                    producer_send(sink->producer, &record, sequence, err);
        if (!sent &&
            (err->kind != ERR_REJECT || !send_remains(sink, row, epoch, &record, sequence, err)))
            return false;
        sink->arena.used = used;
    }
    return true;
}

static bool io_publish(void *context, const struct outbox_row *row, uint64_t epoch,
                       uint64_t *sequence, struct err *err)
{
    struct sink_kafka *sink = context;
    struct record record = {0};

    if (producer_in_flight(sink->producer) == 0) sink->progress_ms = clock_monotonic_ms();
    arena_reset(&sink->arena);
    bool is_event = records_open(&sink->records, sink->codec, row, epoch, &sink->arena, err);
    uint32_t count = is_event ? sink->records.count : 1;
    *sequence = deliveries_sent(&sink->deliveries, count, row->body.size);
    if (is_event) return send_records(sink, row, epoch, *sequence, err);
    return err->kind == ERR_REJECT && send_remains(sink, row, epoch, &record, *sequence, err);
}

/* --- the sink ---------------------------------------------------------------------------- */

static bool io_prepare(void *context, struct err *err)
{
    struct sink_kafka *sink = context;

    if (!open_producer(sink, err)) return false;
    bool ok = producer_check(sink->producer, err);
    producer_close(sink->producer);
    sink->producer = NULL;
    return ok;
}

static uint32_t io_room(void *context)
{
    const struct sink_kafka *sink = context;
    uint32_t rows = deliveries_room(&sink->deliveries), in_flight, window;

    if (sink->producer == NULL || sink->deliveries.bytes >= IN_FLIGHT_BYTES_MAX) return 0;
    in_flight = producer_in_flight(sink->producer);
    window = sink->settings->window > in_flight ? sink->settings->window - in_flight : 0;
    return rows < window ? rows : window;
}

/* Nothing arrives of what is in flight: says so, and in the end gives it up. */
static bool watch(struct sink_kafka *sink, bool some, struct err *err)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (some || producer_in_flight(sink->producer) == 0) sink->progress_ms = now_ms;
    uint64_t since_ms = now_ms - sink->progress_ms;
    bool is_blocked = since_ms > sink->settings->timeout_ms;
    if (is_blocked && !sink->is_blocked)
        (void)snprintf(sink->blocked, sizeof sink->blocked, "Kafka confirms nothing (%s)",
                       producer_complaint(sink->producer));
    if (is_blocked != sink->is_blocked)
        health_set(HEALTH_KAFKA, is_blocked ? HEALTH_DOWN : HEALTH_UP);
    sink->is_blocked = is_blocked;
    if (since_ms <= sink->settings->read_timeout_ms) return true;
    return err_set(err, ERR_RETRY, "could not publish: Kafka has confirmed nothing for %u ms (%s)",
                   sink->settings->read_timeout_ms, producer_complaint(sink->producer));
}

static bool io_poll(void *context, uint32_t wait_ms, struct confirm *out, uint32_t max,
                    uint32_t *count, struct err *err)
{
    struct sink_kafka *sink = context;
    const uint64_t *tags = NULL;
    uint32_t tags_count = 0;

    *count = 0;
    if (sink->producer == NULL) return open_producer(sink, err);
    if (sink->deliveries.arrived_count > 0) wait_ms = 0;
    if (!producer_poll(sink->producer, wait_ms, &tags, &tags_count, err)) return false;
    for (uint32_t i = 0; i < tags_count; i++) deliveries_arrived(&sink->deliveries, tags[i]);
    *count = deliveries_take(&sink->deliveries, out, max);
    return watch(sink, tags_count > 0, err);
}

static const char *io_blocked(void *context)
{
    const struct sink_kafka *sink = context;
    return sink->is_blocked ? sink->blocked : NULL;
}

static void io_disconnect(void *context)
{
    struct sink_kafka *sink = context;

    producer_close(sink->producer);
    sink->producer = NULL;
    sink->is_blocked = false;
}

static void io_close(void *context)
{
    struct sink_kafka *sink = context;

    if (sink == NULL) return;
    io_disconnect(sink);
    codec_close(sink->codec);
    arena_close(&sink->arena);
    free(sink);
}

bool sink_kafka_open(struct sink *out, const struct relay_settings *settings, struct err *err)
{
    static const struct sink_io IO = {.name = "kafka",
                                      .component = HEALTH_KAFKA,
                                      .component_name = "kafka",
                                      .events_only = true,
                                      .prepare = io_prepare,
                                      .room = io_room,
                                      .publish = io_publish,
                                      .poll = io_poll,
                                      .blocked = io_blocked,
                                      .disconnect = io_disconnect,
                                      .close = io_close};
    struct sink_kafka *sink = calloc(1, sizeof *sink);

    *out = (struct sink){&IO, sink};
    if (sink == NULL) return err_set(err, ERR_FATAL, "could not open relay: out of memory");
    sink->settings = settings;
    return codec_open(&sink->codec, err) && arena_open(&sink->arena, ARENA_BYTES, err);
}
