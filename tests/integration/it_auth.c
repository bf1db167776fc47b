/*
 * it_auth.c - callers as the gateway judges them: API keys that are added, rotated, revoked and
 * expire in a database that can go away; tokens whose public keys are in a file that changes.
 */
#include "gateway/auth.h"
#include "ledger/api_key_pg.h"
#include "tests/outbox.h"

#include <cjose/cjose.h>
#include <unistd.h>

enum {
    PERIOD_MS = 50,
    STALE_MS = 400,
    WAIT_MS = 15000,
    STEP_MS = 10,
    HEADER_SIZE = 4096,
    PATH = 64
};

static struct db *owner;

static int set_up(void **state)
{
    if (database_make(state) != 0) return -1;
    owner = session_as(NULL);
    return 0;
}

static int tear_down(void **state)
{
    db_close(owner);
    return database_drop(state);
}

/* --- keys ------------------------------------------------------------------------------------- */

struct made {
    struct api_key key;
    char header[HEADER_SIZE];
};

static struct made make(const char *caller, uint32_t scopes)
{
    uint8_t random[API_KEY_RANDOM_SIZE];
    char text[API_KEY_TEXT_SIZE];
    struct made made = {.key.scopes = scopes};

    random_bytes(random, sizeof random);
    api_key_make(random, made.key.id, &made.key.digest, text);
    assert_true(text_copy(text_of(caller), made.key.caller, sizeof made.key.caller));
    (void)snprintf(made.header, HEADER_SIZE, "Bearer %s", text);
    return made;
}

static struct auth *open_keys(void)
{
    const struct auth_options options = {.mode = AUTH_KEYS,
                                         .keys = {.db = {.url = outbox_url,
                                                         .application_name = "it_auth",
                                                         .role = "ledger_gateway",
                                                         .connect_timeout_ms = 5000,
                                                         .answer_timeout_ms = 5000},
                                                  .period_ms = PERIOD_MS,
                                                  .stale_ms = STALE_MS}};
    struct auth *auth;

    must(auth_open(&auth, &options, &err));
    return auth;
}

static enum auth_result check(struct auth *auth, const char *header, struct identity *out)
{
    return auth_check(auth, text_of(header), out);
}

static void await(struct auth *auth, const char *header, enum auth_result wanted)
{
    uint64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    struct identity found;

    while (check(auth, header, &found) != wanted) {
        if (clock_monotonic_ms() > until_ms)
            fail_msg("%s: not %d but %d", header, wanted, check(auth, header, &found));
        clock_sleep_ms(STEP_MS);
    }
}

static void a_key_is_good_until_it_is_revoked(void **state)
{
    struct made shop = make("shop", SCOPE_READ | SCOPE_WRITE), desk = make("desk", SCOPE_READ);
    struct auth *auth = open_keys();
    struct identity found;
    bool revoked;

    (void)state;
    must(api_key_add(owner, &shop.key, &err));
    await(auth, shop.header, AUTH_GOOD);
    assert_int_equal(check(auth, shop.header, &found), AUTH_GOOD);
    assert_string_equal(found.caller, "shop");
    assert_true(auth_permits(auth, &found, SCOPE_WRITE));
    assert_int_equal(check(auth, desk.header, &found), AUTH_INVALID); /* not yet */
    assert_string_equal(found.caller, "");
    must(api_key_add(owner, &desk.key, &err));
    await(auth, desk.header, AUTH_GOOD);
    assert_int_equal(check(auth, desk.header, &found), AUTH_GOOD);
    assert_true(auth_permits(auth, &found, SCOPE_READ));
    assert_false(auth_permits(auth, &found, SCOPE_WRITE));
    assert_int_equal(check(auth, "", &found), AUTH_MISSING);
    assert_int_equal(check(auth, "Basic c2hvcDpzZWNyZXQ=", &found), AUTH_INVALID);
    assert_int_equal(check(auth, "Bearer ", &found), AUTH_INVALID);
    assert_int_equal(check(auth, shop.header + strlen("Bearer "), &found), AUTH_INVALID);
    must(api_key_revoke(owner, shop.key.id, &revoked, &err));
    assert_true(revoked);
    await(auth, shop.header, AUTH_INVALID);
    assert_int_equal(check(auth, desk.header, &found), AUTH_GOOD);
    must(api_key_revoke(owner, shop.key.id, &revoked, &err));
    assert_false(revoked);
    auth_close(auth);
}

static void a_key_expires_by_itself(void **state)
{
    struct made soon = make("soon", SCOPE_READ);
    struct auth *auth = open_keys();

    (void)state;
    soon.key.expires_us = clock_wall_us() + 1500 * 1000;
    must(api_key_add(owner, &soon.key, &err));
    await(auth, soon.header, AUTH_GOOD);
    await(auth, soon.header, AUTH_INVALID);
    assert_true(clock_wall_us() >= soon.key.expires_us);
    auth_close(auth);
}

static void both_are_good_while_they_overlap(void **state)
{
    struct made old = make("till", SCOPE_WRITE), anew = make("", 0), third = make("", 0);
    struct auth *auth = open_keys();
    struct identity found;
    bool there;

    (void)state;
    must(api_key_add(owner, &old.key, &err));
    must(api_key_rotate(owner, old.key.id, &anew.key, 3600, &there, &err));
    assert_true(there);
    await(auth, anew.header, AUTH_GOOD);
    assert_int_equal(check(auth, anew.header, &found), AUTH_GOOD);
    assert_string_equal(found.caller, "till");
    assert_int_equal(found.scopes, SCOPE_WRITE);
    assert_int_equal(check(auth, old.header, &found), AUTH_GOOD);
    must(api_key_rotate(owner, anew.key.id, &third.key, 0, &there, &err)); /* at once */
    assert_true(there);
    await(auth, third.header, AUTH_GOOD);
    await(auth, anew.header, AUTH_INVALID);
    must(api_key_rotate(owner, "0000000000000000", &third.key, 0, &there, &err));
    assert_false(there);
    auth_close(auth);
}

static void without_the_database_nothing_is_good_for_long(void **state)
{
    struct made key = make("away", SCOPE_READ);
    struct auth *auth = open_keys();

    (void)state;
    must(api_key_add(owner, &key.key, &err));
    await(auth, key.header, AUTH_GOOD);
    sql(owner, "REVOKE SELECT ON api_key_state FROM ledger_gateway");
    await(auth, key.header, AUTH_UNKNOWN);
    assert_false(auth_is_up(auth));
    sql(owner, "GRANT SELECT ON api_key_state TO ledger_gateway");
    await(auth, key.header, AUTH_GOOD);
    sql(owner, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
               " WHERE application_name = 'it_auth'");
    clock_sleep_ms(2 * PERIOD_MS);
    await(auth, key.header, AUTH_GOOD);
    auth_close(auth);
}

/* The gateway's role sees the keys' digests, and no money. */
static void the_role_may_no_more_than_it_must(void **state)
{
    static const char *const forbidden[] = {
        "SELECT 1 FROM account",
        "SELECT 1 FROM journal",
        "SELECT 1 FROM ledger_user",
        "UPDATE api_key SET revoked_at = NULL",
        ("INSERT INTO api_key (id, digest, caller, may_read, may_write)"
         " VALUES ('0123456789abcdef', sha256(''), 'x', true, true)"),
        "UPDATE api_key_state SET version = 0"};
    struct db *db = session_as("ledger_gateway");

    (void)state;
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        if (db_run(db, forbidden[i], &err)) fail_msg("%s", forbidden[i]);
    db_close(db);
    static const struct statement leaks = {
        "it_auth_leaks", "SELECT count(*) FROM api_key WHERE octet_length(digest) <> 32"};
    assert_int_equal(number(owner, &leaks), 0);
}

/* --- tokens ----------------------------------------------------------------------------------- */

static cjose_jwk_t *make_jwk(const char *kid)
{
    cjose_jwk_t *jwk = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, NULL);

    assert_true(cjose_jwk_set_kid(jwk, kid, strlen(kid), NULL));
    return jwk;
}

static void write_set(const char *path, const cjose_jwk_t *jwk)
{
    char part[PATH + 8];
    char *json = jwk == NULL ? NULL : cjose_jwk_to_json(jwk, false, NULL);

    (void)snprintf(part, sizeof part, "%s.new", path);
    FILE *file = fopen(part, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "{\"keys\":[%s]}", json == NULL ? "" : json) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(part, path), 0);
    free(json);
}

static void sign(cjose_jwk_t *jwk, char header[static HEADER_SIZE])
{
    char claims[256];
    const char *text;
    cjose_header_t *head = cjose_header_new(NULL);

    (void)snprintf(claims, sizeof claims,
                   "{\"iss\":\"https://id\",\"aud\":\"ledger\",\"sub\":\"auth0|7\",\"exp\":%jd,"
                   "\"scope\":\"ledger:write\"}",
                   (intmax_t)(clock_wall_us() / 1000000 + 3600));
    assert_true(cjose_header_set(head, CJOSE_HDR_ALG, "ES256", NULL));
    cjose_jws_t *jws = cjose_jws_sign(jwk, head, (const uint8_t *)claims, strlen(claims), NULL);
    assert_true(cjose_jws_export(jws, &text, NULL));
    (void)snprintf(header, HEADER_SIZE, "bearer %s", text);
    cjose_jws_release(jws);
    cjose_header_release(head);
}

static void tokens_follow_the_file_of_keys(void **state)
{
    cjose_jwk_t *first = make_jwk("1"), *second = make_jwk("2");
    char path[PATH], old[HEADER_SIZE], anew[HEADER_SIZE];
    struct auth_options options = {.mode = AUTH_JWT,
                                   .jwt = {.issuer = "https://id",
                                           .audience = "ledger",
                                           .algorithms = "ES256",
                                           .claim = "sub",
                                           .leeway_s = 5},
                                   .jwks_path = path};
    struct identity found;
    struct auth *auth;

    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/it_auth.%d", (int)getpid());
    assert_false(auth_open(&auth, &options, &err)); /* there is none yet */
    assert_null(auth);
    write_set(path, first);
    must(auth_open(&auth, &options, &err));
    sign(first, old);
    sign(second, anew);
    assert_int_equal(check(auth, old, &found), AUTH_GOOD);
    assert_string_equal(found.caller, "auth0|7");
    assert_int_equal(found.scopes, SCOPE_WRITE);
    assert_int_equal(check(auth, anew, &found), AUTH_INVALID);
    write_set(path, second);
    await(auth, anew, AUTH_GOOD);
    assert_int_equal(check(auth, old, &found), AUTH_INVALID);
    write_set(path, NULL); /* a mistake changes nothing */
    clock_sleep_ms(1200);
    assert_int_equal(check(auth, anew, &found), AUTH_GOOD);
    auth_close(auth);
    cjose_jwk_release(first);
    cjose_jwk_release(second);
    (void)unlink(path);
}

static void off_is_open_to_all(void **state)
{
    const struct auth_options options = {.mode = AUTH_OFF};
    struct identity found;
    struct auth *auth;

    (void)state;
    must(auth_open(&auth, &options, &err));
    assert_int_equal(check(auth, "Bearer whatever", &found), AUTH_GOOD);
    assert_string_equal(found.caller, "");
    assert_true(auth_permits(auth, &found, SCOPE_WRITE));
    assert_true(auth_is_up(auth));
    auth_close(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_good_until_it_is_revoked),
        cmocka_unit_test(a_key_expires_by_itself),
        cmocka_unit_test(both_are_good_while_they_overlap),
        cmocka_unit_test(without_the_database_nothing_is_good_for_long),
        cmocka_unit_test(the_role_may_no_more_than_it_must),
        cmocka_unit_test(tokens_follow_the_file_of_keys),
        cmocka_unit_test(off_is_open_to_all),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
