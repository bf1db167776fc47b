/*
 * unpublished_pg.c - see unpublished_pg.h. Reads of the index what it must to find one row. It does
 * not look at how far a read that was begun had come: that would be to read all of it.
 */
#include "outbox/unpublished_pg.h"

#include "base/query_pg.h"

#include <string.h>

/* A sink seen for the first time begins at the oldest row. */
static const struct statement LOOK = {
    "outbox_unpublished",
    "WITH cursor AS MATERIALIZED"
    " (SELECT COALESCE(max(snapshot::text), '1:1:')::pg_snapshot AS snapshot,"
    "         COALESCE(max(saved_at), now()) AS saved_at"
    "    FROM outbox_cursor WHERE sink = $1::text)"
    " SELECT EXISTS (SELECT FROM outbox"
    "                 WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM cursor))"
    "     OR EXISTS (SELECT FROM outbox WHERE xid = ANY"
    "                 (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM cursor))),"
    "        GREATEST(extract(epoch FROM now() - saved_at) * 1000, 0)::bigint"
    "   FROM cursor"};

bool unpublished_look(struct db *db, const char *sink, struct unpublished *out, struct err *err)
{
    struct param params[] = {{sink, (uint32_t)strlen(sink)}};
    PGresult *result;

    if (!query_one(db, &LOOK, params, 1, &result, err)) return false;
    out->some = cell_bool(result, 0, 0);
    out->saved_ms = (uint64_t)cell_int64(result, 0, 1);
    PQclear(result);
    return true;
}
