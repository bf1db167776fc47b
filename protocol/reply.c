/*
 * reply.c - see reply.h.
 *
 * Invariant: what reply_encode writes, reply_decode reads back to the same reply, in either
 * encoding.
 */
#include "protocol/reply.h"

#include "protocol/pack.h"
#include "protocol/unpack.h"
#include "protocol/value.h"

#include <assert.h>

enum {
    REPLY_FIELDS = 19,
    REPLY_AT_ONCE = 15, /* of one that tells no past: then a map's head is short */
    LEG_FIELDS = 6,
    BALANCE_FIELDS = 6,
    USER_FIELDS = 6,
    ACCOUNT_FIELDS = 10
};
enum { DETAILS_FIELDS = 24, DETAILS_AT_ONCE = 15, CODE_CREATED = 201, BALANCES_MAX = 2 };

_Static_assert(sizeof((struct reply *)NULL)->balances / sizeof(struct balance_view) == BALANCES_MAX,
               "a transaction has two sides");

static const char *const kind_words[] = {[ACCOUNT_USER] = "user", [ACCOUNT_SYSTEM] = "system"};

static void pack_balance(struct writer *writer, const struct balance_view *view)
{
    struct pack_map map = pack_map_open(writer, BALANCE_FIELDS);
    int64_t available;
    bool overflows = __builtin_sub_overflow(view->balance, view->held, &available);

    assert(!overflows);
    pack_text(&map, "account", view->account);
    pack_text(&map, "asset", view->asset);
    pack_int(&map, "balance", view->balance);
    pack_int(&map, "held", view->held);
    pack_int(&map, "available", available);
    if (view->has_seq) pack_int(&map, "seq", view->seq);
    pack_map_close(&map);
}

static void pack_user(struct writer *writer, const struct user_view *view)
{
    struct pack_map map = pack_map_open(writer, USER_FIELDS);

    assert(view->accounts_count <= USER_ACCOUNTS_MAX);
    pack_text(&map, "user_id", view->user_id);
    pack_text(&map, "name", view->name);
    pack_time(&map, "created_at", view->created_us);
    pack_raw(&map, "metadata", view->metadata);
    pack_key(&map, "accounts");
    pack_array_value(writer, view->accounts_count);
    for (uint32_t i = 0; i < view->accounts_count; i++) pack_text_value(writer, view->accounts[i]);
    if (view->more_accounts) pack_bool(&map, "more_accounts", true);
    pack_map_close(&map);
}

static void pack_account(struct writer *writer, const struct account_view *view)
{
    struct pack_map map = pack_map_open(writer, ACCOUNT_FIELDS);

    pack_text(&map, "account", view->account);
    pack_text(&map, "user_id", view->user_id);
    pack_text(&map, "asset", view->asset);
    pack_text(&map, "kind", text_of(kind_words[view->kind]));
    pack_int(&map, "scale", view->scale);
    pack_time(&map, "created_at", view->created_us);
    pack_raw(&map, "metadata", view->metadata);
    if (view->frozen != 0) pack_text(&map, "frozen", text_of(direction_word(view->frozen)));
    if (view->closed) pack_bool(&map, "closed", true);
    if (view->floor != 0) pack_int(&map, "floor", view->floor);
    pack_map_close(&map);
}

static void pack_id(struct pack_map *map, const char *key, const struct uuid *id)
{
    if (!uuid_is_zero(id)) pack_uuid(map, key, id);
}

/* What settles a hold ends it, what settles anything else reverses it. */
static void pack_links(struct pack_map *map, const struct transaction_view *view)
{
    bool is_hold = view->type == COMMAND_HOLD;

    if (is_hold) pack_int(map, "remaining", view->remaining);
    if (view->expires_us != 0) pack_time(map, "expires_at", view->expires_us);
    pack_id(map, is_hold ? "ended_by" : "reversed_by", &view->settled);
    pack_id(map, view->type == COMMAND_REVERSE ? "reverses" : "hold", &view->refers);
}

static const char *state_of(const struct transaction_view *view)
{
    if (uuid_is_zero(&view->ended)) return "pending";
    if (view->cancelled) return "cancelled";
    return view->ended_result == RESULT_APPLIED ? "executed" : "refused";
}

static void pack_schedule(struct pack_map *map, const struct transaction_view *view)
{
    pack_id(map, "scheduled", &view->scheduled);
    if (view->scheduled_us == 0) return;
    pack_time(map, "scheduled_for", view->scheduled_us);
    pack_text(map, "state", text_of(state_of(view)));
    pack_id(map, view->cancelled ? "cancelled_by" : "executed_by", &view->ended);
    pack_text(map, "error", text_of(result_word(view->ended_result)));
}

static void pack_details(struct writer *writer, const struct transaction_view *view)
{
    /* No transaction has all of its fields. */
    struct pack_map map = pack_map_open(writer, DETAILS_AT_ONCE);

    pack_uuid(&map, "transaction", &view->transaction);
    pack_text(&map, "type", text_of(command_word(view->type)));
    pack_text(&map, "debit", view->debit);
    pack_text(&map, "credit", view->credit);
    pack_text(&map, "asset", view->asset);
    if (view->amount != 0) pack_int(&map, "amount", view->amount);
    if (view->type == COMMAND_SET_FLOOR && view->scheduled_us == 0)
        pack_int(&map, "floor", view->floor);
    pack_time(&map, "created_at", view->created_us);
    pack_hex(&map, "trace_id", &view->trace_id);
    pack_text(&map, "app_id", view->caller);
    pack_text(&map, "idempotency_key", view->key);
    pack_raw(&map, "metadata", view->metadata);
    if (view->scheduled_us == 0) pack_links(&map, view);
    pack_schedule(&map, view);
    pack_map_close(&map);
}

static void pack_result(struct pack_map *map, const struct reply *reply)
{
    bool created = reply->result == RESULT_APPLIED && reply->created;

    pack_text(map, "status", text_of(status_word(result_status(reply->result))));
    pack_int(map, "code", created ? CODE_CREATED : result_code(reply->result));
    pack_text(map, "error", text_of(result_error(reply->result)));
}

static void pack_balances(struct writer *writer, struct pack_map *map, const struct reply *reply)
{
    assert(reply->balances_count <= BALANCES_MAX);
    if (reply->has_transaction) pack_uuid(map, "transaction", &reply->transaction);
    if (reply->balances_count == 0) return;
    pack_key(map, "balances");
    pack_array_value(writer, reply->balances_count);
    for (uint32_t i = 0; i < reply->balances_count; i++) pack_balance(writer, &reply->balances[i]);
}

/* What a leg has in common with its batch is told once, there. */
static void pack_legs(struct writer *writer, const struct reply *reply)
{
    pack_array_value(writer, reply->legs_count);
    for (uint32_t i = 0; i < reply->legs_count; i++) {
        const struct reply *leg = reply->legs[i].reply;
        struct pack_map map = pack_map_open(writer, LEG_FIELDS);
        pack_text(&map, "idempotency_key", reply->legs[i].key);
        pack_result(&map, leg);
        pack_balances(writer, &map, leg);
        pack_map_close(&map);
    }
}

static void pack_history(struct writer *writer, struct pack_map *map,
                         const struct history_view *view)
{
    pack_key(map, "transactions");
    history_pack(writer, view);
    if (!uuid_is_zero(&view->cursor)) pack_hex(map, "cursor", &view->cursor);
}

static void pack_reply(struct writer *writer, const struct reply *reply)
{
    bool is_past = reply->as_of != NULL || reply->history != NULL;
    struct pack_map map = pack_map_open(writer, is_past ? REPLY_FIELDS : REPLY_AT_ONCE);

    pack_result(&map, reply);
    pack_text(&map, "message",
              reply->message.length > 0 ? reply->message : text_of(result_sentence(reply->result)));
    pack_balances(writer, &map, reply);
    if (reply->scheduled_us != 0) pack_time(&map, "scheduled_for", reply->scheduled_us);
    if (reply->has_failed_leg) pack_int(&map, "failed", reply->failed_leg);
    if (reply->legs_count > 0) {
        pack_key(&map, "results");
        pack_legs(writer, reply);
    }
    if (reply->user != NULL) {
        pack_key(&map, "user");
        pack_user(writer, reply->user);
    }
    if (reply->account != NULL) {
        pack_key(&map, "account");
        pack_account(writer, reply->account);
    }
    if (reply->details != NULL) {
        pack_key(&map, "details");
        pack_details(writer, reply->details);
    }
    if (reply->as_of != NULL) {
        pack_key(&map, "as_of");
        as_of_pack(writer, reply->as_of);
    }
    if (reply->history != NULL) pack_history(writer, &map, reply->history);
    pack_time(&map, "timestamp", reply->timestamp_us);
    pack_hex(&map, "trace_id", &reply->trace_id);
    if (reply->replayed) pack_bool(&map, "replayed", true);
    if (reply->dry_run) pack_bool(&map, "dry_run", true);
    pack_map_close(&map);
}

bool reply_encode(struct codec *codec, const struct reply *reply, enum encoding encoding,
                  struct arena *arena, struct bytes *out)
{
    struct writer writer = writer_in(arena);

    (void)codec;
    pack_reply(&writer, reply);
    if (!writer_keep(&writer, arena, out)) return false;
    return encoding == ENCODING_MSGPACK || msgpack_to_json(*out, arena, out);
}

static bool take_balance(struct bytes map, struct balance_view *out,
                         char problem[static PROBLEM_SIZE])
{
    int64_t available = 0, difference;
    struct field fields[BALANCE_FIELDS] = {
        {.name = "account", .type = FIELD_TEXT, .target = &out->account, .required = true},
        {.name = "asset", .type = FIELD_TEXT, .target = &out->asset, .required = true},
        {.name = "balance", .type = FIELD_INT, .target = &out->balance, .required = true},
        {.name = "held", .type = FIELD_INT, .target = &out->held, .required = true},
        {.name = "available", .type = FIELD_INT, .target = &available, .required = true},
        {.name = "seq", .type = FIELD_INT, .target = &out->seq},
    };

    *out = (struct balance_view){0};
    if (!unpack_fields(map, fields, BALANCE_FIELDS, problem)) return false;
    out->has_seq = fields[BALANCE_FIELDS - 1].present;
    if (__builtin_sub_overflow(out->balance, out->held, &difference) || difference != available)
        return problem_set(problem, PROBLEM_SIZE, "available: must be balance less held");
    return true;
}

static bool take_balances(struct bytes array, struct reply *out, char problem[static PROBLEM_SIZE])
{
    struct value head;
    struct bytes element;

    if (!value_read(&array, &head) || head.count > BALANCES_MAX)
        return problem_set(problem, PROBLEM_SIZE, "balances: must be at most two");
    for (uint32_t i = 0; i < head.count; i++)
        if (!value_take(&array, &element) || !take_balance(element, &out->balances[i], problem))
            return unpack_problem_in("balances", problem);
    out->balances_count = head.count;
    return true;
}

static bool take_accounts(struct bytes array, struct arena *arena, struct user_view *view,
                          char problem[static PROBLEM_SIZE])
{
    struct value head, element;

    if (!value_read(&array, &head) || head.count > USER_ACCOUNTS_MAX)
        return problem_set(problem, PROBLEM_SIZE, "accounts: must be at most 256");
    struct text *accounts = arena_take(arena, head.count * sizeof *accounts);
    if (accounts == NULL) return problem_set(problem, PROBLEM_SIZE, "accounts: no memory is left");
    for (uint32_t i = 0; i < head.count; i++) {
        if (!value_read(&array, &element) || element.type != VALUE_TEXT)
            return problem_set(problem, PROBLEM_SIZE, "accounts: must be texts");
        accounts[i] = element.text;
    }
    view->accounts = accounts;
    view->accounts_count = head.count;
    return true;
}

static bool take_user(struct bytes map, struct arena *arena, struct reply *out,
                      char problem[static PROBLEM_SIZE])
{
    struct user_view *view = arena_take(arena, sizeof *view);
    struct bytes accounts = {0};

    if (view == NULL) return problem_set(problem, PROBLEM_SIZE, "body: no memory is left");
    *view = (struct user_view){0};
    struct field fields[USER_FIELDS] = {
        {.name = "user_id", .type = FIELD_TEXT, .target = &view->user_id, .required = true},
        {.name = "name", .type = FIELD_TEXT, .target = &view->name},
        {.name = "created_at", .type = FIELD_TIME, .target = &view->created_us, .required = true},
        {.name = "metadata", .type = FIELD_MAP, .target = &view->metadata},
        {.name = "accounts", .type = FIELD_ARRAY, .target = &accounts, .required = true},
        {.name = "more_accounts", .type = FIELD_BOOL, .target = &view->more_accounts},
    };
    if (!unpack_fields(map, fields, USER_FIELDS, problem)) return false;
    out->user = view;
    return take_accounts(accounts, arena, view, problem);
}

static bool kind_parse(struct text word, enum account_kind *out)
{
    for (int kind = ACCOUNT_USER; kind <= ACCOUNT_SYSTEM; kind++) {
        *out = (enum account_kind)kind;
        if (text_equal(word, text_of(kind_words[kind]))) return true;
    }
    return false;
}

static bool take_account(struct bytes map, struct arena *arena, struct reply *out,
                         char problem[static PROBLEM_SIZE])
{
    struct account_view *view = arena_take(arena, sizeof *view);
    struct text kind = {0}, frozen = {0};
    int64_t scale = 0;

    if (view == NULL) return problem_set(problem, PROBLEM_SIZE, "body: no memory is left");
    *view = (struct account_view){0};
    struct field fields[ACCOUNT_FIELDS] = {
        {.name = "account", .type = FIELD_TEXT, .target = &view->account, .required = true},
        {.name = "user_id", .type = FIELD_TEXT, .target = &view->user_id, .required = true},
        {.name = "asset", .type = FIELD_TEXT, .target = &view->asset, .required = true},
        {.name = "kind", .type = FIELD_TEXT, .target = &kind, .required = true},
        {.name = "scale", .type = FIELD_INT, .target = &scale, .required = true},
        {.name = "created_at", .type = FIELD_TIME, .target = &view->created_us, .required = true},
        {.name = "metadata", .type = FIELD_MAP, .target = &view->metadata},
        {.name = "frozen", .type = FIELD_TEXT, .target = &frozen},
        {.name = "closed", .type = FIELD_BOOL, .target = &view->closed},
        {.name = "floor", .type = FIELD_INT, .target = &view->floor},
    };
    if (!unpack_fields(map, fields, ACCOUNT_FIELDS, problem)) return false;
    if (frozen.length > 0 && !direction_parse(frozen, &view->frozen))
        return problem_set(problem, PROBLEM_SIZE, "frozen: must be in, out or both");
    if (!kind_parse(kind, &view->kind))
        return problem_set(problem, PROBLEM_SIZE, "kind: must be user or system");
    if (scale < 0 || scale > SCALE_MAX)
        return problem_set(problem, PROBLEM_SIZE, "scale: must be 0 to 18");
    view->scale = (uint8_t)scale;
    out->account = view;
    return true;
}

/* It must be what the other fields say. */
static bool take_state(struct text state, struct text error, struct transaction_view *view,
                       char problem[static PROBLEM_SIZE])
{
    view->ended_result = RESULT_APPLIED;
    if (error.length > 0 && !result_parse(error, &view->ended_result))
        return problem_set(problem, PROBLEM_SIZE, "error: '%.*s' is not known",
                           TEXT_ARGS(problem_quote(error)));
    bool right = view->scheduled_us == 0 ? state.length == 0 && error.length == 0
                                         : text_equal(state, text_of(state_of(view)));
    return right || problem_set(problem, PROBLEM_SIZE, "state: is not that of the other fields");
}

static bool take_details(struct bytes map, struct arena *arena, struct reply *out,
                         char problem[static PROBLEM_SIZE])
{
    struct transaction_view *view = arena_take(arena, sizeof *view);
    struct text type = {0}, state = {0}, error = {0};
    struct uuid hold = {0}, reverses = {0}, ended_by = {0}, reversed_by = {0};
    struct uuid executed_by = {0}, cancelled_by = {0};

    if (view == NULL) return problem_set(problem, PROBLEM_SIZE, "body: no memory is left");
    *view = (struct transaction_view){0};
    struct field fields[DETAILS_FIELDS] = {
        {.name = "transaction", .type = FIELD_UUID, .target = &view->transaction, .required = true},
        {.name = "type", .type = FIELD_TEXT, .target = &type, .required = true},
        {.name = "debit", .type = FIELD_TEXT, .target = &view->debit},
        {.name = "credit", .type = FIELD_TEXT, .target = &view->credit},
        {.name = "asset", .type = FIELD_TEXT, .target = &view->asset},
        {.name = "amount", .type = FIELD_INT, .target = &view->amount},
        {.name = "floor", .type = FIELD_INT, .target = &view->floor},
        {.name = "created_at", .type = FIELD_TIME, .target = &view->created_us, .required = true},
        {.name = "trace_id", .type = FIELD_HEX, .target = &view->trace_id, .required = true},
        {.name = "app_id", .type = FIELD_TEXT, .target = &view->caller},
        {.name = "idempotency_key", .type = FIELD_TEXT, .target = &view->key},
        {.name = "metadata", .type = FIELD_MAP, .target = &view->metadata},
        {.name = "remaining", .type = FIELD_INT, .target = &view->remaining},
        {.name = "expires_at", .type = FIELD_TIME, .target = &view->expires_us},
        {.name = "hold", .type = FIELD_UUID, .target = &hold},
        {.name = "reverses", .type = FIELD_UUID, .target = &reverses},
        {.name = "ended_by", .type = FIELD_UUID, .target = &ended_by},
        {.name = "reversed_by", .type = FIELD_UUID, .target = &reversed_by},
        {.name = "scheduled", .type = FIELD_UUID, .target = &view->scheduled},
        {.name = "scheduled_for", .type = FIELD_TIME, .target = &view->scheduled_us},
        {.name = "state", .type = FIELD_TEXT, .target = &state},
        {.name = "executed_by", .type = FIELD_UUID, .target = &executed_by},
        {.name = "cancelled_by", .type = FIELD_UUID, .target = &cancelled_by},
        {.name = "error", .type = FIELD_TEXT, .target = &error},
    };
    if (!unpack_fields(map, fields, DETAILS_FIELDS, problem)) return false;
    if (!command_type_parse(type, &view->type))
        return problem_set(problem, PROBLEM_SIZE, "type: '%.*s' is no command",
                           TEXT_ARGS(problem_quote(type)));
    view->refers = view->type == COMMAND_REVERSE ? reverses : hold;
    view->settled = view->type == COMMAND_HOLD ? ended_by : reversed_by;
    view->cancelled = !uuid_is_zero(&cancelled_by);
    view->ended = view->cancelled ? cancelled_by : executed_by;
    out->details = view;
    return take_state(state, error, view, problem);
}

/* The maps within the reply; an empty one is absent. */
struct parts {
    struct bytes balances, user, account, details, results, as_of, transactions;
    struct uuid cursor;
};

static bool take_result(struct text status_text, struct text error, enum result *out,
                        char problem[static PROBLEM_SIZE]);

static bool take_leg(struct bytes map, struct text *key, struct reply *out,
                     char problem[static PROBLEM_SIZE])
{
    struct text status = {0}, error = {0};
    struct bytes balances = {0};
    int64_t code = 0;
    struct field fields[LEG_FIELDS] = {
        {.name = "transaction", .type = FIELD_UUID, .target = &out->transaction},
        {.name = "idempotency_key", .type = FIELD_TEXT, .target = key, .required = true},
        {.name = "status", .type = FIELD_TEXT, .target = &status, .required = true},
        {.name = "code", .type = FIELD_INT, .target = &code, .required = true},
        {.name = "error", .type = FIELD_TEXT, .target = &error},
        {.name = "balances", .type = FIELD_ARRAY, .target = &balances},
    };

    *out = (struct reply){.result = RESULT_APPLIED};
    if (!unpack_fields(map, fields, LEG_FIELDS, problem)) return false;
    if (!take_result(status, error, &out->result, problem)) return false;
    out->has_transaction = fields[0].present;
    out->created = out->result == RESULT_APPLIED && code == CODE_CREATED;
    return balances.size == 0 || take_balances(balances, out, problem);
}

static bool take_legs(struct bytes array, struct arena *arena, struct reply *out,
                      char problem[static PROBLEM_SIZE])
{
    struct value head;
    struct bytes element;

    if (!value_read(&array, &head) || head.count > LEGS_MAX)
        return problem_set(problem, PROBLEM_SIZE, "results: must be at most %d", LEGS_MAX);
    struct leg_view *legs = arena_take(arena, (head.count + 1U) * sizeof *legs);
    struct reply *replies = arena_take(arena, (head.count + 1U) * sizeof *replies);
    if (legs == NULL || replies == NULL)
        return problem_set(problem, PROBLEM_SIZE, "results: no memory is left");
    for (uint32_t i = 0; i < head.count; i++) {
        legs[i] = (struct leg_view){.reply = &replies[i]};
        if (!value_take(&array, &element) || !take_leg(element, &legs[i].key, &replies[i], problem))
            return unpack_problem_in("results", problem);
    }
    out->legs = legs;
    out->legs_count = head.count;
    return true;
}

static bool take_as_of(struct bytes map, struct arena *arena, struct reply *out,
                       char problem[static PROBLEM_SIZE])
{
    struct as_of_view *view = arena_take(arena, sizeof *view);

    if (view == NULL) return problem_set(problem, PROBLEM_SIZE, "no memory is left");
    out->as_of = view;
    return as_of_unpack(map, view, problem);
}

static bool take_history(const struct parts *parts, struct arena *arena, struct reply *out,
                         char problem[static PROBLEM_SIZE])
{
    struct history_view *view = arena_take(arena, sizeof *view);

    if (view == NULL) return problem_set(problem, PROBLEM_SIZE, "no memory is left");
    *view = (struct history_view){.cursor = parts->cursor};
    out->history = view;
    return history_unpack(parts->transactions, arena, view, problem);
}

static bool take_parts(const struct parts *parts, struct arena *arena, struct reply *out,
                       char problem[static PROBLEM_SIZE])
{
    if (parts->balances.size > 0 && !take_balances(parts->balances, out, problem)) return false;
    if (parts->user.size > 0 && !take_user(parts->user, arena, out, problem))
        return unpack_problem_in("user", problem);
    if (parts->account.size > 0 && !take_account(parts->account, arena, out, problem))
        return unpack_problem_in("account", problem);
    if (parts->results.size > 0 && !take_legs(parts->results, arena, out, problem)) return false;
    if (parts->details.size > 0 && !take_details(parts->details, arena, out, problem))
        return unpack_problem_in("details", problem);
    if (parts->as_of.size > 0 && !take_as_of(parts->as_of, arena, out, problem))
        return unpack_problem_in("as_of", problem);
    if (parts->transactions.size > 0 && !take_history(parts, arena, out, problem))
        return unpack_problem_in("transactions", problem);
    return true;
}

static bool take_result(struct text status_text, struct text error, enum result *out,
                        char problem[static PROBLEM_SIZE])
{
    enum status status;

    *out = RESULT_APPLIED;
    if (!status_parse(status_text, &status))
        return problem_set(problem, PROBLEM_SIZE, "status: '%.*s' is not known",
                           TEXT_ARGS(problem_quote(status_text)));
    if (status == STATUS_SCHEDULED && error.length == 0) *out = RESULT_SCHEDULED;
    if (error.length > 0 && !result_parse(error, out))
        return problem_set(problem, PROBLEM_SIZE, "error: '%.*s' is not known",
                           TEXT_ARGS(problem_quote(error)));
    if (status != result_status(*out))
        return problem_set(problem, PROBLEM_SIZE, "error: does not belong to this status");
    return true;
}

bool reply_decode(struct codec *codec, struct bytes body, enum encoding encoding,
                  struct arena *arena, struct reply *out, char problem[static PROBLEM_SIZE])
{
    struct bytes map;
    struct text status = {0}, error = {0};
    int64_t code = 0, failed = 0;
    struct parts parts = {0};

    *out = (struct reply){.result = RESULT_APPLIED};
    struct field fields[REPLY_FIELDS] = {
        {.name = "transaction", .type = FIELD_UUID, .target = &out->transaction},
        {.name = "failed", .type = FIELD_INT, .target = &failed},
        {.name = "scheduled_for", .type = FIELD_TIME, .target = &out->scheduled_us},
        {.name = "results", .type = FIELD_ARRAY, .target = &parts.results},
        {.name = "status", .type = FIELD_TEXT, .target = &status, .required = true},
        {.name = "code", .type = FIELD_INT, .target = &code, .required = true},
        {.name = "error", .type = FIELD_TEXT, .target = &error},
        {.name = "message", .type = FIELD_TEXT, .target = &out->message},
        {.name = "balances", .type = FIELD_ARRAY, .target = &parts.balances},
        {.name = "user", .type = FIELD_MAP, .target = &parts.user},
        {.name = "account", .type = FIELD_MAP, .target = &parts.account},
        {.name = "details", .type = FIELD_MAP, .target = &parts.details},
        {.name = "as_of", .type = FIELD_MAP, .target = &parts.as_of},
        {.name = "transactions", .type = FIELD_ARRAY, .target = &parts.transactions},
        {.name = "cursor", .type = FIELD_HEX, .target = &parts.cursor},
        {.name = "timestamp", .type = FIELD_TIME, .target = &out->timestamp_us, .required = true},
        {.name = "trace_id", .type = FIELD_HEX, .target = &out->trace_id, .required = true},
        {.name = "replayed", .type = FIELD_BOOL, .target = &out->replayed},
        {.name = "dry_run", .type = FIELD_BOOL, .target = &out->dry_run},
    };
    if (!unpack_body(codec, body, encoding, arena, &map, problem)) return false;
    if (!unpack_fields(map, fields, REPLY_FIELDS, problem)) return false;
    if (!take_result(status, error, &out->result, problem)) return false;
    out->has_transaction = fields[0].present;
    out->has_failed_leg = fields[1].present;
    if (failed < 0 || failed >= LEGS_MAX)
        return problem_set(problem, PROBLEM_SIZE, "failed: must be 0 to %d", LEGS_MAX - 1);
    out->failed_leg = (uint32_t)failed;
    out->created = out->result == RESULT_APPLIED && code == CODE_CREATED;
    return take_parts(&parts, arena, out, problem);
}
