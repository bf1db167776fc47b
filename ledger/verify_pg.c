/*
 * verify_pg.c - the checks that the server can make by itself: each is one query, whose rows are
 * the sentences about what is wrong. Sums are numeric, so that no sum overflows.
 */
#include "ledger/verify_pg.h"
#include "ledger/verify_internal_pg.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { SENTENCE_SIZE = 512 };

static const struct statement begin = {"verify_begin",
                                       "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"};
static const struct statement commit = {"verify_commit", "COMMIT"};

static const struct statement count = {"verify_count",
                                       "SELECT (SELECT count(*) FROM account),"
                                       "       (SELECT count(*) FROM journal),"
                                       "       (SELECT count(*) FROM posting),"
                                       "       (SELECT count(*) FROM outbox WHERE kind = 0)"};

/* What an account has: its row, and for a system account what is not rolled up yet. A delta or a
 * posting of an account that does not exist comes out with a name made of its number. */
#define HOLDINGS                                                                                   \
    "WITH part AS (SELECT number, balance, 0 AS posted FROM account"                               \
    "              UNION ALL SELECT account, delta, 0 FROM account_delta"                          \
    "              UNION ALL SELECT account, 0, amount FROM posting),"                             \
    " holding AS (SELECT number, sum(balance) AS balance, sum(posted) AS posted"                   \
    "               FROM part GROUP BY number)"

static const struct statement checks[] = {
    {"verify_identities",
     "SELECT format('account %s, number %s: %s rows, %s identities', id, number,"
     "              count(DISTINCT account.ctid), count(DISTINCT account_identity.ctid))"
     "  FROM account FULL JOIN account_identity USING (id, number)"
     " GROUP BY id, number"
     " HAVING count(account.ctid) <> 1 OR count(account_identity.ctid) <> 1"},
    {"verify_balances",
     HOLDINGS "SELECT format('account %s holds %s, but its postings sum to %s',"
              "              coalesce(id, 'number ' || number), holding.balance, posted)"
              "  FROM holding LEFT JOIN account USING (number)"
              " WHERE holding.balance <> posted OR id IS NULL"},
    {"verify_floors", "SELECT format('account %s holds %s, of which %s are held; its floor is %s',"
                      "              id, balance, held, floor)"
                      "  FROM account WHERE kind = 0 AND balance::numeric - held < floor"},
    {"verify_floors_set",
     "SELECT format('account %s: its floor is %s, but it was last set to %s', id, account.floor,"
     "              coalesce(last.floor, 0))"
     "  FROM account LEFT JOIN (SELECT DISTINCT ON (credit) credit AS number, floor FROM journal"
     "                           WHERE command = 14 AND result IS NULL"
     "                           ORDER BY credit, credit_seq DESC) AS last USING (number)"
     " WHERE account.floor <> coalesce(last.floor, 0)"},
    {"verify_asset_postings",
     "SELECT format('asset %s: all postings sum to %s', asset, sum(amount))"
     "  FROM posting JOIN account ON number = account"
     " GROUP BY asset HAVING sum(amount) <> 0"},
    {"verify_asset_balances",
     HOLDINGS "SELECT format('asset %s: all balances sum to %s', asset, sum(holding.balance))"
              "  FROM holding JOIN account USING (number)"
              " GROUP BY asset HAVING sum(holding.balance) <> 0"},
    {"verify_sides",
     "SELECT format('transaction %s takes %s from account %s and gives %s to account %s',"
     "              journal.id, debited.asset, debited.id, credited.asset, credited.id)"
     "  FROM journal JOIN account AS debited ON debited.number = debit"
     "               JOIN account AS credited ON credited.number = credit"
     " WHERE result IS NULL AND amount IS NOT NULL AND debited.asset <> credited.asset"},
    {"verify_sequences",
     "SELECT CASE WHEN seq = coalesce(last_seq, 0) + 1"
     "       THEN format('account %s: transaction %s moves %s and leaves %s, after %s',"
     "                   id, transaction, amount, balance, coalesce(last_balance, 0))"
     "       ELSE format('account %s: transaction %s has sequence number %s, after %s',"
     "                   id, transaction, coalesce(seq::text, 'none'), coalesce(last_seq, 0)) END"
     "  FROM (SELECT id, transaction, amount, entry.seq, entry.balance,"
     "               lag(entry.seq) OVER history AS last_seq,"
     "               lag(entry.balance) OVER history AS last_balance"
     "          FROM entry JOIN account ON number = entry.account WHERE kind = 0"
     "        WINDOW history AS (PARTITION BY number ORDER BY entry.seq)) AS step"
     " WHERE seq IS DISTINCT FROM coalesce(last_seq, 0) + 1"
     "    OR balance IS DISTINCT FROM coalesce(last_balance, 0)::numeric + amount"},
    {"verify_last",
     "SELECT format('account %s: its sequence number is %s, but that of its last entry %s',"
     "              id, account.seq, coalesce(last.seq, 0))"
     "  FROM account LEFT JOIN (SELECT account AS number, max(seq) AS seq FROM entry"
     "                           GROUP BY account) AS last USING (number)"
     " WHERE account.seq <> coalesce(last.seq, 0)"},
    {"verify_held",
     "SELECT format('account %s: %s are held, but its holds sum to %s', id, held,"
     "              coalesce(remaining, 0))"
     "  FROM account LEFT JOIN (SELECT account AS number, sum(remaining) AS remaining FROM hold"
     "                           GROUP BY account) AS holds USING (number)"
     " WHERE held <> coalesce(remaining, 0)"},
    {"verify_holds",
     "SELECT format('hold %s: %s remain of %s, of which %s were captured%s', hold.id, remaining,"
     "              hold.amount, coalesce(captured, 0),"
     "              CASE WHEN settled THEN ', and it was settled' ELSE '' END)"
     "  FROM hold LEFT JOIN (SELECT refers AS id, bool_or(settles) AS settled,"
     "                              sum(amount) FILTER (WHERE command = 6) AS captured"
     "                         FROM journal WHERE command IN (6, 7, 8) AND result IS NULL"
     "                        GROUP BY refers) AS ends USING (id)"
     "            LEFT JOIN journal AS placed ON placed.id = hold.id AND placed.command = 5"
     "                                       AND placed.result IS NULL"
     "                                       AND placed.debit = hold.account"
     "                                       AND placed.amount = hold.amount"
     " WHERE placed.id IS NULL OR coalesce(captured, 0) > hold.amount"
     "    OR remaining <> CASE WHEN settled THEN 0 ELSE hold.amount - coalesce(captured, 0) END"},
};

void verify_differ(const struct verify *verify, const char *format, ...)
{
    char sentence[SENTENCE_SIZE];
    va_list arguments;

    if (verify->report->differences++ >= verify->most) return;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    verify->difference(verify->context, sentence);
}

static bool run(const struct verify *verify, const struct statement *statement, struct err *err)
{
    PGresult *result;

    if (!query_one(verify->db, statement, NULL, 0, &result, err)) return false;
    PQclear(result);
    return true;
}

static bool check(const struct verify *verify, const struct statement *statement, struct err *err)
{
    PGresult *row;

    if (!query_rows_begin(verify->db, statement, NULL, 0, err)) return false;
    while (query_rows_next(verify->db, &row, err)) {
        if (row == NULL) return true;
        verify_differ(verify, "%.*s", TEXT_ARGS(cell_text(row, 0, 0)));
        PQclear(row);
    }
    return false;
}

static bool count_all(const struct verify *verify, struct err *err)
{
    PGresult *row;

    if (!query_one(verify->db, &count, NULL, 0, &row, err)) return false;
    *verify->report = (struct verify_report){.accounts = (uint64_t)cell_int64(row, 0, 0),
                                             .outcomes = (uint64_t)cell_int64(row, 0, 1),
                                             .postings = (uint64_t)cell_int64(row, 0, 2),
                                             .outbox_events = (uint64_t)cell_int64(row, 0, 3)};
    PQclear(row);
    return true;
}

static bool run_all(const struct verify *verify, struct err *err)
{
    if (!run(verify, &begin, err) || !count_all(verify, err)) return false;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (!check(verify, &checks[i], err)) return false;
    return verify_outbox(verify, err) && run(verify, &commit, err);
}

bool verify_run(struct db *db, uint32_t most,
                void (*difference)(void *context, const char *sentence), void *context,
                struct verify_report *report, struct err *err)
{
    const struct verify verify = {db, report, most, difference, context};

    *report = (struct verify_report){0};
    if (run_all(&verify, err)) return true;
    query_abandon(db);
    return err_wrap(err, "could not verify the books");
}
