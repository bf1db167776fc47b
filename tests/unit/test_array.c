/*
 * test_array.c - arrays and scalars byte for byte as PostgreSQL 15 sends them (array_send), and an
 * arena that is too small at every size.
 */
#include "base/array.h"
#include "tests/test.h"

#include <string.h>

enum { ARENA_SIZE = 4096, ROOM_MAX = 256 };

#define HEADER(null, oid, count) "\0\0\0\1\0\0\0" null "\0\0" oid "\0\0\0" count "\0\0\0\1"
#define EPOCH_US INT64_C(946684800000000) /* 2000-01-01T00:00:00Z */

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

static void add_int2(struct array *array)
{
    array_add_int(array, ARRAY_INT2, -2);
    array_add_int(array, ARRAY_INT2, INT16_MAX);
}

static void add_int4(struct array *array)
{
    array_add_int(array, ARRAY_INT4, INT32_MIN);
    array_add_null(array);
    array_add_int(array, ARRAY_INT4, 258);
}

static void add_int8(struct array *array)
{
    array_add_int(array, ARRAY_INT8, INT64_MIN);
    array_add_int(array, ARRAY_INT8, INT64_MAX);
}

static void add_text(struct array *array)
{
    array_add_text(array, text_of("h\xc3\xa9"));
    array_add_text(array, (struct text){0}); /* empty, which is not NULL */
    array_add_null(array);
}

static void add_bytes(struct array *array)
{
    array_add_bytes(array, (struct bytes){(const uint8_t *)"\0\xff", 2});
    array_add_bytes(array, (struct bytes){0});
}

static void add_uuid(struct array *array)
{
    struct uuid uuid = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
    array_add_uuid(array, &uuid);
}

static void add_time(struct array *array)
{
    array_add_time(array, EPOCH_US);
    array_add_time(array, EPOCH_US - 1);
    array_add_time(array, EPOCH_US + 1000000);
}

static void add_nothing(struct array *array)
{
    (void)array;
}

#define GOLDEN(literal)                                                                            \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

/* clang-format off */
static const struct {
    const char *why;
    enum array_type type;
    void (*add)(struct array *array);
    struct bytes golden;
} rows[] = {
    {"int2", ARRAY_INT2, add_int2,
     GOLDEN(HEADER("\0", "\0\25", "\2") "\0\0\0\2\xff\xfe" "\0\0\0\2\x7f\xff")},
    {"int4", ARRAY_INT4, add_int4,
     GOLDEN(HEADER("\1", "\0\27", "\3") "\0\0\0\4\x80\0\0\0" "\xff\xff\xff\xff" "\0\0\0\4\0\0\1\2")},
    {"int8", ARRAY_INT8, add_int8,
     GOLDEN(HEADER("\0", "\0\24", "\2") "\0\0\0\10\x80\0\0\0\0\0\0\0"
            "\0\0\0\10\x7f\xff\xff\xff\xff\xff\xff\xff")},
    {"text", ARRAY_TEXT, add_text,
     GOLDEN(HEADER("\1", "\0\31", "\3") "\0\0\0\3h\xc3\xa9" "\0\0\0\0" "\xff\xff\xff\xff")},
    {"bytea", ARRAY_BYTEA, add_bytes,
     GOLDEN(HEADER("\0", "\0\21", "\2") "\0\0\0\2\0\xff" "\0\0\0\0")},
    {"uuid", ARRAY_UUID, add_uuid,
     GOLDEN(HEADER("\0", "\13\206", "\1") "\0\0\0\20\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17")},
    {"timestamptz", ARRAY_TIME, add_time,
     GOLDEN(HEADER("\0", "\4\240", "\3") "\0\0\0\10\0\0\0\0\0\0\0\0"
            "\0\0\0\10\xff\xff\xff\xff\xff\xff\xff\xff" "\0\0\0\10\0\0\0\0\0\17\102\100")},
    {"empty", ARRAY_TEXT, add_nothing, GOLDEN(HEADER("\0", "\0\31", "\0"))},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof rows[0] };

static void each_type_has_its_bytes(void **state)
{
    struct array array;
    struct bytes out;

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        array_begin(&array, &arena, rows[i].type);
        rows[i].add(&array);
        if (!array_end(&array, &out, &err)) fail_msg("%s: %s", rows[i].why, err.text);
        if (out.size != rows[i].golden.size || memcmp(out.data, rows[i].golden.data, out.size) != 0)
            fail_msg("%s", rows[i].why);
    }
}

/* What is sent for one row instead of the array. */
static void the_only_element_is_a_scalar(void **state)
{
    struct array array;
    struct bytes out, only;

    (void)state;
    array_begin(&array, &arena, ARRAY_TEXT);
    array_add_text(&array, text_of("ab"));
    assert_true(array_end(&array, &out, &err));
    only = array_only(out);
    assert_int_equal(only.size, 2);
    assert_memory_equal(only.data, "ab", 2);

    array_begin(&array, &arena, ARRAY_TEXT);
    array_add_text(&array, text_of(""));
    assert_true(array_end(&array, &out, &err));
    only = array_only(out);
    assert_int_equal(only.size, 0);
    assert_non_null(only.data); /* empty, not null */

    array_begin(&array, &arena, ARRAY_INT8);
    array_add_null(&array);
    assert_true(array_end(&array, &out, &err));
    assert_null(array_only(out).data);
}

/* With every room from none to plenty: all of it or ERR_REJECT, and then nothing is taken. */
static void a_full_arena_is_refused(void **state)
{
    struct array array;
    struct bytes out;

    (void)state;
    for (int i = 0; i < ROWS; i++)
        for (size_t room = 0; room < ROOM_MAX; room += 16) {
            arena_reset(&arena);
            assert_non_null(arena_take(&arena, ARENA_SIZE - room));
            size_t used_before = arena.used;
            array_begin(&array, &arena, rows[i].type);
            rows[i].add(&array);
            bool built = array_end(&array, &out, &err);
            assert_int_equal(built, room >= rows[i].golden.size);
            if (built) continue;
            assert_int_equal(err.kind, ERR_REJECT);
            assert_string_equal(err.text, "could not build parameters: batch too large");
            assert_int_equal(arena.used, used_before);
        }
}

static void assert_bytes(struct bytes got, const char *wanted, uint32_t size)
{
    assert_int_equal(got.size, size);
    assert_memory_equal(got.data, wanted, size);
}

static void scalars_are_in_network_order(void **state)
{
    (void)state;
    assert_bytes(binary_int64(&arena, -2), "\xff\xff\xff\xff\xff\xff\xff\xfe", 8);
    assert_bytes(binary_int64(&arena, INT64_C(0x0102030405060708)), "\1\2\3\4\5\6\7\10", 8);
    assert_bytes(binary_int32(&arena, -2), "\xff\xff\xff\xfe", 4);
    assert_bytes(binary_int32(&arena, 0x01020304), "\1\2\3\4", 4);
    assert_bytes(binary_time(&arena, 0), "\xff\xfc\xa2\xfe\xc4\xc8\x20\0", 8);
    assert_bytes(binary_time(&arena, EPOCH_US + 1), "\0\0\0\0\0\0\0\1", 8);
    arena_reset(&arena);
    assert_non_null(arena_take(&arena, ARENA_SIZE));
    assert_null(binary_int64(&arena, 1).data);
    assert_null(binary_int32(&arena, 1).data);
    assert_null(binary_time(&arena, 1).data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_type_has_its_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_only_element_is_a_scalar, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_arena_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scalars_are_in_network_order, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
