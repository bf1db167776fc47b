/*
 * test_columns.c - rows out of arrays that array.h built, as PostgreSQL 15 sends them; arrays that
 * are cut, or are none, at every place.
 */
#include "base/array.h"
#include "base/columns.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_SIZE = 8192, ROWS = 3, COLUMNS = 5 };

static struct arena arena;
static struct err err;

static int set_up(void **state)
{
    (void)state;
    return arena_open(&arena, ARENA_SIZE, &err) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

static void add(struct array *array, uint32_t column, uint32_t row)
{
    if (row == 1 && column == 4)
        array_add_null(array);
    else if (column == 0)
        array_add_int(array, ARRAY_INT4, -5 + (int)row);
    else if (column == 1)
        array_add_int(array, ARRAY_INT8, INT64_MIN + row);
    else if (column == 2)
        array_add_int(array, ARRAY_INT2, (int)row - 1);
    else if (column == 3)
        array_add_time(array, INT64_C(1000000) * row - 1);
    else
        array_add_text(array, (struct text){"abc", row});
}

static void make(struct bytes out[static COLUMNS], uint32_t rows)
{
    static const enum array_type types[] = {ARRAY_INT4, ARRAY_INT8, ARRAY_INT2, ARRAY_TIME,
                                            ARRAY_TEXT};
    struct array array;

    for (uint32_t column = 0; column < COLUMNS; column++) {
        array_begin(&array, &arena, types[column]);
        for (uint32_t row = 0; row < rows; row++) add(&array, column, row);
        assert_true(array_end(&array, &out[column], &err));
    }
}

static void rows_come_as_they_were(void **state)
{
    struct bytes arrays[COLUMNS];
    struct columns columns;

    (void)state;
    make(arrays, ROWS);
    assert_true(columns_read(arrays, COLUMNS, &arena, &columns, &err));
    assert_int_equal(columns.rows, ROWS);
    for (uint32_t row = 0; row < ROWS; row++) {
        assert_int_equal(columns_int32(&columns, row, 0), -5 + (int)row);
        assert_true(columns_int64(&columns, row, 1) == INT64_MIN + row);
        assert_int_equal(columns_int16(&columns, row, 2), (int)row - 1);
        assert_true(columns_time_us(&columns, row, 3) == 1000000 * (int64_t)row - 1);
    }
    assert_true(text_equal(columns_text(&columns, 2, 4), text_of("ab")));
    assert_int_equal(columns_bytes(&columns, 0, 4).size, 0);
    assert_non_null(columns_bytes(&columns, 0, 4).data); /* empty, and not null */
    assert_null(columns_bytes(&columns, 1, 4).data);
}

static void no_rows_are_none(void **state)
{
    static const uint8_t no_dimension[12] = {[11] = 23};
    const struct bytes nulls[2] = {{0}, {0}}, empty = {no_dimension, sizeof no_dimension};
    struct columns columns;

    (void)state;
    assert_true(columns_read(nulls, 2, &arena, &columns, &err));
    assert_int_equal(columns.rows, 0);
    assert_true(columns_read(&empty, 1, &arena, &columns, &err));
    assert_int_equal(columns.rows, 0);
}

/* Each in memory of its own size, so that a sanitizer sees a read beyond. */
static void what_is_cut_is_an_error(void **state)
{
    struct bytes arrays[COLUMNS], whole;
    struct columns columns;

    (void)state;
    make(arrays, ROWS);
    for (uint32_t column = 0; column < COLUMNS; column++) {
        whole = arrays[column];
        for (uint32_t size = 1; size < whole.size; size++) {
            uint8_t *cut = malloc(size);
            size_t used = arena.used;
            assert_non_null(cut);
            memcpy(cut, whole.data, size);
            arrays[column] = (struct bytes){cut, size};
            assert_false(columns_read(arrays, COLUMNS, &arena, &columns, &err));
            assert_int_equal(err.kind, ERR_FATAL);
            arena.used = used;
            free(cut);
        }
        arrays[column] = whole;
    }
}

static void what_is_no_such_array_is_an_error(void **state)
{
    struct bytes arrays[COLUMNS], fewer[COLUMNS];
    uint8_t changed[256];
    struct columns columns;

    (void)state;
    make(arrays, ROWS);
    make(fewer, ROWS - 1);
    struct bytes two[] = {arrays[0], fewer[1]};
    assert_false(columns_read(two, 2, &arena, &columns, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    static const struct {
        uint32_t at;
        uint8_t value;
    } changes[] = {{3, 2}, {0, 1}, {12, 0x7f}, {15, ROWS + 1}, {15, ROWS - 1}, {20, 0x80}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct bytes one = {changed, arrays[0].size};
        assert_true(one.size <= sizeof changed);
        memcpy(changed, arrays[0].data, one.size);
        changed[changes[i].at] = changes[i].value;
        assert_false(columns_read(&one, 1, &arena, &columns, &err));
        assert_int_equal(err.kind, ERR_FATAL);
    }
}

static void a_full_arena_is_a_batch_too_large(void **state)
{
    struct bytes arrays[COLUMNS];
    struct columns columns;

    (void)state;
    make(arrays, ROWS);
    struct arena small = {.base = arena.base + arena.used, .size = 8};
    assert_false(columns_read(arrays, COLUMNS, &small, &columns, &err));
    assert_int_equal(err.kind, ERR_REJECT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_come_as_they_were, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_rows_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_cut_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_such_array_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_arena_is_a_batch_too_large, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
