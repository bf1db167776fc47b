/*
 * signature.h - the headers of Standard Webhooks (https://www.standardwebhooks.com), by which an
 * endpoint knows that a post is ours, of now, and unchanged. Pure: time is passed in.
 */
#ifndef WEBHOOKS_SIGNATURE_H
#define WEBHOOKS_SIGNATURE_H

#include "webhooks/endpoint.h"

enum { SIGNATURE_SIZE = 2 * 48 }; /* two of "v1," and base64 of 32 bytes, a space, a NUL */

/* The value of webhook-signature over id.timestamp.body, by each secret that is there. */
void signature_make(const struct endpoint *endpoint, struct text id, int64_t timestamp_s,
                    struct bytes body, char text[static SIGNATURE_SIZE]);

#endif
