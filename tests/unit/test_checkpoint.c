/*
 * test_checkpoint.c - the bytes that are signed, signatures by a key of RFC 8032, and the event in
 * both encodings, there and back; what is no checkpoint is refused.
 */
#include "base/hex.h"
#include "protocol/checkpoint.h"
#include "tests/keys.h"
#include "tests/test.h"

#include <string.h>

static const uint8_t public_raw[1][32] = {
    {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
     0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
     0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a},
};

static struct arena arena;
static struct codec *codec;
static struct err err;

static struct checkpoint example(void)
{
    struct checkpoint checkpoint = {
        .number = 7, .leaves = 3, .created_us = INT64_C(1764072000000001)};

    memset(checkpoint.previous.bytes, 0x11, SHA256_SIZE);
    memset(checkpoint.root.bytes, 0x22, SHA256_SIZE);
    return checkpoint;
}

static struct ed25519 *open_key(void)
{
    struct ed25519 *key;

    if (!ed25519_open_private(&key, text_of(private_pems[0]), &err)) fail_msg("%s", err.text);
    return key;
}

static void the_header_is_97_bytes_in_this_order(void **state)
{
    struct checkpoint checkpoint = example();
    uint8_t header[CHECKPOINT_HEADER_SIZE];
    char text[2 * CHECKPOINT_HEADER_SIZE + 1];

    (void)state;
    memset(checkpoint.key, 0x33, KEY_ID_SIZE);
    checkpoint_header(&checkpoint, header);
    hex_format(header, sizeof header, text);
    assert_string_equal(text, "04"
                              "0000000000000007"
                              "1111111111111111111111111111111111111111111111111111111111111111"
                              "2222222222222222222222222222222222222222222222222222222222222222"
                              "0000000000000003"
                              "0006446a04eb1001"
                              "3333333333333333");
}

static void a_signature_holds_for_its_header_and_key_alone(void **state)
{
    struct ed25519 *key = open_key();
    struct checkpoint signed_one = example();
    struct sha256 digest;

    (void)state;
    assert_true(checkpoint_sign(&signed_one, key, &err));
    sha256_begin();
    sha256_add(public_raw[0], 32);
    sha256_end(&digest);
    assert_memory_equal(signed_one.key, digest.bytes, KEY_ID_SIZE);
    assert_true(checkpoint_verify(&signed_one, key));
    struct ed25519 *public_key, *other_key;
    assert_true(ed25519_open_public(&public_key, text_of(public_pems[0]), &err));
    assert_true(ed25519_open_public(&other_key, text_of(public_pems[1]), &err));
    assert_true(checkpoint_verify(&signed_one, public_key));
    assert_false(checkpoint_verify(&signed_one, other_key));
    ed25519_close(public_key);
    ed25519_close(other_key);
    for (uint32_t i = 0; i < 8; i++) {
        struct checkpoint other = signed_one;
        if (i == 0) other.number++;
        if (i == 1) other.previous.bytes[31] ^= 1;
        if (i == 2) other.root.bytes[0] ^= 1;
        if (i == 3) other.leaves++;
        if (i == 4) other.created_us++;
        if (i == 5) other.key[0] ^= 1;
        if (i == 6) other.signature[0] ^= 1;
        if (i == 7) other.signature[63] ^= 1;
        assert_false(checkpoint_verify(&other, key));
    }
    ed25519_close(key);
}

static void what_is_no_key_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "nonsense",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        /* an encrypted one: nobody is asked for its password */
        "-----BEGIN ENCRYPTED PRIVATE "
        "KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgAAAAAAAAAAAICCAAw\n"
        "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEAAAAAAAAAAAAAAAAAAAAAAEQAAA\n-----END ENCRYPTED "
        "PRIVATE KEY-----\n",
    };
    struct ed25519 *key;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(ed25519_open_private(&key, text_of(texts[i]), &err));
        assert_int_equal(err.kind, ERR_FATAL);
        ed25519_close(key);
    }
    assert_false(ed25519_open_public(&key, text_of(private_pems[0]), &err));
    ed25519_close(key);
}

static void the_event_comes_back_as_it_was(void **state)
{
    struct ed25519 *key = open_key();
    struct checkpoint signed_one = example(), again;
    char problem[PROBLEM_SIZE] = "";
    struct bytes body;

    (void)state;
    assert_true(checkpoint_sign(&signed_one, key, &err));
    for (int i = 0; i < 2; i++) {
        enum encoding encoding = i == 0 ? ENCODING_MSGPACK : ENCODING_JSON;
        assert_true(checkpoint_encode(&signed_one, encoding, &arena, &body));
        if (!checkpoint_decode(codec, body, encoding, &arena, &again, problem))
            fail_msg("%s", problem);
        assert_memory_equal(&again, &signed_one, sizeof again);
    }
    ed25519_close(key);
}

#define H32 "0000000000000000000000000000000000000000000000000000000000000000"
#define BODY(type, previous, key)                                                                  \
    "{\"event_type\":\"" type "\",\"number\":1,\"previous\":\"" previous "\",\"root\":\"" H32      \
    "\",\"leaves\":1,\"created_us\":5,\"key\":\"" key "\",\"signature\":\"" H32 H32 "\"}"

static void what_is_no_checkpoint_is_refused(void **state)
{
    static const struct {
        const char *json, *problem;
    } rows[] = {
        {BODY("checkpoint.created", H32, "0000000000000000"), ""},
        {BODY("checkpoint.deleted", H32, "0000000000000000"),
         "event_type: must be checkpoint.created"},
        {BODY("checkpoint.created", "00", "0000000000000000"), "previous, root, key and signature"},
        {BODY("checkpoint.created", H32, "000000000000000g"), "previous, root, key and signature"},
        {"{\"event_type\":\"checkpoint.created\"}", "number: "},
        {"[]", ""},
        {"{", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes body = {(const uint8_t *)rows[i].json, (uint32_t)strlen(rows[i].json)};
        char problem[PROBLEM_SIZE] = "";
        struct checkpoint out;
        bool ok = checkpoint_decode(codec, body, ENCODING_JSON, &arena, &out, problem);

        assert_int_equal(ok, i == 0);
        if (strncmp(problem, rows[i].problem, strlen(rows[i].problem)) != 0)
            fail_msg("'%s' instead of '%s'", problem, rows[i].problem);
        if (!ok) assert_true(problem[0] != '\0');
    }
}

static int set_up(void **state)
{
    (void)state;
    return arena_open(&arena, 1 << 20, &err) && codec_open(&codec, &err) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_close(&arena);
    codec_close(codec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_is_97_bytes_in_this_order),
        cmocka_unit_test(a_signature_holds_for_its_header_and_key_alone),
        cmocka_unit_test(what_is_no_key_is_refused),
        cmocka_unit_test(the_event_comes_back_as_it_was),
        cmocka_unit_test(what_is_no_checkpoint_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
