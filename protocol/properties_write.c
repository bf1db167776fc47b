/*
 * properties_write.c - properties for what the ledger publishes, and for what it passes on.
 */
#include "protocol/properties.h"
#include "protocol/properties_wire.h"

static const uint8_t PERSISTENT = 2;

static bool write_header(struct writer *writer, const struct header *header)
{
    if (header->name.length > SHORT_TEXT_MAX) return false;
    write_u8(writer, (uint8_t)header->name.length);
    write_bytes(writer, header->name.bytes, header->name.length);
    if (header->is_number) {
        write_u8(writer, FIELD_INT64);
        write_u64(writer, (uint64_t)header->number);
        return true;
    }
    write_u8(writer, FIELD_LONG_TEXT);
    write_u32(writer, header->text.length);
    write_bytes(writer, header->text.bytes, header->text.length);
    return true;
}

static bool is_among(struct text name, const struct header *headers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (header_name_equal(headers[i].name, name)) return true;
    return false;
}

/* Replaces a table (absent: begins one) by the entries of it that are kept and the new ones. */
static bool table_write(struct bytes *table, const struct header *headers, uint32_t count,
                        struct arena *arena)
{
    struct writer writer = writer_in(arena);
    struct bytes rest = *table;
    struct entry entry;

    if (count == 0) return true;
    while (rest.size > 0) {
        if (!entry_take(&rest, &entry)) return false;
        if (is_among(entry.name, headers, count)) continue;
        write_bytes(&writer, entry.whole.data, entry.whole.size);
    }
    for (uint32_t i = 0; i < count; i++)
        if (!write_header(&writer, &headers[i])) return false;
    return writer_keep(&writer, arena, table);
}

/* Absent when empty. */
static struct bytes part_of(struct text text)
{
    return (struct bytes){text.length > 0 ? (const uint8_t *)text.bytes : NULL, text.length};
}

bool properties_write(const struct properties_out *in, struct arena *arena, struct bytes *out)
{
    uint8_t time[8];
    struct parts parts = {.part = {
                              [PROPERTY_CONTENT_TYPE] = part_of(in->content_type),
                              [PROPERTY_DELIVERY_MODE] = {&PERSISTENT, 1},
                              [PROPERTY_CORRELATION_ID] = part_of(in->correlation_id),
                              [PROPERTY_REPLY_TO] = part_of(in->reply_to),
                              [PROPERTY_MESSAGE_ID] = part_of(in->message_id),
                              [PROPERTY_TYPE] = part_of(in->type),
                              [PROPERTY_USER_ID] = part_of(in->user_id),
                              [PROPERTY_APP_ID] = part_of(in->app_id),
                          }};

    *out = (struct bytes){0};
    if (in->timestamp_s != 0) {
        struct writer writer = writer_over(time, sizeof time);
        write_u64(&writer, (uint64_t)in->timestamp_s);
        parts.part[PROPERTY_TIMESTAMP] = (struct bytes){time, sizeof time};
    }
    if (!table_write(&parts.part[PROPERTY_HEADERS], in->headers, in->headers_count, arena))
        return false;
    return parts_write(&parts, arena, out);
}

bool properties_extend(struct bytes raw, const struct header *headers, uint32_t count,
                       bool as_dead_letter, struct arena *arena, struct bytes *out)
{
    struct parts parts;

    *out = (struct bytes){0};
    if (!parts_take(raw, &parts)) return false;
    if (as_dead_letter) parts.part[PROPERTY_USER_ID] = (struct bytes){0};
    if (as_dead_letter) parts.part[PROPERTY_EXPIRATION] = (struct bytes){0};
    if (!table_write(&parts.part[PROPERTY_HEADERS], headers, count, arena)) return false;
    return parts_write(&parts, arena, out);
}
