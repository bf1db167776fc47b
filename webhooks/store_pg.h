/*
 * store_pg.h - endpoints, what was tried, and what waits for its turn, in PostgreSQL.
 */
#ifndef WEBHOOKS_STORE_PG_H
#define WEBHOOKS_STORE_PG_H

#include "base/db_pg.h"
#include "webhooks/endpoint.h"

/* --- for the dispatcher --- */

/* Up to ENDPOINTS_MAX, the oldest first, with those that are being removed. */
MUST_CHECK bool endpoints_read(struct db *db, struct endpoint *out, uint32_t *count,
                               struct err *err);
/* The endpoint answered that it is gone. */
MUST_CHECK bool endpoint_pause(struct db *db, const char *id, const char *reason, bool *found,
                               struct err *err);
/* Its row, and what waits; its attempts stay until they are old. */
MUST_CHECK bool endpoint_forget(struct db *db, const char *id, struct err *err);

struct attempt {
    struct text endpoint, event, type, error, trace_id; /* error is empty when it was accepted */
    int64_t attempted_us;
    int32_t tries, status, took_ms; /* tries: 1 for the first */
};
MUST_CHECK bool attempts_add(struct db *db, const struct attempt *attempts, uint32_t count,
                             struct arena *arena, struct err *err);
/* A bounded number of the oldest, if they are older than that; and places that nobody comes for. */
MUST_CHECK bool attempts_expire(struct db *db, uint32_t keep_days, uint32_t lost_s,
                                struct err *err);

/* Of an endpoint that wants order: its place among the events of its account. */
struct place {
    struct text endpoint, account;
    int64_t position;
};
/* An earlier event of the account has a place. */
MUST_CHECK bool place_is_behind(struct db *db, const struct place *place, bool *behind,
                                struct err *err);
/* Of one that goes into a delay queue. */
MUST_CHECK bool place_take(struct db *db, const struct place *place, struct err *err);
/* Of one that waits, with all of it. */
MUST_CHECK bool place_park(struct db *db, const struct place *place, struct bytes properties,
                           struct bytes body, struct err *err);
MUST_CHECK bool place_leave(struct db *db, const struct place *place, struct err *err);

/* The first of the account, if it waits: it is its turn. Or the first of any account that has been
 * first, and waited, for missed_s: it was not told, or the way to the endpoint is long. In the
 * arena; an empty endpoint: there is none. */
struct parked {
    struct text endpoint, account;
    struct bytes properties, body;
};
MUST_CHECK bool parked_next(struct db *db, const struct place *place, struct arena *arena,
                            struct parked *out, struct err *err);
MUST_CHECK bool parked_missed(struct db *db, uint32_t missed_s, struct arena *arena,
                              struct parked *out, struct err *err);

/* --- for its owner --- */

struct endpoint_state {
    struct endpoint endpoint; /* without its secrets */
    int64_t created_us, last_us;
    int32_t last_status; /* of the last attempt, at last_us (0: there was none) */
    struct text pause_reason, last_error;
};
MUST_CHECK bool endpoints_list(struct db *db,
                               void (*each)(void *context, const struct endpoint_state *state),
                               void *context, struct err *err);
/* ERR_REJECT when there are ENDPOINTS_MAX. */
MUST_CHECK bool endpoint_add(struct db *db, const struct endpoint *endpoint, struct err *err);
MUST_CHECK bool endpoint_resume(struct db *db, const char *id, bool *found, struct err *err);
/* The one before signs as well for overlap_s. */
MUST_CHECK bool endpoint_rotate(struct db *db, const char *id, const struct secret *secret,
                                uint32_t overlap_s, bool *found, struct err *err);
MUST_CHECK bool endpoint_remove(struct db *db, const char *id, bool *found, struct err *err);
/* The youngest first; event may be empty: of any. */
MUST_CHECK bool attempts_list(struct db *db, const char *id, const char *event, uint32_t limit,
                              void (*each)(void *context, const struct attempt *attempt),
                              void *context, struct err *err);

#endif
