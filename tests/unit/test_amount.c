/*
 * test_amount.c - decimal text to minor units and back, at every edge of 64 bits and of the scale.
 */
#include "protocol/command.h"
#include "tests/wire.h"

/* clang-format off */
static const struct {
    struct text text;
    bool accepted;
    int64_t value;
    uint8_t digits;
} parsed[] = {
    {WIRE_TEXT("0"),                     true,  0, 0},
    {WIRE_TEXT("7"),                     true,  7, 0},
    {WIRE_TEXT("007"),                   true,  7, 0},
    {WIRE_TEXT("-7"),                    true, -7, 0},
    {WIRE_TEXT("12.34"),                 true,  1234, 2},
    {WIRE_TEXT("-0.5"),                  true, -5, 1},
    {WIRE_TEXT("-0"),                    true,  0, 0},
    {WIRE_TEXT("1.500"),                 true,  15, 1},
    {WIRE_TEXT("100"),                   true,  100, 0},
    {WIRE_TEXT("100.00"),                true,  100, 0},
    {WIRE_TEXT("0.00"),                  true,  0, 0},
    {WIRE_TEXT("0.05"),                  true,  5, 2},
    {WIRE_TEXT("9223372036854775807"),   true,  INT64_MAX, 0},
    {WIRE_TEXT("-9223372036854775808"),  true,  INT64_MIN, 0},
    {WIRE_TEXT("9.223372036854775807"),  true,  INT64_MAX, 18},
    {WIRE_TEXT("0.000000000000000001"),  true,  1, 18},
    {WIRE_TEXT("0.100000000000000000"),  true,  1, 1},
    {WIRE_TEXT("9223372036854775808"),   false, 0, 0},
    {WIRE_TEXT("-9223372036854775809"),  false, 0, 0},
    {WIRE_TEXT("9999999999999999999"),   false, 0, 0},
    {WIRE_TEXT("10000000000000000000"),  false, 0, 0},
    {WIRE_TEXT("00000000000000000001"),  false, 0, 0}, /* 20 digits */
    {WIRE_TEXT("0.0000000000000000001"), false, 0, 0},
    {WIRE_TEXT(""),                      false, 0, 0},
    {WIRE_TEXT("-"),                     false, 0, 0},
    {WIRE_TEXT("+1"),                    false, 0, 0},
    {WIRE_TEXT("--1"),                   false, 0, 0},
    {WIRE_TEXT("."),                     false, 0, 0},
    {WIRE_TEXT("1."),                    false, 0, 0},
    {WIRE_TEXT(".5"),                    false, 0, 0},
    {WIRE_TEXT("1.2.3"),                 false, 0, 0},
    {WIRE_TEXT("1,5"),                   false, 0, 0},
    {WIRE_TEXT("1e3"),                   false, 0, 0},
    {WIRE_TEXT(" 1"),                    false, 0, 0},
    {WIRE_TEXT("1 "),                    false, 0, 0},
    {WIRE_TEXT("1\0"),                   false, 0, 0},
    {WIRE_TEXT("0x10"),                  false, 0, 0},
    {WIRE_TEXT("NaN"),                   false, 0, 0},
    {WIRE_TEXT("\xd9\xa1"),              false, 0, 0}, /* an Arabic one */
};

static const struct {
    struct amount amount;
    uint8_t scale;
    bool fits;
    int64_t minor;
} scaled[] = {
    {{1234, 2, true},       2,  true,  1234},
    {{1234, 2, true},       3,  true,  12340},
    {{1234, 2, true},       1,  false, 0},
    {{-5, 1, true},         2,  true,  -50},
    {{7, 0, true},          0,  true,  7},
    {{7, 0, true},          18, true,  7000000000000000000},
    {{9, 0, true},          18, true,  9000000000000000000},
    {{10, 0, true},         18, false, 0},
    {{-10, 0, true},        18, false, 0},
    {{INT64_MAX, 0, true},  0,  true,  INT64_MAX},
    {{INT64_MIN, 0, true},  0,  true,  INT64_MIN},
    {{INT64_MAX, 0, true},  1,  false, 0},
    {{INT64_MIN, 18, true}, 18, true,  INT64_MIN},
    {{INT64_MAX, 18, true}, 17, false, 0},
    {{0, 0, true},          18, true,  0},
    {{1234, 0, false},      0,  true,  1234},  /* minor units already, whatever the scale */
    {{1234, 0, false},      18, true,  1234},
    {{INT64_MIN, 0, false}, 18, true,  INT64_MIN},
};

static const struct {
    int64_t minor;
    uint8_t scale;
    const char *text;
} formatted[] = {
    {0,         0,  "0"},                    {0,         2,  "0.00"},
    {5,         2,  "0.05"},                 {-5,        2,  "-0.05"},
    {1234,      2,  "12.34"},                {-1234,     0,  "-1234"},
    {100,       2,  "1.00"},                 {1,         18, "0.000000000000000001"},
    {INT64_MAX, 18, "9.223372036854775807"}, {INT64_MIN, 18, "-9.223372036854775808"},
    {INT64_MAX, 0,  "9223372036854775807"},  {INT64_MIN, 0,  "-9223372036854775808"},
};
/* clang-format on */

#define ROWS(table) (sizeof(table) / sizeof *(table))

static void text_is_parsed_exactly(void **state)
{
    struct amount amount;
    uint8_t *block;

    (void)state;
    for (size_t i = 0; i < ROWS(parsed); i++) {
        struct bytes copy = wire_cut(wire_bytes(parsed[i].text), parsed[i].text.length, &block);
        bool accepted = amount_parse((struct text){(const char *)copy.data, copy.size}, &amount);
        free(block);
        if (accepted != parsed[i].accepted || amount.value != parsed[i].value ||
            amount.digits != parsed[i].digits || amount.is_decimal != parsed[i].accepted)
            fail_msg("%.*s", TEXT_ARGS(parsed[i].text));
    }
}

static void scale_is_applied_or_refused(void **state)
{
    int64_t minor;

    (void)state;
    for (size_t i = 0; i < ROWS(scaled); i++) {
        bool fits = amount_to_minor(&scaled[i].amount, scaled[i].scale, &minor);
        if (fits != scaled[i].fits || (fits && minor != scaled[i].minor)) fail_msg("row %zu", i);
    }
}

static void minor_units_are_written_for_people(void **state)
{
    char text[AMOUNT_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < ROWS(formatted); i++) {
        amount_format(formatted[i].minor, formatted[i].scale, text);
        assert_string_equal(text, formatted[i].text);
    }
}

/* What is written at a scale reads back as the same minor units at that scale. */
static void random_amounts_come_back(void **state)
{
    char text[AMOUNT_TEXT_SIZE];
    struct amount amount;

    (void)state;
    for (uint32_t seed = 1; seed <= 10000; seed++) {
        srand(seed);
        int64_t minor = wire_random_int(), again = 0;
        uint8_t scale = (uint8_t)(rand() % (SCALE_MAX + 1));
        amount_format(minor, scale, text);
        if (!amount_parse(text_of(text), &amount) || !amount_to_minor(&amount, scale, &again) ||
            again != minor)
            fail_msg("seed %u: %s", seed, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_parsed_exactly),
        cmocka_unit_test(scale_is_applied_or_refused),
        cmocka_unit_test(minor_units_are_written_for_people),
        cmocka_unit_test(random_amounts_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
