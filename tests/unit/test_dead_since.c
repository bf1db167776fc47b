/*
 * test_dead_since.c - when a letter died, of headers as the ledger and as RabbitMQ write them, and
 * as nobody should.
 */
#include "outbox/dead_since.h"
#include "protocol/properties.h"
#include "tests/wire.h"

#define PROPERTIES(table_size, table) WIRE_BYTES("\x20\x00\x00\x00\x00" table_size table)
#define OURS                                                                                       \
    "\x13x-ledger-last-deathS\x00\x00\x00\x14"                                                     \
    "2026-11-23T12:00:00Z"
/* Noon is 0x6b042ac0 seconds after 1970; the older entry, an hour before, comes second. */
#define TIME(seconds) "\x04timeT\x00\x00\x00\x00" seconds
#define NEWEST                                                                                     \
    "F\x00\x00\x00\x1d"                                                                            \
    "\x05"                                                                                         \
    "countl\x00\x00\x00\x00\x00\x00\x00\x01" TIME("\x6b\x04\x2a\xc0")
#define OLDER "F\x00\x00\x00\x0e" TIME("\x6b\x04\x1c\xb0")
#define THEIRS "\x07x-deathA\x00\x00\x00\x35" NEWEST OLDER

/* clang-format off */
static const struct {
    const char *what;
    struct bytes properties;
    int64_t died_us;
} rows[] = {
    {"no headers",       WIRE_BYTES("\x00\x00"), 0},
    {"no properties",    WIRE_BYTES(""), 0},
    {"empty table",      PROPERTIES("\x00", ""), 0},
    {"ours",             PROPERTIES("\x2d", OURS), WIRE_NOON_US},
    {"theirs",           PROPERTIES("\x42", THEIRS), WIRE_NOON_US},
    {"ours before theirs", PROPERTIES("\x6f", THEIRS "\x13X-Ledger-Last-DeathS\x00\x00\x00\x14" "2026-11-23T12:00:01Z"),
                         WIRE_NOON_US + 1000000},
    {"ours unreadable",  PROPERTIES("\x62", THEIRS "\x13x-ledger-last-deathS\x00\x00\x00\x07" "at noon"), WIRE_NOON_US},
    {"ours a number",    PROPERTIES("\x1d", "\x13x-ledger-last-deathl\x00\x00\x00\x00\x00\x00\x00\x01"), 0},
    {"theirs a text",    PROPERTIES("\x0f", "\x07x-deathS\x00\x00\x00\x02" "no"), 0},
    {"an empty list",    PROPERTIES("\x0d", "\x07x-deathA\x00\x00\x00\x00"), 0},
    {"a list of texts",  PROPERTIES("\x14", "\x07x-deathA\x00\x00\x00\x07S\x00\x00\x00\x02no"), 0},
    {"a table too long", PROPERTIES("\x20", "\x07x-deathA\x00\x00\x00\x13" "F\xff\xff\xff\xff" TIME("\x6b\x04\x2a\xc0")), 0},
    {"no time in it",    PROPERTIES("\x12", "\x07x-deathA\x00\x00\x00\x05" "F\x00\x00\x00\x00"), 0},
    {"time as number",   PROPERTIES("\x20", "\x07x-deathA\x00\x00\x00\x13" "F\x00\x00\x00\x0e\x04timel\x00\x00\x00\x00\x6b\x04\x2a\xc0"), 0},
    {"time past all",    PROPERTIES("\x20", "\x07x-deathA\x00\x00\x00\x13" "F\x00\x00\x00\x0e\x04timeT\xff\xff\xff\xff\xff\xff\xff\xff"), 0},
};
/* clang-format on */

static void each_header_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t died_us = dead_since_us(rows[i].properties);
        if (died_us != rows[i].died_us) fail_msg("%s: %jd", rows[i].what, (intmax_t)died_us);
    }
}

/* Every byte of every row set to what hurts most, and every row cut short, within its block. */
static void nothing_is_read_beyond_its_end(void **state)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 'A', 'F', 'S', 'T'};
    uint8_t *block;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (uint32_t at = 0; at < rows[i].properties.size; at++) {
            (void)dead_since_us(wire_cut(rows[i].properties, at, &block));
            free(block);
            for (size_t v = 0; v < sizeof values; v++) {
                struct bytes whole = wire_cut(rows[i].properties, rows[i].properties.size, &block);
                block[1 + at] = values[v];
                int64_t died_us = dead_since_us(whole);
                if (died_us < 0) fail_msg("%s, byte %u: %jd", rows[i].what, at, (intmax_t)died_us);
                free(block);
            }
        }
}

/* As outbox/dead_letter.c has it written. */
static void what_the_ledger_writes_is_read(void **state)
{
    struct header headers[] = {
        {WIRE_TEXT("x-ledger-reason"), WIRE_TEXT("malformed"), 0, false},
        {WIRE_TEXT("x-ledger-last-death"), WIRE_TEXT("2026-11-23T12:00:00.000001Z"), 0, false}};
    struct properties_out out = {.headers = headers, .headers_count = 2};
    struct arena arena;
    struct bytes raw;
    struct err err;

    (void)state;
    assert_true(arena_open(&arena, 4096, &err));
    assert_true(properties_write(&out, &arena, &raw));
    assert_int_equal(dead_since_us(raw), WIRE_NOON_US + 1);
    arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_header_is_read),
        cmocka_unit_test(nothing_is_read_beyond_its_end),
        cmocka_unit_test(what_the_ledger_writes_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
