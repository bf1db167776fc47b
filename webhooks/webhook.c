/*
 * webhook.c - see webhook.h. Properties are written anew each time, so that what the broker adds in
 * a delay queue (x-death) does not gather.
 */
#include "webhooks/webhook.h"

#include "base/clock.h"
#include "protocol/properties.h"
#include "protocol/properties_wire.h"

#include <assert.h>

enum { HEADERS_MAX = 18, TRACE_AT = 3, TRACE_LENGTH = 32, ATTEMPTS_MAX = 1000000 };

static bool is_printable(struct text text)
{
    for (uint32_t i = 0; i < text.length; i++)
        if (text.bytes[i] < ' ' || text.bytes[i] > '~') return false;
    return true;
}

static struct text printable(struct text text)
{
    return is_printable(text) ? text : (struct text){0};
}

static int64_t number_of(struct bytes value)
{
    uint64_t number = 0;

    for (uint32_t i = 0; i < value.size; i++) number = number << 8 | value.data[i];
    return (int64_t)number;
}

static void take_header(const struct entry *entry, struct webhook *out)
{
    const struct {
        const char *name;
        struct text *text;
        int64_t *number;
    } known[] = {{"x-webhook-endpoint", &out->endpoint, NULL},
                 {"x-webhook-account", &out->account, NULL},
                 {"x-ledger-first-death", &out->first_death, NULL},
                 {"x-webhook-position", NULL, &out->position},
                 {"x-ledger-position", NULL, &out->position},
                 {"x-webhook-tries", NULL, &out->tries},
                 {"x-ledger-attempts", NULL, &out->deaths}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!header_name_equal(entry->name, text_of(known[i].name))) continue;
        if (entry->type == FIELD_LONG_TEXT && known[i].text != NULL)
            *known[i].text = (struct text){(const char *)entry->value.data, entry->value.size};
        if (entry->type == FIELD_INT64 && known[i].number != NULL)
            *known[i].number = number_of(entry->value);
    }
}

bool webhook_read(struct bytes raw, struct webhook *out)
{
    struct properties properties;
    struct parts parts;
    struct entry entry;

    *out = (struct webhook){0};
    if (!parts_take(raw, &parts) || !properties_parse(raw, &properties)) return false;
    struct bytes table = parts.part[PROPERTY_HEADERS];
    while (table.size > 0) {
        if (!entry_take(&table, &entry)) return false;
        take_header(&entry, out);
    }
    if (out->deaths < 0 || out->deaths > ATTEMPTS_MAX) out->deaths = 0;
    out->id = printable(properties.message_id);
    out->type = printable(properties.type);
    out->timestamp_s = properties.timestamp_s;
    out->traceparent = printable(properties.traceparent);
    out->tracestate = printable(properties.tracestate);
    out->trace_id = printable(properties.trace_id);
    return true;
}

struct text webhook_trace(const struct webhook *webhook)
{
    if (webhook->traceparent.length < TRACE_AT + TRACE_LENGTH) return webhook->trace_id;
    return (struct text){webhook->traceparent.bytes + TRACE_AT, TRACE_LENGTH};
}

struct list {
    struct header headers[HEADERS_MAX];
    uint32_t count;
};

static void add_text(struct list *list, const char *name, struct text text)
{
    assert(list->count < HEADERS_MAX);
    if (text.length > 0)
        list->headers[list->count++] = (struct header){.name = text_of(name), .text = text};
}

static void add_number(struct list *list, const char *name, int64_t number)
{
    assert(list->count < HEADERS_MAX);
    if (number != 0)
        list->headers[list->count++] =
            (struct header){.name = text_of(name), .is_number = true, .number = number};
}

static bool write_all(const struct webhook *webhook, struct list *list, struct arena *arena,
                      struct bytes *out)
{
    add_text(list, "x-webhook-endpoint", webhook->endpoint);
    add_text(list, "x-webhook-account", webhook->account);
    add_number(list, "x-webhook-position", webhook->position);
    add_text(list, "traceparent", webhook->traceparent);
    add_text(list, "tracestate", webhook->tracestate);
    add_text(list, "x-trace-id", webhook->trace_id);
    struct properties_out properties = {.content_type = TEXT_LITERAL("application/json"),
                                        .type = webhook->type,
                                        .message_id = webhook->id,
                                        .timestamp_s = webhook->timestamp_s,
                                        .headers = list->headers,
                                        .headers_count = list->count};
    return properties_write(&properties, arena, out);
}

bool webhook_write(const struct webhook *webhook, struct arena *arena, struct bytes *out)
{
    struct list list = {.count = 0};

    add_number(&list, "x-webhook-tries", webhook->tries);
    add_text(&list, "x-ledger-first-death", webhook->first_death);
    add_number(&list, "x-ledger-attempts", webhook->deaths);
    return write_all(webhook, &list, arena, out);
}

static void add_death(struct list *list, const struct death *death, struct text now,
                      struct text first)
{
    add_text(list, "x-ledger-reason", text_of(death->reason));
    add_text(list, "x-ledger-error", text_of(death->error));
    add_text(list, "x-ledger-queue", text_of(death->queue));
    add_text(list, "x-ledger-routing-key", text_of(death->queue));
    add_text(list, "x-ledger-first-death", first.length > 0 ? first : now);
    add_text(list, "x-ledger-last-death", now);
}

bool webhook_write_dead(const struct webhook *webhook, const struct death *death,
                        struct arena *arena, struct bytes *out)
{
    struct list list = {.count = 0};
    char now[TIME_TEXT_SIZE];

    time_format(death->now_us, now);
    add_death(&list, death, text_of(now), webhook->first_death);
    add_number(&list, "x-ledger-attempts", webhook->deaths + 1);
    return write_all(webhook, &list, arena, out);
}

bool webhook_write_unread(struct bytes properties, const struct death *death, struct arena *arena,
                          struct bytes *out)
{
    struct list list = {.count = 0};
    char now[TIME_TEXT_SIZE];

    time_format(death->now_us, now);
    add_death(&list, death, text_of(now), (struct text){0});
    if (properties_extend(properties, list.headers, list.count, true, arena, out)) return true;
    struct properties_out bare = {.headers = list.headers, .headers_count = list.count};
    return properties_write(&bare, arena, out);
}
