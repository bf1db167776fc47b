/*
 * store_save_internal_pg.h - what the parts of store_save share: rows are gathered in save->rows,
 * each column becomes an array, and a statement over the arrays is sent. Of one row the elements
 * are sent instead.
 */
#ifndef LEDGER_STORE_SAVE_INTERNAL_PG_H
#define LEDGER_STORE_SAVE_INTERNAL_PG_H

#include "ledger/store_internal_pg.h"

enum { SAVE_PARAMS_MAX = 32 };

struct save {
    const struct store *store;
    struct db *db;
    const struct batch *batch;
    struct answers *answers;
    struct param params[SAVE_PARAMS_MAX]; /* of the next statement; the first of them are arrays */
    uint32_t params_count, arrays_count;
    const void **rows; /* of the next statement; room for all works, or all accounts */
    uint32_t rows_count;
};

bool save_too_large(struct err *err); /* ERR_REJECT; returns false */
MUST_CHECK bool save_add_param(struct save *save, struct bytes binary, struct err *err);
/* Before any parameter that is none. */
MUST_CHECK bool save_add_array(struct save *save, struct bytes binary, struct err *err);
/* One array for each column, over save->rows. */
MUST_CHECK bool save_add_columns(struct save *save, const enum array_type *types, uint32_t count,
                                 void (*add)(struct array *, const void *row, uint32_t column),
                                 struct err *err);
/* rows: how many the statement must touch, or ANSWER_ANY. */
MUST_CHECK bool save_send(struct save *save, const struct statement *statement, uint64_t rows,
                          struct err *err);
/* Of one row its elements, for a statement made for that: it costs the server less. */
MUST_CHECK bool save_send_either(struct save *save, const struct statement *many,
                                 const struct statement *one, uint64_t rows, struct err *err);

bool save_is_decided(const struct work *work);
bool save_is_system(const struct side *side);
void save_add_bytes_or_null(struct array *array, struct bytes value);
void save_add_hash(struct array *array, const struct sha256 *hash);

/* The parts. None has anything to send when nothing of its kind was decided. */
MUST_CHECK bool save_users(struct save *save, struct err *err);
MUST_CHECK bool save_changed_users(struct save *save, struct err *err);
MUST_CHECK bool save_opened(struct save *save, struct err *err);
MUST_CHECK bool save_changed(struct save *save, struct err *err);
MUST_CHECK bool save_deltas(struct save *save, struct err *err);
MUST_CHECK bool save_placed_holds(struct save *save, struct err *err);
MUST_CHECK bool save_changed_holds(struct save *save, struct err *err);
MUST_CHECK bool save_scheduled(struct save *save, struct err *err);
MUST_CHECK bool save_ended(struct save *save, struct err *err);
MUST_CHECK bool save_journal(struct save *save, struct err *err);

#endif
