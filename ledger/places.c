/*
 * places.c - see places.h. FNV-1a: short ids, and nobody gains by making two of them meet.
 */
#include "ledger/places.h"

#include <assert.h>
#include <string.h>

static uint32_t slot_of(struct text id)
{
    uint32_t hash = 2166136261u;

    for (uint32_t i = 0; i < id.length; i++) hash = (hash ^ (uint8_t)id.bytes[i]) * 16777619u;
    return (hash ^ hash >> 16) % PLACES_COUNT;
}

struct place place_of(struct bytes tid)
{
    struct place place = {.known = true};

    assert(tid.size == PLACE_SIZE);
    memcpy(place.tid, tid.data, PLACE_SIZE);
    return place;
}

const struct place *places_find(const struct places *places, struct text id)
{
    return &places->place[slot_of(id)];
}

void places_note(struct places *places, struct text id, struct bytes tid)
{
    places->place[slot_of(id)] = place_of(tid);
}
