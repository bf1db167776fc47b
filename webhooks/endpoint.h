/*
 * endpoint.h - where events are posted to: which ones, in which order, signed with what. Pure.
 */
#ifndef WEBHOOKS_ENDPOINT_H
#define WEBHOOKS_ENDPOINT_H

#include "base/bytes.h"
#include "protocol/ids.h"

enum {
    ENDPOINTS_MAX = 250, /* each has a queue, and a consumer on one connection */
    ENDPOINT_ID_SIZE = 17,
    ENDPOINT_URL_SIZE = 2001,
    ENDPOINT_TYPES_SIZE = 501,
    ENDPOINT_ACCOUNT_SIZE = ID_LENGTH_MAX + 2,
    SECRET_SIZE_MAX = 64,
    SECRET_NEW_SIZE = 32,
    SECRET_TEXT_SIZE = 96, /* whsec_ and base64 */
};

struct secret {
    uint8_t bytes[SECRET_SIZE_MAX];
    uint32_t size; /* 0: there is none */
};

struct endpoint {
    char id[ENDPOINT_ID_SIZE]; /* 16 hex digits */
    char url[ENDPOINT_URL_SIZE];
    char types[ENDPOINT_TYPES_SIZE];     /* patterns with a comma between; empty: all */
    char account[ENDPOINT_ACCOUNT_SIZE]; /* a pattern; empty: all */
    struct secret secret, previous;      /* both sign while previous is there */
    bool ordered, paused, removed;
};

/* A pattern is the word itself, or what it begins with and a star: transaction.* */
bool pattern_matches(struct text pattern, struct text word);
/* An event without an account is not of any account. */
bool endpoint_wants(const struct endpoint *endpoint, struct text type, struct text account);
/* Whether types is patterns of event types, and account one of accounts. */
bool endpoint_filters_are_valid(const struct endpoint *endpoint);

void secret_format(const struct secret *secret, char text[static SECRET_TEXT_SIZE]);

#endif
