/*
 * properties.c - what the ledger wants to know of a message's properties, as views into them.
 * Headers it does not know are stepped over, whatever they hold.
 */
#include "protocol/properties.h"
#include "protocol/properties_wire.h"

#include <assert.h>
#include <string.h>

enum known_header {
    KNOWN_IDEMPOTENCY_KEY,
    KNOWN_TRACEPARENT,
    KNOWN_TRACESTATE,
    KNOWN_TRACE_ID,
    KNOWN_DEADLINE,
    KNOWN_DELIVERY_COUNT, /* the only number; it comes last */
    KNOWN_COUNT
};

static const char *const known_names[KNOWN_COUNT] = {
    [KNOWN_IDEMPOTENCY_KEY] = "idempotency-key",
    [KNOWN_TRACEPARENT] = "traceparent",
    [KNOWN_TRACESTATE] = "tracestate",
    [KNOWN_TRACE_ID] = "x-trace-id",
    [KNOWN_DEADLINE] = "x-deadline",
    [KNOWN_DELIVERY_COUNT] = "x-delivery-count",
};

static uint32_t known_find(struct text name)
{
    uint32_t known = 0;

    while (known < KNOWN_COUNT && !header_name_equal(text_of(known_names[known]), name)) known++;
    return known;
}

static struct text text_of_bytes(struct bytes bytes)
{
    return (struct text){(const char *)bytes.data, bytes.size};
}

static bool entry_text(const struct entry *entry, struct text *out)
{
    if (entry->type != FIELD_LONG_TEXT && entry->type != FIELD_BINARY) return false;
    *out = text_of_bytes(entry->value);
    return true;
}

static bool entry_integer(const struct entry *entry, int64_t *out)
{
    static const char signed_types[] = {'b', 's', 'I', 'l'}, unsigned_types[] = {'B', 'u', 'i'};
    bool is_signed = memchr(signed_types, entry->type, sizeof signed_types) != NULL;
    uint64_t number = 0;

    if (!is_signed && memchr(unsigned_types, entry->type, sizeof unsigned_types) == NULL)
        return false;
    assert(entry->value.size > 0); /* both by the type */
    assert(entry->value.size <= 8);
    for (uint32_t i = 0; i < entry->value.size; i++) number = number << 8 | entry->value.data[i];
    uint32_t unused_bits = is_signed ? 64 - 8 * entry->value.size : 0;
    *out = (int64_t)(number << unused_bits) >> unused_bits;
    return true;
}

static int64_t timestamp_parse(struct bytes part)
{
    uint64_t seconds = 0;

    for (uint32_t i = 0; i < part.size; i++) seconds = seconds << 8 | part.data[i];
    return (int64_t)seconds;
}

static bool headers_parse(struct bytes table, struct properties *out)
{
    struct text *const texts[KNOWN_DELIVERY_COUNT] = {
        [KNOWN_IDEMPOTENCY_KEY] = &out->idempotency_key,
        [KNOWN_TRACEPARENT] = &out->traceparent,
        [KNOWN_TRACESTATE] = &out->tracestate,
        [KNOWN_TRACE_ID] = &out->trace_id,
        [KNOWN_DEADLINE] = &out->deadline,
    };
    bool seen[KNOWN_COUNT] = {false};
    struct entry entry;

    while (table.size > 0) {
        if (!entry_take(&table, &entry)) return false;
        uint32_t known = known_find(entry.name);
        if (known == KNOWN_COUNT) continue;
        bool is_right = known == KNOWN_DELIVERY_COUNT ? entry_integer(&entry, &out->delivery_count)
                                                      : entry_text(&entry, texts[known]);
        if (!is_right || seen[known]) out->wrong_header = known_names[known];
        seen[known] = true;
    }
    out->has_idempotency_key = seen[KNOWN_IDEMPOTENCY_KEY];
    return true;
}

bool properties_parse(struct bytes raw, struct properties *out)
{
    struct parts parts;
    bool is_valid = parts_take(raw, &parts);

    *out = (struct properties){0};
    if (is_valid && !headers_parse(parts.part[PROPERTY_HEADERS], out)) {
        *out = (struct properties){0};
        is_valid = false;
    }
    if (!is_valid) return false;

    out->content_type = text_of_bytes(parts.part[PROPERTY_CONTENT_TYPE]);
    out->correlation_id = text_of_bytes(parts.part[PROPERTY_CORRELATION_ID]);
    out->reply_to = text_of_bytes(parts.part[PROPERTY_REPLY_TO]);
    out->expiration = text_of_bytes(parts.part[PROPERTY_EXPIRATION]);
    out->message_id = text_of_bytes(parts.part[PROPERTY_MESSAGE_ID]);
    out->timestamp_s = timestamp_parse(parts.part[PROPERTY_TIMESTAMP]);
    out->type = text_of_bytes(parts.part[PROPERTY_TYPE]);
    out->user_id = text_of_bytes(parts.part[PROPERTY_USER_ID]);
    out->app_id = text_of_bytes(parts.part[PROPERTY_APP_ID]);
    return true;
}
