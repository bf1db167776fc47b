/*
 * admin.c - verbs that care for the database: migrate, verify, rebase.
 */
#include "ledger/migrate_pg.h"
#include "ledger/verify_pg.h"
#include "ledgerctl/ledgerctl.h"
#include "outbox/outbox_pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONNECT_MS = 5000, VERIFY_ANSWER_MS = 3600 * 1000, SHOWN_DIFFERENCES = 20 };

bool open_db(const struct options *options, uint32_t answer_ms, struct db **db, struct err *err)
{
    struct db_options db_options = {.url = options->database_url,
                                    .application_name = "ledgerctl",
                                    .connect_timeout_ms = CONNECT_MS,
                                    .answer_timeout_ms = answer_ms};
    return db_open(db, &db_options, err);
}

static void show_migration(const char *name)
{
    printf("applied %s\n", name);
}

enum exit_code run_migrate(const struct options *options, const char *verb, char **arguments)
{
    struct err err = {0};
    struct db *db = NULL;
    uint32_t applied = 0;
    bool ok;

    (void)verb;
    (void)arguments;
    ok = open_db(options, 600 * 1000, &db, &err) && migrate_run(db, &applied, show_migration, &err);
    db_close(db);
    if (!ok) return complain_err(&err);
    if (applied == 0) printf("the schema is up to date\n");
    return EXIT_DONE;
}

/* --- verify --- */

static bool verify_open(void *context, struct db **out, struct err *err)
{
    return open_db(context, VERIFY_ANSWER_MS, out, err);
}

/* A bar on a terminal, over which differences are written. */
static void wipe_bar(void)
{
    if (isatty(STDERR_FILENO)) (void)fputs("\r\033[K", stderr);
}

static void show_difference(void *context, const char *sentence)
{
    const struct options *options = context;

    wipe_bar();
    (void)fprintf(options->output == OUTPUT_JSON ? stderr : stdout, "%s\n", sentence);
}

/* On what is no terminal: a line for each tenth. */
static void show_progress(void *context, uint64_t done, uint64_t all)
{
    static const char full[] = "########################################";
    static uint64_t shown;
    uint64_t percent = all == 0 ? 100 : done * 100 / all;

    (void)context;
    if (isatty(STDERR_FILENO)) {
        int width = (int)(sizeof full - 1), part = (int)(percent * (sizeof full - 1) / 100);
        (void)fprintf(stderr,
                      "\rverifying [%-*.*s] %3" PRIu64 "%%  %" PRIu64 " of %" PRIu64 " entries",
                      width, part, full, percent, done, all);
        return;
    }
    if (percent / 10 <= shown) return;
    shown = percent / 10;
    (void)fprintf(stderr, "verifying: %" PRIu64 "%%, %" PRIu64 " of %" PRIu64 " entries\n", percent,
                  done, all);
}

static bool parse_jobs(const char *text, uint32_t *out)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    char *end;

    if (text == NULL) {
        *out = cores < 1 ? 1 : cores > VERIFY_JOBS_MAX ? VERIFY_JOBS_MAX : (uint32_t)cores;
        return true;
    }
    unsigned long jobs = strtoul(text, &end, 10);
    *out = (uint32_t)jobs;
    return end != text && *end == '\0' && jobs >= 1 && jobs <= VERIFY_JOBS_MAX;
}

static bool check_schema(const struct options *options, struct err *err)
{
    struct db *db = NULL;
    bool ok = open_db(options, VERIFY_ANSWER_MS, &db, err) && migrate_check(db, err);

    db_close(db);
    return ok;
}

enum exit_code run_verify(const struct options *options, const char *verb, char **arguments)
{
    struct verify_report report = {0};
    struct options shown = *options;
    struct verify_options verify = {.most = SHOWN_DIFFERENCES,
                                    .context = &shown,
                                    .open = verify_open,
                                    .difference = show_difference,
                                    .progress = show_progress};
    struct err err = {0};

    (void)verb;
    (void)arguments;
    if (!parse_jobs(options->jobs, &verify.jobs))
        return complain(EXIT_USAGE, "--jobs is 1 to %d", VERIFY_JOBS_MAX);
    bool ok = check_schema(options, &err) && verify_run(&verify, &report, &err);
    wipe_bar();
    if (!ok) return complain_err(&err);
    if (options->output == OUTPUT_JSON)
        printf("{\"accounts\":%" PRIu64 ",\"outcomes\":%" PRIu64 ",\"postings\":%" PRIu64
               ",\"entries\":%" PRIu64 ",\"outbox_events\":%" PRIu64 ",\"differences\":%" PRIu64
               "}\n",
               report.accounts, report.outcomes, report.postings, report.entries,
               report.outbox_events, report.differences);
    else
        printf("%" PRIu64 " accounts, %" PRIu64 " outcomes, %" PRIu64 " postings, %" PRIu64
               " entries, %" PRIu64 " events in the outbox: %s\n",
               report.accounts, report.outcomes, report.postings, report.entries,
               report.outbox_events,
               report.differences == 0 ? "the books are right" : "THE BOOKS ARE WRONG");
    return report.differences == 0 ? EXIT_DONE : EXIT_FAILED;
}

enum exit_code run_rebase(const struct options *options, const char *verb, char **arguments)
{
    struct err err = {0};
    struct db *db = NULL;
    bool ok;

    (void)verb;
    ok = open_db(options, CONNECT_MS, &db, &err) && migrate_check(db, &err) &&
         outbox_rebase(db, arguments[0], options->from_start, &err);
    db_close(db);
    if (!ok) return complain_err(&err);
    printf("sink %s goes on %s\n", arguments[0],
           options->from_start ? "from the oldest row that the outbox holds"
                               : "with what comes from now on");
    return EXIT_DONE;
}
