/*
 * places.h - what is known of user accounts met before, in a bounded size: that they are user
 * accounts, for a kind never changes, and where their rows were last seen, which is a hint. Of two
 * accounts whose ids have the same hash the later one is known.
 */
#ifndef LEDGER_PLACES_H
#define LEDGER_PLACES_H

#include "protocol/command.h"

enum { PLACES_COUNT = 16384, PLACE_SIZE = 6 };

struct place {
    bool known;
    uint8_t tid[PLACE_SIZE]; /* PostgreSQL's ctid in binary: block and offset */
    uint8_t length;
    char id[ID_LENGTH_MAX];
};

struct places {
    struct place place[PLACES_COUNT]; /* by a hash of the account's id */
};

const struct place *places_find(const struct places *places, struct text id); /* NULL: unknown */
const struct place *places_note(struct places *places, struct text id, struct bytes tid);
void places_forget(struct places *places);

#endif
