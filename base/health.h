/*
 * health.h - what this process knows of itself, for probes and people.
 *
 * Live: the loop has turned lately, or waits for PostgreSQL within a deadline; never depends on a
 * server. Ready: every required component is up; an optional one that is down (Redis) makes it
 * degraded, which is still ready.
 */
#ifndef BASE_HEALTH_H
#define BASE_HEALTH_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum health_component {
    HEALTH_POSTGRES,
    HEALTH_RABBITMQ,
    HEALTH_REDIS,
    HEALTH_KAFKA,
    HEALTH_COMPONENTS
};
enum health_status { HEALTH_UNUSED, HEALTH_UP, HEALTH_DOWN };

void health_require(enum health_component component);  /* before use; starts as down */
void health_optional(enum health_component component); /* the same, but only degrades */
void health_set(enum health_component component, enum health_status status);
void health_beat(void);                              /* the loop turned, or waits */
void health_detail(const char *name, int64_t value); /* up to 8 numbers shown by /health */

/* JSON into out; returns the HTTP status: 200 or 503. `live` and `ready` as the probes ask;
 * health_report is the whole picture. All thread safe. */
int health_live(char *out, size_t out_size);
int health_ready(char *out, size_t out_size);
int health_report(char *out, size_t out_size);

#endif
