/*
 * test_jwt.c - a token of ours names its caller; each way in which it may be another's, late,
 * early, forged or malformed is refused by its own reason.
 */
#include "tests/test.h"

#include "gateway/jwt.h"

#include <cjose/cjose.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOW = 1764400000, TOKEN_SIZE = 4096, SET_SIZE = 8192 };
static const int64_t NOW_US = (int64_t)NOW * 1000000;

enum { EC, RSA_KEY, OTHER_EC, SECRET, KEYS };
static cjose_jwk_t *jwks[KEYS];
static struct jwt_keys *keys;
static const struct jwt_rules rules = {.issuer = "https://id.example",
                                       .audience = "ledger",
                                       .algorithms = "ES256,RS256",
                                       .claim = "sub",
                                       .leeway_s = 5};

static char *public_of(int key)
{
    char *json = cjose_jwk_to_json(jwks[key], false, NULL);

    assert_non_null(json);
    return json;
}

static int set_up(void **state)
{
    static const uint8_t exponent[] = {1, 0, 1};
    static char set[SET_SIZE];
    struct err err;

    (void)state;
    jwks[EC] = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, NULL);
    jwks[OTHER_EC] = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, NULL);
    jwks[RSA_KEY] = cjose_jwk_create_RSA_random(2048, exponent, sizeof exponent, NULL);
    jwks[SECRET] =
        cjose_jwk_create_oct_spec((const uint8_t *)"0123456789abcdef0123456789abcdef", 32, NULL);
    if (!cjose_jwk_set_kid(jwks[EC], "e1", 2, NULL) ||
        !cjose_jwk_set_kid(jwks[RSA_KEY], "r1", 2, NULL))
        return -1;
    char *ec = public_of(EC), *rsa = public_of(RSA_KEY);
    (void)snprintf(set, sizeof set, "{\"keys\":[{\"kty\":\"unknown\"},%s,%s]}", ec, rsa);
    free(ec);
    free(rsa);
    return jwt_keys_open(&keys, text_of(set), &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < KEYS; i++) cjose_jwk_release(jwks[i]);
    jwt_keys_close(keys);
    return 0;
}

static void sign(int key, const char *algorithm, const char *kid, const char *claims,
                 char out[static TOKEN_SIZE])
{
    cjose_header_t *header = cjose_header_new(NULL);
    const char *text;

    assert_true(cjose_header_set(header, CJOSE_HDR_ALG, algorithm, NULL));
    if (kid != NULL) assert_true(cjose_header_set(header, CJOSE_HDR_KID, kid, NULL));
    cjose_jws_t *jws =
        cjose_jws_sign(jwks[key], header, (const uint8_t *)claims, strlen(claims), NULL);
    assert_non_null(jws);
    assert_true(cjose_jws_export(jws, &text, NULL));
    assert_true(text_copy(text_of(text), out, TOKEN_SIZE));
    cjose_jws_release(jws);
    cjose_header_release(header);
}

/* clang-format off */
#define OURS "\"iss\":\"https://id.example\",\"aud\":\"ledger\",\"sub\":\"shop\",\"scope\":\"ledger:read\""
static const struct row {
    const char *claims, *why; /* "": it is good */
} ROWS[] = {
    {"{" OURS ",\"exp\":1764400060}", ""},
    {"{" OURS ",\"exp\":1764400060.5,\"nbf\":1764400000}", ""},
    {"{" OURS ",\"exp\":1764399996}", ""},                     /* clocks differ */
    {"{" OURS ",\"exp\":1764400060,\"nbf\":1764400005}", ""},
    {"{" OURS ",\"exp\":1764399995}", "it has expired"},
    {"{" OURS ",\"exp\":1764400060,\"nbf\":1764400006}", "it is not valid yet"},
    {"{" OURS ",\"exp\":1764400060,\"nbf\":\"1\"}", "its nbf is no time"},
    {"{" OURS "}", "it never expires"},
    {"{" OURS ",\"exp\":\"1764400060\"}", "it never expires"},
    {"{\"iss\":\"https://evil.example\",\"aud\":\"ledger\",\"sub\":\"shop\",\"exp\":1764400060}", "somebody else has issued it"},
    {"{\"aud\":\"ledger\",\"sub\":\"shop\",\"exp\":1764400060}", "somebody else has issued it"},
    {"{\"iss\":\"https://id.example\",\"aud\":\"mail\",\"sub\":\"shop\",\"exp\":1764400060}", "it is for somebody else"},
    {"{\"iss\":\"https://id.example\",\"sub\":\"shop\",\"exp\":1764400060}", "it is for somebody else"},
    {"{\"iss\":\"https://id.example\",\"aud\":[\"mail\",7],\"sub\":\"shop\",\"exp\":1764400060}", "it is for somebody else"},
    {"{\"iss\":\"https://id.example\",\"aud\":[\"mail\",\"ledger\"],\"sub\":\"shop\",\"exp\":1764400060}", ""},
    {"{\"iss\":\"https://id.example\",\"aud\":\"ledger\",\"exp\":1764400060}", "it names no caller"},
    {"{\"iss\":\"https://id.example\",\"aud\":\"ledger\",\"sub\":7,\"exp\":1764400060}", "it names no caller"},
    {"{\"iss\":\"https://id.example\",\"aud\":\"ledger\",\"sub\":\"\",\"exp\":1764400060}", "it names no caller"},
    {"{\"iss\":\"https://id.example\",\"aud\":\"ledger\",\"sub\":\"a\\nb\",\"exp\":1764400060}", "it names no caller"},
    {"{" OURS ",\"sub\":\"other\",\"exp\":1764400060}", "it claims nothing"}, /* a doubled claim */
    {"[]", "it claims nothing"},
    {"", "it claims nothing"},
};
/* clang-format on */

static void what_it_claims_is_judged(void **state)
{
    char token[TOKEN_SIZE], why[JWT_WHY_SIZE];
    struct identity found;

    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const struct row *row = &ROWS[i];
        sign(EC, "ES256", "e1", row->claims, token);
        enum auth_result result = jwt_verify(keys, &rules, text_of(token), NOW_US, &found, why);
        bool is_good = row->why[0] == '\0';
        if ((result == AUTH_GOOD) != is_good || strcmp(why, row->why) != 0)
            fail_msg("%s: '%s', wanted '%s'", row->claims, why, row->why);
        assert_string_equal(found.caller, is_good ? "shop" : "");
        if (!is_good) assert_int_equal(found.scopes, 0);
    }
}

static enum auth_result judge(const char *token, const char *algorithms,
                              char why[static JWT_WHY_SIZE])
{
    struct jwt_rules other = rules;
    struct identity found;

    other.algorithms = algorithms;
    return jwt_verify(keys, &other, text_of(token), NOW_US, &found, why);
}

static void a_key_is_for_its_own_kind_of_signature(void **state)
{
    static const char claims[] = "{" OURS ",\"exp\":1764400060}";
    char token[TOKEN_SIZE], why[JWT_WHY_SIZE];

    (void)state;
    sign(RSA_KEY, "RS256", "r1", claims, token);
    assert_int_equal(judge(token, "ES256,RS256", why), AUTH_GOOD);
    assert_int_equal(judge(token, "ES256", why), AUTH_INVALID);
    assert_string_equal(why, "its algorithm is not allowed");
    sign(RSA_KEY, "PS256", NULL, claims, token); /* names no key: any may have signed it */
    assert_int_equal(judge(token, "PS256", why), AUTH_GOOD);
    sign(OTHER_EC, "ES256", "e1", claims, token);
    assert_int_equal(judge(token, "ES256", why), AUTH_INVALID);
    assert_string_equal(why, "no key has signed it");
    sign(EC, "ES256", "r1", claims, token); /* by another key than it says */
    assert_int_equal(judge(token, "ES256", why), AUTH_INVALID);
    sign(SECRET, "HS256", NULL, claims, token); /* a secret of the caller's own */
    assert_int_equal(judge(token, "HS256,ES256,RS256", why), AUTH_INVALID);
    assert_string_equal(why, "no key has signed it");
}

static void what_is_changed_is_refused(void **state)
{
    char token[TOKEN_SIZE], why[JWT_WHY_SIZE];

    (void)state;
    sign(EC, "ES256", "e1", "{" OURS ",\"exp\":1764400060}", token);
    size_t length = strlen(token);
    for (size_t i = 0; i + 1 < length; i++) { /* the last one holds bits that do not count */
        char before = token[i];
        token[i] = before == 'A' ? 'B' : 'A';
        if (judge(token, "ES256,RS256", why) != AUTH_INVALID) fail_msg("character %zu", i);
        token[i] = '.';
        if (before != '.' && judge(token, "ES256,RS256", why) != AUTH_INVALID)
            fail_msg("a dot at %zu", i);
        token[i] = before;
    }
    for (size_t cut = 0; cut < length; cut++) {
        struct identity found;
        struct text part = {token, (uint32_t)cut};
        if (jwt_verify(keys, &rules, part, NOW_US, &found, why) != AUTH_INVALID)
            fail_msg("cut at %zu", cut);
    }
}

static void no_signature_is_no_token(void **state)
{
    /* {"alg":"none"}, {"alg":"ES256","crit":["x"],"x":1}, and no token at all */
    static const char *const tokens[] = {
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUifQ.",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUifQ.AAAA",
        "eyJhbGciOiJFUzI1NiIsImNyaXQiOlsieCJdLCJ4IjoxfQ.e30.AAAA",
        "e30.e30.e30",
        "...",
        "x"};
    char why[JWT_WHY_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        if (judge(tokens[i], "ES256,RS256", why) != AUTH_INVALID) fail_msg("%s", tokens[i]);
    (void)judge(tokens[2], "ES256,RS256", why);
    assert_string_equal(why, "it asks for an extension");
}

static void scopes_are_words(void **state)
{
    static const struct {
        const char *scope;
        uint32_t scopes;
    } rows[] = {{"", 0},
                {"ledger:read", SCOPE_READ},
                {"openid ledger:write  ledger:read", SCOPE_READ | SCOPE_WRITE},
                {"ledger:readx xledger:write ledger", 0}};
    char claims[512], token[TOKEN_SIZE], why[JWT_WHY_SIZE];
    struct identity found;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)snprintf(claims, sizeof claims,
                       "{\"iss\":\"https://id.example\",\"aud\":\"ledger\",\"sub\":\"shop\","
                       "\"exp\":1764400060,\"scope\":\"%s\"}",
                       rows[i].scope);
        sign(EC, "ES256", "e1", claims, token);
        assert_int_equal(jwt_verify(keys, &rules, text_of(token), NOW_US, &found, why), AUTH_GOOD);
        assert_int_equal(found.scopes, rows[i].scopes);
    }
}

static void what_is_no_set_or_rule_is_refused(void **state)
{
    static const char *const sets[] = {
        "", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"RSA\"},7]}"};
    struct jwt_keys *none;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (jwt_keys_open(&none, text_of(sets[i]), &err)) fail_msg("%s", sets[i]);
        assert_null(none);
    }
    assert_true(jwt_rules_check(&rules, &err));
    struct jwt_rules wrong = rules;
    wrong.algorithms = "ES256,none";
    assert_false(jwt_rules_check(&wrong, &err));
    wrong.algorithms = "";
    assert_false(jwt_rules_check(&wrong, &err));
    wrong = rules;
    wrong.issuer = "";
    assert_false(jwt_rules_check(&wrong, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_claims_is_judged),
        cmocka_unit_test(a_key_is_for_its_own_kind_of_signature),
        cmocka_unit_test(what_is_changed_is_refused),
        cmocka_unit_test(no_signature_is_no_token),
        cmocka_unit_test(scopes_are_words),
        cmocka_unit_test(what_is_no_set_or_rule_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
