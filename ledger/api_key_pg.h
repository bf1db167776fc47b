/*
 * api_key_pg.h - the keys in PostgreSQL: read by gateways, changed by their owner.
 */
#ifndef LEDGER_API_KEY_PG_H
#define LEDGER_API_KEY_PG_H

#include "base/db_pg.h"
#include "ledger/api_key.h"

/* Those in force, by id, if they are not the ones of *version (0: none were read). keys is
 * malloc'ed, the caller's; NULL with *changed false. ERR_FATAL: more than API_KEYS_MAX. */
MUST_CHECK bool api_keys_read(struct db *db, int64_t *version, struct api_key **keys,
                              uint32_t *count, bool *changed, struct err *err);

/* --- for the owner --- */

/* Every key that there was, by caller and time. */
MUST_CHECK bool api_keys_list(struct db *db, void (*each)(void *context, const struct api_key *key),
                              void *context, struct err *err);
/* created_us is not looked at. */
MUST_CHECK bool api_key_add(struct db *db, const struct api_key *key, struct err *err);
/* The new one takes over caller, scopes and note of the one that is replaced, which ends in
 * overlap_s at the latest. *found false: no such key is in force. */
MUST_CHECK bool api_key_rotate(struct db *db, const char *replaced, const struct api_key *key,
                               uint32_t overlap_s, bool *found, struct err *err);
MUST_CHECK bool api_key_revoke(struct db *db, const char *id, bool *found, struct err *err);

#endif
