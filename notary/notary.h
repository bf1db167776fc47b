/*
 * notary.h - the process that signs: makes a checkpoint now and then. Any number may run; one
 * leads.
 */
#ifndef NOTARY_NOTARY_H
#define NOTARY_NOTARY_H

#include "base/err.h"

#include <stdint.h>

struct notary_settings { /* see --help */
    char database_url[512], database_role[64], name[64];
    char http_address[64], signing_key[4096];
    uint32_t http_port, log_level;
    uint32_t checkpoint_s, event_encoding;
    uint32_t timeout_ms, answer_timeout_ms;
};

struct notary;

MUST_CHECK bool notary_open(struct notary **out, const struct notary_settings *settings,
                            struct err *err);
void notary_close(struct notary *notary); /* NULL is fine */

/* Connects, leads or stands by, makes a checkpoint when one is due; takes a tenth of a second at
 * least. After a failure nothing is connected: call it again, after a pause. */
MUST_CHECK bool notary_turn(struct notary *notary, struct err *err);
/* Backoff with jitter, in small steps that end at a stop. */
void notary_pause(struct notary *notary);

#endif
