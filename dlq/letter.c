/*
 * letter.c - see letter.h. What the broker gives up itself comes without our headers; then its own
 * tell where the message was and why. Anyone may send such headers, so nothing here is believed
 * further than to be shown, and to choose letters by.
 */
#include "dlq/letter.h"

#include "outbox/dead_since.h"
#include "protocol/command.h"
#include "protocol/fingerprint.h"
#include "protocol/properties_wire.h"
#include "protocol/request.h"
#include "protocol/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NUMBER_SIZE = 8, TRACE_PARENT_AT = 3, TRACE_ID_LENGTH = 32 };

static struct bytes headers_of(struct bytes properties)
{
    struct parts parts;

    if (!parts_take(properties, &parts)) return (struct bytes){0};
    return parts.part[PROPERTY_HEADERS];
}

static bool find(struct bytes table, const char *name, struct entry *out)
{
    while (table.size > 0 && entry_take(&table, out))
        if (header_name_equal(out->name, text_of(name))) return true;
    return false;
}

static struct text find_text(struct bytes table, const char *name)
{
    struct entry entry;

    if (!find(table, name, &entry) || entry.type != FIELD_LONG_TEXT) return (struct text){0};
    return (struct text){(const char *)entry.value.data, entry.value.size};
}

static int64_t find_number(struct bytes table, const char *name)
{
    struct entry entry;
    uint64_t number = 0;

    if (!find(table, name, &entry) || entry.type != FIELD_INT64 || entry.value.size != NUMBER_SIZE)
        return 0;
    for (uint32_t i = 0; i < NUMBER_SIZE; i++) number = number << 8 | entry.value.data[i];
    return (int64_t)number;
}

static struct text either(struct text first, struct text second)
{
    return first.length > 0 ? first : second;
}

/* --- the body ---------------------------------------------------------------------------- */

static bool to_msgpack(struct codec *codec, const struct letter *letter, struct arena *arena,
                       struct bytes *out)
{
    char problem[PROBLEM_SIZE];
    enum encoding encoding;

    *out = letter->body;
    if (!encoding_parse(letter->parsed.content_type, &encoding)) return false;
    if (encoding == ENCODING_MSGPACK) return msgpack_problem(letter->body) == NULL;
    return json_problem(letter->body) == NULL &&
           json_to_msgpack(codec, letter->body, arena, out, problem, sizeof problem);
}

static void read_accounts(struct codec *codec, struct arena *arena, struct letter *out)
{
    struct value map, key, value;
    struct bytes rest, whole;

    if (!to_msgpack(codec, out, arena, &out->decoded)) out->decoded = (struct bytes){0};
    rest = out->decoded;
    if (rest.size == 0 || !value_read(&rest, &map) || map.type != VALUE_MAP) return;
    for (uint32_t i = 0; i < map.count; i++) {
        if (!value_read(&rest, &key) || !value_take(&rest, &whole) || !value_read(&whole, &value))
            return;
        if (key.type != VALUE_TEXT || value.type != VALUE_TEXT) continue;
        if (text_equal(key.text, TEXT_LITERAL("account")) ||
            text_equal(key.text, TEXT_LITERAL("from")))
            out->account = value.text;
        if (text_equal(key.text, TEXT_LITERAL("to"))) out->other_account = value.text;
    }
}

/* --- the properties ---------------------------------------------------------------------- */

static void read_death(struct bytes headers, struct letter *out)
{
    struct text broker = find_text(headers, "x-first-death-reason");

    if (text_equal(broker, TEXT_LITERAL("rejected")))
        broker = text_of(result_word(RESULT_BODY_TOO_LARGE)); /* all that a worker rejects */
    out->reason = either(find_text(headers, "x-ledger-reason"), broker);
    out->error = find_text(headers, "x-ledger-error");
    out->queue =
        either(find_text(headers, "x-ledger-queue"), find_text(headers, "x-first-death-queue"));
    out->exchange = either(find_text(headers, "x-ledger-exchange"),
                           find_text(headers, "x-first-death-exchange"));
    out->routing_key = either(find_text(headers, "x-ledger-routing-key"), out->own_routing_key);
    out->last_death_us = dead_since_us(out->properties);
    out->attempts = find_number(headers, "x-ledger-attempts");
    if (out->attempts < 1) out->attempts = 1;
    if (!time_parse(find_text(headers, "x-ledger-first-death"), &out->first_death_us))
        out->first_death_us = out->last_death_us;
}

static void read_sender(struct bytes headers, struct letter *out)
{
    const struct properties *parsed = &out->parsed;
    struct text parent = parsed->traceparent;

    out->type = parsed->type;
    out->caller =
        either(parsed->app_id, either(parsed->user_id, find_text(headers, "x-ledger-user-id")));
    out->key = parsed->has_idempotency_key ? parsed->idempotency_key : parsed->message_id;
    out->trace_id = parsed->trace_id;
    if (out->trace_id.length == 0 && parent.length >= TRACE_PARENT_AT + TRACE_ID_LENGTH)
        out->trace_id = (struct text){parent.bytes + TRACE_PARENT_AT, TRACE_ID_LENGTH};
}

static void make_id(struct bytes headers, struct arena *arena, struct letter *out)
{
    int64_t position = find_number(headers, "x-ledger-position");
    char hex[UUID_HEX_SIZE];
    struct bytes replayed = {0};

    if (position > 0 && find_text(headers, "x-first-death-reason").length == 0) {
        (void)snprintf(out->id, sizeof out->id, "%" PRId64, position);
        return;
    }
    if (!letter_replay_properties(out, (struct text){0}, arena, &replayed))
        replayed = out->properties;
    struct uuid digest = message_digest((struct text){(const char *)replayed.data, replayed.size},
                                        out->routing_key, out->body);
    uuid_format_hex(&digest, hex);
    (void)snprintf(out->id, sizeof out->id, "b%.16s", hex);
}

void letter_read(struct codec *codec, struct text routing_key, struct bytes properties,
                 struct bytes body, struct arena *arena, struct letter *out)
{
    struct bytes headers = headers_of(properties);

    *out = (struct letter){.own_routing_key = routing_key, .properties = properties, .body = body};
    if (!properties_parse(properties, &out->parsed)) out->parsed = (struct properties){0};
    read_death(headers, out);
    read_sender(headers, out);
    read_accounts(codec, arena, out);
    make_id(headers, arena, out);
}

/* --- what a replay publishes ------------------------------------------------------------- */

static bool begins_with(struct text name, const char *prefix)
{
    struct text wanted = text_of(prefix);

    return name.length >= wanted.length &&
           header_name_equal((struct text){name.bytes, wanted.length}, wanted);
}

bool letter_is_webhook(const struct letter *letter)
{
    struct bytes headers = headers_of(letter->properties);
    struct entry entry;

    return begins_with(letter->reason, "webhook_") && !find(headers, "x-death", &entry) &&
           !find(headers, "x-first-death-reason", &entry);
}

/* What dying has added, and the names for which the broker would send copies: each of those died a
 * death of its own. */
static bool is_added(struct text name)
{
    if (header_name_equal(name, TEXT_LITERAL("x-ledger-first-death")) ||
        header_name_equal(name, TEXT_LITERAL("x-ledger-attempts")))
        return false;
    if (text_equal(name, TEXT_LITERAL("CC")) || text_equal(name, TEXT_LITERAL("BCC"))) return true;
    return begins_with(name, "x-ledger-") || begins_with(name, "x-first-death-") ||
           begins_with(name, "x-last-death-") || header_name_equal(name, TEXT_LITERAL("x-death")) ||
           header_name_equal(name, TEXT_LITERAL("x-delivery-count"));
}

static bool keep_own_headers(struct bytes *table, struct arena *arena)
{
    struct writer writer = writer_in(arena);
    struct bytes rest = *table;
    struct entry entry;

    while (rest.size > 0) {
        if (!entry_take(&rest, &entry)) return false;
        if (!is_added(entry.name)) write_bytes(&writer, entry.whole.data, entry.whole.size);
    }
    if (!writer_keep(&writer, arena, table)) return false;
    if (table->size == 0) *table = (struct bytes){0};
    return true;
}

static struct bytes bytes_of(struct text text)
{
    return (struct bytes){(const uint8_t *)text.bytes, text.length};
}

bool letter_replay_properties(const struct letter *letter, struct text user_id, struct arena *arena,
                              struct bytes *out)
{
    struct parts parts;

    if (!parts_take(letter->properties, &parts)) return false;
    parts.part[PROPERTY_EXPIRATION] = (struct bytes){0};
    parts.part[PROPERTY_USER_ID] = (struct bytes){0};
    if (parts.part[PROPERTY_APP_ID].size == 0 && letter->caller.length > 0 &&
        letter->caller.length <= SHORT_TEXT_MAX)
        parts.part[PROPERTY_APP_ID] = bytes_of(letter->caller);
    if (parts.part[PROPERTY_APP_ID].size > 0 && user_id.length > 0)
        parts.part[PROPERTY_USER_ID] = bytes_of(user_id);
    if (parts.part[PROPERTY_HEADERS].size > 0 &&
        !keep_own_headers(&parts.part[PROPERTY_HEADERS], arena))
        return false;
    return parts_write(&parts, arena, out);
}
