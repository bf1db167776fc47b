/*
 * ed25519.c - see ed25519.h.
 */
#include "base/ed25519.h"

#include "base/sha256.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

enum { PUBLIC_SIZE = 32 };

struct ed25519 {
    EVP_PKEY *pkey;
    uint8_t id[KEY_ID_SIZE];
};

/* A key that is locked with a password is none: nobody is there to be asked. */
static char no_password[] = "";

static bool find_id(struct ed25519 *key)
{
    uint8_t raw[PUBLIC_SIZE];
    size_t size = sizeof raw;
    struct sha256 digest;

    if (EVP_PKEY_get_raw_public_key(key->pkey, raw, &size) != 1 || size != sizeof raw) return false;
    sha256_begin();
    sha256_add(raw, sizeof raw);
    sha256_end(&digest);
    memcpy(key->id, digest.bytes, sizeof key->id);
    return true;
}

static bool open_key(struct ed25519 **out, struct text pem, bool is_private, struct err *err)
{
    struct ed25519 *key = calloc(1, sizeof *key);
    BIO *bio = BIO_new_mem_buf(pem.bytes == NULL ? "" : pem.bytes, (int)pem.length);

    *out = key;
    if (key != NULL && bio != NULL)
        key->pkey = is_private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_password)
                               : PEM_read_bio_PUBKEY(bio, NULL, NULL, no_password);
    BIO_free(bio);
    bool ok = key != NULL && key->pkey != NULL && EVP_PKEY_get_id(key->pkey) == EVP_PKEY_ED25519 &&
              find_id(key);
    return ok || err_set(err, ERR_FATAL, "could not read a key: it is no Ed25519 %s key in PEM",
                         is_private ? "private" : "public");
}

bool ed25519_open_private(struct ed25519 **out, struct text pem, struct err *err)
{
    return open_key(out, pem, true, err);
}

bool ed25519_open_public(struct ed25519 **out, struct text pem, struct err *err)
{
    return open_key(out, pem, false, err);
}

void ed25519_close(struct ed25519 *key)
{
    if (key == NULL) return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

const uint8_t *ed25519_id(const struct ed25519 *key)
{
    return key->id;
}

bool ed25519_sign(const struct ed25519 *key, struct bytes message,
                  uint8_t signature[static SIGNATURE_SIZE], struct err *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size = SIGNATURE_SIZE;
    bool ok = context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestSign(context, signature, &size, message.data, message.size) == 1 &&
              size == SIGNATURE_SIZE;

    EVP_MD_CTX_free(context);
    return ok || err_set(err, ERR_FATAL, "could not sign: OpenSSL failed");
}

bool ed25519_verify(const struct ed25519 *key, struct bytes message,
                    const uint8_t signature[static SIGNATURE_SIZE])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestVerify(context, signature, SIGNATURE_SIZE, message.data, message.size) == 1;

    EVP_MD_CTX_free(context);
    return ok;
}
