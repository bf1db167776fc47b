/*
 * test_batch.c - batches from bytes to verdict: how their legs are read and refused, all or none,
 * each for itself, repeats, conflicts and dry runs; and the messages that tell of them.
 */
#include "ledger/ledger.h"
#include "protocol/event_list.h"
#include "tests/wire.h"

enum { NOW = 1000000, ACCOUNTS = 3, LEGS = 3 };

static struct arena arena, scratch;
static struct codec *codec;
static struct work works[BATCH_WORKS_MAX];
static struct request requests[BATCH_WORKS_MAX];
static const struct asset EUR = {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2};

/* --- reading ----------------------------------------------------------------------------- */

static void make(const char *key, const char *json)
{
    static const uint8_t random[TRACE_RANDOM_SIZE] = {1};
    struct properties_out out = {.content_type = TEXT_LITERAL("application/json"),
                                 .type = TEXT_LITERAL("batch"),
                                 .message_id = text_of(key)};
    struct incoming incoming = {.body = wire_bytes(text_of(json))};

    assert_true(properties_write(&out, &arena, &incoming.properties));
    incoming.body_size = incoming.body.size;
    request_decode(codec, &incoming, random, &arena, &requests[0]);
}

/* Whether its legs could be read too. */
static bool read_batch(const char *key, const char *json)
{
    make(key, json);
    return requests[0].fault == RESULT_APPLIED &&
           request_decode_legs(codec, &arena, &requests[0], &requests[1]);
}

#define LEG(key, rest) "{\"type\":\"deposit\",\"idempotency_key\":\"" key "\"" rest "}"
#define FULL(key) LEG(key, ",\"account\":\"a\",\"amount\":1")
#define BATCH(legs) "{\"commands\":[" legs "]}"
#define TWICE "commands: an idempotency key is given twice, or is the batch's own"

/* clang-format off */
static const struct { const char *json, *problem; } refused[] = {
    {"{}", "commands: missing"},
    {"{\"commands\":1}", "commands: must be a list of maps"},
    {BATCH(""), "commands: 0; must be 1 to 1000"},
    {"{\"commands\":[{}],\"if_seq\":1}", "if_seq: unknown key for batch"},
    {"{\"commands\":[{}],\"atomic\":1}", "atomic: must be true or false"},
    {BATCH("{}"), "commands[0]: type: '' is not a command"},
    {BATCH("7"), "commands[0]: type: '' is not a command"},
    {BATCH(FULL("a") ",{\"type\":1}"), "commands[1]: type: '' is not a command"},
    {BATCH("{\"type\":\"nonsense\"}"), "commands[0]: type: 'nonsense' is not a command"},
    {BATCH("{\"type\":\"batch\",\"commands\":[]}"), "commands[0]: type: batch cannot be part of a batch"},
    {BATCH("{\"type\":\"get_balance\",\"account\":\"a\"}"), "commands[0]: type: get_balance cannot be part of a batch"},
    {BATCH("{\"type\":\"deposit\",\"account\":\"a\",\"amount\":1}"), "commands[0]: idempotency_key: missing"},
    {BATCH(LEG("k", ",\"account\":\"a\"")), "commands[0]: amount: missing"},
    {BATCH(LEG("k", ",\"account\":\"a\",\"amount\":1,\"dry_run\":true")), "commands[0]: dry_run: unknown key for deposit"},
    {BATCH(LEG("k", ",\"account\":\"a\",\"amount\":1,\"not_before\":\"2026-11-23T07:00:00Z\"")), "commands[0]: not_before: unknown key for deposit"},
    {BATCH(FULL("k") "," LEG("l", ",\"amuont\":1")), "commands[1]: amuont: unknown key for deposit"},
    {BATCH(LEG("", ",\"account\":\"a\",\"amount\":1")), "commands[0]: idempotency_key: must be a text"},
    {BATCH(LEG("\\u0000", ",\"account\":\"a\",\"amount\":1")), NULL},
    {BATCH(FULL("k") "," FULL("k")), TWICE},
    {BATCH(FULL("l") "," FULL("own")), TWICE},
};
/* clang-format on */

static void wrong_legs_are_refused_precisely(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        arena_reset(&arena);
        if (read_batch("own", refused[i].json)) fail_msg("%s was read", refused[i].json);
        assert_int_equal(requests[0].fault, RESULT_MALFORMED);
        if (refused[i].problem != NULL)
            assert_string_equal(requests[0].problem, refused[i].problem);
    }
}

static void legs_share_what_is_the_batchs(void **state)
{
    (void)state;
    arena_reset(&arena);
    assert_true(read_batch("own", "{\"commands\":[" FULL("k") "," FULL("l") "],\"dry_run\":true}"));
    assert_int_equal(requests[0].command.legs_count, 2);
    for (uint32_t i = 1; i <= 2; i++) {
        assert_int_equal(requests[i].command.type, COMMAND_DEPOSIT);
        assert_true(requests[i].command.dry_run);
        assert_true(wire_uuid_equal(requests[i].trace.trace_id, requests[0].trace.trace_id));
    }
    assert_true(text_equal(requests[2].key, text_of("l")));
    assert_true(read_batch("own", BATCH(FULL("k") "," FULL("l"))));
    struct uuid first = requests[0].fingerprint;
    assert_true(read_batch("own", BATCH(FULL("l") "," FULL("k"))));
    assert_false(
        wire_uuid_equal(first, requests[0].fingerprint)); /* another order is another batch */
    assert_true(read_batch("own", "{\"commands\":[" FULL("k") "," FULL("l") "],\"atomic\":false}"));
    assert_false(wire_uuid_equal(first, requests[0].fingerprint));
}

/* --- deciding ---------------------------------------------------------------------------- */

static struct account before[ACCOUNTS];

/* a has 100, b and c nothing. */
static void fill(struct batch *batch)
{
    static const char *const ids[ACCOUNTS] = {"a", "b", "c"};

    for (uint32_t i = 0; i < batch->accounts_count; i++)
        for (uint32_t k = 0; k < ACCOUNTS; k++) {
            if (!text_equal(batch->accounts[i].id, text_of(ids[k]))) continue;
            batch->accounts[i].number = 1 + k;
            batch->accounts[i].exists = true;
            batch->accounts[i].asset = &EUR;
            batch->accounts[i].balance = k == 0 ? 100 : 0;
            before[k] = batch->accounts[i];
        }
}

static struct batch begin(uint32_t count)
{
    struct batch batch = {.arena = &scratch, .works = works, .works_count = count};

    arena_reset(&scratch);
    return batch;
}

/* The works of the request at `at`, and of its legs. */
static uint32_t add_works(uint32_t at)
{
    uint32_t legs = requests[at].command.legs_count;

    for (uint32_t i = 0; i <= legs; i++) {
        works[at + i] = (struct work){.request = &requests[at + i], .is_leg = i > 0};
        works[at + i].id.bytes[0] = (uint8_t)(1 + at + i);
    }
    works[at].legs_count = legs;
    return at + 1 + legs;
}

static void load(struct batch *batch)
{
    struct err err = {0};

    assert_true(ledger_collect_targets(batch, &err));
    assert_true(ledger_collect(batch, &err));
    fill(batch);
    batch->assets = &EUR;
    batch->assets_count = 1;
    batch->now_us = NOW;
}

static void apply(struct batch *batch)
{
    struct err err = {0};

    load(batch);
    assert_true(ledger_apply(batch, &err));
}

static int64_t balance_of(const struct batch *batch, const char *id)
{
    const struct account *account = ledger_account(batch, text_of(id));

    assert_non_null(account);
    return account->balance;
}

#define MOVE(key, from, to, amount)                                                                \
    "{\"type\":\"transfer\",\"idempotency_key\":\"" key "\",\"from\":\"" from "\",\"to\":\"" to    \
    "\",\"amount\":" amount "}"
#define SPLIT                                                                                      \
    MOVE("k1", "a", "b", "60") "," MOVE("k2", "b", "c", "50") "," MOVE("k3", "a", "c", "40")
#define BROKE                                                                                      \
    MOVE("k1", "a", "b", "60") "," MOVE("k2", "b", "c", "50") "," MOVE("k3", "a", "c", "41")

static struct batch decide_json(const char *json)
{
    arena_reset(&arena);
    assert_true(read_batch("own", json));
    struct batch batch = begin(add_works(0));
    apply(&batch);
    return batch;
}

static void all_legs_are_done_in_their_order(void **state)
{
    struct batch batch = decide_json(BATCH(SPLIT));

    (void)state;
    assert_int_equal(balance_of(&batch, "a"), 0);
    assert_int_equal(balance_of(&batch, "b"), 10);
    assert_int_equal(balance_of(&batch, "c"), 90);
    assert_int_equal(works[0].reply.result, RESULT_APPLIED);
    assert_int_equal(works[0].reply.legs_count, LEGS);
    for (uint32_t i = 1; i <= LEGS; i++) {
        assert_int_equal(works[i].origin, ORIGIN_DECIDED);
        assert_ptr_equal(works[i].parent, &works[0]);
        assert_ptr_equal(works[0].reply.legs[i - 1].reply, &works[i].reply);
    }
}

static void one_refused_undoes_all(void **state)
{
    struct batch batch = decide_json(BATCH(BROKE));

    (void)state;
    for (uint32_t i = 0; i < ACCOUNTS; i++)
        assert_memory_equal(&batch.accounts[i], &before[i], sizeof before[i]);
    assert_int_equal(works[0].reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_true(works[0].reply.has_failed_leg);
    assert_int_equal(works[0].reply.failed_leg, 2);
    assert_int_equal(works[0].failed_leg, 2);
    assert_int_equal(works[0].reply.legs_count, 0);
    for (uint32_t i = 1; i <= LEGS; i++) assert_int_equal(works[i].origin, ORIGIN_SKIPPED);
    assert_true(ledger_hangs_on_keys(&batch)); /* had k1 been used, that were the answer */
}

static void independent_legs_stand_alone(void **state)
{
    struct batch batch = decide_json("{\"atomic\":false,\"commands\":[" BROKE "]}");

    (void)state;
    assert_int_equal(balance_of(&batch, "a"), 40);
    assert_int_equal(balance_of(&batch, "c"), 50);
    assert_int_equal(works[0].reply.result, RESULT_APPLIED);
    assert_int_equal(works[0].reply.legs[2].reply->result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(works[3].origin, ORIGIN_DECIDED);
    assert_false(ledger_hangs_on_keys(&batch)); /* each key has a row now */
}

/* A batch is decided first; then its repeat, or one that meets its keys, in the same transaction.
 */
static struct batch decide_two(const char *key, const char *first, const char *second)
{
    arena_reset(&arena);
    assert_true(read_batch("own", first));
    uint32_t at = add_works(0);
    memmove(&requests[at], &requests[0], at * sizeof *requests);
    memmove(&works[at], &works[0], at * sizeof *works);
    for (uint32_t i = 0; i < at; i++) works[at + i].request = &requests[at + i];
    assert_true(read_batch(key, second));
    struct request again[1 + LEGS];
    uint32_t count = 1 + requests[0].command.legs_count;
    assert_in_range(count, 1, 1 + LEGS);
    memcpy(again, requests, count * sizeof *again);
    memmove(&requests[0], &requests[at], at * sizeof *requests);
    memcpy(&requests[at], again, count * sizeof *again);
    (void)add_works(0);
    struct batch batch = begin(add_works(at));
    apply(&batch);
    return batch;
}

static void a_repeat_tells_the_first_results(void **state)
{
    struct batch batch = decide_two("own", BATCH(SPLIT), BATCH(SPLIT));
    const struct work *again = &works[1 + LEGS];

    (void)state;
    assert_int_equal(balance_of(&batch, "a"), 0);
    assert_int_equal(again->origin, ORIGIN_REPEATED);
    assert_true(again->reply.replayed);
    assert_int_equal(again->reply.legs_count, LEGS);
    for (uint32_t i = 0; i < LEGS; i++) {
        assert_int_equal(again[1 + i].origin, ORIGIN_REPEATED);
        assert_true(wire_uuid_equal(again->reply.legs[i].reply->transaction, works[1 + i].id));
    }
}

static void a_refused_batch_is_refused_again(void **state)
{
    struct batch batch = decide_two("own", BATCH(BROKE), BATCH(BROKE));
    const struct work *again = &works[1 + LEGS];

    (void)state;
    assert_int_equal(balance_of(&batch, "a"), 100);
    assert_int_equal(again->origin, ORIGIN_REPEATED);
    assert_int_equal(again->reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(again->reply.failed_leg, 2);
}

static void keys_that_are_used_are_a_conflict(void **state)
{
    struct batch batch = decide_two("own", BATCH(SPLIT), BATCH(MOVE("x", "a", "b", "1")));

    (void)state;
    assert_int_equal(works[1 + LEGS].origin, ORIGIN_CONFLICT); /* the batch's own */
    assert_int_equal(works[1 + LEGS].reply.result, RESULT_KEY_REUSED);
    batch = decide_two("other", BATCH(MOVE("k1", "a", "b", "1")),
                       BATCH(MOVE("k0", "a", "b", "1") "," MOVE("k1", "a", "b", "1")));
    assert_int_equal(balance_of(&batch, "a"), 99);
    assert_int_equal(works[2].origin, ORIGIN_CONFLICT); /* one of an atomic batch's legs */
    assert_int_equal(works[2].reply.failed_leg, 1);
    batch = decide_two("other", BATCH(MOVE("k1", "a", "b", "1")),
                       "{\"atomic\":false,\"commands\":[" MOVE("k0", "a", "b", "1") "," MOVE(
                           "k1", "a", "b", "1") "," MOVE("k2", "a", "b", "1") "]}");
    assert_int_equal(balance_of(&batch, "a"), 97); /* k1 once */
    assert_int_equal(works[4].origin, ORIGIN_REPEATED);
    assert_true(works[2].reply.legs[1].reply->replayed);
}

static void a_dry_run_changes_nothing(void **state)
{
    static const char *const dry[] = {"{\"dry_run\":true,\"commands\":[" SPLIT "]}",
                                      "{\"dry_run\":true,\"atomic\":false,\"commands\":[" BROKE
                                      "]}"};

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct batch batch = decide_json(dry[i]);
        for (uint32_t k = 0; k < ACCOUNTS; k++)
            assert_memory_equal(&batch.accounts[k], &before[k], sizeof before[k]);
        assert_true(works[0].reply.dry_run);
        assert_int_equal(works[0].reply.legs_count, LEGS);
        assert_int_equal(works[0].reply.legs[1].reply->balances[1].balance, 50);
        for (uint32_t k = 0; k <= LEGS; k++) assert_false(ledger_is_kept(&works[k]));
    }
}

static void a_late_batch_does_nothing(void **state)
{
    arena_reset(&arena);
    (void)state;
    assert_true(read_batch("own", BATCH(SPLIT)));
    requests[0].deadline_us = NOW - 1;
    struct batch batch = begin(add_works(0));
    apply(&batch);
    assert_int_equal(works[0].reply.result, RESULT_EXPIRED);
    assert_false(works[0].reply.has_failed_leg);
    assert_int_equal(balance_of(&batch, "a"), 100);
}

/* What was run is forgotten: it can be run again, and a batch that is a fault leaves its legs out.
 */
static void a_batch_can_be_run_again(void **state)
{
    struct batch batch = decide_json(BATCH(SPLIT));

    (void)state;
    ledger_forget(&batch);
    arena_reset(&scratch);
    apply(&batch);
    assert_int_equal(balance_of(&batch, "c"), 90);
    works[0].origin = ORIGIN_FAULT;
    works[0].isolated = true;
    ledger_forget(&batch);
    arena_reset(&scratch);
    struct err err = {0};
    assert_true(ledger_collect_targets(&batch, &err) && ledger_collect(&batch, &err));
    assert_int_equal(batch.accounts_count, 0);
    assert_true(ledger_apply(&batch, &err));
    assert_int_equal(works[0].reply.result, RESULT_INTERNAL);
    for (uint32_t i = 1; i <= LEGS; i++) assert_int_equal(works[i].origin, ORIGIN_SKIPPED);
}

/* --- telling ----------------------------------------------------------------------------- */

static void results_come_back(void **state)
{
    char problem[PROBLEM_SIZE];
    struct reply decoded;
    struct bytes body;

    (void)state;
    (void)decide_json(BATCH(SPLIT));
    for (int encoding = 0; encoding < 2; encoding++) {
        assert_true(reply_encode(codec, &works[0].reply, (enum encoding)encoding, &scratch, &body));
        if (!reply_decode(codec, body, (enum encoding)encoding, &scratch, &decoded, problem))
            fail_msg("%s", problem);
        assert_int_equal(decoded.legs_count, LEGS);
        assert_true(text_equal(decoded.legs[2].key, text_of("k3")));
        assert_int_equal(decoded.legs[2].reply->result, RESULT_APPLIED);
        assert_int_equal(decoded.legs[2].reply->balances[1].balance, 90);
        assert_true(wire_uuid_equal(decoded.legs[2].reply->transaction, works[3].id));
    }
    (void)decide_json(BATCH(BROKE));
    assert_true(reply_encode(codec, &works[0].reply, ENCODING_JSON, &scratch, &body));
    assert_true(reply_decode(codec, body, ENCODING_JSON, &scratch, &decoded, problem));
    assert_true(decoded.has_failed_leg);
    assert_int_equal(decoded.failed_leg, 2);
}

static struct event event_number(uint32_t i)
{
    return (struct event){.type = EVENT_TRANSACTION_CREATED,
                          .transaction = {{(uint8_t)i, (uint8_t)(i >> 8), 1}},
                          .command = COMMAND_DEPOSIT,
                          .account = WIRE_TEXT("a"),
                          .asset = WIRE_TEXT("EUR"),
                          .is_credit = true,
                          .amount = 1 + i,
                          .result = RESULT_APPLIED,
                          .key = WIRE_TEXT("k"),
                          .timestamp_us = WIRE_NOON_US,
                          .trace_id = WIRE_TRACE_ID};
}

/* However many, each comes back once, in order, and no message is larger than a reader takes. */
static void check_list(uint32_t count, enum encoding encoding)
{
    static struct event events[EVENT_LIST_MAX];
    struct event_list list = {.batch = WIRE_TRANSACTION,
                              .caller = WIRE_TEXT("shop"),
                              .key = WIRE_TEXT("own"),
                              .timestamp_us = WIRE_NOON_US,
                              .trace_id = WIRE_TRACE_ID,
                              .events = events,
                              .count = count};
    uint32_t seen = 0, messages = 0, taken;

    for (uint32_t i = 0; i < count; i++) events[i] = event_number(i);
    do {
        char problem[PROBLEM_SIZE];
        struct event_list decoded;
        struct bytes body;
        assert_true(event_list_encode(&list, encoding, &scratch, &body, &taken));
        assert_in_range(body.size, 1, BODY_SIZE_MAX);
        if (!event_list_decode(codec, body, encoding, &scratch, &decoded, problem))
            fail_msg("%s", problem);
        assert_int_equal(decoded.count, taken);
        assert_true(wire_uuid_equal(decoded.batch, list.batch));
        assert_true(text_equal(decoded.key, list.key));
        for (uint32_t i = 0; i < decoded.count; i++, seen++)
            assert_int_equal(decoded.events[i].amount, 1 + seen);
        list.events += taken;
        list.count -= taken;
        messages++;
    } while (list.count > 0);
    assert_int_equal(seen, count);
    assert_true(messages == 1 || count > 100);
}

static void lists_of_events_come_back(void **state)
{
    static const uint32_t counts[] = {0, 1, 2, 15, 16, 100, EVENT_LIST_MAX};

    (void)state;
    for (uint32_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int encoding = 0; encoding < 2; encoding++) {
            arena_reset(&scratch);
            check_list(counts[i], (enum encoding)encoding);
        }
}

static void one_event_is_a_list_of_one(void **state)
{
    struct event event = event_number(7);
    char problem[PROBLEM_SIZE];
    struct event_list list;
    struct bytes body;

    (void)state;
    assert_true(event_encode(codec, &event, ENCODING_JSON, &scratch, &body));
    assert_true(event_list_decode(codec, body, ENCODING_JSON, &scratch, &list, problem));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.events[0].amount, 8);
    assert_true(uuid_is_zero(&list.batch));
}

static void no_truncated_list_is_read(void **state)
{
    struct event events[] = {event_number(1), event_number(2)};
    struct event_list list = {.batch = WIRE_TRANSACTION,
                              .timestamp_us = WIRE_NOON_US,
                              .trace_id = WIRE_TRACE_ID,
                              .events = events,
                              .count = 2};
    char problem[PROBLEM_SIZE];
    struct event_list decoded;
    struct bytes body;
    uint32_t taken;
    uint8_t *block;

    (void)state;
    arena_reset(&arena);
    assert_true(event_list_encode(&list, ENCODING_MSGPACK, &arena, &body, &taken));
    for (uint32_t size = 0; size < body.size; size++) {
        struct bytes cut = wire_cut(body, size, &block);
        arena_reset(&scratch);
        assert_false(event_list_decode(codec, cut, ENCODING_MSGPACK, &scratch, &decoded, problem));
        free(block);
    }
}

static int open_all(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, WIRE_ARENA_SIZE, &err) &&
                   arena_open(&scratch, 4 * WIRE_ARENA_SIZE, &err) && codec_open(&codec, &err)
               ? 0
               : -1;
}

static int close_all(void **state)
{
    (void)state;
    arena_close(&arena);
    arena_close(&scratch);
    codec_close(codec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_legs_are_refused_precisely),
        cmocka_unit_test(legs_share_what_is_the_batchs),
        cmocka_unit_test(all_legs_are_done_in_their_order),
        cmocka_unit_test(one_refused_undoes_all),
        cmocka_unit_test(independent_legs_stand_alone),
        cmocka_unit_test(a_repeat_tells_the_first_results),
        cmocka_unit_test(a_refused_batch_is_refused_again),
        cmocka_unit_test(keys_that_are_used_are_a_conflict),
        cmocka_unit_test(a_dry_run_changes_nothing),
        cmocka_unit_test(a_late_batch_does_nothing),
        cmocka_unit_test(a_batch_can_be_run_again),
        cmocka_unit_test(results_come_back),
        cmocka_unit_test(lists_of_events_come_back),
        cmocka_unit_test(one_event_is_a_list_of_one),
        cmocka_unit_test(no_truncated_list_is_read),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
