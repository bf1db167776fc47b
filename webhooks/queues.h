/*
 * queues.h - the queues of webhooks, under the prefix ("ledger"), as data:
 *
 *   <p>.events --#--> <p>.webhooks           events, and what comes back from a delay
 *   <p>.webhooks.to.<endpoint>               what one endpoint is still to be told
 *   <p>.webhooks.delay.<milliseconds> ------> <p>.webhooks, when that time has passed
 *
 * All are quorum queues without a delivery limit. One consumer is active on the first, and on an
 * endpoint's when it wants order, so that messages are taken in their order. A delay leads back to
 * the first queue, which is always there: the broker keeps what it cannot deliver, and one endpoint
 * that was removed would hold up the others. What it cannot deliver just then, as while it starts,
 * it tries again after three minutes.
 */
#ifndef WEBHOOKS_QUEUES_H
#define WEBHOOKS_QUEUES_H

#include "base/topology.h"
#include "protocol/names.h"
#include "webhooks/endpoint.h"
#include "webhooks/schedule.h"

_Static_assert(1 + SCHEDULE_MAX * JITTERS <= ENDPOINTS_MAX, "either fits below");

struct queues_topology { /* large: static or malloc'ed */
    struct topology_queue queues[ENDPOINTS_MAX];
    struct topology_binding binding;
    struct topology topology; /* points into the above */
};

/* The first queue and the delays. The exchange is the ledger's: it must be there. */
void queues_topology(const struct names *names, const struct schedule *schedule,
                     struct queues_topology *out);
/* Those of endpoints, one by one; ENDPOINTS_MAX fit. */
void queues_begin(struct queues_topology *out);
void queues_add(const struct names *names, const struct endpoint *endpoint,
                struct queues_topology *out);

void queue_of_endpoint(const struct names *names, const char *id,
                       char name[static TOPOLOGY_NAME_SIZE]);
void queue_of_delay(const struct names *names, uint32_t delay_ms,
                    char name[static TOPOLOGY_NAME_SIZE]);

#endif
