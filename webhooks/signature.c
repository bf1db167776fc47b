/*
 * signature.c - see signature.h.
 */
#include "webhooks/signature.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { MAC_SIZE = 32, HEAD_SIZE = 24 };

static void mac(const struct secret *secret, struct text id, const char *head, struct bytes body,
                uint8_t out[static MAC_SIZE])
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(hmac);
    size_t size = 0;

    int ok = EVP_MAC_init(context, secret->bytes, secret->size, params) &&
             EVP_MAC_update(context, (const unsigned char *)id.bytes, id.length) &&
             EVP_MAC_update(context, (const unsigned char *)head, strlen(head)) &&
             EVP_MAC_update(context, body.data, body.size) &&
             EVP_MAC_final(context, out, &size, MAC_SIZE);
    assert(ok && size == MAC_SIZE);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(hmac);
}

void signature_make(const struct endpoint *endpoint, struct text id, int64_t timestamp_s,
                    struct bytes body, char text[static SIGNATURE_SIZE])
{
    const struct secret *secrets[] = {&endpoint->secret, &endpoint->previous};
    uint8_t binary[MAC_SIZE];
    char head[HEAD_SIZE];
    size_t length = 0;

    (void)snprintf(head, sizeof head, ".%" PRId64 ".", timestamp_s);
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (secrets[i]->size == 0) continue;
        mac(secrets[i], id, head, body, binary);
        memcpy(text + length, " v1,", 4);
        if (length == 0) memcpy(text, "v1,", 3);
        length += length == 0 ? 3 : 4;
        length += (size_t)EVP_EncodeBlock((unsigned char *)text + length, binary, MAC_SIZE);
    }
    text[length] = '\0';
}
