/*
 * ask.c - see ask.h.
 */
#include "gateway/ask.h"

#include "protocol/pack.h"
#include "protocol/value.h"

#include <assert.h>
#include <stdio.h>

enum { MAP_MOST = 64, LIMIT_DIGITS = 9 };

/* --- bodies and query strings ------------------------------------------------------------- */

static void copy_pair(struct pack_map *map, struct text key, struct bytes value)
{
    map->count++;
    pack_text_value(map->writer, key);
    write_bytes(map->writer, value.data, value.size);
}

bool ask_body(const struct ask *ask, struct bytes json, struct text *type_out, struct bytes *map,
              char problem[static PROBLEM_SIZE])
{
    struct bytes rest, value;
    struct value head, key, type;

    if (!json_to_msgpack(ask->codec, json, ask->arena, &rest, problem, PROBLEM_SIZE)) return false;
    struct bytes whole = rest;
    if (!value_read(&rest, &head) || head.type != VALUE_MAP)
        return problem_set(problem, PROBLEM_SIZE, "body: must be one JSON object");
    *map = whole;
    if (type_out == NULL) return true;
    if (head.count > MAP_MOST)
        return problem_set(problem, PROBLEM_SIZE, "body: has more keys than a command may");
    *type_out = (struct text){0};
    struct writer writer = writer_in(ask->arena);
    struct pack_map out = pack_map_open(&writer, MAP_MOST);
    for (uint32_t i = 0; i < head.count; i++) {
        if (!value_read(&rest, &key) || !value_take(&rest, &value))
            return problem_set(problem, PROBLEM_SIZE, "body: cut short");
        if (!text_equal(key.text, TEXT_LITERAL("type"))) {
            copy_pair(&out, key.text, value);
            continue;
        }
        if (!value_read(&value, &type) || type.type != VALUE_TEXT)
            return problem_set(problem, PROBLEM_SIZE, "type: must be text");
        *type_out = type.text;
    }
    pack_map_close(&out);
    if (type_out->length == 0)
        return problem_set(problem, PROBLEM_SIZE, "type: missing; such as deposit or transfer");
    return writer_keep(&writer, ask->arena, map) ||
           problem_set(problem, PROBLEM_SIZE, "body: too large");
}

/* What is no number stays text, which the ledger's decoder refuses by name. */
static bool number_of(struct text text, int64_t *out)
{
    *out = 0;
    if (text.length == 0 || text.length > LIMIT_DIGITS) return false;
    for (uint32_t i = 0; i < text.length; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9') return false;
        *out = *out * 10 + (text.bytes[i] - '0');
    }
    return true;
}

bool ask_pairs(const struct ask *ask, const struct ask_pair *pairs, uint32_t count,
               struct bytes *map, char problem[static PROBLEM_SIZE])
{
    struct writer writer = writer_in(ask->arena);
    struct pack_map out = pack_map_open(&writer, MAP_MOST);
    int64_t number;

    assert(count <= MAP_MOST);
    for (uint32_t i = 0; i < count; i++) {
        if (!utf8_is_valid(pairs[i].name) || !utf8_is_valid(pairs[i].value))
            return problem_set(problem, PROBLEM_SIZE, "query: must be UTF-8");
        out.count++;
        pack_text_value(&writer, pairs[i].name);
        if (text_equal(pairs[i].name, TEXT_LITERAL("limit")) && number_of(pairs[i].value, &number))
            pack_int_value(&writer, number);
        else
            pack_text_value(&writer, pairs[i].value);
    }
    pack_map_close(&out);
    return writer_keep(&writer, ask->arena, map) ||
           problem_set(problem, PROBLEM_SIZE, "query: too large");
}

/* --- the message -------------------------------------------------------------------------- */

/* What administers accounts is not for this edge. A batch may open accounts. */
static bool is_for_http(enum command_type type, bool is_leg)
{
    switch (type) {
    case COMMAND_DEPOSIT:
    case COMMAND_WITHDRAW:
    case COMMAND_TRANSFER:
    case COMMAND_HOLD:
    case COMMAND_CAPTURE:
    case COMMAND_RELEASE:
    case COMMAND_REVERSE:
    case COMMAND_OPEN_ACCOUNT:
        return true;
    case COMMAND_BATCH:
    case COMMAND_CANCEL:
    case COMMAND_GET_USER:
    case COMMAND_GET_ACCOUNT:
    case COMMAND_GET_BALANCE:
    case COMMAND_GET_TRANSACTION:
    case COMMAND_LIST_TRANSACTIONS:
        return !is_leg;
    case COMMAND_EXPIRE_HOLD:
    case COMMAND_FREEZE_ACCOUNT:
    case COMMAND_UNFREEZE_ACCOUNT:
    case COMMAND_CLOSE_ACCOUNT:
    case COMMAND_SET_FLOOR:
    case COMMAND_UPDATE_USER:
    case COMMANDS_COUNT:
        break;
    }
    return false;
}

static bool write_properties(const struct ask *ask, struct text type, struct bytes *out)
{
    struct header headers[3];
    uint32_t count = 0;
    char traceparent[TRACEPARENT_SIZE];
    struct properties_out properties = {.content_type = TEXT_LITERAL("application/msgpack"),
                                        .type = type,
                                        .message_id = ask->key,
                                        .correlation_id = ask->correlation_id,
                                        .reply_to = ask->reply_to,
                                        .app_id = ask->app_id,
                                        .user_id = ask->user_id,
                                        .headers = headers};

    traceparent_format(ask->trace, traceparent);
    headers[count++] =
        (struct header){.name = TEXT_LITERAL("traceparent"), .text = text_of(traceparent)};
    if (ask->trace->tracestate.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("tracestate"), .text = ask->trace->tracestate};
    if (ask->trace->verbatim.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("x-trace-id"), .text = ask->trace->verbatim};
    properties.headers_count = count;
    return properties_write(&properties, ask->arena, out);
}

static enum result check_legs(const struct ask *ask, struct request *request,
                              char problem[static PROBLEM_SIZE])
{
    uint32_t count = request->command.legs_count;
    struct request *legs = arena_take(ask->arena, count * sizeof *legs);

    if (legs == NULL) {
        (void)problem_set(problem, PROBLEM_SIZE, "commands: too many for one batch");
        return RESULT_MALFORMED;
    }
    if (!request_decode_legs(ask->codec, ask->arena, request, legs)) {
        (void)problem_set(problem, PROBLEM_SIZE, "%s", request->problem);
        return request->fault;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (is_for_http(legs[i].command.type, true)) continue;
        (void)problem_set(problem, PROBLEM_SIZE, "commands[%u]: %s is not for HTTP", i,
                          command_word(legs[i].command.type));
        return RESULT_UNKNOWN_TYPE;
    }
    return RESULT_APPLIED;
}

/* The account, else what the command is about, else its key: all about one hold go one way. */
static bool routing_key(const struct ask *ask, const struct command *command, struct text *out)
{
    char id[UUID_TEXT_SIZE];

    *out = command_ordering_key(command);
    if (out->length > 0) return true;
    *out = ask->key;
    if (!uuid_is_zero(&command->transaction)) {
        uuid_format(&command->transaction, id);
        *out = arena_text(ask->arena, text_of(id));
    }
    return out->bytes != NULL;
}

enum result ask_message(const struct ask *ask, struct text type, struct bytes map,
                        struct message *out, char problem[static PROBLEM_SIZE])
{
    static const uint8_t no_random[TRACE_RANDOM_SIZE] = {0}; /* it continues our trace */
    struct incoming incoming = {.body = map, .body_size = map.size};
    struct request *request = arena_take(ask->arena, sizeof *request);
    enum result result = RESULT_APPLIED;

    *out = (struct message){.exchange = ask->exchange, .body = map};
    if (request == NULL || !write_properties(ask, type, &out->properties)) {
        (void)problem_set(problem, PROBLEM_SIZE, "type, key or headers: too long");
        return RESULT_MALFORMED;
    }
    incoming.properties = out->properties;
    request_decode(ask->codec, &incoming, no_random, ask->arena, request);
    if (request->fault != RESULT_APPLIED) {
        (void)problem_set(problem, PROBLEM_SIZE, "%s", request->problem);
        return request->fault;
    }
    if (!is_for_http(request->command.type, false)) {
        (void)problem_set(problem, PROBLEM_SIZE, "type: %s is not for HTTP",
                          command_word(request->command.type));
        return RESULT_UNKNOWN_TYPE;
    }
    if (request->command.type == COMMAND_BATCH) result = check_legs(ask, request, problem);
    if (result != RESULT_APPLIED) return result;
    if (routing_key(ask, &request->command, &out->routing_key)) return RESULT_APPLIED;
    (void)problem_set(problem, PROBLEM_SIZE, "body: too large");
    return RESULT_MALFORMED;
}
