/*
 * topology_amqp.h - puts a topology on the broker, or checks that it is there.
 */
#ifndef BASE_TOPOLOGY_AMQP_H
#define BASE_TOPOLOGY_AMQP_H

#include "base/err.h"
#include "base/topology.h"

enum topology_mode {
    TOPOLOGY_DECLARE, /* declare all; what is there with other arguments is ERR_FATAL, and named */
    TOPOLOGY_CHECK,   /* declare passively; what is missing is ERR_FATAL, and named */
    TOPOLOGY_NONE,    /* trust the operator */
};
#define TOPOLOGY_MODE_CHOICES "declare|check|none"

/* Uses a connection of its own, closed before it returns. ERR_RETRY when the broker is away. The
 * broker's own words (406 PRECONDITION_FAILED - inequivalent arg ...) are part of the error, and
 * what to do: delete the queue when empty, or change the setting back. */
MUST_CHECK bool topology_apply(const char *url, const struct topology *topology,
                               enum topology_mode mode, struct err *err);
/* With what is in it. A queue that is not there is fine. */
MUST_CHECK bool topology_delete_queue(const char *url, const char *name, struct err *err);

#endif
