/*
 * api_key.h - what a caller of the gateway shows: "lk_", a public id, and 256 random bits. The
 * ledger keeps a digest alone, which cannot be turned back: the secret has no structure to guess.
 * Pure: randomness is passed in.
 */
#ifndef LEDGER_API_KEY_H
#define LEDGER_API_KEY_H

#include "base/bytes.h"
#include "base/sha256.h"
#include "protocol/ids.h"

enum {
    API_KEY_ID_SIZE = 17,     /* 16 hex digits, terminated */
    API_KEY_TEXT_SIZE = 85,   /* lk_<16>_<64>, terminated */
    API_KEY_RANDOM_SIZE = 40, /* of the id and of the secret */
    API_KEY_NOTE_SIZE = 257,
    API_KEYS_MAX = 65536, /* in force */
};

enum scope { SCOPE_READ = 1, SCOPE_WRITE = 2 }; /* bits */

struct api_key {
    char id[API_KEY_ID_SIZE];
    struct sha256 digest; /* of the secret */
    char caller[ID_LENGTH_MAX + 1];
    uint32_t scopes;
    int64_t created_us, expires_us, revoked_us; /* 0: never */
    char note[API_KEY_NOTE_SIZE];
};

/* A new one; text is what its holder is given, once. */
void api_key_make(const uint8_t random[static API_KEY_RANDOM_SIZE], char id[static API_KEY_ID_SIZE],
                  struct sha256 *digest, char text[static API_KEY_TEXT_SIZE]);
/* False for what is no key at all. */
MUST_CHECK bool api_key_parse(struct text text, char id[static API_KEY_ID_SIZE],
                              struct sha256 *digest);
/* Takes as long whatever is in them. */
bool api_key_matches(const struct sha256 *a, const struct sha256 *b);

/* "read", "write" or "read,write". */
MUST_CHECK bool scopes_parse(struct text text, uint32_t *scopes);
const char *scopes_word(uint32_t scopes);

#endif
