/*
 * entry_pg.h - an entry of a chain as it stands in the journal: the statement's columns, and a row
 * of them in the form that is hashed.
 */
#ifndef LEDGER_ENTRY_PG_H
#define LEDGER_ENTRY_PG_H

#include "base/query_pg.h"
#include "ledger/chain.h"

#define ENTRY_FIELDS                                                                               \
    "id, created_at, command, amount, refers, settles, batch, leg::int8, trace_id, caller, key,"   \
    " fingerprint, metadata, floor, import::int8, scheduled"

/* One side of the applied rows of the journal that it has a number in, in order of that. */
#define ENTRY_SIDE(name, other, condition)                                                         \
    "(SELECT " name "_hash AS hash, '" name "'::text AS direction, " name "_seq AS seq,"           \
    "        " name "_balance AS balance, " name "_held AS held, " other                           \
    "        AS other, " ENTRY_FIELDS "  FROM journal WHERE result IS NULL AND " name              \
    "_seq IS NOT NULL AND " condition " ORDER BY " name "_seq)"

/* The movements between two system accounts, which are in no chain: as the debited one's, without
 * numbers and balances. */
#define ENTRY_UNCHAINED(condition)                                                                 \
    "(SELECT 'debit'::text AS direction, NULL::int8 AS seq, NULL::int8 AS balance,"                \
    "        NULL::int8 AS held, debit AS account, credit AS other, " ENTRY_FIELDS                 \
    "   FROM journal WHERE result IS NULL AND debit_seq IS NULL AND credit_seq IS NULL"            \
    "    AND debit IS NOT NULL AND credit IS NOT NULL AND " condition

/* Of step, a union of the above, and own, its account: every field of enum chain_field in order. */
#define ENTRY_COLUMNS                                                                              \
    "own.id, own.asset, CASE WHEN step.command = 1 THEN own.user_id END, step.direction,"          \
    " step.seq, step.balance, step.held, step.id, step.created_at, step.command, step.amount,"     \
    " other.id, step.refers, step.settles, step.batch, step.leg, step.trace_id, step.caller,"      \
    " step.key, step.fingerprint, step.metadata, step.floor,"                                      \
    " step.import, step.scheduled"
#define ENTRY_JOIN_OWN                                                                             \
    " LEFT JOIN LATERAL (SELECT id, asset, user_id FROM account"                                   \
    "                WHERE number BETWEEN step.account AND step.account"                           \
    "                ORDER BY number DESC LIMIT 1) AS own ON true"
#define ENTRY_JOIN_OTHER                                                                           \
    " LEFT JOIN LATERAL (SELECT id FROM account WHERE number BETWEEN step.other AND step.other"    \
    "                     ORDER BY number DESC LIMIT 1) AS other ON true"

struct entry_row { /* views into the result, and what had to be put into another form */
    struct chain_entry entry;
    uint8_t created[CHAIN_NUMBER_SIZE];
};

/* The fields of a row, from this column on. Whatever somebody wrote into the table is taken. */
void entry_read(const PGresult *rows, int row, int first_column, struct entry_row *out);

/* One of its cells that is 32 bytes; false: it is not. */
MUST_CHECK bool entry_read_hash(const PGresult *rows, int row, int column, struct sha256 *out);

#endif
