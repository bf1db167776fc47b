/*
 * test_api_key.c - a key that was made is recognised, and nothing else is.
 */
#include "tests/test.h"

#include "ledger/api_key.h"

#include <string.h>

static void a_key_that_was_made_is_recognised(void **state)
{
    uint8_t random[API_KEY_RANDOM_SIZE];
    char id[API_KEY_ID_SIZE], again[API_KEY_ID_SIZE], text[API_KEY_TEXT_SIZE];
    struct sha256 digest, found;

    (void)state;
    for (uint32_t i = 0; i < sizeof random; i++) random[i] = (uint8_t)(i * 7 + 1);
    api_key_make(random, id, &digest, text);
    assert_string_equal(id, "01080f161d242b32");
    assert_int_equal(strlen(text), API_KEY_TEXT_SIZE - 1);
    assert_memory_equal(text, "lk_01080f161d242b32_3940474e", 28);
    assert_true(api_key_parse(text_of(text), again, &found));
    assert_string_equal(id, again);
    assert_true(api_key_matches(&digest, &found));
    /* Any other character, anywhere, is another key or none. */
    for (size_t i = 0; i < strlen(text); i++) {
        char before = text[i];
        text[i] = before == '0' ? '1' : '0';
        bool parsed = api_key_parse(text_of(text), again, &found);
        if (parsed && strcmp(id, again) == 0 && api_key_matches(&digest, &found))
            fail_msg("character %zu does not count", i);
        text[i] = before;
    }
}

static void nothing_else_is_a_key(void **state)
{
    static const char *const others[] = {
        "",
        "lk_",
        "lk_01080f161d242b32_",
        "Bearer x",
        "lk_01080f161d242b32-0000000000000000000000000000000000000000000000000000000000000000",
        "lk_01080f161d242b3g_0000000000000000000000000000000000000000000000000000000000000000",
        "lk_01080f161d242b32_000000000000000000000000000000000000000000000000000000000000000g",
        "lk_01080f161d242b32_00000000000000000000000000000000000000000000000000000000000000000",
        "xx_01080f161d242b32_0000000000000000000000000000000000000000000000000000000000000000"};
    char id[API_KEY_ID_SIZE];
    struct sha256 digest;

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (api_key_parse(text_of(others[i]), id, &digest)) fail_msg("'%s'", others[i]);
}

static void scopes_have_words(void **state)
{
    uint32_t scopes;

    (void)state;
    for (uint32_t wanted = SCOPE_READ; wanted <= (SCOPE_READ | SCOPE_WRITE); wanted++) {
        assert_true(scopes_parse(text_of(scopes_word(wanted)), &scopes));
        assert_int_equal(scopes, wanted);
    }
    assert_false(scopes_parse(text_of("none"), &scopes));
    assert_false(scopes_parse(text_of(""), &scopes));
    assert_false(scopes_parse(text_of("write,read"), &scopes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_was_made_is_recognised),
        cmocka_unit_test(nothing_else_is_a_key),
        cmocka_unit_test(scopes_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
