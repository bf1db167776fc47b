/*
 * broken.h - ways to break the ledger's promise, for the checker's own test: each must be caught.
 * Only a build with -DLEDGER_BROKEN has them (make chaos builds it apart), switched on by the
 * environment variable LEDGER_BROKEN; in every other build BROKEN() is the constant false and what
 * stands behind it is not compiled in.
 */
#ifndef BASE_BROKEN_H
#define BASE_BROKEN_H

#include "base/bytes.h"

#ifdef LEDGER_BROKEN
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static inline bool broken(const char *way)
{
    const char *wanted = getenv("LEDGER_BROKEN");
    return wanted != NULL && strcmp(wanted, way) == 0;
}

/* A decoder with a fault that a certain body meets. */
static inline void broken_die_of(struct bytes body)
{
    if (memmem(body.data, body.size, "deadly", 6) != NULL) (void)raise(SIGKILL);
}
#define BROKEN(way) broken(way)
#else
#define broken_die_of(body) (void)(body)
#define BROKEN(way) false
#endif

#endif
