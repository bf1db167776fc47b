/*
 * test_flight.c - one goes, the others wait and get what he brings; who asks after a change goes
 * anew; threads that ask at once are never lost.
 */
#include "tests/test.h"

#include "gateway/flight.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 2000, MANY = 513 };

struct waiter {
    struct passenger passenger; /* first */
    uint32_t landings;
    char value[32];
};

static struct flights *flights;

static int set_up(void **state)
{
    struct err err;

    (void)state;
    return flights_open(&flights, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    flights_close(flights);
    return 0;
}

static void landed(struct passenger *passenger, struct bytes value)
{
    struct waiter *waiter = (struct waiter *)passenger;

    waiter->landings++;
    if (value.data != NULL) memcpy(waiter->value, value.data, value.size);
}

static struct flight *board(const char *key, const char *tag, struct waiter *waiter)
{
    bool full = true;

    waiter->passenger.landed = landed;
    struct flight *flight = flights_board(flights, key, tag, &waiter->passenger, &full);
    assert_false(full);
    return flight;
}

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

static void one_goes_and_all_are_told(void **state)
{
    struct waiter waiters[4] = {{.landings = 0}};

    (void)state;
    struct flight *mine = board("a", "t", &waiters[0]);
    assert_non_null(mine);
    assert_null(board("a", "t", &waiters[1]));
    assert_null(board("a", "t", &waiters[2]));
    struct flight *other = board("b", "t", &waiters[3]);
    assert_non_null(other);
    flights_land(flights, mine, bytes_of("news"));
    assert_int_equal(waiters[0].landings, 0); /* he knows */
    for (int i = 1; i < 3; i++) {
        assert_int_equal(waiters[i].landings, 1);
        assert_string_equal(waiters[i].value, "news");
    }
    flights_land(flights, other, (struct bytes){0});
    assert_int_equal(waiters[3].landings, 0);
    mine = board("a", "t", &waiters[0]); /* it is over: the next one goes */
    assert_non_null(mine);
    assert_null(board("a", "t", &waiters[3]));
    flights_land(flights, mine, (struct bytes){0});
    assert_int_equal(waiters[3].landings, 1);
    assert_string_equal(waiters[3].value, "");
}

static void who_asks_after_a_change_goes_anew(void **state)
{
    struct waiter waiters[6] = {{.landings = 0}};

    (void)state;
    struct flight *old = board("a", "t", &waiters[0]);
    assert_null(board("a", "t", &waiters[1])); /* he asked before the change */
    struct flight *untouched = board("b", "u", &waiters[2]);
    flights_bar(flights, "t");
    struct flight *anew = board("a", "t", &waiters[3]);
    assert_non_null(anew);
    assert_null(board("b", "u", &waiters[4]));
    flights_land(flights, old, bytes_of("old"));
    assert_string_equal(waiters[1].value, "old");
    assert_null(board("a", "t", &waiters[5]));
    flights_land(flights, anew, bytes_of("new"));
    assert_string_equal(waiters[5].value, "new");
    flights_bar(flights, NULL);
    struct waiter last = {.landings = 0};
    struct flight *third = board("b", "u", &last);
    assert_non_null(third);
    flights_land(flights, untouched, (struct bytes){0});
    flights_land(flights, third, (struct bytes){0});
    assert_int_equal(waiters[4].landings, 1);
    assert_int_equal(last.landings, 0);
}

static void too_many_go_alone(void **state)
{
    struct flight *all[MANY];
    struct waiter waiter = {.landings = 0};
    char key[16];
    bool full = false;
    uint32_t count = 0;

    (void)state;
    for (; count < MANY && !full; count++) {
        (void)snprintf(key, sizeof key, "k%u", count);
        all[count] = flights_board(flights, key, "t", &waiter.passenger, &full);
        if (full) assert_null(all[count]);
    }
    assert_true(full);
    for (uint32_t i = 0; i + 1 < count; i++) flights_land(flights, all[i], (struct bytes){0});
    assert_int_equal(waiter.landings, 0);
}

static _Atomic uint32_t went, told, flying;

static void count_landing(struct passenger *passenger, struct bytes value)
{
    struct waiter *waiter = (struct waiter *)passenger;

    if (value.size == 3) atomic_fetch_add(&told, 1);
    atomic_store((_Atomic uint32_t *)&waiter->landings, 1);
}

static void *ask_on_and_on(void *ignored)
{
    (void)ignored;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct waiter waiter = {.passenger.landed = count_landing};
        bool full;
        struct flight *mine = flights_board(flights, "k", "t", &waiter.passenger, &full);
        if (mine == NULL) {
            while (atomic_load((_Atomic uint32_t *)&waiter.landings) == 0) continue;
            continue;
        }
        if (atomic_fetch_add(&flying, 1) != 0) abort(); /* two at once */
        atomic_fetch_add(&went, 1);
        atomic_fetch_sub(&flying, 1);
        flights_land(flights, mine, bytes_of("yes"));
    }
    return NULL;
}

static void nobody_is_lost(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on_and_on, NULL), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(went + told, THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_goes_and_all_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_asks_after_a_change_goes_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_go_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_is_lost, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
