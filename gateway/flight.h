/*
 * flight.h - of those who ask for the same thing at the same time, one goes and the others wait for
 * what comes back. A flight that is barred takes nobody more: who asks after a change must not be
 * given what was on its way before it.
 */
#ifndef GATEWAY_FLIGHT_H
#define GATEWAY_FLIGHT_H

#include "base/bytes.h"

struct flights; /* used by any number of threads */
struct flight;

struct passenger { /* the waiter's memory, until landed was called */
    /* value is good during the call; its data is NULL when nothing came back. Called by the one who
     * went, in his thread. */
    void (*landed)(struct passenger *passenger, struct bytes value);
    struct passenger *next;
};

MUST_CHECK bool flights_open(struct flights **out, struct err *err);
void flights_close(struct flights *flights); /* none may be under way; NULL is fine */

/* The flight to go on, which must be landed; NULL: the passenger waits, or, with
 * *full, neither (too many flights). `tag` is what flights_bar goes by. */
struct flight *flights_board(struct flights *flights, const char *key, const char *tag,
                             struct passenger *passenger, bool *full);
/* Gives every passenger the value, and frees the flight. */
void flights_land(struct flights *flights, struct flight *flight, struct bytes value);
/* Those with this tag; NULL: all. */
void flights_bar(struct flights *flights, const char *tag);

#endif
