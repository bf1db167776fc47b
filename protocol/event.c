/*
 * event.c - see event.h. A field that is empty, or that this type of event has not, is left out.
 *
 * Invariant: what event_encode writes, event_decode reads back to the same event, in either
 * encoding.
 */
#include "protocol/event.h"

#include "protocol/pack.h"
#include "protocol/unpack.h"

#include <assert.h>

enum { EVENT_FIELDS = 29 };

static const char *const words[] = {
#define X(name, word) [EVENT_##name] = (word),
    EVENTS(X)
#undef X
};
_Static_assert(sizeof words / sizeof *words == EVENTS_COUNT, "every event has a word");

static const char *const directions[] = {[false] = "debit", [true] = "credit"};

const char *event_word(enum event_type type)
{
    assert((unsigned)type < EVENTS_COUNT);
    return words[type];
}

enum event_type event_type_of(enum command_type type)
{
    static const enum event_type types[COMMANDS_COUNT] = {
        [COMMAND_OPEN_ACCOUNT] = EVENT_ACCOUNT_OPENED,
        [COMMAND_HOLD] = EVENT_HOLD_PLACED,
        [COMMAND_RELEASE] = EVENT_HOLD_RELEASED,
        [COMMAND_EXPIRE_HOLD] = EVENT_HOLD_EXPIRED,
        [COMMAND_FREEZE_ACCOUNT] = EVENT_ACCOUNT_FROZEN,
        [COMMAND_UNFREEZE_ACCOUNT] = EVENT_ACCOUNT_UNFROZEN,
        [COMMAND_CLOSE_ACCOUNT] = EVENT_ACCOUNT_CLOSED,
        [COMMAND_SET_FLOOR] = EVENT_FLOOR_CHANGED,
        [COMMAND_CANCEL] = EVENT_COMMAND_CANCELLED,
        [COMMAND_UPDATE_USER] = EVENT_USER_UPDATED,
    };
    _Static_assert(EVENT_TRANSACTION_CREATED == 0, "of all that are not said above");

    return types[type];
}

static void pack_balance(struct pack_map *map, const struct event *event)
{
    int64_t available;
    bool overflows = __builtin_sub_overflow(event->new_balance, event->held, &available);

    assert(!overflows);
    pack_int(map, "new_balance", event->new_balance);
    pack_int(map, "held", event->held);
    pack_int(map, "available", available);
    pack_int(map, "seq", event->seq);
}

void event_pack(struct writer *writer, const struct event *event)
{
    struct pack_map map = pack_map_open(writer, EVENT_FIELDS);

    if (event->type == EVENT_COMMAND_REJECTED) assert(event->result != RESULT_APPLIED);
    pack_text(&map, "event_type", text_of(event_word(event->type)));
    pack_uuid(&map, "transaction", &event->transaction);
    pack_text(&map, "type", text_of(command_word(event->command)));
    pack_text(&map, "user_id", event->user_id);
    pack_text(&map, "name", event->name);
    pack_text(&map, "account", event->account);
    pack_text(&map, "asset", event->asset);
    pack_text(&map, "counterparty", event->counterparty);
    if (event->type == EVENT_TRANSACTION_CREATED)
        pack_text(&map, "direction", text_of(directions[event->is_credit]));
    if (event->amount != 0) pack_int(&map, "amount", event->amount);
    if (!uuid_is_zero(&event->refers))
        pack_uuid(&map, event->command == COMMAND_REVERSE ? "reverses" : "hold", &event->refers);
    if (!uuid_is_zero(&event->scheduled)) pack_uuid(&map, "scheduled", &event->scheduled);
    if (event->scheduled_us != 0) pack_time(&map, "scheduled_for", event->scheduled_us);
    if (event->expires_us != 0) pack_time(&map, "expires_at", event->expires_us);
    if (event->has_floor) pack_int(&map, "floor", event->floor);
    if (event->frozen != 0) pack_text(&map, "frozen", text_of(direction_word(event->frozen)));
    if (event->has_balance) pack_balance(&map, event);
    if (event->type == EVENT_COMMAND_REJECTED) {
        pack_text(&map, "error", text_of(result_word(event->result)));
        pack_int(&map, "code", result_code(event->result));
        pack_text(&map, "message", text_of(result_sentence(event->result)));
    }
    pack_time(&map, "timestamp", event->timestamp_us);
    pack_hex(&map, "trace_id", &event->trace_id);
    pack_text(&map, "app_id", event->caller);
    pack_text(&map, "idempotency_key", event->key);
    pack_raw(&map, "metadata", event->metadata);
    pack_map_close(&map);
}

bool event_encode(struct codec *codec, const struct event *event, enum encoding encoding,
                  struct arena *arena, struct bytes *out)
{
    struct writer writer = writer_in(arena);

    (void)codec;
    event_pack(&writer, event);
    if (!writer_keep(&writer, arena, out)) return false;
    return encoding == ENCODING_MSGPACK || msgpack_to_json(*out, arena, out);
}

static bool event_type_parse(struct text word, enum event_type *out)
{
    for (int type = 0; type < EVENTS_COUNT; type++) {
        *out = (enum event_type)type;
        if (text_equal(word, text_of(words[type]))) return true;
    }
    return false;
}

/* The fields whose values are words, and those that say which others there must be. */
struct parts {
    struct text event_type, type, direction, error, frozen;
    struct uuid hold, reverses;
    int64_t available;
    bool has_balance, has_held, has_available, has_seq;
};

static bool take_words(const struct parts *parts, struct event *out,
                       char problem[static PROBLEM_SIZE])
{
    if (!event_type_parse(parts->event_type, &out->type))
        return problem_set(problem, PROBLEM_SIZE, "event_type: '%.*s' is not known",
                           TEXT_ARGS(problem_quote(parts->event_type)));
    if (!command_type_parse(parts->type, &out->command))
        return problem_set(problem, PROBLEM_SIZE, "type: '%.*s' is no command",
                           TEXT_ARGS(problem_quote(parts->type)));

    out->is_credit = text_equal(parts->direction, text_of(directions[true]));
    bool is_debit = text_equal(parts->direction, text_of(directions[false]));
    bool is_movement = out->type == EVENT_TRANSACTION_CREATED;
    if (is_movement ? !out->is_credit && !is_debit : parts->direction.length > 0)
        return problem_set(problem, PROBLEM_SIZE,
                           "direction: must be credit or debit, in transaction.created alone");

    out->refers = out->command == COMMAND_REVERSE ? parts->reverses : parts->hold;
    if (parts->frozen.length > 0 && !direction_parse(parts->frozen, &out->frozen))
        return problem_set(problem, PROBLEM_SIZE, "frozen: must be in, out or both");

    if (out->type == EVENT_FLOOR_CHANGED && !out->has_floor)
        return problem_set(problem, PROBLEM_SIZE, "floor: must be in account.floor_changed");

    out->result = RESULT_APPLIED;
    if (parts->error.length > 0 && !result_parse(parts->error, &out->result))
        return problem_set(problem, PROBLEM_SIZE, "error: '%.*s' is not known",
                           TEXT_ARGS(problem_quote(parts->error)));
    if ((out->result != RESULT_APPLIED) != (out->type == EVENT_COMMAND_REJECTED))
        return problem_set(problem, PROBLEM_SIZE, "error: must be in command.rejected alone");
    return true;
}

static bool take_balance(const struct parts *parts, struct event *out,
                         char problem[static PROBLEM_SIZE])
{
    int64_t difference;

    out->has_balance = parts->has_balance;
    if (parts->has_held != parts->has_balance || parts->has_available != parts->has_balance ||
        parts->has_seq != parts->has_balance)
        return problem_set(problem, PROBLEM_SIZE,
                           "new_balance: must come with held, available and seq");
    if (__builtin_sub_overflow(out->new_balance, out->held, &difference) ||
        difference != parts->available)
        return problem_set(problem, PROBLEM_SIZE, "available: must be new_balance less held");
    return true;
}

bool event_unpack(struct bytes map, struct event *out, char problem[static PROBLEM_SIZE])
{
    struct parts parts = {0};
    struct text message;
    int64_t code;

    *out = (struct event){.type = EVENT_TRANSACTION_CREATED};
    struct field fields[EVENT_FIELDS] = {
        {.name = "new_balance", .type = FIELD_INT, .target = &out->new_balance},
        {.name = "held", .type = FIELD_INT, .target = &out->held},
        {.name = "available", .type = FIELD_INT, .target = &parts.available},
        {.name = "seq", .type = FIELD_INT, .target = &out->seq},
        {.name = "floor", .type = FIELD_INT, .target = &out->floor},
        {.name = "event_type", .type = FIELD_TEXT, .target = &parts.event_type, .required = true},
        {.name = "transaction", .type = FIELD_UUID, .target = &out->transaction, .required = true},
        {.name = "type", .type = FIELD_TEXT, .target = &parts.type, .required = true},
        {.name = "user_id", .type = FIELD_TEXT, .target = &out->user_id},
        {.name = "name", .type = FIELD_TEXT, .target = &out->name},
        {.name = "account", .type = FIELD_TEXT, .target = &out->account},
        {.name = "asset", .type = FIELD_TEXT, .target = &out->asset},
        {.name = "counterparty", .type = FIELD_TEXT, .target = &out->counterparty},
        {.name = "direction", .type = FIELD_TEXT, .target = &parts.direction},
        {.name = "amount", .type = FIELD_INT, .target = &out->amount},
        {.name = "error", .type = FIELD_TEXT, .target = &parts.error},
        {.name = "code", .type = FIELD_INT, .target = &code},
        {.name = "message", .type = FIELD_TEXT, .target = &message},
        {.name = "timestamp", .type = FIELD_TIME, .target = &out->timestamp_us, .required = true},
        {.name = "trace_id", .type = FIELD_HEX, .target = &out->trace_id, .required = true},
        {.name = "app_id", .type = FIELD_TEXT, .target = &out->caller},
        {.name = "idempotency_key", .type = FIELD_TEXT, .target = &out->key},
        {.name = "metadata", .type = FIELD_MAP, .target = &out->metadata},
        {.name = "hold", .type = FIELD_UUID, .target = &parts.hold},
        {.name = "reverses", .type = FIELD_UUID, .target = &parts.reverses},
        {.name = "scheduled", .type = FIELD_UUID, .target = &out->scheduled},
        {.name = "scheduled_for", .type = FIELD_TIME, .target = &out->scheduled_us},
        {.name = "expires_at", .type = FIELD_TIME, .target = &out->expires_us},
        {.name = "frozen", .type = FIELD_TEXT, .target = &parts.frozen},
    };
    if (!unpack_fields(map, fields, EVENT_FIELDS, problem)) return false;
    parts.has_balance = fields[0].present;
    parts.has_held = fields[1].present;
    parts.has_available = fields[2].present;
    parts.has_seq = fields[3].present;
    out->has_floor = fields[4].present;
    return take_words(&parts, out, problem) && take_balance(&parts, out, problem);
}

bool event_decode(struct codec *codec, struct bytes body, enum encoding encoding,
                  struct arena *arena, struct event *out, char problem[static PROBLEM_SIZE])
{
    struct bytes map;

    return unpack_body(codec, body, encoding, arena, &map, problem) &&
           event_unpack(map, out, problem);
}
