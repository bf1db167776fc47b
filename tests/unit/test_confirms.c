/*
 * test_confirms.c - the ring of unconfirmed messages: its rules in a table, and random brokers
 * against a model too simple to be wrong.
 */
#include "base/confirms.h"

#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_MAX = 20000, STEPS = 4000, SEEDS = 200, WINDOW = 300, IDS = 40 };

static struct confirms confirms;
static struct confirm out[CONFIRMS_MAX];

static uint64_t send_one(const char *message_id)
{
    return confirms_sent(&confirms, text_of(message_id));
}

/* One broker answer after five messages a, b, c, b, (no id) and the return of the id given. */
static const struct {
    const char *why;
    const char *returned;
    uint64_t sequence;
    bool multiple, acked, ok;
    uint32_t count;
    struct confirm want[5];
} answers[] = {
    /* clang-format off */
    {"one ack",                   "",  2, false, true,  true,  1, {{2, CONFIRM_ACK}}},
    {"one nack",                  "",  5, false, false, true,  1, {{5, CONFIRM_NACK}}},
    {"many acks, in order",       "",  3, true,  true,  true,  3, {{1, CONFIRM_ACK}, {2, CONFIRM_ACK}, {3, CONFIRM_ACK}}},
    {"many nacks",                "",  2, true,  false, true,  2, {{1, CONFIRM_NACK}, {2, CONFIRM_NACK}}},
    {"all",                       "c", 5, true,  true,  true,  5, {{1, CONFIRM_ACK}, {2, CONFIRM_ACK}, {3, CONFIRM_RETURNED}, {4, CONFIRM_ACK}, {5, CONFIRM_ACK}}},
    {"returned, then acked",      "a", 1, false, true,  true,  1, {{1, CONFIRM_RETURNED}}},
    {"returned, then nacked",     "a", 1, false, false, true,  1, {{1, CONFIRM_NACK}}},
    {"the first of equal ids",    "b", 4, true,  true,  true,  4, {{1, CONFIRM_ACK}, {2, CONFIRM_RETURNED}, {3, CONFIRM_ACK}, {4, CONFIRM_ACK}}},
    {"a return of nobody's",      "z", 1, false, true,  true,  1, {{1, CONFIRM_ACK}}},
    {"a return without id",       "",  5, false, true,  true,  1, {{5, CONFIRM_ACK}}},
    {"sequence 0",                "",  0, false, true,  false, 0, {{0}}},
    {"sequence 0, multiple",      "",  0, true,  true,  false, 0, {{0}}},
    {"not sent yet",              "",  6, false, true,  false, 0, {{0}}},
    {"not sent yet, multiple",    "",  6, true,  true,  false, 0, {{0}}},
    {"far away",        "", UINT64_MAX, true,  true,  false, 0, {{0}}},
    /* clang-format on */
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct err err = {0};
        uint32_t count = 99;

        confirms_reset(&confirms);
        static const char *const ids[] = {"a", "b", "c", "b", ""};
        for (size_t j = 0; j < 5; j++) assert_int_equal(send_one(ids[j]), j + 1);
        confirms_returned(&confirms, text_of(answers[i].returned));
        bool ok = confirms_settle(&confirms, answers[i].sequence, answers[i].multiple,
                                  answers[i].acked, out, &count, &err);
        if (ok != answers[i].ok || count != answers[i].count) fail_msg("%s", answers[i].why);
        for (uint32_t j = 0; j < count; j++)
            if (out[j].sequence != answers[i].want[j].sequence ||
                out[j].result != answers[i].want[j].result)
                fail_msg("%s: number %u", answers[i].why, j);
        if (!ok) assert_int_equal(err.kind, ERR_RETRY);
        assert_int_equal(confirms.in_flight, 5 - answers[i].count);
    }
}

static void test_an_answer_twice_is_refused(void **state)
{
    struct err err = {0};
    uint32_t count = 0;

    (void)state;
    confirms_reset(&confirms);
    for (int i = 0; i < 3; i++) (void)send_one("");
    assert_true(confirms_settle(&confirms, 2, false, true, out, &count, &err));
    assert_false(confirms_settle(&confirms, 2, false, true, out, &count, &err));
    /* ... but an answer to many may name one that is settled, for those before it. */
    assert_true(confirms_settle(&confirms, 2, true, true, out, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(out[0].sequence, 1);
    assert_false(confirms_settle(&confirms, 1, true, true, out, &count, &err));
    assert_int_equal(confirms.in_flight, 1);
}

static void test_two_equal_ids_return_twice(void **state)
{
    struct err err = {0};
    uint32_t count = 0;

    (void)state;
    confirms_reset(&confirms);
    for (int i = 0; i < 3; i++) (void)send_one("same");
    confirms_returned(&confirms, text_of("same"));
    confirms_returned(&confirms, text_of("same"));
    assert_true(confirms_settle(&confirms, 3, true, true, out, &count, &err));
    assert_int_equal(out[0].result, CONFIRM_RETURNED);
    assert_int_equal(out[1].result, CONFIRM_RETURNED);
    assert_int_equal(out[2].result, CONFIRM_ACK);
}

static void test_a_full_ring_turns(void **state)
{
    struct err err = {0};
    uint32_t count = 0;

    (void)state;
    confirms_reset(&confirms);
    for (uint64_t turn = 0; turn < 3; turn++) {
        for (uint32_t i = 0; i < CONFIRMS_MAX; i++)
            assert_int_equal(send_one("x"), turn * CONFIRMS_MAX + i + 1);
        confirms_returned(&confirms, text_of("x"));
        assert_true(confirms_settle(&confirms, confirms.next - 1, true, true, out, &count, &err));
        assert_int_equal(count, CONFIRMS_MAX);
        assert_int_equal(out[0].result, CONFIRM_RETURNED); /* no mark of an earlier turn is left */
        assert_int_equal(out[1].result, CONFIRM_ACK);
        assert_int_equal(confirms.in_flight, 0);
    }
}

/* The model: one entry for each message ever sent. */
struct model_message {
    char id[8];
    bool returned, settled;
};
static struct model_message model[MODEL_MAX];
static uint64_t model_sent;

static void model_return(const char *id)
{
    for (uint64_t i = 1; i <= model_sent; i++)
        if (!model[i].settled && !model[i].returned && id[0] != '\0' &&
            strcmp(model[i].id, id) == 0) {
            model[i].returned = true;
            return;
        }
}

/* Settles the same in the model and compares; wrong sequences must be refused by both. */
static void model_settle(uint64_t seed, uint64_t sequence, bool multiple, bool acked)
{
    struct err err = {0};
    uint32_t count = 0, expected = 0;
    bool ok = confirms_settle(&confirms, sequence, multiple, acked, out, &count, &err);

    for (uint64_t i = multiple ? 1 : sequence; i <= sequence && i >= 1 && sequence <= model_sent;
         i++) {
        if (model[i].settled) continue;
        enum confirm_result want = !acked              ? CONFIRM_NACK
                                   : model[i].returned ? CONFIRM_RETURNED
                                                       : CONFIRM_ACK;
        if (expected >= count || out[expected].sequence != i || out[expected].result != want)
            fail_msg("seed %ju: sequence %ju", (uintmax_t)seed, (uintmax_t)i);
        model[i].settled = true;
        expected++;
    }
    if (ok != (expected > 0) || count != expected) fail_msg("seed %ju", (uintmax_t)seed);
}

static void test_random_brokers(void **state)
{
    (void)state;
    for (unsigned int seed = 1; seed <= SEEDS; seed++) {
        srand(seed);
        confirms_reset(&confirms);
        model_sent = 0;
        for (int step = 0; step < STEPS; step++) {
            uint64_t span = confirms.next - confirms.first;
            uint64_t random = (uint64_t)rand();
            uint64_t sequence = confirms.first + (span == 0 ? 0 : random / 16 % (span + 2));
            if (random % 16 == 15 && sequence > 0) sequence--; /* sometimes one that is gone */
            if (random % 16 < 10 && span < WINDOW) {
                struct model_message *added = &model[++model_sent];
                *added = (struct model_message){0};
                if (random / 16 % 8 != 0)
                    (void)snprintf(added->id, sizeof added->id, "%ju",
                                   (uintmax_t)(random / 128 % IDS));
                assert_int_equal(send_one(added->id), model_sent);
            } else if (random % 16 == 10) {
                char id[8];
                (void)snprintf(id, sizeof id, "%ju", (uintmax_t)(random / 16 % IDS));
                confirms_returned(&confirms, text_of(id));
                model_return(id);
            } else {
                model_settle(seed, sequence, random % 3 == 0, random % 7 != 0);
            }
        }
        uint32_t left = 0;
        for (uint64_t i = 1; i <= model_sent; i++) left += model[i].settled ? 0 : 1;
        if (left != confirms.in_flight) fail_msg("seed %u: in flight", seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_an_answer_twice_is_refused),
        cmocka_unit_test(test_two_equal_ids_return_twice),
        cmocka_unit_test(test_a_full_ring_turns),
        cmocka_unit_test(test_random_brokers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
