/*
 * met.h - system accounts met before, in a bounded size: a kind never changes. Of two whose ids
 * have the same hash the later one is known.
 */
#ifndef LEDGER_MET_H
#define LEDGER_MET_H

#include "protocol/command.h"

enum { MET_COUNT = 1024 };

struct met {
    struct {
        uint8_t length; /* 0: none */
        char id[ID_LENGTH_MAX];
    } account[MET_COUNT]; /* by a hash of the id */
};

bool met_before(const struct met *met, struct text id);
void met_note(struct met *met, struct text id);
void met_forget(struct met *met);

#endif
