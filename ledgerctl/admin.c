/*
 * admin.c - verbs that care for the database: migrate, verify, rebase.
 */
#include "ledger/migrate_pg.h"
#include "ledger/verify_pg.h"
#include "ledgerctl/ledgerctl.h"
#include "outbox/outbox_pg.h"

#include <inttypes.h>
#include <stdio.h>
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

static void show_difference(void *context, const char *sentence)
{
    const struct options *options = context;

    (void)fprintf(options->output == OUTPUT_JSON ? stderr : stdout, "%s\n", sentence);
}

enum exit_code run_verify(const struct options *options, const char *verb, char **arguments)
{
    struct verify_report report = {0};
    struct options shown = *options;
    struct err err = {0};
    struct db *db = NULL;
    bool ok;

    (void)verb;
    (void)arguments;
    if (isatty(STDERR_FILENO)) (void)fputs("verifying ...\n", stderr);
    ok = open_db(options, VERIFY_ANSWER_MS, &db, &err) && migrate_check(db, &err) &&
         verify_run(db, SHOWN_DIFFERENCES, show_difference, &shown, &report, &err);
    db_close(db);
    if (!ok) return complain_err(&err);
    if (options->output == OUTPUT_JSON)
        printf("{\"accounts\":%" PRIu64 ",\"outcomes\":%" PRIu64 ",\"postings\":%" PRIu64
               ",\"outbox_events\":%" PRIu64 ",\"differences\":%" PRIu64 "}\n",
               report.accounts, report.outcomes, report.postings, report.outbox_events,
               report.differences);
    else
        printf("%" PRIu64 " accounts, %" PRIu64 " outcomes, %" PRIu64 " postings, %" PRIu64
               " events in the outbox: %s\n",
               report.accounts, report.outcomes, report.postings, report.outbox_events,
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
