/*
 * places.h - where accounts' rows were last seen: hints of a bounded size, which may be wrong. Two
 * accounts may share one; who follows a hint checks what it finds.
 */
#ifndef LEDGER_PLACES_H
#define LEDGER_PLACES_H

#include "base/bytes.h"

enum { PLACES_COUNT = 16384, PLACE_SIZE = 6 };

struct place {
    bool known;
    uint8_t tid[PLACE_SIZE]; /* PostgreSQL's ctid in binary: block and offset */
};

struct places {
    struct place place[PLACES_COUNT]; /* by a hash of the account's id */
};

struct place place_of(struct bytes tid);
const struct place *places_find(const struct places *places, struct text id);
void places_note(struct places *places, struct text id, struct bytes tid);

#endif
