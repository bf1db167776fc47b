/*
 * store_internal_pg.h - what the store_*_pg.c files share; nobody else includes it.
 */
#ifndef LEDGER_STORE_INTERNAL_PG_H
#define LEDGER_STORE_INTERNAL_PG_H

#include "base/array.h"
#include "ledger/assets_pg.h"
#include "ledger/met.h"
#include "ledger/policy_pg.h"
#include "ledger/store_pg.h"

enum { STORE_PARAMS_MAX = 12, PLACE_SIZE = 6 };

struct place { /* of a row: PostgreSQL's ctid in binary, block and offset; lasts while it is locked
                */
    uint8_t tid[PLACE_SIZE];
};

struct store {
    struct asset assets[ASSETS_MAX]; /* sorted by code; each code is a view into codes */
    uint32_t assets_count;
    char codes[ASSETS_MAX][ASSET_LENGTH_MAX];
    struct met met;
    struct policy_cache policy;
    uint64_t policy_at_us; /* when it was looked at; 0: never on this connection */
    struct codec *codec;
    const struct batch *batch; /* the one that was loaded last, and */
    struct place *locked;      /* where its locked accounts are; in its arena */
};

struct store_load { /* one call of store_load */
    struct store *store;
    struct batch *batch;
    uint8_t *uses; /* of each account */
};

struct store_question {
    bool asked;    /* else its part has nothing to ask */
    uint32_t rows; /* what each of the first two parameters, which are arrays, holds; 0: are none */
    struct param params[STORE_PARAMS_MAX];
    uint32_t count;
};

/* One statement of the load: what it asks, and what to do with the rows (those of accounts are
 * store_load_pg.c's own matter). A row's first column is the place of the account or work it
 * answers. A statement over arrays may have one beside it whose parameters are the elements, for a
 * question of one row: it costs the server less. */
struct store_part {
    struct statement statement, one;
    bool (*ask)(const struct store_load *load, struct store_question *question, struct err *err);
    bool (*fill)(const struct store_load *load, const PGresult *rows, struct err *err);
};

extern const struct store_part store_part_assets, store_part_targets, store_part_keys,
    store_part_users, store_part_transactions, store_part_past, store_part_pages, store_part_usages,
    store_part_scheduled, store_part_ends;

/* Of store_save: what was used of daily limits. With none changed there is nothing to store. */
MUST_CHECK bool store_usages_params(const struct batch *batch, struct param params[static 4],
                                    uint64_t *changed, struct err *err);
extern const struct statement store_update_usages;

/* What a number in the journal stands for. */
MUST_CHECK bool store_parse_command(int16_t number, enum command_type *out, struct err *err);
/* The user_id in the properties that are kept of a scheduled command. */
MUST_CHECK bool store_keep_scheduler(const struct store_load *load, struct bytes properties,
                                     struct text *out, struct err *err);

/* The account of a number, from its youngest row on: see store_load_pg.c. */
#define ACCOUNT_NUMBERED(column)                                                                   \
    "SELECT id, asset FROM account WHERE number BETWEEN " column " AND " column                    \
    " ORDER BY number DESC LIMIT 1"
/* Of a row of the journal: debited and credited, all NULL where there is no such side. */
#define JOIN_SIDES                                                                                 \
    "  LEFT JOIN LATERAL (" ACCOUNT_NUMBERED("debit") ") AS debited ON true"                       \
                                                      "  LEFT JOIN LATERAL (" ACCOUNT_NUMBERED(    \
                                                          "credit") ") AS credited ON true"
/* What ended a hold or reversed a transaction, and what remains of a hold. */
#define JOIN_SETTLED                                                                               \
    "  LEFT JOIN LATERAL"                                                                          \
    "       (SELECT id, command FROM journal WHERE refers = wanted.id AND settles OFFSET 0)"       \
    "    AS settler ON true"                                                                       \
    "  LEFT JOIN LATERAL"                                                                          \
    "       (SELECT remaining, expires_at FROM hold WHERE id = wanted.id OFFSET 0) AS hold"        \
    "    ON true"

/* $1 the places of the works that want it, $2 what each asks for; not asked when none does. */
MUST_CHECK bool store_ask_works(const struct store_load *load, bool (*wants)(const struct work *),
                                enum array_type type,
                                void (*add)(struct array *, const struct request *),
                                struct store_question *question, struct err *err);

struct param store_param(struct bytes binary);
/* Of a parameter that is an array of one: its element. */
struct param store_only(struct param array);
void store_add_param(struct store_question *question, struct bytes binary);

/* What an answer shows is good until PQclear; these keep it for the batch. False when the arena is
 * full. */
MUST_CHECK bool store_keep_text(const struct store_load *load, struct text view, struct text *out);
MUST_CHECK bool store_keep_bytes(const struct store_load *load, struct bytes view,
                                 struct bytes *out);
bool store_too_large(struct err *err); /* ERR_REJECT; returns false */

#endif
