/*
 * properties_wire.h - basic properties and header tables as parts of bytes; for properties.c and
 * properties_write.c alone.
 */
#ifndef PROTOCOL_PROPERTIES_WIRE_H
#define PROTOCOL_PROPERTIES_WIRE_H

#include "base/bytes.h"

/* In wire order; the flag of the first is the highest bit. */
enum property {
    PROPERTY_CONTENT_TYPE,
    PROPERTY_CONTENT_ENCODING,
    PROPERTY_HEADERS,
    PROPERTY_DELIVERY_MODE,
    PROPERTY_PRIORITY,
    PROPERTY_CORRELATION_ID,
    PROPERTY_REPLY_TO,
    PROPERTY_EXPIRATION,
    PROPERTY_MESSAGE_ID,
    PROPERTY_TIMESTAMP,
    PROPERTY_TYPE,
    PROPERTY_USER_ID,
    PROPERTY_APP_ID,
    PROPERTY_CLUSTER_ID,
    PROPERTIES_COUNT
};
enum { SHORT_TEXT_MAX = 255 };

struct parts { /* each without the length before it; data is NULL when it is absent */
    struct bytes part[PROPERTIES_COUNT];
};

/* Field types as RabbitMQ speaks them, which are not those of the specification; these are named,
 * the others only stepped over. */
enum { FIELD_LONG_TEXT = 'S', FIELD_BINARY = 'x', FIELD_INT64 = 'l' };

struct entry { /* of a header table */
    struct text name;
    uint8_t type;
    struct bytes value; /* without the length before it */
    struct bytes whole;
};

MUST_CHECK bool parts_take(struct bytes raw, struct parts *out);
MUST_CHECK bool parts_write(const struct parts *parts, struct arena *arena, struct bytes *out);
MUST_CHECK bool entry_take(struct bytes *table, struct entry *out);
bool header_name_equal(struct text a, struct text b); /* without regard to case */

#endif
