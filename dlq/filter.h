/*
 * filter.h - which dead letters an action is about: all that match every part that is given. Pure.
 */
#ifndef DLQ_FILTER_H
#define DLQ_FILTER_H

#include "dlq/letter.h"

enum { FILTER_IDS_MAX = 1000, FILTER_TEXT_SIZE = 1024 };

struct filter { /* NULL and 0: any */
    const char *const *ids;
    uint32_t ids_count;
    const char *reason, *command, *account /* either side */, *caller, *key, *trace_id;
    int64_t older_us, newer_us; /* died last at least, at most so long ago */
};

bool filter_matches(const struct filter *filter, const struct letter *letter, int64_t now_us);
/* "30s", "15m", "2h", "7d" to microseconds; false for anything else, zero and over 10 years. */
MUST_CHECK bool filter_age(const char *text, int64_t *out_us);
/* As it is recorded: "reason=malformed caller=shop older=7200s", "" for all letters; cut with "..."
 * when it is too long. */
void filter_text(const struct filter *filter, char out[static FILTER_TEXT_SIZE]);

#endif
