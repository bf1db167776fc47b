/*
 * queued.h - accounts whose scheduled commands wait behind one that could not be ended, so that the
 * commands of one account stay in their order. In a bounded size: another account may be taken for
 * one of them, whose commands then wait too; not for ever, for who is taken for whom changes each
 * time they are forgotten.
 */
#ifndef WORKER_QUEUED_H
#define WORKER_QUEUED_H

#include "base/bytes.h"

enum { QUEUED_BITS = 1 << 16 };

struct queued {
    uint32_t salt;
    bool any;
    uint8_t bits[QUEUED_BITS / 8];
};

void queued_forget(struct queued *queued);
void queued_add(struct queued *queued, struct text account);
bool queued_has(const struct queued *queued, struct text account);

#endif
