/*
 * ed25519.h - signatures (RFC 8032): keys from PEM texts, as `openssl genpkey -algorithm ed25519`
 * and `openssl pkey -pubout` write them. Pure.
 */
#ifndef BASE_ED25519_H
#define BASE_ED25519_H

#include "base/bytes.h"

enum { SIGNATURE_SIZE = 64, KEY_ID_SIZE = 8 };

struct ed25519; /* a key */

MUST_CHECK bool ed25519_open_private(struct ed25519 **out, struct text pem, struct err *err);
MUST_CHECK bool ed25519_open_public(struct ed25519 **out, struct text pem, struct err *err);
void ed25519_close(struct ed25519 *key); /* NULL is fine */

/* The first bytes of the SHA-256 of the 32 bytes of the public key: a private key has the same. */
const uint8_t *ed25519_id(const struct ed25519 *key);
MUST_CHECK bool ed25519_sign(const struct ed25519 *key, struct bytes message,
                             uint8_t signature[static SIGNATURE_SIZE], struct err *err);
MUST_CHECK bool ed25519_verify(const struct ed25519 *key, struct bytes message,
                               const uint8_t signature[static SIGNATURE_SIZE]);

#endif
