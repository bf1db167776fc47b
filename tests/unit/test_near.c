/*
 * test_near.c - what is kept is found until its time is over; a drop takes all of its tag, and what
 * was looked up before it; it does not grow; and with threads that fill, look and drop at once
 * nothing old is found after its drop.
 */
#include "tests/test.h"

#include "gateway/near.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 64, WAYS = 8, SIZE = 32, NOW = 1000, LATER = 2000 };

static struct near *near;

static void open_with(uint32_t entries)
{
    struct err err;

    near_close(near);
    if (!near_open(&near, entries, &err)) fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    (void)state;
    open_with(ENTRIES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    near_close(near);
    near = NULL;
    return 0;
}

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

/* The value, or "" for a miss. */
static bool look_at(const char *key, const char *tag, uint64_t now_us, char out[static SIZE],
                    uint64_t *drops)
{
    uint8_t *value = NULL;
    uint32_t size = 0;

    out[0] = '\0';
    if (!near_look(near, key, tag, now_us, &value, &size, drops)) return false;
    assert_true(size < SIZE);
    memcpy(out, value, size);
    out[size] = '\0';
    free(value);
    return true;
}

static void expect(const char *key, const char *tag, uint64_t now_us, const char *wanted)
{
    char value[SIZE];
    uint64_t drops;

    assert_int_equal(look_at(key, tag, now_us, value, &drops), wanted != NULL);
    if (wanted != NULL) assert_string_equal(value, wanted);
}

/* How often the tag's place was dropped. */
static uint64_t drops_of(const char *tag)
{
    char value[SIZE];
    uint64_t drops;

    assert_false(look_at("nothing", tag, NOW, value, &drops));
    return drops;
}

static void put(const char *key, const char *tag, const char *value)
{
    near_put(near, key, tag, drops_of(tag), LATER, bytes_of(value));
}

static void what_is_kept_is_found_until_its_end(void **state)
{
    (void)state;
    expect("a/shop", "a", NOW, NULL);
    put("a/shop", "a", "Ann");
    expect("a/shop", "a", NOW, "Ann");
    expect("a/shop", "a", LATER - 1, "Ann");
    expect("a/shop", "a", LATER, NULL);
    expect("a/other", "a", NOW, NULL); /* another caller's is not his */
    expect("a/sho", "a", NOW, NULL);
    put("a/shop", "a", "Ann 2");
    put("a/other", "a", "");
    expect("a/shop", "a", NOW, "Ann 2");
    expect("a/other", "a", NOW, "");
}

static void a_drop_takes_all_of_its_tag(void **state)
{
    (void)state;
    open_with(1); /* one set, so that tags meet */
    put("a/shop", "a", "1");
    put("a/other", "a", "2");
    put("b/shop", "b", "3");
    put("ab/shop", "ab", "4");
    near_drop(near, "a");
    expect("a/shop", "a", NOW, NULL);
    expect("a/other", "a", NOW, NULL);
    expect("b/shop", "b", NOW, "3");
    expect("ab/shop", "ab", NOW, "4");
    near_clear(near);
    expect("b/shop", "b", NOW, NULL);
    expect("ab/shop", "ab", NOW, NULL);
}

static void what_was_looked_up_before_a_drop_is_not_kept(void **state)
{
    (void)state;
    uint64_t before = drops_of("a");
    near_drop(near, "a");
    near_put(near, "a/shop", "a", before, LATER, bytes_of("old"));
    expect("a/shop", "a", NOW, NULL);
    before = drops_of("a");
    near_clear(near);
    near_put(near, "a/shop", "a", before, LATER, bytes_of("old"));
    expect("a/shop", "a", NOW, NULL);
    put("a/shop", "a", "new");
    expect("a/shop", "a", NOW, "new");
    near_put(near, "a/shop", "a", before, LATER, bytes_of("old"));
    expect("a/shop", "a", NOW, "new");
}

static void it_does_not_grow(void **state)
{
    static uint8_t large[NEAR_VALUE_MAX + 1];
    enum { MANY = 10000 };
    char name[SIZE], value[SIZE];
    uint32_t found = 0;
    uint64_t drops;

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "u%u", i);
        put(name, name, "here");
    }
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "u%u", i);
        found += look_at(name, name, NOW, value, &drops);
    }
    assert_int_equal(found, ENTRIES);
    near_put(near, "big", "big", drops_of("big"), LATER, (struct bytes){large, sizeof large});
    expect("big", "big", NOW, NULL);
    open_with(0); /* off */
    put("a", "a", "1");
    near_drop(near, "a");
    near_clear(near);
    expect("a", "a", NOW, NULL);
}

static void the_least_recently_used_goes(void **state)
{
    char name[SIZE];

    (void)state;
    open_with(WAYS);
    for (uint32_t i = 0; i < WAYS; i++) {
        (void)snprintf(name, sizeof name, "u%u", i);
        put(name, "t", name);
    }
    for (uint32_t i = 0; i < 10 * WAYS; i++) {
        expect("u0", "t", NOW, "u0");
        (void)snprintf(name, sizeof name, "v%u", i);
        put(name, "t", name);
    }
    expect("u0", "t", NOW, "u0");
    expect("u1", "t", NOW, NULL);
}

/* --- everything at once ----------------------------------------------------------------------- */

enum { READERS = 4, CHANGES = 20000 };
static _Atomic uint32_t truth, dropped; /* what is true; what every answer must be at least */
static _Atomic uint32_t hits, faults;
static _Atomic bool is_over;

static void *fill_and_look(void *ignored)
{
    char value[SIZE];
    uint64_t drops;

    while (!atomic_load(&is_over)) {
        uint32_t least = atomic_load(&dropped);
        if (look_at("k", "t", NOW, value, &drops)) {
            atomic_fetch_add(&hits, 1);
            if (strtoul(value, NULL, 10) < least) atomic_fetch_add(&faults, 1);
            continue;
        }
        (void)snprintf(value, sizeof value, "%u", atomic_load(&truth));
        if (drops % 3 == 0) (void)sched_yield();
        near_put(near, "k", "t", drops, LATER, bytes_of(value));
    }
    return ignored;
}

static void nothing_old_is_found_after_its_drop(void **state)
{
    pthread_t threads[READERS];

    (void)state;
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fill_and_look, NULL), 0);
    for (uint32_t i = 1; i <= CHANGES; i++) {
        atomic_store(&truth, i);
        near_drop(near, "t");
        atomic_store(&dropped, i);
        if (i % 16 == 0) (void)sched_yield();
    }
    while (atomic_load(&hits) < CHANGES / 10) (void)sched_yield();
    atomic_store(&is_over, true);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(faults, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_kept_is_found_until_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_drop_takes_all_of_its_tag, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_looked_up_before_a_drop_is_not_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_does_not_grow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_least_recently_used_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_old_is_found_after_its_drop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
