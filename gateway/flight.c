/*
 * flight.c - a list under a lock: there are about as many flights as misses under way, so a few,
 * and the lock is held for no longer than it takes to walk it. Passengers are called without it.
 */
#include "gateway/flight.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FLIGHTS_MAX = 512, NAME_SIZE = 512 };

struct flight {
    struct flight *next, *previous;
    struct passenger *passengers;
    bool barred;
    char key[NAME_SIZE], tag[NAME_SIZE];
};

struct flights {
    pthread_mutex_t lock;
    struct flight *first;
    uint32_t count;
};

bool flights_open(struct flights **out, struct err *err)
{
    struct flights *flights = calloc(1, sizeof *flights);

    *out = flights;
    if (flights == NULL) return err_set(err, ERR_FATAL, "could not open flights: out of memory");
    (void)pthread_mutex_init(&flights->lock, NULL);
    return true;
}

void flights_close(struct flights *flights)
{
    if (flights == NULL) return;
    assert(flights->first == NULL);
    (void)pthread_mutex_destroy(&flights->lock);
    free(flights);
}

static struct flight *find(const struct flights *flights, const char *key)
{
    for (struct flight *flight = flights->first; flight != NULL; flight = flight->next)
        if (!flight->barred && strcmp(flight->key, key) == 0) return flight;
    return NULL;
}

/* NULL: there are too many, or no memory is left. */
static struct flight *start(struct flights *flights, const char *key, const char *tag)
{
    struct flight *flight = flights->count == FLIGHTS_MAX ? NULL : calloc(1, sizeof *flight);

    if (flight == NULL) return NULL;
    if (!text_copy(text_of(key), flight->key, NAME_SIZE) ||
        !text_copy(text_of(tag), flight->tag, NAME_SIZE)) {
        free(flight);
        return NULL;
    }
    flight->next = flights->first;
    if (flight->next != NULL) flight->next->previous = flight;
    flights->first = flight;
    flights->count++;
    return flight;
}

struct flight *flights_board(struct flights *flights, const char *key, const char *tag,
                             struct passenger *passenger, bool *full)
{
    struct flight *mine = NULL;

    (void)pthread_mutex_lock(&flights->lock);
    struct flight *flight = find(flights, key);
    if (flight != NULL) {
        passenger->next = flight->passengers;
        flight->passengers = passenger;
    } else {
        mine = start(flights, key, tag);
    }
    *full = flight == NULL && mine == NULL;
    (void)pthread_mutex_unlock(&flights->lock);
    return mine;
}

void flights_land(struct flights *flights, struct flight *flight, struct bytes value)
{
    struct passenger *next;

    (void)pthread_mutex_lock(&flights->lock);
    if (flight->previous != NULL)
        flight->previous->next = flight->next;
    else
        flights->first = flight->next;
    if (flight->next != NULL) flight->next->previous = flight->previous;
    flights->count--;
    (void)pthread_mutex_unlock(&flights->lock);
    for (struct passenger *passenger = flight->passengers; passenger != NULL; passenger = next) {
        next = passenger->next; /* its memory may be gone when it was called */
        passenger->landed(passenger, value);
    }
    free(flight);
}

void flights_bar(struct flights *flights, const char *tag)
{
    (void)pthread_mutex_lock(&flights->lock);
    for (struct flight *flight = flights->first; flight != NULL; flight = flight->next)
        if (tag == NULL || strcmp(flight->tag, tag) == 0) flight->barred = true;
    (void)pthread_mutex_unlock(&flights->lock);
}
