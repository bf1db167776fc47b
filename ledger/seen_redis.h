/*
 * seen_redis.h - Redis may save work, never decide. It holds committed results only, written after
 * the commit, with a TTL; a miss, an error, a time-out or no Redis at all means: ask the database.
 * So nothing here can fail. A connection is dead after any error and opened again, behind a
 * breaker; every value carries its key, so that an answer to another question is never believed.
 */
#ifndef LEDGER_SEEN_REDIS_H
#define LEDGER_SEEN_REDIS_H

#include "ledger/ledger.h"

struct seen;

struct seen_options {
    const char *url;     /* redis:// or rediss://, see base/link_redis.h; empty: no Redis */
    const char *prefix;  /* of the keys */
    uint32_t timeout_ms; /* connect and each command: tens of ms */
    uint32_t ttl_s;
    uint32_t batch_min; /* of fewer works Redis is not asked: the database is, at once */
};

struct seen_counts { /* since it was opened */
    uint64_t hits, misses, errors;
};

/* ERR_FATAL only for a URL that is none. */
MUST_CHECK bool seen_open(struct seen **out, const struct seen_options *options, struct err *err);
void seen_close(struct seen *seen); /* NULL is fine */

/* Looks up every work with a key and origin NONE. A hit sets origin CACHED (the same payload: the
 * first reply, replayed) or CONFLICT, and reply. Views point into the batch's arena. */
void seen_lookup(struct seen *seen, struct codec *codec, struct batch *batch);
/* Remembers what was decided, or found in the journal; after the commit and the acknowledgement. */
void seen_remember(struct seen *seen, struct codec *codec, struct batch *batch);
/* When there is nothing else to do: whether Redis took what it was told last. */
void seen_idle(struct seen *seen);

enum seen_state { SEEN_OFF, SEEN_UP, SEEN_DOWN };
enum seen_state seen_state(const struct seen *seen);
/* Why it is down, as far as that is known; "" otherwise. */
const char *seen_problem(const struct seen *seen);
struct seen_counts seen_counts(const struct seen *seen);

#endif
