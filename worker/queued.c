/*
 * queued.c - see queued.h. FNV-1a, begun with the salt.
 */
#include "worker/queued.h"

#include <string.h>

static uint32_t bit_of(const struct queued *queued, struct text account)
{
    uint32_t hash = 2166136261u ^ queued->salt;

    for (uint32_t i = 0; i < account.length; i++)
        hash = (hash ^ (uint8_t)account.bytes[i]) * 16777619u;
    return (hash ^ hash >> 16) % QUEUED_BITS;
}

void queued_forget(struct queued *queued)
{
    queued->salt += 0x9e3779b9u;
    if (queued->any) memset(queued->bits, 0, sizeof queued->bits);
    queued->any = false;
}

void queued_add(struct queued *queued, struct text account)
{
    uint32_t bit = bit_of(queued, account);

    queued->bits[bit / 8] |= (uint8_t)(1u << bit % 8);
    queued->any = true;
}

bool queued_has(const struct queued *queued, struct text account)
{
    uint32_t bit = bit_of(queued, account);
    return queued->any && (queued->bits[bit / 8] >> bit % 8 & 1) != 0;
}
