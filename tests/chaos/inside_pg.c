/*
 * inside_pg.c - the journal and the accounts as they are in the end, for the checker; and numbers
 * that tell whether a fault has taken place.
 */
#include "base/query_pg.h"
#include "tests/chaos/chaos.h"

#include <stdlib.h>
#include <string.h>

static const struct statement JOURNAL = {
    "chaos_journal",
    "SELECT journal.key, journal.id, journal.command, journal.result, debit.id, credit.id,"
    "       coalesce(amount, 0), coalesce(debit_seq, 0), coalesce(debit_balance, 0),"
    "       coalesce(credit_seq, 0), coalesce(credit_balance, 0),"
    "       journal.created_at"
    "  FROM journal LEFT JOIN account AS debit ON debit.number = journal.debit"
    "  LEFT JOIN account AS credit ON credit.number = journal.credit"
    " WHERE caller = 'chaos' ORDER BY journal.created_at, journal.id"};
static const struct statement ACCOUNTS = {
    "chaos_accounts", "SELECT id, balance, seq FROM account WHERE kind = 0 ORDER BY number"};
static const struct statement WORLDS = {
    "chaos_worlds", "SELECT (SELECT coalesce(sum(balance), 0) FROM account WHERE kind = 1)::int8"
                    "     + (SELECT coalesce(sum(delta), 0) FROM account_delta)::int8"};

static struct db *open_db(const char *url, uint32_t answer_ms, struct err *err)
{
    struct db_options options = {.url = url,
                                 .application_name = "chaos",
                                 .connect_timeout_ms = 3000,
                                 .answer_timeout_ms = answer_ms};
    struct db *db = NULL;

    if (db_open(&db, &options, err)) return db;
    db_close(db);
    return NULL;
}

int64_t inside_number(const char *url, const char *sql)
{
    int64_t number = -1;
    PGconn *connection = PQconnectdb(url); /* not through our own code, which is under test */
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
        number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    else if (PQresultStatus(result) == PGRES_COMMAND_OK)
        number = 0;
    PQclear(result);
    PQfinish(connection);
    return number;
}

static int32_t account_of(const PGresult *row, int column)
{
    char text[64];

    if (cell_is_null(row, 0, column)) return NO_ACCOUNT;
    if (!text_copy(cell_text(row, 0, column), text, sizeof text)) return NO_ACCOUNT;
    if (strncmp(text, "account-", 8) != 0) return NO_ACCOUNT;
    return (int32_t)strtol(text + 8, NULL, 10);
}

static bool command_of_number(int16_t number, enum command_type *out)
{
    for (int type = 0; type < COMMANDS_COUNT; type++) {
        *out = (enum command_type)type;
        if (command_changes(*out) && command_number(*out) == number) return true;
    }
    return false;
}

static void add_journal(const PGresult *row, struct journal_row *out)
{
    char key[64];
    bool known;

    if (!text_copy(cell_text(row, 0, 0), key, sizeof key) || strncmp(key, "key-", 4) != 0)
        give_up("a foreign row in the journal");
    *out = (struct journal_row){.key = (uint32_t)strtoul(key + 4, NULL, 10),
                                .id = cell_uuid(row, 0, 1),
                                .debit = account_of(row, 4),
                                .credit = account_of(row, 5),
                                .amount = cell_int64(row, 0, 6),
                                .debit_seq = cell_int64(row, 0, 7),
                                .debit_balance = cell_int64(row, 0, 8),
                                .credit_seq = cell_int64(row, 0, 9),
                                .credit_balance = cell_int64(row, 0, 10),
                                .created_us = cell_time_us(row, 0, 11),
                                .result = RESULT_APPLIED};
    known = command_of_number(cell_int16(row, 0, 2), &out->type);
    if (known && !cell_is_null(row, 0, 3)) known = result_parse(cell_text(row, 0, 3), &out->result);
    if (!known) give_up("a row in the journal that is not known here");
}

static void read_journal(struct db *db, struct history *history)
{
    uint32_t size = 0;
    struct err err = {0};
    PGresult *row;

    must(query_rows_begin(db, &JOURNAL, NULL, 0, &err), &err);
    for (;;) {
        must(query_rows_next(db, &row, &err), &err);
        if (row == NULL) break;
        if (history->journal_count == size) {
            size = size == 0 ? 65536 : size * 2;
            void *larger = realloc(history->journal, size * sizeof *history->journal);
            if (larger == NULL) give_up("out of memory for the journal");
            history->journal = larger;
        }
        add_journal(row, &history->journal[history->journal_count++]);
        PQclear(row);
    }
}

static void read_accounts(struct db *db, struct history *history)
{
    struct err err = {0};
    PGresult *result;

    must(query_one(db, &ACCOUNTS, NULL, 0, &result, &err), &err);
    uint32_t count = (uint32_t)PQntuples(result);
    history->rows = calloc(count + 1, sizeof *history->rows);
    if (history->rows == NULL) give_up("out of memory for the accounts");
    for (uint32_t i = 0; i < count; i++) {
        char id[64];
        if (!text_copy(cell_text(result, (int)i, 0), id, sizeof id) ||
            strncmp(id, "account-", 8) != 0)
            give_up("a foreign account");
        history->rows[i] = (struct account_row){.account = (int32_t)strtol(id + 8, NULL, 10),
                                                .balance = cell_int64(result, (int)i, 1),
                                                .seq = cell_int64(result, (int)i, 2)};
    }
    PQclear(result);
    must(query_one(db, &WORLDS, NULL, 0, &result, &err), &err);
    history->rows[count] =
        (struct account_row){.account = NO_ACCOUNT, .balance = cell_int64(result, 0, 0)};
    history->rows_count = count + 1;
    PQclear(result);
}

void inside_read(struct history *history)
{
    struct err err = {0};
    struct db *db = open_db(stage.urls[SERVER_POSTGRES], 120000, &err);

    must(db != NULL, &err);
    must(db_run(db, "BEGIN ISOLATION LEVEL REPEATABLE READ", &err), &err);
    read_journal(db, history);
    read_accounts(db, history);
    db_close(db);
}
