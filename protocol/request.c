/*
 * request.c - from a delivery to a request.
 *
 * Everything that can be read is read first, so that even what is no command can be answered: in
 * its caller's encoding, under its key and trace. Then the faults are looked for, in order of
 * precedence, and the first one found stands. What is stored as text (caller, key, reply queue) is
 * text when it leaves here: UTF-8 without NUL, or empty.
 */
#include "protocol/request.h"

#include "protocol/fingerprint.h"
#include "protocol/value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool is_storable(struct text text)
{
    if (text.length == 0) return true;
    return memchr(text.bytes, '\0', text.length) == NULL && utf8_is_valid(text);
}

static bool refuse(struct request *out, enum result fault, const char *name, const char *reason)
{
    out->fault = fault;
    return problem_set(out->problem, PROBLEM_SIZE, "%s: %s", name, reason);
}

/* The header wins over message_id even when it is empty: then the key is wrong, not missing. */
static bool key_is_given(const struct properties *properties)
{
    return properties->has_idempotency_key || properties->message_id.length > 0;
}

static void read_properties(struct request *out, const uint8_t random[static TRACE_RANDOM_SIZE])
{
    struct properties *properties = &out->properties;
    struct text caller = properties->app_id.length > 0 ? properties->app_id : properties->user_id;
    struct text key =
        properties->has_idempotency_key ? properties->idempotency_key : properties->message_id;
    int64_t deadline_us = 0;

    out->trace = trace_begin(properties, random);
    if (!encoding_parse(properties->content_type, &out->encoding)) out->encoding = ENCODING_MSGPACK;
    out->has_type = command_type_parse(properties->type, &out->command.type);
    if (is_storable(caller)) out->caller = caller;
    if (is_storable(properties->user_id)) out->user_id = properties->user_id;
    out->has_key = key.length >= 1 && key.length <= KEY_LENGTH_MAX && is_storable(key);
    if (out->has_key) {
        out->key = key;
        out->key_digest = idempotency_digest(out->caller, out->key);
    }
    out->scheduled = out->incoming.scheduled;
    if (!uuid_is_zero(&out->scheduled)) out->key_digest = scheduled_digest(&out->scheduled);
    /* 0 says that there is none, so the first microsecond of all is taken for the second. */
    if (time_parse(properties->deadline, &deadline_us))
        out->deadline_us = deadline_us > 0 ? deadline_us : 1;
}

static bool check_size(struct request *out)
{
    if (!out->incoming.oversized && out->incoming.body.size <= BODY_SIZE_MAX) return true;
    out->fault = RESULT_BODY_TOO_LARGE;
    return problem_set(out->problem, PROBLEM_SIZE, "body: %ju bytes; at most %d are accepted",
                       (uintmax_t)out->incoming.body_size, BODY_SIZE_MAX);
}

static bool check_readable(struct request *out, bool is_readable)
{
    if (is_readable) return true;
    return refuse(out, RESULT_MALFORMED, "properties", "not basic properties of AMQP 0-9-1");
}

static bool check_content_type(struct request *out)
{
    enum encoding encoding;

    if (encoding_parse(out->properties.content_type, &encoding)) return true;
    return refuse(out, RESULT_MALFORMED, "content_type",
                  "must be application/msgpack or application/json");
}

static bool check_type(struct request *out)
{
    struct text type = out->properties.type;

    if (out->has_type) return true;
    if (type.length == 0)
        return refuse(out, RESULT_UNKNOWN_TYPE, "type", "missing; it names the command");
    out->fault = RESULT_UNKNOWN_TYPE;
    return problem_set(out->problem, PROBLEM_SIZE, "type: '%.*s' is not a command",
                       TEXT_ARGS(problem_quote(type)));
}

static bool check_headers(struct request *out)
{
    const struct properties *properties = &out->properties;
    static const char not_text[] = "must be UTF-8 text without NUL";

    if (properties->wrong_header != NULL)
        return refuse(out, RESULT_MALFORMED, properties->wrong_header,
                      "of a wrong type, or given twice");
    if (!is_storable(properties->app_id)) return refuse(out, RESULT_MALFORMED, "app_id", not_text);
    if (!is_storable(properties->user_id))
        return refuse(out, RESULT_MALFORMED, "user_id", not_text);
    if (!is_storable(properties->reply_to))
        return refuse(out, RESULT_MALFORMED, "reply_to", not_text);
    if (properties->deadline.length == 0 || out->deadline_us > 0) return true;
    return refuse(out, RESULT_MALFORMED, "x-deadline",
                  "must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z");
}

static bool check_key(struct request *out)
{
    if (out->has_key) return true;
    if (key_is_given(&out->properties))
        return refuse(out, RESULT_MALFORMED,
                      out->properties.has_idempotency_key ? "idempotency-key" : "message_id",
                      "must be 1 to 128 bytes of UTF-8 text without NUL");
    if (!command_changes(out->command.type)) return true;
    return refuse(out, RESULT_KEY_MISSING, "idempotency-key",
                  "missing; this command needs the header, or message_id");
}
_Static_assert(KEY_LENGTH_MAX == 128, "the sentence says so");

static bool check_body(struct request *out, struct codec *codec, struct arena *arena)
{
    enum command_type type = out->command.type;

    if (command_decode(codec, type, out->encoding, out->incoming.body, arena, &out->command,
                       out->problem))
        return true;
    out->command = (struct command){.type = type};
    out->fault = RESULT_MALFORMED;
    return false;
}

/* --- the legs of a batch ----------------------------------------------------------------- */

static bool refuse_leg(struct request *batch, uint32_t i, const char *reason)
{
    batch->fault = RESULT_MALFORMED;
    return problem_set(batch->problem, PROBLEM_SIZE, "commands[%u]: %s", i, reason);
}

static bool decode_leg(struct codec *codec, struct arena *arena, struct request *batch, uint32_t i,
                       struct bytes map, struct request *leg)
{
    char problem[PROBLEM_SIZE];

    *leg = (struct request){.trace = batch->trace,
                            .encoding = batch->encoding,
                            .fault = RESULT_APPLIED,
                            .has_type = true,
                            .has_key = true,
                            .caller = batch->caller,
                            .user_id = batch->user_id,
                            .is_own = batch->is_own,
                            .deadline_us = batch->deadline_us,
                            .at_us = batch->at_us};
    if (!command_decode_leg(codec, map, arena, &leg->command, &leg->key, problem))
        return refuse_leg(batch, i, problem);
    if (leg->key.length > KEY_LENGTH_MAX || !is_storable(leg->key))
        return refuse_leg(batch, i,
                          "idempotency_key: must be 1 to 128 bytes of UTF-8 text without NUL");
    leg->command.dry_run = batch->command.dry_run;
    leg->key_digest = idempotency_digest(leg->caller, leg->key);
    leg->fingerprint = command_fingerprint(&leg->command);
    return true;
}

static int compare_digests(const void *a, const void *b)
{
    return uuid_compare(a, b);
}

/* Each key once, and none of them the batch's own. */
static bool check_leg_keys(struct request *batch, const struct request *legs, uint32_t count,
                           struct uuid *digests)
{
    for (uint32_t i = 0; i < count; i++) digests[i] = legs[i].key_digest;
    digests[count] = batch->key_digest;
    qsort(digests, count + 1U, sizeof *digests, compare_digests);
    for (uint32_t i = 0; i < count; i++)
        if (uuid_compare(&digests[i], &digests[i + 1]) == 0)
            return refuse(batch, RESULT_MALFORMED, "commands",
                          "an idempotency key is given twice, or is the batch's own");
    return true;
}

bool request_decode_legs(struct codec *codec, struct arena *arena, struct request *out,
                         struct request *legs)
{
    struct bytes rest = out->command.legs, map;
    uint32_t count = out->command.legs_count;
    struct uuid *digests = arena_take(arena, (count + 1U) * sizeof *digests);
    struct text *keys = arena_take(arena, count * sizeof *keys);
    struct value head;

    assert(out->command.type == COMMAND_BATCH);
    if (digests == NULL || keys == NULL)
        return refuse(out, RESULT_MALFORMED, "commands", "too many for one batch");
    if (!value_read(&rest, &head)) return refuse_leg(out, 0, "cut short");
    for (uint32_t i = 0; i < count; i++) {
        if (!value_take(&rest, &map)) return refuse_leg(out, i, "cut short");
        if (!decode_leg(codec, arena, out, i, map, &legs[i])) return false;
        keys[i] = legs[i].key;
    }
    if (!check_leg_keys(out, legs, count, digests)) return false;
    for (uint32_t i = 0; i < count; i++) digests[i] = legs[i].fingerprint;
    out->fingerprint = batch_fingerprint(&out->command, digests, keys, count);
    return true;
}

/* --- all of it --------------------------------------------------------------------------- */

void request_decode(struct codec *codec, const struct incoming *incoming,
                    const uint8_t random[static TRACE_RANDOM_SIZE], struct arena *arena,
                    struct request *out)
{
    *out = (struct request){
        .incoming = *incoming, .is_own = incoming->is_own, .fault = RESULT_APPLIED};
    bool is_readable = properties_parse(incoming->properties, &out->properties);
    read_properties(out, random);

    bool is_command = check_size(out) && check_readable(out, is_readable) &&
                      check_content_type(out) && check_type(out) && check_headers(out) &&
                      check_key(out) && check_body(out, codec, arena);
    if (is_command) out->fingerprint = command_fingerprint(&out->command);

    assert(is_command == (out->fault == RESULT_APPLIED));
    if (!is_storable(out->properties.reply_to)) out->properties.reply_to = (struct text){0};
}

void request_set_aside(const struct incoming *incoming, enum result fault,
                       const uint8_t random[static TRACE_RANDOM_SIZE], struct request *out)
{
    assert(result_status(fault) == STATUS_FAILED);
    *out = (struct request){.incoming = *incoming, .fault = fault};
    if (!properties_parse(incoming->properties, &out->properties))
        out->properties = (struct properties){0};
    read_properties(out, random);
    if (!is_storable(out->properties.reply_to)) out->properties.reply_to = (struct text){0};
}
