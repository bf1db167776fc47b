/*
 * notify.h - tells systemd that a process is up, where a unit with Type=notify started it.
 */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include "base/err.h"

/* sd_notify(3): READY=1 to the socket that NOTIFY_SOCKET names; without it nothing. */
MUST_CHECK bool notify_ready(struct err *err);

#endif
