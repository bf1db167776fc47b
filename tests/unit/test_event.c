/*
 * test_event.c - events on the wire: golden bytes in both encodings, round trips of random events,
 * every truncation and every wrong type refused, unknown keys ignored.
 */
#include "protocol/event.h"
#include "tests/wire.h"

enum { SEEDS = 500 };

static struct arena arena;
static struct codec *codec;

/* clang-format off */
#define TRANSACTION "\xab" "transaction" "\xd9\x24" "019aaf11-2233-7444-8555-66778899aabb"
#define END "\xa9" "timestamp" "\xbb" "2026-11-23T12:00:00.000000Z" \
            "\xa8" "trace_id" "\xd9\x20" "4bf92f3577b34da6a3ce929d0e0e4736" \
            "\xa6" "app_id" "\xa4" "shop" "\xaf" "idempotency_key" "\xa2" "k1"
#define JSON_TRANSACTION "\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\","
#define JSON_END "\"timestamp\":\"2026-11-23T12:00:00.000000Z\"," \
                 "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\"," \
                 "\"app_id\":\"shop\",\"idempotency_key\":\"k1\""
#define OUTCOME .transaction = WIRE_TRANSACTION, .timestamp_us = WIRE_NOON_US, \
                .trace_id = WIRE_TRACE_ID, .caller = {"shop", 4}, .key = {"k1", 2}

static const struct golden {
    const char *why;
    struct event event;
    struct text msgpack, json;
} goldens[] = {
    {"the debited side of a transfer",
     {.type = EVENT_TRANSACTION_CREATED, .command = COMMAND_TRANSFER, .result = RESULT_APPLIED,
      .user_id = {"alice", 5}, .account = {"a", 1}, .asset = {"EUR", 3}, .counterparty = {"b", 1},
      .amount = 250, .has_balance = true, .new_balance = 700, .held = 50, .seq = 9,
      .metadata = WIRE_BYTES("\x81\xa1" "n" "\x01"), OUTCOME},
     WIRE_TEXT("\xde\x00\x12" "\xaa" "event_type" "\xb3" "transaction.created" TRANSACTION
         "\xa4" "type" "\xa8" "transfer" "\xa7" "user_id" "\xa5" "alice" "\xa7" "account" "\xa1" "a"
         "\xa5" "asset" "\xa3" "EUR" "\xac" "counterparty" "\xa1" "b" "\xa9" "direction" "\xa5" "debit"
         "\xa6" "amount" "\xcc\xfa" "\xab" "new_balance" "\xcd\x02\xbc" "\xa4" "held" "\x32"
         "\xa9" "available" "\xcd\x02\x8a" "\xa3" "seq" "\x09" END
         "\xa8" "metadata" "\x81\xa1" "n" "\x01"),
     WIRE_TEXT("{\"event_type\":\"transaction.created\"," JSON_TRANSACTION "\"type\":\"transfer\","
         "\"user_id\":\"alice\",\"account\":\"a\",\"asset\":\"EUR\",\"counterparty\":\"b\","
         "\"direction\":\"debit\",\"amount\":250,\"new_balance\":700,\"held\":50,\"available\":650,"
         "\"seq\":9," JSON_END ",\"metadata\":{\"n\":1}}")},
    {"a system account credited",
     {.type = EVENT_TRANSACTION_CREATED, .command = COMMAND_TRANSFER, .result = RESULT_APPLIED,
      .user_id = {"bank", 4}, .account = {"fees", 4}, .asset = {"EUR", 3}, .counterparty = {"a", 1},
      .is_credit = true, .amount = 250, OUTCOME},
     WIRE_TEXT("\xde\x00\x0d" "\xaa" "event_type" "\xb3" "transaction.created" TRANSACTION
         "\xa4" "type" "\xa8" "transfer" "\xa7" "user_id" "\xa4" "bank" "\xa7" "account" "\xa4" "fees"
         "\xa5" "asset" "\xa3" "EUR" "\xac" "counterparty" "\xa1" "a" "\xa9" "direction" "\xa6" "credit"
         "\xa6" "amount" "\xcc\xfa" END),
     WIRE_TEXT("{\"event_type\":\"transaction.created\"," JSON_TRANSACTION "\"type\":\"transfer\","
         "\"user_id\":\"bank\",\"account\":\"fees\",\"asset\":\"EUR\",\"counterparty\":\"a\","
         "\"direction\":\"credit\",\"amount\":250," JSON_END "}")},
    {"an account opened",
     {.type = EVENT_ACCOUNT_OPENED, .command = COMMAND_OPEN_ACCOUNT, .result = RESULT_APPLIED,
      .user_id = {"alice", 5}, .account = {"a", 1}, .asset = {"EUR", 3}, .has_balance = true, OUTCOME},
     WIRE_TEXT("\xde\x00\x0e" "\xaa" "event_type" "\xae" "account.opened" TRANSACTION
         "\xa4" "type" "\xac" "open_account" "\xa7" "user_id" "\xa5" "alice" "\xa7" "account" "\xa1" "a"
         "\xa5" "asset" "\xa3" "EUR" "\xab" "new_balance" "\x00" "\xa4" "held" "\x00"
         "\xa9" "available" "\x00" "\xa3" "seq" "\x00" END),
     WIRE_TEXT("{\"event_type\":\"account.opened\"," JSON_TRANSACTION "\"type\":\"open_account\","
         "\"user_id\":\"alice\",\"account\":\"a\",\"asset\":\"EUR\",\"new_balance\":0,\"held\":0,"
         "\"available\":0,\"seq\":0," JSON_END "}")},
    {"a floor changed",
     {.type = EVENT_FLOOR_CHANGED, .command = COMMAND_SET_FLOOR, .result = RESULT_APPLIED,
      .user_id = {"alice", 5}, .account = {"a", 1}, .asset = {"EUR", 3}, .has_floor = true, .floor = -500,
      .has_balance = true, .new_balance = -20, .held = 30, .seq = 10, OUTCOME},
     WIRE_TEXT("\xde\x00\x0f" "\xaa" "event_type" "\xb5" "account.floor_changed" TRANSACTION
         "\xa4" "type" "\xa9" "set_floor" "\xa7" "user_id" "\xa5" "alice" "\xa7" "account" "\xa1" "a"
         "\xa5" "asset" "\xa3" "EUR" "\xa5" "floor" "\xd1\xfe\x0c" "\xab" "new_balance" "\xec" "\xa4" "held" "\x1e"
         "\xa9" "available" "\xd0\xce" "\xa3" "seq" "\x0a" END),
     WIRE_TEXT("{\"event_type\":\"account.floor_changed\"," JSON_TRANSACTION "\"type\":\"set_floor\","
         "\"user_id\":\"alice\",\"account\":\"a\",\"asset\":\"EUR\",\"floor\":-500,\"new_balance\":-20,"
         "\"held\":30,\"available\":-50,\"seq\":10," JSON_END "}")},
    {"a user changed",
     {.type = EVENT_USER_UPDATED, .command = COMMAND_UPDATE_USER, .result = RESULT_APPLIED,
      .user_id = {"alice", 5}, .name = {"A.", 2}, OUTCOME},
     WIRE_TEXT("\xde\x00\x09" "\xaa" "event_type" "\xac" "user.updated" TRANSACTION
         "\xa4" "type" "\xab" "update_user" "\xa7" "user_id" "\xa5" "alice" "\xa4" "name" "\xa2" "A." END),
     WIRE_TEXT("{\"event_type\":\"user.updated\"," JSON_TRANSACTION "\"type\":\"update_user\","
         "\"user_id\":\"alice\",\"name\":\"A.\"," JSON_END "}")},
    {"a refusal",
     {.type = EVENT_COMMAND_REJECTED, .command = COMMAND_WITHDRAW, .result = RESULT_INSUFFICIENT_FUNDS,
      .account = {"a", 1}, .amount = 1, OUTCOME},
     WIRE_TEXT("\xde\x00\x0c" "\xaa" "event_type" "\xb0" "command.rejected" TRANSACTION
         "\xa4" "type" "\xa8" "withdraw" "\xa7" "account" "\xa1" "a" "\xa6" "amount" "\x01"
         "\xa5" "error" "\xb2" "insufficient_funds" "\xa4" "code" "\xcd\x01\x90"
         "\xa7" "message" "\xd9\x2d" "the available balance is less than the amount" END),
     WIRE_TEXT("{\"event_type\":\"command.rejected\"," JSON_TRANSACTION "\"type\":\"withdraw\","
         "\"account\":\"a\",\"amount\":1,\"error\":\"insufficient_funds\",\"code\":400,"
         "\"message\":\"the available balance is less than the amount\"," JSON_END "}")},
};

#define HEAD(event_type, type) "{\"event_type\":" event_type ",\"type\":" type "," \
    "\"transaction\":\"019aaf11-2233-7444-8555-66778899aabb\",\"timestamp\":\"2026-11-23T12:00:00Z\"," \
    "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\""
#define CREATED HEAD("\"transaction.created\"", "\"deposit\"") ",\"direction\":\"credit\""
#define OPENED HEAD("\"account.opened\"", "\"open_account\"")
#define FLOOR HEAD("\"account.floor_changed\"", "\"set_floor\"")
#define REJECTED HEAD("\"command.rejected\"", "\"deposit\"")

static const struct { const char *json, *begins; } refusals[] = {
    {"null", "body: "},
    {"{}", "event_type: is missing"},
    {"{\"event_type\":[]}", "event_type: must be text"},
    {"{\"event_type\":\"account.opened\"}", "transaction: is missing"},
    {"{\"event_type\":\"account.opened\",\"transaction\":\"x\"}", "transaction: must be a UUID"},
    {HEAD("\"money.found\"", "\"deposit\"") "}", "event_type: 'money.found'"},
    {HEAD("\"account.opened\"", "\"find\"") "}", "type: 'find'"},
    {HEAD("\"account.opened\"", "7") "}", "type: must be text"},
    {HEAD("\"transaction.created\"", "\"deposit\"") "}", "direction: must be credit or debit"},
    {HEAD("\"transaction.created\"", "\"deposit\"") ",\"direction\":\"up\"}", "direction: must be"},
    {HEAD("\"transaction.created\"", "\"deposit\"") ",\"direction\":1}", "direction: must be text"},
    {OPENED ",\"direction\":\"credit\"}", "direction: must be credit or debit, in"},
    {OPENED ",\"error\":\"expired\"}", "error: must be in command.rejected alone"},
    {FLOOR "}", "floor: must be in account.floor_changed"},
    {FLOOR ",\"floor\":\"0\"}", "floor: must be an integer"},
    {REJECTED "}", "error: must be in command.rejected alone"},
    {REJECTED ",\"error\":\"tired\"}", "error: 'tired'"},
    {REJECTED ",\"error\":false}", "error: must be text"},
    {REJECTED ",\"error\":\"expired\",\"code\":\"408\"}", "code: must be an integer"},
    {REJECTED ",\"error\":\"expired\",\"message\":408}", "message: must be text"},
    {CREATED ",\"amount\":\"1\"}", "amount: must be an integer"},
    {CREATED ",\"amount\":1e3}", "amount: must be an integer"},
    {CREATED ",\"user_id\":1}", "user_id: must be text"},
    {CREATED ",\"account\":1}", "account: must be text"},
    {CREATED ",\"asset\":1}", "asset: must be text"},
    {CREATED ",\"counterparty\":1}", "counterparty: must be text"},
    {CREATED ",\"app_id\":1}", "app_id: must be text"},
    {CREATED ",\"idempotency_key\":1}", "idempotency_key: must be text"},
    {CREATED ",\"metadata\":1}", "metadata: must be a map"},
    {CREATED ",\"new_balance\":null,\"held\":0,\"available\":1,\"seq\":1}", "new_balance: must be an"},
    {CREATED ",\"new_balance\":1,\"held\":\"0\",\"available\":1,\"seq\":1}", "held: must be an"},
    {CREATED ",\"new_balance\":1,\"held\":0,\"available\":1,\"seq\":1.0}", "seq: must be an"},
    {CREATED ",\"new_balance\":1,\"held\":0,\"available\":0,\"seq\":1}", "available: must be new_balance"},
    {CREATED ",\"held\":0,\"available\":0,\"seq\":1}", "new_balance: must come with"},
    {CREATED ",\"new_balance\":0,\"available\":0,\"seq\":1}", "new_balance: must come with"},
    {CREATED ",\"new_balance\":0,\"held\":0,\"seq\":1}", "new_balance: must come with"},
    {CREATED ",\"new_balance\":0,\"held\":0,\"available\":0}", "new_balance: must come with"},
};
static const char *const acceptances[] = {
    CREATED "}",
    CREATED ",\"new_balance\":1,\"held\":0,\"available\":1,\"seq\":1,\"mood\":{\"seq\":[null]}}",
    OPENED "}",
    FLOOR ",\"floor\":0}",
    REJECTED ",\"error\":\"expired\"}",
};
/* clang-format on */
enum { GOLDENS = sizeof goldens / sizeof *goldens };

static struct bytes golden_body(uint32_t i, enum encoding encoding)
{
    return wire_bytes(encoding == ENCODING_JSON ? goldens[i].json : goldens[i].msgpack);
}

static bool event_equal(const struct event *a, const struct event *b)
{
    if (a->has_balance != b->has_balance) return false;
    if (a->has_balance &&
        (a->new_balance != b->new_balance || a->held != b->held || a->seq != b->seq))
        return false;
    return a->type == b->type && a->command == b->command && a->result == b->result &&
           wire_uuid_equal(a->transaction, b->transaction) && text_equal(a->user_id, b->user_id) &&
           text_equal(a->name, b->name) && text_equal(a->account, b->account) &&
           text_equal(a->asset, b->asset) && text_equal(a->counterparty, b->counterparty) &&
           a->is_credit == b->is_credit && a->has_floor == b->has_floor && a->floor == b->floor &&
           a->amount == b->amount && text_equal(a->caller, b->caller) &&
           text_equal(a->key, b->key) && a->timestamp_us == b->timestamp_us &&
           wire_uuid_equal(a->trace_id, b->trace_id) && wire_bytes_equal(a->metadata, b->metadata);
}

static void test_golden(void **state)
{
    struct bytes body;
    struct event event;
    char problem[PROBLEM_SIZE];

    (void)state;
    for (uint32_t i = 0; i < GOLDENS; i++) {
        for (int encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
            const char *why = goldens[i].why;
            arena_reset(&arena);
            struct bytes want = golden_body(i, (enum encoding)encoding);
            assert_true(
                event_encode(codec, &goldens[i].event, (enum encoding)encoding, &arena, &body));
            if (!wire_bytes_equal(body, want))
                fail_msg("%s: %.*s", why, (int)body.size, (const char *)body.data);
            if (!event_decode(codec, body, (enum encoding)encoding, &arena, &event, problem))
                fail_msg("%s: %s", why, problem);
            if (!event_equal(&event, &goldens[i].event)) fail_msg("%s: read back otherwise", why);
        }
    }
}

static void test_truncations(void **state)
{
    struct event event;
    char problem[PROBLEM_SIZE];

    (void)state;
    for (uint32_t i = 0; i < GOLDENS; i++) {
        for (int encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
            struct bytes body = golden_body(i, (enum encoding)encoding);
            for (uint32_t size = 0; size < body.size; size++) {
                uint8_t *block;
                struct bytes part = wire_cut(body, size, &block);
                arena_reset(&arena);
                problem[0] = '\0';
                if (event_decode(codec, part, (enum encoding)encoding, &arena, &event, problem))
                    fail_msg("%s: %u of %u bytes were taken", goldens[i].why, size, body.size);
                assert_true(strlen(problem) > 0);
                free(block);
            }
        }
    }
}

static void test_types(void **state)
{
    struct event event;
    char problem[PROBLEM_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        arena_reset(&arena);
        struct bytes body = wire_bytes(text_of(refusals[i].json));
        if (event_decode(codec, body, ENCODING_JSON, &arena, &event, problem))
            fail_msg("%s was taken", refusals[i].json);
        if (strncmp(problem, refusals[i].begins, strlen(refusals[i].begins)) != 0)
            fail_msg("%s: %s", refusals[i].json, problem);
    }
    for (size_t i = 0; i < sizeof acceptances / sizeof *acceptances; i++) {
        arena_reset(&arena);
        struct bytes body = wire_bytes(text_of(acceptances[i]));
        if (!event_decode(codec, body, ENCODING_JSON, &arena, &event, problem))
            fail_msg("%s: %s", acceptances[i], problem);
    }
}

static struct event random_event(void)
{
    struct event event = {.type = (enum event_type)(rand() % EVENTS_COUNT),
                          .transaction = wire_random_uuid(),
                          .command = (enum command_type)(rand() % COMMANDS_COUNT),
                          .user_id = wire_random_optional(&arena, ID_LENGTH_MAX),
                          .name = wire_random_optional(&arena, NAME_LENGTH_MAX),
                          .account = wire_random_optional(&arena, ID_LENGTH_MAX),
                          .asset = wire_random_optional(&arena, ASSET_LENGTH_MAX),
                          .counterparty = wire_random_optional(&arena, ID_LENGTH_MAX),
                          .amount = wire_random_int(),
                          .has_balance = rand() % 2 == 0,
                          .result = RESULT_APPLIED,
                          .caller = wire_random_optional(&arena, 255),
                          .key = wire_random_optional(&arena, 128),
                          .timestamp_us = wire_random_time(),
                          .trace_id = wire_random_uuid(),
                          .metadata = wire_random_metadata(&arena)};
    int64_t available;

    if (event.type == EVENT_TRANSACTION_CREATED) event.is_credit = rand() % 2 == 0;
    event.has_floor = event.type == EVENT_FLOOR_CHANGED || rand() % 4 == 0;
    if (event.has_floor) event.floor = wire_random_int();
    if (event.type == EVENT_COMMAND_REJECTED) event.result = (enum result)(rand() % RESULT_APPLIED);
    if (!event.has_balance) return event;
    do {
        event.new_balance = wire_random_int();
        event.held = wire_random_int();
    } while (__builtin_sub_overflow(event.new_balance, event.held, &available));
    event.seq = wire_random_int();
    return event;
}

static void test_round_trips(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct bytes body;
        struct event decoded;
        char problem[PROBLEM_SIZE];

        srand(seed);
        arena_reset(&arena);
        struct event event = random_event();
        for (int encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
            if (!event_encode(codec, &event, (enum encoding)encoding, &arena, &body))
                fail_msg("seed %u: not encoded", seed);
            if (!event_decode(codec, body, (enum encoding)encoding, &arena, &decoded, problem))
                fail_msg("seed %u: %s", seed, problem);
            if (!event_equal(&decoded, &event)) fail_msg("seed %u: read back otherwise", seed);
        }
    }
}

static int open_all(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, WIRE_ARENA_SIZE, &err) && codec_open(&codec, &err) ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    return 0;
}

int main(void)
{
    _Static_assert(RESULT_APPLIED == RESULTS_COUNT - 1, "all others are refusals");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_round_trips),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
