/*
 * exchange.c - see exchange.h.
 */
#include "gateway/exchange.h"

#include "base/clock.h"
#include "client/rpc_amqp.h"
#include "gateway/cached.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum step { STEP_ASK, STEP_SHARED, STEP_ANSWER, STEP_ACCOUNTS, STEP_BALANCES };

struct exchange {
    const struct gateway *gateway;
    void *connection;
    struct asked asked;
    char address[LIMIT_ADDRESS_SIZE];
    struct route_match match;
    struct guard_pass pass;
    struct cached cached;
    char cached_id[UUID_TEXT_SIZE]; /* of a transaction, as events write it */
    struct trace trace;
    uint64_t started_us;
    enum step step;
    uint8_t *body;
    size_t body_size, body_capacity;
    bool dropped, body_too_large; /* dropped: for that, or for want of memory */
    struct call *calls;
    void **messages; /* the memory of each call's message */
    uint32_t calls_count;
    atomic_uint pending;
};

/* --- begin and end ------------------------------------------------------------------------ */

struct exchange *exchange_new(const struct gateway *gateway, void *connection,
                              const struct asked *asked)
{
    struct properties given = {.traceparent = asked->traceparent,
                               .tracestate = asked->tracestate,
                               .trace_id = asked->trace_id};
    uint8_t random[TRACE_RANDOM_SIZE];
    struct exchange *exchange = calloc(1, sizeof *exchange);

    if (exchange == NULL) return NULL;
    random_bytes(random, sizeof random);
    exchange->gateway = gateway;
    exchange->connection = connection;
    exchange->asked = *asked;
    if (text_copy(asked->address, exchange->address, sizeof exchange->address))
        exchange->asked.address = text_of(exchange->address);
    exchange->match = route_find(asked->method, asked->path);
    exchange->trace = trace_begin(&given, random);
    exchange->started_us = clock_monotonic_us();
    return exchange;
}

static void calls_drop(struct exchange *exchange)
{
    for (uint32_t i = 0; i < exchange->calls_count; i++) {
        free(exchange->calls[i].reply);
        free(exchange->messages[i]);
    }
    free(exchange->calls);
    free((void *)exchange->messages);
    exchange->calls = NULL;
    exchange->messages = NULL;
    exchange->calls_count = 0;
}

static void body_drop(struct exchange *exchange)
{
    atomic_fetch_sub(&exchange->gateway->bodies->used, exchange->body_capacity);
    free(exchange->body);
    exchange->body = NULL;
    exchange->body_size = exchange->body_capacity = 0;
}

void exchange_free(struct exchange *exchange)
{
    if (exchange == NULL) return;
    calls_drop(exchange);
    cached_drop(&exchange->cached);
    body_drop(exchange);
    free(exchange);
}

enum route exchange_route(const struct exchange *exchange)
{
    return exchange->match.route;
}

const struct trace *exchange_trace(const struct exchange *exchange)
{
    return &exchange->trace;
}

uint64_t exchange_started_us(const struct exchange *exchange)
{
    return exchange->started_us;
}

/* --- the body ----------------------------------------------------------------------------- */

/* A body that is a little too large is read to its end, for a client that is still sending may not
 * see an answer; one that is much too large is not. */
static bool length_is_absurd(const struct exchange *exchange)
{
    char text[24];

    if (!exchange->asked.has_length) return false;
    if (!text_copy(exchange->asked.content_length, text, sizeof text)) return true;
    return strtoull(text, NULL, 10) > exchange_drops_max(exchange->gateway);
}

size_t exchange_drops_max(const struct gateway *gateway)
{
    return 2 * (size_t)gateway->body_max;
}

static bool is_json(struct text content_type)
{
    enum encoding encoding;

    return content_type.length > 0 && encoding_parse(content_type, &encoding) &&
           encoding == ENCODING_JSON;
}

static bool key_is_right(struct text key)
{
    return key.length >= 1 && key.length <= KEY_LENGTH_MAX && utf8_is_valid(key);
}

/* Health and figures are for everybody. False: out says why not. */
static bool is_let_in(struct exchange *exchange, struct workspace *workspace, struct answer *out)
{
    static const enum refusal refusals[] = {[GUARD_UNAUTHENTICATED] = REFUSAL_UNAUTHENTICATED,
                                            [GUARD_FORBIDDEN] = REFUSAL_SCOPE,
                                            [GUARD_LIMITED] = REFUSAL_RATE,
                                            [GUARD_UNKNOWN] = REFUSAL_CALLERS_UNKNOWN};
    const struct asked *asked = &exchange->asked;
    enum route route = exchange->match.route;

    if (route != ROUTE_NONE && route_is_admin(route)) return true;
    enum scope scope = route != ROUTE_NONE && route_writes(route) ? SCOPE_WRITE : SCOPE_READ;
    enum guard_verdict verdict = guard_admit(exchange->gateway->guard, asked->authorization,
                                             asked->address, scope, &exchange->pass);
    if (verdict == GUARD_PASS) return true;
    answer_refusal(&workspace->arena, refusals[verdict], NULL, out);
    out->challenge = exchange->pass.challenge;
    if (verdict == GUARD_LIMITED) out->retry_after_s = exchange->pass.retry_after_s;
    return false;
}

static void say_limit(const struct exchange *exchange, struct answer *out)
{
    if (exchange->pass.rate_policy[0] == '\0') return;
    out->rate_policy = exchange->pass.rate_policy;
    out->rate_state = exchange->pass.rate_state;
}

static bool refuses_body(struct exchange *exchange, struct workspace *workspace, struct answer *out)
{
    const struct asked *asked = &exchange->asked;
    bool ambiguous = asked->is_ambiguous || (asked->has_length && asked->is_chunked);

    if (ambiguous)
        answer_refusal(&workspace->arena, REFUSAL_AMBIGUOUS,
                       "a header that must be given once is there twice", out);
    else if (length_is_absurd(exchange))
        answer_refusal(&workspace->arena, REFUSAL_BODY_SIZE, NULL, out);
    else
        return !is_let_in(exchange, workspace, out);
    return true;
}

bool exchange_refuses_body(struct exchange *exchange, struct workspace *workspace,
                           struct answer *out)
{
    bool refused = refuses_body(exchange, workspace, out);

    if (refused) say_limit(exchange, out);
    return refused;
}

/* What the headers alone are refused for; said once the body is through, so that the connection can
 * be kept. */
static bool headers_refused(struct exchange *exchange, struct workspace *workspace,
                            struct answer *out)
{
    struct arena *arena = &workspace->arena;
    const struct asked *asked = &exchange->asked;
    enum route route = exchange->match.route;

    if (route == ROUTE_NONE) {
        const char *allow = exchange->match.allow;
        answer_refusal(arena, allow == NULL ? REFUSAL_NO_SUCH_PATH : REFUSAL_METHOD, NULL, out);
        out->allow = allow;
        return true;
    }
    if (!route_writes(route)) return false;
    if (!is_json(asked->content_type))
        answer_refusal(arena, REFUSAL_MEDIA_TYPE, NULL, out);
    else if (!asked->has_key)
        answer_fault(arena, RESULT_KEY_MISSING, "Idempotency-Key: missing", out);
    else if (!key_is_right(asked->key))
        answer_fault(arena, RESULT_MALFORMED,
                     "Idempotency-Key: must be 1 to 128 bytes of UTF-8 text", out);
    else if (exchange->dropped)
        answer_refusal(arena, exchange->body_too_large ? REFUSAL_BODY_SIZE : REFUSAL_OVERLOADED,
                       NULL, out);
    else
        return false;
    return true;
}

/* All bodies together have their limit too: many clients that each send a large one slowly. */
static bool body_grow(struct exchange *exchange, size_t size)
{
    struct bodies *bodies = exchange->gateway->bodies;
    size_t capacity = 2 * exchange->body_capacity + size;

    if (capacity > exchange->gateway->body_max) capacity = exchange->gateway->body_max;
    size_t more = capacity - exchange->body_capacity;
    if (atomic_fetch_add(&bodies->used, more) + more <= bodies->most) {
        uint8_t *larger = realloc(exchange->body, capacity);
        if (larger != NULL) {
            exchange->body = larger;
            exchange->body_capacity = capacity;
            return true;
        }
    }
    atomic_fetch_sub(&bodies->used, more);
    return false;
}

void exchange_body(struct exchange *exchange, const void *data, size_t size)
{
    if (exchange->dropped || !route_writes(exchange->match.route)) return;
    exchange->body_too_large = size > exchange->gateway->body_max - exchange->body_size;
    exchange->dropped =
        exchange->body_too_large ||
        (exchange->body_size + size > exchange->body_capacity && !body_grow(exchange, size));
    if (exchange->dropped) {
        body_drop(exchange);
        return;
    }
    memcpy(exchange->body + exchange->body_size, data, size);
    exchange->body_size += size;
}

/* --- calls -------------------------------------------------------------------------------- */

/* From a connection's thread: the last to end wakes the request up. */
static void one_ended(struct exchange *exchange)
{
    if (atomic_fetch_sub(&exchange->pending, 1) == 1)
        exchange->gateway->resume(exchange->connection);
}

static void call_ended(struct call *call)
{
    one_ended(call->owner);
}

static bool calls_make(struct exchange *exchange, uint32_t count)
{
    calls_drop(exchange);
    exchange->calls = calloc(count, sizeof *exchange->calls);
    exchange->messages = (void **)calloc(count, sizeof *exchange->messages);
    if (exchange->calls == NULL || exchange->messages == NULL) {
        calls_drop(exchange);
        return false;
    }
    exchange->calls_count = count;
    return true;
}

/* A message out of the workspace into memory that lasts as long as the call. */
static bool message_keep(struct exchange *exchange, uint32_t at, const struct message *message)
{
    size_t size =
        (size_t)message->routing_key.length + message->properties.size + message->body.size;
    uint8_t *memory = malloc(size + 1);
    struct writer writer = writer_over(memory, size);
    struct message *kept = &exchange->calls[at].message;

    if (memory == NULL) return false;
    exchange->messages[at] = memory;
    *kept = *message;
    write_bytes(&writer, message->routing_key.bytes, message->routing_key.length);
    write_bytes(&writer, message->properties.data, message->properties.size);
    write_bytes(&writer, message->body.data, message->body.size);
    kept->routing_key.bytes = (const char *)memory;
    kept->properties.data = memory + message->routing_key.length;
    kept->body.data = kept->properties.data + message->properties.size;
    return true;
}

/* Whose keys they are: no two callers' keys ever meet. */
static struct text app_id_of(const struct exchange *exchange)
{
    struct text caller = text_of(exchange->pass.identity.caller);
    return caller.length > 0 ? caller : exchange->gateway->app_id;
}

static struct text user_id_of(const struct exchange *exchange)
{
    bool named = exchange->gateway->names_callers;
    return named ? text_of(exchange->pass.identity.caller) : (struct text){0};
}

/* Makes call `at` of what is asked; false when it is refused, and out says so. */
static bool call_make(struct exchange *exchange, struct workspace *workspace, uint32_t at,
                      struct text type, struct bytes map, struct answer *out)
{
    struct call *call = &exchange->calls[at];
    char correlation[CORRELATION_SIZE], problem[PROBLEM_SIZE];
    struct message message;
    struct ask ask = {.codec = workspace->codec,
                      .arena = &workspace->arena,
                      .exchange = exchange->gateway->exchange,
                      .app_id = app_id_of(exchange),
                      .user_id = user_id_of(exchange),
                      .key = route_writes(exchange->match.route) ? exchange->asked.key
                                                                 : (struct text){0},
                      .trace = &exchange->trace,
                      .reply_to = TEXT_LITERAL(RPC_REPLY_TO)};

    call->number = calls_number(exchange->gateway->calls);
    call->owner = exchange;
    call->ended = call_ended;
    calls_correlation(call->number, correlation);
    ask.correlation_id = text_of(correlation);
    enum result result = ask_message(&ask, type, map, &message, problem);
    if (result != RESULT_APPLIED) {
        answer_fault(&workspace->arena, result, problem, out);
        return false;
    }
    if (message_keep(exchange, at, &message)) return true;
    answer_refusal(&workspace->arena, REFUSAL_FAILED, NULL, out);
    return false;
}

void exchange_send(struct exchange *exchange)
{
    uint32_t count = exchange->calls_count;

    if (exchange->step == STEP_SHARED) {
        one_ended(exchange);
        return;
    }
    atomic_store(&exchange->pending, count + 1);
    for (uint32_t i = 0; i < count; i++)
        if (!calls_send(exchange->gateway->calls, &exchange->calls[i]))
            atomic_fetch_sub(&exchange->pending, 1); /* ours is left, so it is not the last */
    one_ended(exchange);
}

/* False when a call was not answered: out says so. */
static bool all_answered(struct exchange *exchange, struct workspace *workspace, struct answer *out)
{
    for (uint32_t i = 0; i < exchange->calls_count; i++) {
        enum call_end end = exchange->calls[i].end;
        if (end == CALL_ANSWERED) continue;
        enum refusal refusal = REFUSAL_NO_REPLY;
        if (end == CALL_LOST) refusal = REFUSAL_UNREACHABLE;
        if (end == CALL_UNSENT)
            refusal = calls_connected(exchange->gateway->calls) ? REFUSAL_OVERLOADED
                                                                : REFUSAL_UNREACHABLE;
        answer_refusal(&workspace->arena, refusal, NULL, out);
        return false;
    }
    return true;
}

static struct bytes reply_of(const struct exchange *exchange, uint32_t at)
{
    return (struct bytes){exchange->calls[at].reply, exchange->calls[at].reply_size};
}

/* --- what is asked ------------------------------------------------------------------------ */

static bool refused(struct workspace *workspace, const char *problem, struct answer *out)
{
    answer_fault(&workspace->arena, RESULT_MALFORMED, problem, out);
    return false;
}

static bool command_body(struct exchange *exchange, struct workspace *workspace, struct text *type,
                         struct bytes *map, struct answer *out)
{
    char problem[PROBLEM_SIZE];
    bool is_open = exchange->match.route == ROUTE_OPEN_ACCOUNT;
    struct ask ask = {.codec = workspace->codec, .arena = &workspace->arena};
    struct bytes json = {exchange->body, (uint32_t)exchange->body_size};

    if (is_open) *type = text_of(command_word(COMMAND_OPEN_ACCOUNT));
    if (!ask_body(&ask, json, is_open ? NULL : type, map, problem))
        return refused(workspace, problem, out);
    /* Each resource has one way in. */
    if (!is_open && text_equal(*type, text_of(command_word(COMMAND_OPEN_ACCOUNT))))
        return refused(workspace, "type: an account is opened by POST /accounts", out);
    enum command_type known;
    if (command_type_parse(*type, &known) && !command_changes(known))
        return refused(workspace, "type: a query is no transaction", out);
    return true;
}

/* The id of the path under the key that the query has for it, and what the query string says. */
static bool query_body(struct exchange *exchange, struct workspace *workspace, const char *id_key,
                       struct text id, bool with_pairs, struct bytes *map, struct answer *out)
{
    struct ask_pair pairs[PAIRS_MAX + 1] = {{text_of(id_key), id}};
    const struct asked *asked = &exchange->asked;
    char problem[PROBLEM_SIZE];
    struct ask ask = {.codec = workspace->codec, .arena = &workspace->arena};

    for (uint32_t i = 0; with_pairs && i < asked->pairs_count; i++) pairs[i + 1] = asked->pairs[i];
    uint32_t count = 1 + (with_pairs ? asked->pairs_count : 0);
    return ask_pairs(&ask, pairs, count, map, problem) || refused(workspace, problem, out);
}

static const char *id_key_of(enum command_type query)
{
    return query == COMMAND_GET_USER          ? "user_id"
           : query == COMMAND_GET_TRANSACTION ? "transaction"
                                              : "account";
}

/* The first call of each route. */
static bool ask_first(struct exchange *exchange, struct workspace *workspace, struct answer *out)
{
    enum route route = exchange->match.route;
    struct text type = text_of(command_word(route_query(route)));
    struct bytes map;

    if (exchange->asked.has_more_pairs)
        return refused(workspace, "query: has more parameters than any resource takes", out);
    if (route_writes(route)) {
        if (!command_body(exchange, workspace, &type, &map, out)) return false;
    } else if (!query_body(exchange, workspace, id_key_of(route_query(route)), exchange->match.id,
                           route != ROUTE_USER_BALANCE, &map, out)) {
        return false;
    }
    if (!calls_make(exchange, 1)) {
        answer_refusal(&workspace->arena, REFUSAL_FAILED, NULL, out);
        return false;
    }
    return call_make(exchange, workspace, 0, type, map, out);
}

/* A user's balances: one call for each of his accounts. They are read one by one, each the
 * account's own at that moment. */
static bool ask_balances(struct exchange *exchange, struct workspace *workspace, bool *asked,
                         struct answer *out)
{
    const struct text *accounts;
    uint32_t count;
    struct bytes reply = reply_of(exchange, 0), map;

    *asked = false;
    if (!answer_accounts(workspace->codec, &workspace->arena, reply, &accounts, &count)) {
        answer_reply(workspace->codec, &workspace->arena, ROUTE_USER, reply, out);
        return false;
    }
    if (count == 0) return true;
    struct text *kept = arena_take(&workspace->arena, count * sizeof *kept);
    for (uint32_t i = 0; kept != NULL && i < count; i++) /* the reply goes with its call */
        kept[i] = arena_text(&workspace->arena, accounts[i]);
    if (kept == NULL || !calls_make(exchange, count)) {
        answer_refusal(&workspace->arena, REFUSAL_FAILED, NULL, out);
        return false;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!query_body(exchange, workspace, "account", kept[i], true, &map, out) ||
            !call_make(exchange, workspace, i, text_of(command_word(COMMAND_GET_BALANCE)), map,
                       out))
            return false;
    *asked = true;
    return true;
}

static void answer_user_balance(struct exchange *exchange, struct workspace *workspace,
                                struct answer *out)
{
    uint32_t count = exchange->calls_count;
    struct bytes *replies = arena_take(&workspace->arena, (count + 1U) * sizeof *replies);

    if (replies == NULL) {
        answer_refusal(&workspace->arena, REFUSAL_FAILED, NULL, out);
        return;
    }
    for (uint32_t i = 0; i < count; i++) replies[i] = reply_of(exchange, i);
    answer_balances(workspace->codec, &workspace->arena, exchange->match.id, replies, count,
                    exchange->asked.pairs_count > 0, out);
}

/* --- the cache ---------------------------------------------------------------------------- */

static void shared_ended(void *exchange)
{
    one_ended(exchange);
}

/* A user or a transaction, asked for by an id that is one and nothing else. */
static bool may_be_cached(struct exchange *exchange, enum cache_kind *kind, struct text *id)
{
    struct uuid transaction;
    enum route route = exchange->match.route;

    *id = exchange->match.id;
    *kind = route == ROUTE_USER ? CACHE_USER : CACHE_TRANSACTION;
    if (exchange->asked.pairs_count > 0) return false;
    if (route == ROUTE_USER) return id_is_valid(*id);
    if (route != ROUTE_TRANSACTION || !uuid_parse(*id, &transaction)) return false;
    uuid_format(&transaction, exchange->cached_id);
    *id = text_of(exchange->cached_id);
    return true;
}

static enum cached_start look(struct exchange *exchange)
{
    struct gateway const *gateway = exchange->gateway;
    enum cache_kind kind;
    struct text id;

    if (!may_be_cached(exchange, &kind, &id)) return CACHED_ASK;
    /* One for whoever wakes us, one for exchange_send. */
    atomic_store(&exchange->pending, 2);
    return cached_begin(&exchange->cached, gateway->cache, kind, id, app_id_of(exchange),
                        shared_ended, exchange);
}

static void answer_cached(struct exchange *exchange, struct answer *out)
{
    struct bytes body = {exchange->cached.value, exchange->cached.size};

    answer_body(body, exchange->asked.if_none_match, out);
}

/* A read's answer, for those who wait and those who come; what was refused is nobody else's. */
static void answer_first(struct exchange *exchange, struct workspace *workspace, struct answer *out)
{
    enum route route = exchange->match.route;

    answer_reply(workspace->codec, &workspace->arena, route, reply_of(exchange, 0), out);
    bool is_kept = !out->is_problem && (route == ROUTE_USER || route == ROUTE_TRANSACTION);
    cached_tell(&exchange->cached, is_kept ? out->body : (struct bytes){0});
    if (is_kept) answer_body(out->body, exchange->asked.if_none_match, out);
}

/* --- the order of things ------------------------------------------------------------------ */

static enum turn ask(struct exchange *exchange, struct workspace *workspace, struct answer *out)
{
    if (!ask_first(exchange, workspace, out)) return TURN_ANSWER;
    exchange->step = exchange->match.route == ROUTE_USER_BALANCE ? STEP_ACCOUNTS : STEP_ANSWER;
    return TURN_WAIT;
}

static enum turn turn_ask(struct exchange *exchange, struct workspace *workspace,
                          struct answer *out)
{
    if (headers_refused(exchange, workspace, out)) return TURN_ANSWER;
    if (route_is_admin(exchange->match.route)) return TURN_ADMIN;
    switch (look(exchange)) {
    case CACHED_FOUND:
        answer_cached(exchange, out);
        return TURN_ANSWER;
    case CACHED_WAIT:
        exchange->step = STEP_SHARED;
        return TURN_WAIT;
    case CACHED_ASK:
        break;
    }
    return ask(exchange, workspace, out);
}

static enum turn take_turn(struct exchange *exchange, struct workspace *workspace,
                           struct answer *out)
{
    bool asked = false;

    if (exchange->step == STEP_ASK) return turn_ask(exchange, workspace, out);
    if (exchange->step == STEP_SHARED) {
        if (exchange->cached.value == NULL) return ask(exchange, workspace, out);
        answer_cached(exchange, out);
        return TURN_ANSWER;
    }
    if (!all_answered(exchange, workspace, out)) return TURN_ANSWER;
    switch (exchange->step) {
    case STEP_ACCOUNTS:
        if (!ask_balances(exchange, workspace, &asked, out)) return TURN_ANSWER;
        exchange->step = STEP_BALANCES;
        if (asked) return TURN_WAIT;
        calls_drop(exchange);
        answer_user_balance(exchange, workspace, out);
        return TURN_ANSWER;
    case STEP_BALANCES:
        answer_user_balance(exchange, workspace, out);
        return TURN_ANSWER;
    case STEP_ASK:
    case STEP_SHARED:
    case STEP_ANSWER:
        break;
    }
    answer_first(exchange, workspace, out);
    return TURN_ANSWER;
}

enum turn exchange_turn(struct exchange *exchange, struct workspace *workspace, struct answer *out)
{
    enum turn turn = take_turn(exchange, workspace, out);

    if (turn != TURN_ANSWER) return turn;
    cached_tell(&exchange->cached, (struct bytes){0}); /* those who wait need not for our client */
    say_limit(exchange, out);
    return turn;
}
