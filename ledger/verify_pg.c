/*
 * verify_pg.c - the checks that the server can make by itself, each one query, whose rows are the
 * sentences about what is wrong (sums are numeric, so that no sum overflows); and the jobs that
 * share the work: each takes the next check, longest first, then all walk the chains.
 */
#include "ledger/verify_pg.h"

#include "base/clock.h"
#include "ledger/verify_internal_pg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE_SIZE = 512, SNAPSHOT_MAX = 100, PROGRESS_EVERY_MS = 100 };

static const struct statement begin = {"verify_begin",
                                       "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"};

static const struct statement export = {"verify_export", "SELECT pg_export_snapshot()"};

static const struct statement counts = {
    "verify_count", "SELECT (SELECT count(*) FROM account), count(*),"
                    "       2 * count(*) FILTER (WHERE result IS NULL AND amount IS NOT NULL"
                    "                              AND debit IS NOT NULL AND credit IS NOT NULL),"
                    "       count(debit_seq) + count(credit_seq),"
                    "       (SELECT count(*) FROM checkpoint),"
                    "       (SELECT count(*) FROM outbox WHERE kind = 0)"
                    "  FROM journal"};

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
    {"verify_scheduled",
     "SELECT format('scheduled command %s: %s', id,"
     "              CASE WHEN accepted.id IS NULL THEN 'the journal does not say that it was'"
     "                   ELSE 'it is not kept' END)"
     "  FROM scheduled FULL JOIN (SELECT id FROM journal WHERE result = 'scheduled') AS accepted"
     "       USING (id)"
     " WHERE accepted.id IS NULL OR scheduled.id IS NULL"},
    {"verify_ends",
     "SELECT format('scheduled command %s: %s', id,"
     "              CASE WHEN scheduled.id IS NULL THEN 'there is none, but it was ended'"
     "                   WHEN done THEN 'it is done, but nothing ended it'"
     "                   WHEN ender.id IS NOT NULL THEN 'it is not done, but it was ended by '"
     "                                                  || ender.by END)"
     "  FROM scheduled FULL JOIN (SELECT scheduled AS id, id AS by FROM journal"
     "                             WHERE scheduled IS NOT NULL) AS ender USING (id)"
     " WHERE scheduled.id IS NULL OR done <> (ender.id IS NOT NULL)"},
    {"verify_executions",
     "SELECT format('scheduled command %s is of another kind or caller than its execution %s',"
     "              accepted.id, ender.id)"
     "  FROM journal AS ender JOIN journal AS accepted ON accepted.id = ender.scheduled"
     " WHERE ender.command <> 15 AND (accepted.command, accepted.caller, accepted.key)"
     "                            <> (ender.command, ender.caller, ender.key)"},
};

void verify_differ(const struct verify *verify, const char *format, ...)
{
    struct verify_shared *shared = verify->shared;
    char sentence[SENTENCE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    (void)pthread_mutex_lock(&shared->lock);
    shared->report->differences++;
    if (shared->differences[verify->check]++ < shared->options->most)
        shared->options->difference(shared->options->context, sentence);
    (void)pthread_mutex_unlock(&shared->lock);
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

static bool count_all(const struct verify *verify, struct verify_report *report, struct err *err)
{
    PGresult *row;

    if (!query_one(verify->db, &counts, NULL, 0, &row, err)) return false;
    *report = (struct verify_report){.accounts = (uint64_t)cell_int64(row, 0, 0),
                                     .outcomes = (uint64_t)cell_int64(row, 0, 1),
                                     .postings = (uint64_t)cell_int64(row, 0, 2),
                                     .entries = (uint64_t)cell_int64(row, 0, 3),
                                     .checkpoints = (uint64_t)cell_int64(row, 0, 4),
                                     .outbox_events = (uint64_t)cell_int64(row, 0, 5)};
    PQclear(row);
    return true;
}

/* --- jobs --- */

struct job {
    struct verify verify;
    const char *snapshot;
    bool ok;
    struct err err;
    pthread_t thread;
};

enum { CHECKS_COUNT = sizeof checks / sizeof checks[0] };
_Static_assert(VERIFY_CHECKS + CHECKS_COUNT <= VERIFY_CHAINS, "each counts its differences");

/* In the order of their numbers: what takes longest first. */
static bool take_checks(struct verify *verify, struct err *err)
{
    while (!atomic_load(&verify->shared->failed)) {
        unsigned taken = atomic_fetch_add(&verify->shared->checks, 1);
        if (taken >= VERIFY_CHECKS + CHECKS_COUNT) break;
        verify->check = taken;
        bool ok = taken == VERIFY_EVENTS ? verify_outbox(verify, err)
                  : taken == VERIFY_CHECKPOINTS
                      ? verify_checkpoints(verify, err)
                      : check(verify, &checks[taken - VERIFY_CHECKS], err);
        if (!ok) return false;
    }
    verify->check = VERIFY_CHAINS;
    return true;
}

/* What the holder of the snapshot sees. */
static bool import(const struct job *job, struct err *err)
{
    char text[2 * SNAPSHOT_MAX];

    (void)snprintf(text, sizeof text, "%s; SET TRANSACTION SNAPSHOT '%s'", begin.sql,
                   job->snapshot);
    return db_run(job->verify.db, text, err);
}

static void *job_run(void *context)
{
    struct job *job = context;
    struct verify *verify = &job->verify;
    const struct verify_options *options = verify->shared->options;

    job->ok = options->open(options->context, &verify->db, &job->err) && import(job, &job->err) &&
              take_checks(verify, &job->err) && verify_chains(verify, &job->err);
    if (!job->ok) atomic_store(&verify->shared->failed, true);
    db_close(verify->db);
    atomic_fetch_add(&verify->shared->ended, 1);
    return NULL;
}

static void show_progress(const struct verify_shared *shared)
{
    const struct verify_options *options = shared->options;

    if (options->progress == NULL) return;
    options->progress(options->context, atomic_load(&shared->done),
                      shared->report->entries + shared->report->outbox_events);
}

/* The first error, when there is one. */
static bool run_jobs(struct verify_shared *shared, const char *snapshot, struct err *err)
{
    struct job jobs[VERIFY_JOBS_MAX];
    uint32_t count = 0;
    bool ok = true;

    for (; count < shared->options->jobs; count++) {
        struct job *job = &jobs[count];
        *job = (struct job){.verify = {.shared = shared, .report = shared->report},
                            .snapshot = snapshot};
        if (pthread_create(&job->thread, NULL, job_run, job) != 0) break;
    }
    if (count == 0) return err_set(err, ERR_FATAL, "could not begin a thread");
    for (; atomic_load(&shared->ended) < count; clock_sleep_ms(PROGRESS_EVERY_MS))
        show_progress(shared);
    for (uint32_t i = 0; i < count; i++) {
        (void)pthread_join(jobs[i].thread, NULL);
        if (ok && !jobs[i].ok) *err = jobs[i].err;
        ok = ok && jobs[i].ok;
    }
    show_progress(shared);
    return ok;
}

static bool export_snapshot(const struct verify *verify, char snapshot[static SNAPSHOT_MAX + 1],
                            struct err *err)
{
    PGresult *row;

    if (!query_one(verify->db, &export, NULL, 0, &row, err)) return false;
    bool ok = text_copy(cell_text(row, 0, 0), snapshot, SNAPSHOT_MAX + 1) &&
              strspn(snapshot, "0123456789ABCDEF-") == strlen(snapshot);
    PQclear(row);
    return ok || err_set(err, ERR_FATAL, "could not share a snapshot: its name is none");
}

bool verify_run(const struct verify_options *options, struct verify_report *report, struct err *err)
{
    struct verify_shared shared = {.options = options, .report = report};
    struct verify holder = {.shared = &shared, .report = report}; /* of the snapshot */
    char snapshot[SNAPSHOT_MAX + 1];

    assert(options->jobs >= 1);
    assert(options->jobs <= VERIFY_JOBS_MAX);
    *report = (struct verify_report){0};
    (void)pthread_mutex_init(&shared.lock, NULL);
    bool ok = options->open(options->context, &holder.db, err) && run(&holder, &begin, err) &&
              export_snapshot(&holder, snapshot, err) && count_all(&holder, report, err) &&
              run_jobs(&shared, snapshot, err);
    db_close(holder.db);
    (void)pthread_mutex_destroy(&shared.lock);
    return ok || err_wrap(err, "could not verify the books");
}
