/*
 * test_deliveries.c - rows of one record and of many, delivered in any order: each is told of once,
 * when its last record has arrived and not before.
 */
#include "outbox/deliveries.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

enum { SEEDS = 50, ROWS = 3 * CONFIRMS_MAX, RECORDS_MAX = 5, PENDING_MAX = CONFIRMS_MAX * 5 };

static struct deliveries deliveries;
static uint64_t pending[PENDING_MAX];
static uint32_t left[ROWS + 1], size[ROWS + 1];
static bool told[ROWS + 1];

static void a_row_of_one_record(void **state)
{
    struct confirm out[2];

    (void)state;
    deliveries_reset(&deliveries);
    assert_int_equal(deliveries_room(&deliveries), CONFIRMS_MAX);
    assert_int_equal(deliveries_sent(&deliveries, 1, 100), 1);
    assert_int_equal(deliveries.bytes, 100);
    assert_int_equal(deliveries_take(&deliveries, out, 2), 0);
    deliveries_arrived(&deliveries, 1);
    assert_int_equal(deliveries.bytes, 0);
    assert_int_equal(deliveries_take(&deliveries, out, 2), 1);
    assert_int_equal(out[0].sequence, 1);
    assert_int_equal(out[0].result, CONFIRM_ACK);
    assert_int_equal(deliveries_take(&deliveries, out, 2), 0);
    assert_int_equal(deliveries_room(&deliveries), CONFIRMS_MAX);
}

/* The ring is held up by its oldest row, and by what nobody has taken. */
static void there_is_room_for_so_many(void **state)
{
    struct confirm out[CONFIRMS_MAX];

    (void)state;
    deliveries_reset(&deliveries);
    for (uint32_t i = 1; i <= CONFIRMS_MAX; i++) (void)deliveries_sent(&deliveries, 1, 0);
    assert_int_equal(deliveries_room(&deliveries), 0);
    for (uint32_t i = 2; i <= CONFIRMS_MAX; i++) deliveries_arrived(&deliveries, i);
    assert_int_equal(deliveries_room(&deliveries), 0);
    assert_int_equal(deliveries_take(&deliveries, out, CONFIRMS_MAX), CONFIRMS_MAX - 1);
    assert_int_equal(deliveries_room(&deliveries), 0);
    deliveries_arrived(&deliveries, 1);
    assert_int_equal(deliveries_room(&deliveries), CONFIRMS_MAX - 1);
    assert_int_equal(deliveries_take(&deliveries, out, CONFIRMS_MAX), 1);
    assert_int_equal(deliveries_room(&deliveries), CONFIRMS_MAX);
}

static void take_some(uint32_t *told_count)
{
    struct confirm out[100];
    uint32_t count = deliveries_take(&deliveries, out, 1 + (uint32_t)rand() % 100);

    for (uint32_t i = 0; i < count; i++) {
        assert_in_range(out[i].sequence, 1, ROWS);
        assert_int_equal(left[out[i].sequence], 0);
        assert_false(told[out[i].sequence]);
        told[out[i].sequence] = true;
    }
    *told_count += count;
}

static void in_any_order_each_is_told_of_once(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        uint32_t sent = 0, told_count = 0, waiting = 0;
        uint64_t bytes = 0;
        srand(seed);
        memset(told, 0, sizeof told);
        deliveries_reset(&deliveries);
        while (told_count < ROWS) {
            if (sent < ROWS && deliveries_room(&deliveries) > 0 && rand() % 3 != 0) {
                sent++;
                left[sent] = 1 + (uint32_t)rand() % RECORDS_MAX;
                size[sent] = (uint32_t)rand() % 1000;
                bytes += size[sent];
                assert_int_equal(deliveries_sent(&deliveries, left[sent], size[sent]), sent);
                for (uint32_t i = 0; i < left[sent]; i++) pending[waiting++] = sent;
            } else if (waiting > 0) {
                uint32_t which = (uint32_t)rand() % waiting;
                uint64_t sequence = pending[which];
                pending[which] = pending[--waiting];
                deliveries_arrived(&deliveries, sequence);
                if (--left[sequence] == 0) bytes -= size[sequence];
            }
            if (rand() % 20 == 0 || waiting == 0) take_some(&told_count);
            assert_true(deliveries.bytes == bytes);
        }
        assert_int_equal(waiting, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_of_one_record),
        cmocka_unit_test(there_is_room_for_so_many),
        cmocka_unit_test(in_any_order_each_is_told_of_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
