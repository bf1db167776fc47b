/*
 * privileges.h - what a process may do beyond its user's rights: nothing, but open a low port.
 */
#ifndef BASE_PRIVILEGES_H
#define BASE_PRIVILEGES_H

#include "base/err.h"

/* For good, before there are threads: no program that it starts may gain any (prctl(2),
 * PR_SET_NO_NEW_PRIVS), and of its own capabilities, should it have some, CAP_NET_BIND_SERVICE
 * stays. ERR_FATAL when the system refuses. */
MUST_CHECK bool privileges_drop(struct err *err);

#endif
