/*
 * verify.c - the verb verify: the books, the chains and the checkpoints.
 */
#include "ledger/migrate_pg.h"
#include "ledger/verify_pg.h"
#include "ledgerctl/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { VERIFY_ANSWER_MS = 3600 * 1000, SHOWN_DIFFERENCES = 20 };

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
                      "\rverifying [%-*.*s] %3" PRIu64 "%%  %" PRIu64 " of %" PRIu64
                      " entries and events",
                      width, part, full, percent, done, all);
        return;
    }
    if (percent / 10 <= shown) return;
    shown = percent / 10;
    (void)fprintf(stderr,
                  "verifying: %" PRIu64 "%%, %" PRIu64 " of %" PRIu64 " entries and events\n",
                  percent, done, all);
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

static void show_report(const struct options *options, const struct verify_report *report)
{
    if (options->output == OUTPUT_JSON)
        printf("{\"accounts\":%" PRIu64 ",\"outcomes\":%" PRIu64 ",\"postings\":%" PRIu64
               ",\"entries\":%" PRIu64 ",\"checkpoints\":%" PRIu64 ",\"outbox_events\":%" PRIu64
               ",\"differences\":%" PRIu64 "}\n",
               report->accounts, report->outcomes, report->postings, report->entries,
               report->checkpoints, report->outbox_events, report->differences);
    else
        printf("%" PRIu64 " accounts, %" PRIu64 " outcomes, %" PRIu64 " postings, %" PRIu64
               " entries, %" PRIu64 " checkpoints, %" PRIu64 " events in the outbox: %s\n",
               report->accounts, report->outcomes, report->postings, report->entries,
               report->checkpoints, report->outbox_events,
               report->differences == 0 ? "the books are right" : "THE BOOKS ARE WRONG");
}

static bool check(const struct options *options, struct verify_options verify,
                  struct verify_report *report, struct err *err)
{
    struct ed25519 *keys[PUBLIC_KEYS_MAX];
    struct checkpoint *kept = NULL;
    bool ok = keys_open(options, keys, err) &&
              (options->checkpoints == NULL ||
               checkpoints_read(options->checkpoints, &kept, &verify.kept_count, err)) &&
              check_schema(options, err);

    verify.keys = (const struct ed25519 *const *)keys;
    verify.keys_count = options->public_keys_count;
    verify.kept = kept;
    ok = ok && verify_run(&verify, report, err);
    keys_close(keys);
    free(kept);
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
    bool ok = check(options, verify, &report, &err);
    wipe_bar();
    if (!ok) return complain_err(&err);
    if (report.checkpoints > 0 && options->public_keys_count == 0)
        (void)fputs("the signatures of the checkpoints were not checked: no --public-key\n",
                    stderr);
    show_report(options, &report);
    return report.differences == 0 ? EXIT_DONE : EXIT_FAILED;
}
