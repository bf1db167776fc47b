/*
 * api_key.c - see api_key.h.
 */
#include "ledger/api_key.h"

#include "base/hex.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

enum { ID_BYTES = 8, SECRET_BYTES = 32, MARK_LENGTH = 3, ID_DIGITS = 16, SECRET_DIGITS = 64 };
_Static_assert(ID_BYTES + SECRET_BYTES == API_KEY_RANDOM_SIZE, "both are random");
_Static_assert(MARK_LENGTH + ID_DIGITS + 1 + SECRET_DIGITS + 1 == API_KEY_TEXT_SIZE, "as it reads");

static const char mark[] = "lk_";

static void digest_of(const uint8_t *secret, struct sha256 *digest)
{
    sha256_begin();
    sha256_add(secret, SECRET_BYTES);
    sha256_end(digest);
}

void api_key_make(const uint8_t random[static API_KEY_RANDOM_SIZE], char id[static API_KEY_ID_SIZE],
                  struct sha256 *digest, char text[static API_KEY_TEXT_SIZE])
{
    char secret[SECRET_DIGITS + 1];

    hex_format(random, ID_BYTES, id);
    hex_format(random + ID_BYTES, SECRET_BYTES, secret);
    digest_of(random + ID_BYTES, digest);
    int length = snprintf(text, API_KEY_TEXT_SIZE, "%s%s_%s", mark, id, secret);
    assert(length == API_KEY_TEXT_SIZE - 1);
    OPENSSL_cleanse(secret, sizeof secret);
}

bool api_key_parse(struct text text, char id[static API_KEY_ID_SIZE], struct sha256 *digest)
{
    uint8_t number[ID_BYTES], secret[SECRET_BYTES];
    const char *at = text.bytes;

    if (text.length != API_KEY_TEXT_SIZE - 1 || memcmp(at, mark, MARK_LENGTH) != 0) return false;
    at += MARK_LENGTH;
    struct text id_digits = {at, ID_DIGITS}, secret_digits = {at + ID_DIGITS + 1, SECRET_DIGITS};
    if (at[ID_DIGITS] != '_' || !hex_parse(id_digits, number, ID_BYTES) ||
        !hex_parse(secret_digits, secret, SECRET_BYTES))
        return false;
    hex_format(number, ID_BYTES, id);
    digest_of(secret, digest);
    OPENSSL_cleanse(secret, sizeof secret);
    return true;
}

bool api_key_matches(const struct sha256 *a, const struct sha256 *b)
{
    return CRYPTO_memcmp(a->bytes, b->bytes, SHA256_SIZE) == 0;
}

static const char *const words[] = {[0] = "none",
                                    [SCOPE_READ] = "read",
                                    [SCOPE_WRITE] = "write",
                                    [SCOPE_READ | SCOPE_WRITE] = "read,write"};

bool scopes_parse(struct text text, uint32_t *scopes)
{
    for (*scopes = SCOPE_READ; *scopes <= (SCOPE_READ | SCOPE_WRITE); (*scopes)++)
        if (text_equal(text, text_of(words[*scopes]))) return true;
    return false;
}

const char *scopes_word(uint32_t scopes)
{
    assert(scopes <= (SCOPE_READ | SCOPE_WRITE));
    return words[scopes];
}
