/*
 * sink_amqp.c - the relay's messages to RabbitMQ: replies, events and dead letters. Invariants:
 *  1. each carries the leader's epoch and its place in the outbox;
 *  2. a row that AMQP cannot carry becomes a dead letter that tells so.
 */
#include "base/log.h"
#include "base/topology_amqp.h"
#include "outbox/relay_process.h"
#include "outbox/relay_report.h"
#include "outbox/sink.h"
#include "protocol/names.h"
#include "protocol/properties.h"

#include <stdio.h>
#include <stdlib.h>

enum { SCRATCH_SIZE = 512 * 1024 }; /* one message's properties, written anew */

struct sink_amqp {
    const struct relay_settings *settings;
    struct names names;
    struct arena scratch;
    struct publisher *publisher;
};

/* --- messages ---------------------------------------------------------------------------- */

static bool has_message_id(struct bytes raw)
{
    struct properties properties;
    return properties_parse(raw, &properties) && properties.message_id.length > 0;
}

/* Replies and events may find nobody: a caller may have gone. Dead letters may not. (What comes
 * back is known by its message_id, so one without it cannot be asked for.) */
static struct message message_of(const struct sink_amqp *sink, const struct outbox_row *row)
{
    struct message message = {.routing_key = row->destination, .body = row->body};

    switch (row->kind) {
    case OUTBOX_EVENT:
        message.exchange = text_of(sink->names.events);
        break;
    case OUTBOX_REPLY:
        break;
    case OUTBOX_DEAD_LETTER:
        message.exchange = text_of(sink->names.dlx);
        message.mandatory = has_message_id(row->properties);
        break;
    }
    return message;
}

static struct header header_number(const char *name, int64_t number)
{
    return (struct header){.name = text_of(name), .is_number = true, .number = number};
}

/* The body alone, with what is known about it. */
static bool publish_remains(struct sink_amqp *sink, const struct outbox_row *row, uint64_t epoch,
                            uint64_t *sequence, struct err *err)
{
    char message_id[32];
    struct header headers[] = {
        {.name = TEXT_LITERAL("x-ledger-reason"), .text = TEXT_LITERAL("unpublishable")},
        {.name = TEXT_LITERAL("x-ledger-error"), .text = text_of(err->text)},
        header_number("x-ledger-kind", row->kind),
        header_number("x-ledger-epoch", (int64_t)epoch),
        header_number("x-ledger-position", row->id)};
    struct properties_out properties = {.headers = headers,
                                        .headers_count = sizeof headers / sizeof headers[0]};
    struct message message = {
        .exchange = text_of(sink->names.dlx), .body = row->body, .mandatory = true};

    log_error("outbox row %jd goes to the dead letters: %s", (intmax_t)row->id, err->text);
    relay_report_unpublishable();
    (void)snprintf(message_id, sizeof message_id, "outbox:%jd", (intmax_t)row->id);
    properties.message_id = text_of(message_id);
    arena_reset(&sink->scratch);
    if (!properties_write(&properties, &sink->scratch, &message.properties))
        return err_set(err, ERR_FATAL, "could not write properties: they are too large");
    return publisher_send(sink->publisher, &message, sequence, err);
}

static bool publish(struct sink_amqp *sink, const struct outbox_row *row, uint64_t epoch,
                    uint64_t *sequence, struct err *err)
{
    struct header headers[] = {header_number("x-ledger-epoch", (int64_t)epoch),
                               header_number("x-ledger-position", row->id)};
    struct message message = message_of(sink, row);

    arena_reset(&sink->scratch);
    if (!properties_extend(row->properties, headers, 2, false, &sink->scratch, &message.properties))
        return err_set(err, ERR_REJECT, "could not extend its properties: they are none");
    return publisher_send(sink->publisher, &message, sequence, err);
}

/* --- the sink ---------------------------------------------------------------------------- */

static bool io_prepare(void *context, struct err *err)
{
    static struct names_topology topology;
    struct sink_amqp *sink = context;
    enum topology_mode mode = (enum topology_mode)sink->settings->topology_mode;

    names_topology(&sink->names, &topology);
    return topology_apply(sink->settings->amqp_url, &topology.topology, mode, err);
}

static uint32_t io_room(void *context)
{
    const struct sink_amqp *sink = context;
    return sink->publisher == NULL ? 0 : publisher_room(sink->publisher);
}

static bool io_publish(void *context, const struct outbox_row *row, uint64_t epoch,
                       uint64_t *sequence, struct err *err)
{
    struct sink_amqp *sink = context;

    if (publish(sink, row, epoch, sequence, err)) return true;
    return err->kind == ERR_REJECT && publish_remains(sink, row, epoch, sequence, err);
}

static bool io_poll(void *context, uint32_t wait_ms, struct confirm *out, uint32_t max,
                    uint32_t *count, struct err *err)
{
    struct sink_amqp *sink = context;
    const struct relay_settings *settings = sink->settings;
    struct publisher_options options = {.url = settings->amqp_url,
                                        .name = settings->name,
                                        .heartbeat_s = settings->heartbeat_s,
                                        .timeout_ms = settings->timeout_ms,
                                        .window = settings->window};

    *count = 0;
    if (sink->publisher == NULL) return publisher_open(&sink->publisher, &options, err);
    return publisher_poll(sink->publisher, wait_ms, out, max, count, err);
}

static const char *io_blocked(void *context)
{
    const struct sink_amqp *sink = context;
    bool is_blocked = sink->publisher != NULL && publisher_blocked(sink->publisher);

    return is_blocked ? "the broker is short of memory or disk" : NULL;
}

static void io_disconnect(void *context)
{
    struct sink_amqp *sink = context;

    publisher_close(sink->publisher);
    sink->publisher = NULL;
}

static void io_close(void *context)
{
    struct sink_amqp *sink = context;

    if (sink == NULL) return;
    io_disconnect(sink);
    arena_close(&sink->scratch);
    free(sink);
}

bool sink_amqp_open(struct sink *out, const struct relay_settings *settings, struct err *err)
{
    static const struct sink_io IO = {.name = "amqp",
                                      .component = HEALTH_RABBITMQ,
                                      .component_name = "rabbitmq",
                                      .rotates = true,
                                      .prepare = io_prepare,
                                      .room = io_room,
                                      .publish = io_publish,
                                      .poll = io_poll,
                                      .blocked = io_blocked,
                                      .disconnect = io_disconnect,
                                      .close = io_close};
    struct sink_amqp *sink = calloc(1, sizeof *sink);

    *out = (struct sink){&IO, sink};
    if (sink == NULL) return err_set(err, ERR_FATAL, "could not open relay: out of memory");
    sink->settings = settings;
    return names_make(&sink->names, settings->prefix, settings->shards, err) &&
           arena_open(&sink->scratch, SCRATCH_SIZE, err);
}
