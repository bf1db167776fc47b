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

const struct place *places_find(const struct places *places, struct text id)
{
    const struct place *place = &places->place[slot_of(id)];

    return place->known && text_equal(id, (struct text){place->id, place->length}) ? place : NULL;
}

const struct place *places_note(struct places *places, struct text id, struct bytes tid)
{
    struct place *place = &places->place[slot_of(id)];

    assert(tid.size == PLACE_SIZE);
    assert(id.length <= ID_LENGTH_MAX);
    place->known = true;
    memcpy(place->tid, tid.data, PLACE_SIZE);
    memcpy(place->id, id.bytes, id.length);
    place->length = (uint8_t)id.length;
    return place;
}

void places_forget(struct places *places)
{
    memset(places, 0, sizeof *places);
}
