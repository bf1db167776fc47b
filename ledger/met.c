/*
 * met.c - see met.h. FNV-1a: short ids, and nobody gains by making two of them meet.
 */
#include "ledger/met.h"

#include <assert.h>
#include <string.h>

static uint32_t slot_of(struct text id)
{
    uint32_t hash = 2166136261u;

    for (uint32_t i = 0; i < id.length; i++) hash = (hash ^ (uint8_t)id.bytes[i]) * 16777619u;
    return (hash ^ hash >> 16) % MET_COUNT;
}

bool met_before(const struct met *met, struct text id)
{
    uint32_t slot = slot_of(id);

    return text_equal(id, (struct text){met->account[slot].id, met->account[slot].length});
}

void met_note(struct met *met, struct text id)
{
    uint32_t slot = slot_of(id);

    assert(id.length > 0);
    assert(id.length <= ID_LENGTH_MAX);
    memcpy(met->account[slot].id, id.bytes, id.length);
    met->account[slot].length = (uint8_t)id.length;
}

void met_forget(struct met *met)
{
    memset(met, 0, sizeof *met);
}
