/*
 * traffic.h - the gateway's figures, and a log line for a request.
 */
#ifndef GATEWAY_TRAFFIC_H
#define GATEWAY_TRAFFIC_H

#include "gateway/route.h"
#include "protocol/trace.h"

enum traffic_level { TRAFFIC_NONE, TRAFFIC_FAILURES, TRAFFIC_ALL };
#define TRAFFIC_LEVEL_CHOICES "none|failures|all"

void traffic_open(enum traffic_level level);
/* One request is over. hung_up: the client left before it had the answer. */
void traffic_note(enum route route, unsigned code, bool hung_up, uint64_t took_us,
                  const struct trace *trace);
struct traffic_gauges {
    uint32_t connections, waiting, in_flight;
};
void traffic_show(const struct traffic_gauges *gauges, uint32_t ended); /* ended: slow clients */

#endif
