/*
 * checkpoint_pg.h - makes one checkpoint, in one transaction: its leaves, the signed header, and
 * the event that tells of it.
 */
#ifndef NOTARY_CHECKPOINT_PG_H
#define NOTARY_CHECKPOINT_PG_H

#include "base/query_pg.h"
#include "protocol/checkpoint.h"

struct checkpoint_options {
    const struct ed25519 *key;
    enum encoding event_encoding;
    struct arena *arena; /* 1 MiB or more; reset here */
};

/* Tries to become the one that makes checkpoints: an advisory lock, which lasts as long as the
 * connection. */
MUST_CHECK bool checkpoint_lead(struct db *db, bool *leads, struct err *err);
/* Plans once, for a new connection. */
MUST_CHECK bool checkpoint_tune(struct db *db, struct err *err);

/* *made: false when nothing has changed. `full` compares every account with what was notarised of
 * it last; else those are looked at that the journal's latest rows name, which finds all but what a
 * clock that was minutes wrong has hidden. */
MUST_CHECK bool checkpoint_make(struct db *db, const struct checkpoint_options *options, bool full,
                                struct checkpoint *out, bool *made, struct err *err);

#endif
