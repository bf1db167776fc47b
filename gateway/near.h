/*
 * near.h - the part of the cache that is in this process's own memory, in front of Redis: what was
 * found there lately, for some seconds. It does not grow: so many entries, none larger than
 * NEAR_VALUE_MAX; of those that share a place the least recently used one goes. Pure: the time is
 * passed in.
 *
 * Ensures: what was looked up before its tag was dropped is not kept after it. near_look says how
 * often the tag's place had been dropped by then, and near_put keeps nothing if it was since.
 */
#ifndef GATEWAY_NEAR_H
#define GATEWAY_NEAR_H

#include "base/bytes.h"

enum { NEAR_VALUE_MAX = 4096 }; /* bytes; what is larger is never kept */

struct near; /* used by any number of threads */

/* entries: as many at most, rounded up to 8 times a power of 2; 0: nothing is ever kept. */
MUST_CHECK bool near_open(struct near **out, uint32_t entries, struct err *err);
void near_close(struct near *near); /* NULL is fine */

/* True: value and size are set, malloc'ed, the caller's. False: a miss, and *drops is for near_put;
 * it must be asked before whatever is put is looked up. */
MUST_CHECK bool near_look(struct near *near, const char *key, const char *tag, uint64_t now_us,
                          uint8_t **value, uint32_t *size, uint64_t *drops);
/* Copies everything; served until ends_us. Keeps nothing when the tag, or all, was dropped since
 * near_look, or when memory is short. */
void near_put(struct near *near, const char *key, const char *tag, uint64_t drops, uint64_t ends_us,
              struct bytes value);

/* All that hangs on the tag, whatever its key. */
void near_drop(struct near *near, const char *tag);
void near_clear(struct near *near);

#endif
