/*
 * posts_http.h - posts under way, many at once, none waited for: libcurl's multi interface. What an
 * endpoint answers is read up to a few KiB and thrown away; no redirect is followed, no proxy
 * asked, and each address is looked at when it is connected to, so a name that resolves to the
 * inside gets nowhere.
 */
#ifndef WEBHOOKS_POSTS_HTTP_H
#define WEBHOOKS_POSTS_HTTP_H

#include "base/bytes.h"

struct posts;

struct posts_options {
    uint32_t connect_timeout_ms, timeout_ms; /* the second one is for all of it */
    bool allow_private;                      /* http, and addresses that are not public */
    const char *ca_file;                     /* whom to trust; "": the system's */
};

MUST_CHECK bool posts_open(struct posts **out, const struct posts_options *options,
                           struct err *err);
void posts_close(struct posts *posts); /* NULL is fine; ends what is under way */

enum { POST_HEADERS_MAX = 8, POST_HEADER_SIZE = 768 };

struct post {
    const char *url;
    char headers[POST_HEADERS_MAX][POST_HEADER_SIZE]; /* "name: value" */
    uint32_t headers_count;
    struct bytes body; /* stays until the post has ended */
};

/* context is given back with the result. */
MUST_CHECK bool posts_start(struct posts *posts, const struct post *post, void *context,
                            struct err *err);
uint32_t posts_in_flight(const struct posts *posts);

struct post_result {
    void *context;
    int status;        /* of HTTP; 0: there was no whole answer */
    const char *error; /* why there was none; NULL: there was. Outlives the process */
    uint32_t took_ms;
};

/* Moves them all on, waiting at most wait_ms; gives up to max that have ended. */
uint32_t posts_turn(struct posts *posts, uint32_t wait_ms, struct post_result *out, uint32_t max);

/* Whether an endpoint may be named so: https (http too when private ones are allowed), no user or
 * password, and no address that posts_start would refuse. ERR_REJECT says what is wrong. */
MUST_CHECK bool post_url_is_allowed(const char *url, bool allow_private, struct err *err);

#endif
