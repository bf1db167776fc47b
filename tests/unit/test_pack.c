/*
 * test_pack.c - pack.h writes what msgpack-c writes: every width of integers, texts and lists, on
 * both sides of each edge; and a writer that is too small is never written past.
 */
#include "protocol/pack.h"
#include "tests/test.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 70000, MEMORY_SIZE = TEXT_MAX + 16 };

static uint8_t memory[MEMORY_SIZE];
static msgpack_sbuffer expected;
static msgpack_packer packer;

static void assert_written(const struct writer *writer)
{
    assert_false(writer->overflowed);
    assert_int_equal(writer->size, expected.size);
    assert_memory_equal(writer->data, expected.data, expected.size);
    msgpack_sbuffer_clear(&expected);
}

static void check_int(int64_t value)
{
    struct writer writer = writer_over(memory, sizeof memory);

    pack_int_value(&writer, value);
    msgpack_pack_int64(&packer, value);
    assert_written(&writer);
}

static void test_integers(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 63; bits++) {
        for (int64_t off = -2; off <= 2; off++) {
            check_int((1LL << bits) + off);
            check_int(-(1LL << bits) + off);
        }
    }
    check_int(INT64_MAX);
    check_int(INT64_MIN);
}

static void test_texts_and_lists(void **state)
{
    static const uint32_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536, TEXT_MAX};
    static char letters[TEXT_MAX];

    (void)state;
    memset(letters, 'x', sizeof letters);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct writer writer = writer_over(memory, sizeof memory);
        pack_text_value(&writer, (struct text){letters, lengths[i]});
        msgpack_pack_str(&packer, lengths[i]);
        msgpack_pack_str_body(&packer, letters, lengths[i]);
        assert_written(&writer);

        writer = writer_over(memory, sizeof memory);
        pack_array_value(&writer, lengths[i]);
        msgpack_pack_array(&packer, lengths[i]);
        assert_written(&writer);
    }
}

/* Empty fields are left out and not counted; from 16 possible fields on, the head has three bytes.
 */
static void test_map_heads(void **state)
{
    static const struct {
        uint32_t most;
        const char *bytes;
        size_t size;
    } rows[] = {{15,
                 "\x81\xa1"
                 "a"
                 "\xc2",
                 4},
                {16,
                 "\xde\x00\x01\xa1"
                 "a"
                 "\xc2",
                 6}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct writer writer = writer_over(memory, sizeof memory);
        struct pack_map map = pack_map_open(&writer, rows[i].most);
        pack_text(&map, "none", (struct text){0});
        pack_raw(&map, "none", (struct bytes){0});
        pack_bool(&map, "a", false);
        pack_map_close(&map);
        assert_int_equal(writer.size, rows[i].size);
        assert_memory_equal(memory, rows[i].bytes, rows[i].size);
    }
}

static void test_small_writers(void **state)
{
    static const struct uuid uuid = {{1}};

    (void)state;
    for (size_t size = 0; size < 256; size++) {
        uint8_t *exact = malloc(size + 1); /* a sanitizer sees what is written past it */
        assert_non_null(exact);
        struct writer writer = writer_over(exact + 1, size);
        struct pack_map map = pack_map_open(&writer, 20);
        pack_uuid(&map, "transaction", &uuid);
        pack_hex(&map, "trace_id", &uuid);
        pack_time(&map, "timestamp", 0);
        pack_map_close(&map);
        size_t whole = 3 + (12 + 38) + (9 + 34) + (10 + 28);
        assert_int_equal(writer.overflowed, size < whole);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_texts_and_lists),
        cmocka_unit_test(test_map_heads),
        cmocka_unit_test(test_small_writers),
    };
    msgpack_sbuffer_init(&expected);
    msgpack_packer_init(&packer, &expected, msgpack_sbuffer_write);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    msgpack_sbuffer_destroy(&expected);
    return failed;
}
