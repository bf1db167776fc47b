/*
 * dead_since.c - see dead_since.h. x-death is a list of tables, the newest first; a list is the
 * values of a table without their names.
 */
#include "outbox/dead_since.h"

#include "protocol/properties_wire.h"
#include "protocol/request.h"

enum { FIELD_LIST = 'A', FIELD_TABLE = 'F', FIELD_TIME = 'T', US_PER_S = 1000000 };
enum { LIST_HEAD_SIZE = 5 }; /* the first value's type and length */

/* The last of its name, or an entry without a value. */
static struct entry find(struct bytes table, const char *name)
{
    struct entry entry, found = {0};

    while (table.size > 0 && entry_take(&table, &entry))
        if (header_name_equal(entry.name, text_of(name))) found = entry;
    return found;
}

static int64_t ledger_death_us(struct bytes headers)
{
    struct entry entry = find(headers, "x-ledger-last-death");
    int64_t time_us;

    if (entry.type != FIELD_LONG_TEXT) return 0;
    struct text text = {(const char *)entry.value.data, entry.value.size};
    return time_parse(text, &time_us) ? time_us : 0;
}

static uint64_t number_of(struct bytes digits)
{
    uint64_t number = 0;

    for (uint32_t i = 0; i < digits.size; i++) number = number << 8 | digits.data[i];
    return number;
}

static int64_t broker_death_us(struct bytes headers)
{
    struct entry deaths = find(headers, "x-death");

    if (deaths.type != FIELD_LIST || deaths.value.size < LIST_HEAD_SIZE) return 0;
    struct bytes newest = {deaths.value.data + LIST_HEAD_SIZE, deaths.value.size - LIST_HEAD_SIZE};
    uint64_t size = number_of((struct bytes){deaths.value.data + 1, LIST_HEAD_SIZE - 1});
    if (deaths.value.data[0] != FIELD_TABLE || size > newest.size) return 0;
    newest.size = (uint32_t)size;
    struct entry time = find(newest, "time");
    if (time.type != FIELD_TIME) return 0;
    uint64_t seconds = number_of(time.value);
    return seconds <= INT64_MAX / US_PER_S ? (int64_t)seconds * US_PER_S : 0;
}

int64_t dead_since_us(struct bytes properties)
{
    struct parts parts;

    if (!parts_take(properties, &parts)) return 0;
    int64_t time_us = ledger_death_us(parts.part[PROPERTY_HEADERS]);
    return time_us > 0 ? time_us : broker_death_us(parts.part[PROPERTY_HEADERS]);
}
