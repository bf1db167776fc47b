/*
 * pending_pg.c - see pending_pg.h.
 */
#include "ledger/pending_pg.h"

enum column {
    COLUMN_ID,
    COLUMN_COMMAND,
    COLUMN_DUE_AT,
    COLUMN_IS_DUE,
    COLUMN_CREATED_AT,
    COLUMN_CALLER,
    COLUMN_KEY,
    COLUMN_BODY,
};

static const struct statement list = {
    "pending_list",
    "SELECT id, command, due_at, due_at <= now(), created_at, caller, key, body"
    "  FROM scheduled JOIN journal USING (id) WHERE NOT done ORDER BY due_at, scheduled.number"};

static bool read_row(const PGresult *row, struct pending *out, struct err *err)
{
    int16_t command = cell_int16(row, 0, COLUMN_COMMAND);

    *out = (struct pending){.id = cell_uuid(row, 0, COLUMN_ID),
                            .due_us = cell_time_us(row, 0, COLUMN_DUE_AT),
                            .is_due = cell_bool(row, 0, COLUMN_IS_DUE),
                            .accepted_us = cell_time_us(row, 0, COLUMN_CREATED_AT),
                            .caller = cell_text(row, 0, COLUMN_CALLER),
                            .key = cell_text(row, 0, COLUMN_KEY),
                            .body = cell_bytes(row, 0, COLUMN_BODY)};
    return command_type_of_number(command, &out->type) ||
           err_set(err, ERR_FATAL, "could not read the journal: no command has number %d", command);
}

bool pending_list(struct db *db, void (*each)(void *context, const struct pending *pending),
                  void *context, struct err *err)
{
    struct pending pending;
    PGresult *row;

    if (!query_rows_begin(db, &list, NULL, 0, err)) return false;
    while (query_rows_next(db, &row, err)) {
        if (row == NULL) return true;
        bool ok = read_row(row, &pending, err);
        if (ok) each(context, &pending);
        PQclear(row);
        if (!ok) return false;
    }
    return false;
}
