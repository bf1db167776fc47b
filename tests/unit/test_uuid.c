/*
 * test_uuid.c - the example of RFC 9562, the order of version 7 by time, and texts that are no
 * UUID.
 */
#include "base/clock.h"
#include "base/uuid.h"
#include "tests/test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* RFC 9562, appendix A.6: 2022-02-22T19:22:22.00Z, rand_a 0xcc3, rand_b 0b01 and 0x8c4dc0c0c07398f.
 */
#define EXAMPLE "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
#define EXAMPLE_MS UINT64_C(0x017f22e279b0)
static const uint8_t EXAMPLE_RANDOM[UUID_RANDOM_SIZE] = {0x0c, 0xc3, 0x18, 0xc4, 0xdc,
                                                         0x0c, 0x0c, 0x07, 0x39, 0x8f};

static void the_example_of_the_rfc(void **state)
{
    struct uuid uuid = uuid_v7(EXAMPLE_MS, EXAMPLE_RANDOM), parsed;
    char text[UUID_TEXT_SIZE], hex[UUID_HEX_SIZE];

    (void)state;
    uuid_format(&uuid, text);
    assert_string_equal(text, EXAMPLE);
    uuid_format_hex(&uuid, hex);
    assert_string_equal(hex, "017f22e279b07cc398c4dc0c0c07398f");
    assert_true(uuid_parse(text_of(EXAMPLE), &parsed));
    assert_int_equal(uuid_compare(&uuid, &parsed), 0);
    assert_true(uuid_parse(text_of("017F22E2-79b0-7CC3-98C4-DC0C0C07398F"), &parsed));
    assert_int_equal(uuid_compare(&uuid, &parsed), 0);
    assert_true(uuid_parse_hex(text_of(hex), &parsed));
    assert_int_equal(uuid_compare(&uuid, &parsed), 0);
}

/* Version and variant are set, and every other random bit is kept. */
static void version_and_variant_are_set(void **state)
{
    uint8_t random[UUID_RANDOM_SIZE];

    (void)state;
    for (int fill = 0; fill < 256; fill++) {
        memset(random, fill, sizeof random);
        struct uuid uuid = uuid_v7(EXAMPLE_MS, random);
        assert_int_equal(uuid.bytes[6], 0x70 | (fill & 0x0f));
        assert_int_equal(uuid.bytes[8], 0x80 | (fill & 0x3f));
        for (int i = 7; i < 16; i++)
            if (i != 8) assert_int_equal(uuid.bytes[i], fill);
    }
}

/* The later one is the greater, as bytes and as text, whatever the random bits. */
static void version_7_sorts_by_time(void **state)
{
    static const uint64_t times_ms[] = {0,
                                        1,
                                        255,
                                        256,
                                        65535,
                                        65536,
                                        EXAMPLE_MS - 1,
                                        EXAMPLE_MS,
                                        EXAMPLE_MS + 1,
                                        (UINT64_C(1) << 47),
                                        (UINT64_C(1) << 48) - 1};
    uint8_t low[UUID_RANDOM_SIZE], high[UUID_RANDOM_SIZE];

    (void)state;
    memset(low, 0, sizeof low);
    memset(high, 0xff, sizeof high);
    for (size_t i = 1; i < sizeof times_ms / sizeof times_ms[0]; i++) {
        struct uuid earlier = uuid_v7(times_ms[i - 1], high), later = uuid_v7(times_ms[i], low);
        char earlier_text[UUID_TEXT_SIZE], later_text[UUID_TEXT_SIZE];
        uuid_format(&earlier, earlier_text);
        uuid_format(&later, later_text);
        assert_true(uuid_compare(&earlier, &later) < 0);
        assert_true(strcmp(earlier_text, later_text) < 0);
    }
}

static void what_is_no_uuid_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        (EXAMPLE "0"),
        "{017f22e2-79b0-7cc3-98c4-dc0c0c0739}",
        "017f22e279b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e2-79b07-cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4-dc0c0c0739-f",
        " 17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2_79b0_7cc3_98c4_dc0c0c07398f",
        "017f22e279b07cc398c4dc0c0c07398f",
    };
    static const char *const wrong_hex[] = {
        "",
        EXAMPLE,
        "017f22e279b07cc398c4dc0c0c07398",
        "017f22e279b07cc398c4dc0c0c07398f0",
        "017F22E279B07CC398C4DC0C0C07398F",
        "017f22e279b07cc398c4dc0c0c07398x",
    };
    struct uuid out;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (uuid_parse(text_of(wrong[i]), &out)) fail_msg("%s", wrong[i]);
    for (size_t i = 0; i < sizeof wrong_hex / sizeof wrong_hex[0]; i++)
        if (uuid_parse_hex(text_of(wrong_hex[i]), &out)) fail_msg("%s", wrong_hex[i]);
    assert_false(uuid_parse((struct text){0}, &out));
}

/* Each of the 256 bytes at each place: a digit is taken for its value, all else is refused. */
static void every_byte_at_every_place(void **state)
{
    static const char digits[] = "0123456789abcdef";
    char text[UUID_HEX_SIZE];
    struct uuid out;

    (void)state;
    for (uint32_t at = 0; at < 32; at++)
        for (int byte = 1; byte < 256; byte++) {
            memset(text, '0', sizeof text);
            text[at] = (char)byte;
            const char *digit = strchr(digits, byte);
            struct text view = {text, 32};
            assert_int_equal(uuid_parse_hex(view, &out), digit != NULL);
            if (digit == NULL) continue;
            int value = out.bytes[at / 2] >> (at % 2 == 0 ? 4 : 0);
            assert_int_equal(value, digit - digits);
        }
}

static void only_zero_is_zero(void **state)
{
    struct uuid uuid = {{0}};

    (void)state;
    assert_true(uuid_is_zero(&uuid));
    for (int i = 0; i < 16; i++) {
        uuid = (struct uuid){{0}};
        uuid.bytes[i] = 1;
        assert_false(uuid_is_zero(&uuid));
    }
}

/* What a parent has in store is not its children's too. */
static void children_draw_bytes_of_their_own(void **state)
{
    enum { CHILDREN = 3 };
    uint8_t drawn[CHILDREN + 1][UUID_RANDOM_SIZE];
    int ends[2], status;

    (void)state;
    random_bytes(drawn[0], 1); /* so that there is something in store */
    assert_int_equal(pipe(ends), 0);
    for (int i = 1; i <= CHILDREN; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            random_bytes(drawn[i], UUID_RANDOM_SIZE);
            _exit(write(ends[1], drawn[i], UUID_RANDOM_SIZE) != UUID_RANDOM_SIZE);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(read(ends[0], drawn[i], UUID_RANDOM_SIZE), UUID_RANDOM_SIZE);
    }
    random_bytes(drawn[0], UUID_RANDOM_SIZE);
    for (int i = 0; i <= CHILDREN; i++)
        for (int k = 0; k < i; k++) assert_memory_not_equal(drawn[i], drawn[k], UUID_RANDOM_SIZE);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_rfc),
        cmocka_unit_test(version_and_variant_are_set),
        cmocka_unit_test(version_7_sorts_by_time),
        cmocka_unit_test(children_draw_bytes_of_their_own),
        cmocka_unit_test(what_is_no_uuid_is_refused),
        cmocka_unit_test(every_byte_at_every_place),
        cmocka_unit_test(only_zero_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
