/*
 * delivery_report.h - what the dispatcher's metrics tell.
 */
#ifndef WEBHOOKS_DELIVERY_REPORT_H
#define WEBHOOKS_DELIVERY_REPORT_H

#include <stdint.h>

enum delivery_result {
    DELIVERY_ACCEPTED,
    DELIVERY_FAILED, /* and tried again later */
    DELIVERY_DEAD,   /* failed for the last time */
    DELIVERY_WAITED, /* not posted: an earlier event of its account is still to be accepted */
    DELIVERY_RESULTS
};

enum report_dependency { REPORT_POSTGRES, REPORT_RABBITMQ, REPORT_DEPENDENCIES };

void delivery_report_open(void);
void delivery_report_result(enum delivery_result result);
void delivery_report_post(uint32_t took_ms);
void delivery_report_fanned(void); /* an event, to all endpoints that want it */
void delivery_report_transient(enum report_dependency dependency);
/* failing_ms: for how long an endpoint has failed without a success, the longest of all. */
void delivery_report_state(uint32_t endpoints, uint32_t posts, uint64_t failing_ms);

#endif
