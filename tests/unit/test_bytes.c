/*
 * test_bytes.c - views compare by bytes, the arena never gives what it has not, and a writer that
 * once ran over stays so.
 */
#include "base/bytes.h"
#include "tests/test.h"

#include <stdalign.h>
#include <string.h>

enum { ARENA_SIZE = 4096 };

static struct arena arena;

static int set_up(void **state)
{
    struct err err;

    (void)state;
    return arena_open(&arena, ARENA_SIZE, &err) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

/* --- texts ----------------------------------------------------------------------------------- */

static void texts_sort_by_bytes(void **state)
{
    static const struct text sorted[] = {
        {NULL, 0},           TEXT_CONSTANT("\0"), TEXT_CONSTANT("A"), TEXT_CONSTANT("A\0"),
        TEXT_CONSTANT("AB"), TEXT_CONSTANT("B"),  TEXT_CONSTANT("a"), TEXT_CONSTANT("\xc3\xa9"),
    };
    enum { COUNT = sizeof sorted / sizeof sorted[0] };

    (void)state;
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++) {
            int order = text_compare(sorted[i], sorted[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(text_equal(sorted[i], sorted[j]), i == j);
        }
    assert_true(text_equal(text_of(NULL), text_of("")));
    assert_int_equal(text_compare(text_of(NULL), text_of("")), 0);
}

static void text_copy_fits_or_leaves_nothing(void **state)
{
    char to[4] = "xxx";

    (void)state;
    assert_true(text_copy(text_of("abc"), to, sizeof to));
    assert_string_equal(to, "abc");
    assert_false(text_copy(text_of("abcd"), to, sizeof to));
    assert_string_equal(to, "");
    assert_true(text_copy((struct text){0}, to, 1));
    assert_string_equal(to, "");
    assert_false(text_copy(text_of("a"), to, 1));
}

/* --- the arena ------------------------------------------------------------------------------- */

static void the_arena_gives_aligned_memory_until_it_is_full(void **state)
{
    (void)state;
    for (size_t size = 0, end = 0; size < 40; size++) {
        uint8_t *taken = arena_take(&arena, size);
        assert_non_null(taken);
        assert_int_equal((uintptr_t)taken % alignof(max_align_t), 0);
        assert_true((size_t)(taken - arena.base) >= end);
        end = (size_t)(taken - arena.base) + size;
        memset(taken, 0xaa, size);
    }
    arena_reset(&arena);
    assert_null(arena_take(&arena, ARENA_SIZE + 1));
    assert_null(arena_take(&arena, SIZE_MAX));
    assert_non_null(arena_take(&arena, ARENA_SIZE - 1));
    assert_non_null(arena_take(&arena, 0)); /* nothing left, nothing asked */
    assert_null(arena_take(&arena, 1));
}

static void copies_are_copies(void **state)
{
    char original[] = "original";

    (void)state;
    struct text copy = arena_text(&arena, text_of(original));
    original[0] = 'X';
    assert_true(text_equal(copy, text_of("original")));
    struct text empty = arena_text(&arena, (struct text){0});
    assert_int_equal(empty.length, 0);
    struct bytes full = arena_copy(&arena, original, ARENA_SIZE);
    assert_null(full.data);
    assert_int_not_equal(full.size, 0);
    full = arena_copy(&arena, NULL, (size_t)UINT32_MAX + 1);
    assert_null(full.data);
    assert_int_not_equal(full.size, 0);
}

static void a_closed_arena_has_nothing(void **state)
{
    struct arena closed = {0};

    (void)state;
    arena_close(&closed);
    assert_null(arena_take(&closed, 1));
    struct writer writer = writer_in(&closed);
    write_u8(&writer, 1);
    assert_true(writer.overflowed);
}

/* --- writers --------------------------------------------------------------------------------- */

static void numbers_are_in_network_order(void **state)
{
    static const uint8_t wanted[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
                                     0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f};
    uint8_t memory[sizeof wanted];
    struct writer writer = writer_over(memory, sizeof memory);

    (void)state;
    write_u8(&writer, 0x01);
    write_u16(&writer, 0x0203);
    write_u32(&writer, 0x04050607);
    write_u64(&writer, UINT64_C(0x08090a0b0c0d0e0f));
    assert_false(writer.overflowed);
    assert_int_equal(writer.size, sizeof wanted);
    assert_memory_equal(memory, wanted, sizeof wanted);
}

/* Of every capacity: nothing is written past it, and what came after the overflow is not written
 * even if it would fit. */
static void an_overflow_is_for_ever(void **state)
{
    uint8_t memory[16];

    (void)state;
    for (size_t capacity = 0; capacity < 12; capacity++) {
        memset(memory, 0xee, sizeof memory);
        struct writer writer = writer_over(memory, capacity);
        write_bytes(&writer, "abcdefgh", 8);
        write_bytes(&writer, "ijkl", 4);
        assert_true(writer.overflowed);
        assert_int_equal(writer.size, capacity < 8 ? 0 : 8);
        write_u8(&writer, 'm');
        assert_int_equal(writer.size, capacity < 8 ? 0 : 8);
        for (size_t i = writer.size; i < sizeof memory; i++) assert_int_equal(memory[i], 0xee);
    }
}

static void writing_nothing_is_always_fine(void **state)
{
    struct writer writer = writer_over(NULL, 0);

    (void)state;
    write_bytes(&writer, NULL, 0);
    assert_false(writer.overflowed);
}

static void a_writer_in_the_arena_takes_what_it_wrote(void **state)
{
    struct bytes out = {0};

    (void)state;
    assert_non_null(arena_take(&arena, 3));
    struct writer writer = writer_in(&arena);
    write_bytes(&writer, "hello", 5);
    size_t used_before = arena.used;
    assert_true(writer_keep(&writer, &arena, &out));
    assert_int_equal(out.size, 5);
    assert_memory_equal(out.data, "hello", 5);
    uint8_t *next = arena_take(&arena, 1);
    assert_true(next >= out.data + out.size);
    assert_true(arena.used > used_before);
}

static void an_overflowed_writer_takes_nothing(void **state)
{
    struct bytes out = {0};

    (void)state;
    assert_non_null(arena_take(&arena, ARENA_SIZE - 16));
    for (int round = 0; round < 2; round++) { /* with 16 bytes left, then with none */
        struct writer writer = writer_in(&arena);
        size_t used_before = arena.used;
        write_bytes(&writer, "seventeen bytes..", 17);
        assert_false(writer_keep(&writer, &arena, &out));
        assert_int_equal(arena.used, used_before);
        if (round == 0) assert_non_null(arena_take(&arena, 16));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_sort_by_bytes),
        cmocka_unit_test(text_copy_fits_or_leaves_nothing),
        cmocka_unit_test_setup_teardown(the_arena_gives_aligned_memory_until_it_is_full, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(copies_are_copies, set_up, tear_down),
        cmocka_unit_test(a_closed_arena_has_nothing),
        cmocka_unit_test(numbers_are_in_network_order),
        cmocka_unit_test(an_overflow_is_for_ever),
        cmocka_unit_test(writing_nothing_is_always_fine),
        cmocka_unit_test_setup_teardown(a_writer_in_the_arena_takes_what_it_wrote, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_overflowed_writer_takes_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
