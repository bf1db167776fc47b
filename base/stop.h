/*
 * stop.h - SIGTERM and SIGINT set a flag and nothing else; every loop looks at it, every wait is
 * bounded. Handlers are installed without SA_RESTART, so a blocking wait comes back with EINTR.
 * This also makes SIGTERM work for PID 1 in a container. SIGPIPE is ignored: a broken peer is an
 * error code, not a death.
 */
#ifndef BASE_STOP_H
#define BASE_STOP_H

#include "base/err.h"

MUST_CHECK bool stop_install(struct err *err);
bool stop_requested(void);
void stop_request(void); /* what the signal does; for tests and for fatal errors in threads */

#endif
