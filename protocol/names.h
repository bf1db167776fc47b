/*
 * names.h - the exchanges and queues of the ledger, all under one prefix ("ledger"), and their
 * topology:
 *
 *   <p>.commands (topic) --#--> <p>.commands.shards (x-modulus-hash) --> <p>.commands.0 .. N-1
 *   <p>.events (topic)          <p>.dlx (topic) --#--> <p>.dlq
 *   <p>.webhooks                declared by the process that has it: webhooks/queues.h
 *
 * Shard queues are quorum queues with a single active consumer and no delivery limit; what the
 * broker itself gives up (expired, or rejected as oversized) goes to <p>.dlx at least once.
 */
#ifndef PROTOCOL_NAMES_H
#define PROTOCOL_NAMES_H

#include "base/bytes.h"
#include "base/topology.h"

enum { SHARDS_MAX = 256, PREFIX_LENGTH_MAX = 32 };

struct names {
    uint32_t shards;
    char commands[TOPOLOGY_NAME_SIZE], spread[TOPOLOGY_NAME_SIZE], events[TOPOLOGY_NAME_SIZE];
    char dlx[TOPOLOGY_NAME_SIZE], dlq[TOPOLOGY_NAME_SIZE], webhooks[TOPOLOGY_NAME_SIZE];
    char shard[SHARDS_MAX][TOPOLOGY_NAME_SIZE];
};

/* ERR_FATAL when the prefix is empty, too long or not A-Z a-z 0-9 . _ - */
MUST_CHECK bool names_make(struct names *names, const char *prefix, uint32_t shards,
                           struct err *err);
/* A reply may not be addressed to one of the ledger's own queues. */
bool names_is_own_queue(const struct names *names, struct text queue);

struct names_topology { /* what names_topology fills; large: static or malloc'ed */
    struct topology_exchange exchanges[4];
    struct topology_queue queues[SHARDS_MAX + 1];
    struct topology_binding bindings[SHARDS_MAX + 2];
    struct topology topology; /* points into the above */
};
void names_topology(const struct names *names, struct names_topology *out);

#endif
