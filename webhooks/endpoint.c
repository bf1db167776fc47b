/*
 * endpoint.c - see endpoint.h.
 */
#include "webhooks/endpoint.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

#define SECRET_PREFIX "whsec_"

bool pattern_matches(struct text pattern, struct text word)
{
    if (pattern.length == 0 || pattern.bytes[pattern.length - 1] != '*')
        return text_equal(pattern, word);
    uint32_t length = pattern.length - 1;
    return word.length >= length && (length == 0 || memcmp(pattern.bytes, word.bytes, length) == 0);
}

/* The next one of a list with commas between; false behind the last. */
static bool next_pattern(const char **rest, struct text *out)
{
    if (*rest == NULL) return false;
    const char *comma = strchr(*rest, ',');
    *out =
        (struct text){*rest, (uint32_t)(comma == NULL ? strlen(*rest) : (size_t)(comma - *rest))};
    *rest = comma == NULL ? NULL : comma + 1;
    return true;
}

bool endpoint_wants(const struct endpoint *endpoint, struct text type, struct text account)
{
    const char *rest = endpoint->types;
    struct text pattern;

    if (endpoint->account[0] != '\0' &&
        (account.length == 0 || !pattern_matches(text_of(endpoint->account), account)))
        return false;
    if (endpoint->types[0] == '\0') return true;
    while (next_pattern(&rest, &pattern))
        if (pattern_matches(pattern, type)) return true;
    return false;
}

static bool is_pattern(struct text text, const char *characters)
{
    bool starred = text.length > 0 && text.bytes[text.length - 1] == '*';

    for (uint32_t i = 0; i < text.length - starred; i++)
        if (text.bytes[i] == '\0' || strchr(characters, text.bytes[i]) == NULL) return false;
    return text.length > 0;
}

bool endpoint_filters_are_valid(const struct endpoint *endpoint)
{
    const char *rest = endpoint->types[0] == '\0' ? NULL : endpoint->types;
    struct text pattern, account = text_of(endpoint->account);

    while (next_pattern(&rest, &pattern))
        if (!is_pattern(pattern, "abcdefghijklmnopqrstuvwxyz._")) return false;
    return account.length == 0 ||
           is_pattern(account,
                      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-");
}

void secret_format(const struct secret *secret, char text[static SECRET_TEXT_SIZE])
{
    size_t prefix = sizeof SECRET_PREFIX - 1;

    _Static_assert(sizeof SECRET_PREFIX + (SECRET_SIZE_MAX + 2) / 3 * 4 <= SECRET_TEXT_SIZE,
                   "fits");
    assert(secret->size <= SECRET_SIZE_MAX);
    memcpy(text, SECRET_PREFIX, prefix);
    (void)EVP_EncodeBlock((unsigned char *)text + prefix, secret->bytes, (int)secret->size);
}
