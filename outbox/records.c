/*
 * records.c - see records.h. Invariant: what a record is, and its message id, depend on the row
 * alone: it is the same however often it is sent.
 */
#include "outbox/records.h"

#include "protocol/event_list.h"
#include "protocol/unpack.h"
#include "protocol/value.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

static bool not_an_event(struct err *err, const char *problem)
{
    return err_set(err, ERR_REJECT, "could not read an event: %s", problem);
}

/* Of a batch: its id and how many events it tells. One without any is told of as it is. */
static bool open_batch(struct records *records, struct text batch, struct bytes events,
                       struct err *err)
{
    struct value head;

    if (!value_read(&events, &head) || head.type != VALUE_ARRAY)
        return not_an_event(err, "events: must be a list");
    if (head.count == 0) return true;
    records->batch = batch;
    records->events = events;
    records->count = head.count;
    return true;
}

static void write_numbers(struct records *records, const struct outbox_row *row, uint64_t epoch)
{
    (void)snprintf(records->epoch, sizeof records->epoch, "%" PRIu64, epoch);
    (void)snprintf(records->position, sizeof records->position, "%" PRId64, row->id);
}

bool records_open(struct records *records, struct codec *codec, const struct outbox_row *row,
                  uint64_t epoch, struct arena *arena, struct err *err)
{
    char problem[PROBLEM_SIZE] = "";
    struct text event_type = {0}, batch = {0};
    struct bytes map, events = {0};
    struct field fields[] = {
        {.name = "event_type", .type = FIELD_TEXT, .target = &event_type, .required = true},
        {.name = "account", .type = FIELD_TEXT, .target = &records->key},
        {.name = "batch", .type = FIELD_TEXT, .target = &batch},
        {.name = "events", .type = FIELD_ARRAY, .target = &events}};

    *records = (struct records){.count = 1, .type = row->destination, .body = row->body};
    write_numbers(records, row, epoch);
    if (!properties_parse(row->properties, &records->properties))
        return not_an_event(err, "its properties are none");
    if (!encoding_parse(records->properties.content_type, &records->encoding))
        return not_an_event(err, "its content type is unknown");
    if (!unpack_body(codec, row->body, records->encoding, arena, &map, problem) ||
        !unpack_fields(map, fields, sizeof fields / sizeof fields[0], problem))
        return not_an_event(err, problem);
    if (!text_equal(event_type, text_of(EVENT_LIST_WORD))) return true;
    return open_batch(records, batch, events, err);
}

static void add_header(struct records *records, struct record *record, const char *name,
                       struct text value)
{
    if (value.length == 0) return;
    assert(record->headers_count < RECORD_HEADERS_MAX);
    records->headers[record->headers_count++] = (struct record_header){name, value};
}

static void add_headers(struct records *records, struct record *record, struct text type)
{
    const struct properties *properties = &records->properties;

    record->headers = records->headers;
    add_header(records, record, "message_id", text_of(records->message_id));
    add_header(records, record, "type", type);
    add_header(records, record, "content_type", properties->content_type);
    add_header(records, record, "traceparent", properties->traceparent);
    add_header(records, record, "tracestate", properties->tracestate);
    add_header(records, record, "x-trace-id", properties->trace_id);
    add_header(records, record, "x-ledger-batch", records->batch);
    add_header(records, record, "x-ledger-epoch", text_of(records->epoch));
    add_header(records, record, "x-ledger-position", text_of(records->position));
}

static bool take_one(struct records *records, struct record *out)
{
    (void)snprintf(records->message_id, sizeof records->message_id, "%.*s",
                   TEXT_ARGS(records->properties.message_id));
    *out = (struct record){.key = records->key, .body = records->body};
    add_headers(records, out, records->type);
    return true;
}

bool records_take(struct records *records, struct arena *arena, struct record *out, struct err *err)
{
    char problem[PROBLEM_SIZE] = "";
    struct text event_type = {0}, account = {0};
    struct bytes event;
    struct field fields[] = {
        {.name = "event_type", .type = FIELD_TEXT, .target = &event_type, .required = true},
        {.name = "account", .type = FIELD_TEXT, .target = &account}};
    uint32_t number = records->taken++;

    assert(number < records->count);
    if (records->batch.length == 0) return take_one(records, out);
    (void)snprintf(records->message_id, sizeof records->message_id, "%.*s:%u",
                   TEXT_ARGS(records->properties.message_id), number);
    *out = (struct record){0};
    if (!value_take(&records->events, &event))
        return not_an_event(err, "events: they are cut short");
    if (!unpack_fields(event, fields, 2, problem)) return not_an_event(err, problem);
    *out = (struct record){.key = account, .body = event};
    add_headers(records, out, event_type);
    if (records->encoding == ENCODING_MSGPACK || msgpack_to_json(event, arena, &out->body))
        return true;
    return not_an_event(err, "no memory is left");
}

void records_remains(struct records *records, const struct outbox_row *row, uint64_t epoch,
                     const char *why, struct record *out)
{
    struct text key = records->batch.length == 0 ? records->key : out->key;

    write_numbers(records, row, epoch);
    if (records->message_id[0] == '\0' && records->properties.message_id.length > 0)
        (void)snprintf(records->message_id, sizeof records->message_id, "%.*s",
                       TEXT_ARGS(records->properties.message_id));
    else if (records->message_id[0] == '\0')
        (void)snprintf(records->message_id, sizeof records->message_id, "outbox:%" PRId64, row->id);
    *out = (struct record){.key = key};
    add_headers(records, out, row->destination);
    add_header(records, out, "x-ledger-reason", TEXT_LITERAL("unpublishable"));
    add_header(records, out, "x-ledger-error", text_of(why));
}
