/*
 * import.c - the verb import: files, one after the other; what is left out goes to the screen and
 * to files; then totals, control totals and the verification.
 */
#include "import/import.h"

#include "base/clock.h"
#include "base/stop.h"
#include "import/totals_pg.h"
#include "ledger/migrate_pg.h"
#include "ledgerctl/ledgerctl.h"
#include "protocol/request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ANSWER_MS = 120 * 1000,
    TOTALS_ANSWER_MS = 3600 * 1000,
    SHOWN_REFUSED = 20,
    FILES_MAX = 256,
    BAR_WIDTH = 24,
    BAR_EVERY_MS = 200,
    LINE_EVERY_MS = 10000,
    PATH_SIZE = 4096,
};

struct importing { /* one run of the verb */
    const struct options *options;
    int64_t at_us;
    struct db *checked; /* a check is one transaction on this, over all files */
    FILE *rejects, *reasons;
    uint64_t refused; /* in this run */
    const char *path; /* of the file at hand, and how it goes */
    uint64_t size, lines_first, position_first, started_ms, shown_ms;
    bool is_terminal;
    int32_t ids[FILES_MAX];
    uint32_t ids_count;
    bool expected_known[EXPECTED_MAX], expected_met[EXPECTED_MAX];
    uint32_t files, totals; /* shown */
};

/* --- progress ---------------------------------------------------------------------------- */

static void show_bar(double part, uint64_t lines, double rate, uint64_t left_s)
{
    char bar[BAR_WIDTH + 1] = "";

    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < part * BAR_WIDTH ? '#' : '.';
    (void)fprintf(
        stderr, "\r[%s] %3.0f%%  line %" PRIu64 "  %.0f lines/s  %" PRIu64 ":%02" PRIu64 " left   ",
        bar, 100 * part, lines, rate, left_s / 60, left_s % 60);
}

static void moved(void *context, const struct progress *progress)
{
    struct importing *importing = context;
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t every_ms = importing->is_terminal ? BAR_EVERY_MS : LINE_EVERY_MS;
    double seconds = (double)(now_ms - importing->started_ms) / 1000;
    double done = (double)(progress->position - importing->position_first);
    double left = (double)(progress->size - progress->position);
    double rate = (double)(progress->line - importing->lines_first) / seconds;
    double part = progress->size > 0 ? (double)progress->position / (double)progress->size : 1;

    if (now_ms - importing->shown_ms < every_ms || done <= 0 || seconds <= 0) return;
    importing->shown_ms = now_ms;
    uint64_t left_s = (uint64_t)(left / done * seconds);
    if (importing->is_terminal)
        show_bar(part, progress->line, rate, left_s);
    else
        (void)fprintf(stderr, "%s: line %" PRIu64 ", %.0f%%, %.0f lines/s, %" PRIu64 " s left\n",
                      importing->path, progress->line, 100 * part, rate, left_s);
}

static void end_bar(const struct importing *importing)
{
    if (importing->is_terminal) (void)fputs("\r\033[K", stderr);
}

/* --- what is left out -------------------------------------------------------------------- */

static bool open_rejects(struct importing *importing, struct err *err)
{
    const char *path = importing->options->rejects;
    char reasons[PATH_SIZE];

    if (path == NULL) return true;
    if (snprintf(reasons, sizeof reasons, "%s.reasons", path) >= (int)sizeof reasons)
        return err_set(err, ERR_FATAL, "could not open the rejects: the name is too long");
    importing->rejects = fopen(path, "ab");
    importing->reasons = fopen(reasons, "ab");
    if (importing->rejects == NULL || importing->reasons == NULL)
        return err_set(err, ERR_FATAL, "could not open %s: %s", path, strerror(errno));
    return true;
}

static void close_rejects(struct importing *importing)
{
    if (importing->rejects != NULL) (void)fclose(importing->rejects);
    if (importing->reasons != NULL) (void)fclose(importing->reasons);
}

static bool write_line(FILE *file, struct bytes line)
{
    bool is_ended = line.size == 0 || line.data[line.size - 1] == '\n';

    return fwrite(line.data, 1, line.size, file) == line.size &&
           (is_ended || fputc('\n', file) != EOF);
}

/* On disk before the import notes that it has passed the line: so none is lost. A file of rejects
 * begins with the header, so that it can be mended and imported as it is. */
static bool write_reject(const struct importing *importing, const struct refused_line *line)
{
    FILE *rejects = importing->rejects;

    return (ftell(rejects) > 0 || write_line(rejects, line->header)) &&
           write_line(rejects, line->raw) && fflush(rejects) == 0 &&
           fdatasync(fileno(rejects)) == 0 &&
           fprintf(importing->reasons, "%s:%" PRIu64 ": %s\n", line->path, line->number,
                   line->reason) > 0 &&
           fflush(importing->reasons) == 0;
}

static bool refused(void *context, const struct refused_line *line, struct err *err)
{
    struct importing *importing = context;

    if (importing->refused++ < SHOWN_REFUSED) {
        end_bar(importing);
        (void)fprintf(stderr, "%s:%" PRIu64 ": %s\n", line->path, line->number, line->reason);
    } else if (importing->refused == SHOWN_REFUSED + 1) {
        (void)fputs("more is refused, and not shown\n", stderr);
    }
    if (importing->rejects == NULL || write_reject(importing, line)) return true;
    return err_set(err, ERR_FATAL, "could not write %s: %s", importing->options->rejects,
                   strerror(errno));
}

/* --- totals ------------------------------------------------------------------------------ */

/* What --expect says of an asset; false when it says nothing. */
static bool expectation(const char *text, const struct total *total, int64_t *minor, bool *is_sum)
{
    size_t length = strlen(total->asset);
    struct amount amount;

    if (strncmp(text, total->asset, length) != 0 || text[length] != '=') return false;
    *is_sum = amount_parse(text_of(text + length + 1), &amount) &&
              amount_to_minor(&amount, total->scale, minor);
    return true;
}

static void compare_total(struct importing *importing, const struct total *total)
{
    for (uint32_t i = 0; i < importing->options->expected_count; i++) {
        const char *expected = importing->options->expected[i];
        char text[TOTAL_TEXT_SIZE];
        int64_t minor = 0;
        bool is_sum;
        if (!expectation(expected, total, &minor, &is_sum)) continue;
        (void)snprintf(text, sizeof text, "%" PRId64, minor);
        importing->expected_met[i] = is_sum && strcmp(text, total->balance) == 0;
        if (!importing->expected_met[i])
            (void)complain(EXIT_FAILED, "control total: the accounts hold %s %s, expected was %s",
                           total->asset, total->decimal, expected);
        importing->expected_known[i] = true;
    }
}

static bool show_total(void *context, const struct total *total)
{
    struct importing *importing = context;

    compare_total(importing, total);
    if (importing->options->output == OUTPUT_JSON)
        printf("%s{\"asset\":\"%s\",\"accounts\":%" PRIu64 ",\"imported\":%" PRIu64
               ",\"balance\":%s}",
               importing->totals++ > 0 ? "," : "", total->asset, total->accounts, total->imported,
               total->balance);
    else
        printf("%-12s %12" PRIu64 " %20" PRIu64 " %24s\n", total->asset, total->accounts,
               total->imported, total->decimal);
    return true;
}

static bool expectations_met(const struct importing *importing)
{
    bool met = true;

    for (uint32_t i = 0; i < importing->options->expected_count; i++) {
        met = met && importing->expected_met[i];
        if (!importing->expected_known[i])
            (void)complain(EXIT_FAILED, "control total: no account holds what --expect %s says",
                           importing->options->expected[i]);
    }
    return met;
}

/* Of a check: as they would be. */
static enum exit_code show_totals(struct importing *importing)
{
    bool json = importing->options->output == OUTPUT_JSON;
    struct err err = {0};
    struct db *db = importing->checked;

    if (json)
        printf("],\"totals\":[");
    else
        printf("\n%-12s %12s %20s %24s\n", "ASSET", "ACCOUNTS", "IMPORTED MOVEMENTS", "BALANCES");
    bool ok = (db != NULL || open_db(importing->options, TOTALS_ANSWER_MS, &db, &err)) &&
              totals_read(db, importing->ids, importing->ids_count, show_total, importing, &err);
    if (db != importing->checked) db_close(db);
    if (json) printf("]}\n");
    if (!ok) return complain_err(&err);
    return expectations_met(importing) ? EXIT_DONE : EXIT_FAILED;
}

/* --- one file ---------------------------------------------------------------------------- */

static bool format_of(const struct options *options, const char *path, enum format *out)
{
    static const struct {
        const char *name;
        enum format format;
    } names[] = {{"csv", FORMAT_CSV},
                 {"json", FORMAT_JSON},
                 {"jsonl", FORMAT_JSON},
                 {"ndjson", FORMAT_JSON}};
    const char *name = options->format, *dot = strrchr(path, '.');

    if (name == NULL && dot != NULL) name = dot + 1;
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i].name) != 0) continue;
        *out = names[i].format;
        return true;
    }
    return false;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static void show_file(struct importing *importing, const char *name,
                      const struct progress *progress, double seconds)
{
    uint64_t lines = progress->applied + progress->repeated + progress->refused;

    end_bar(importing);
    if (importing->options->output == OUTPUT_JSON)
        printf("%s{\"name\":\"%s\",\"lines\":%" PRIu64 ",\"applied\":%" PRIu64
               ",\"repeated\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"ended\":%s}",
               importing->files++ > 0 ? "," : "", name, lines, progress->applied,
               progress->repeated, progress->refused, progress->ended ? "true" : "false");
    else
        printf("%s: %" PRIu64 " lines: %" PRIu64 " applied, %" PRIu64 " repeated, %" PRIu64
               " refused, in %.1f s%s\n",
               name, lines, progress->applied, progress->repeated, progress->refused, seconds,
               importing->options->check ? "; nothing was changed"
               : progress->ended         ? ""
                                         : "; not at its end");
}

static bool run_file(struct importing *importing, struct import *import, const char *name,
                     bool *stopped, struct err *err)
{
    const struct progress *progress = import_progress(import);

    importing->size = progress->size;
    importing->lines_first = progress->line;
    importing->position_first = progress->position;
    importing->started_ms = importing->shown_ms = clock_monotonic_ms();
    importing->ids[importing->ids_count++] = progress->id;
    bool was_done = progress->ended;
    bool ok = import_run(import, stopped, err);
    double seconds = (double)(clock_monotonic_ms() - importing->started_ms) / 1000;
    show_file(importing, name, progress, seconds);
    if (was_done) (void)fprintf(stderr, "%s: was imported before\n", name);
    return ok;
}

/* A connection for one file, or of a check the same for all. */
static bool open_one(struct importing *importing, struct db **db, struct err *err)
{
    *db = importing->checked;
    if (*db != NULL) return true;
    if (!open_db(importing->options, ANSWER_MS, db, err)) return false;
    if (importing->options->check) importing->checked = *db;
    return migrate_check(*db, err) && (!importing->options->check || import_begin_check(*db, err));
}

static enum exit_code import_file(struct importing *importing, const char *path)
{
    const struct options *options = importing->options;
    const char *name = options->name != NULL ? options->name : base_name(path);
    struct import_options wanted = {.path = path,
                                    .name = text_of(name),
                                    .caller = text_of(options->app_id),
                                    .trace_id = text_of(options->trace_id),
                                    .at_us = importing->at_us,
                                    .prefix = options->prefix,
                                    .event_encoding = (enum encoding)options->event_encoding,
                                    .events = options->events,
                                    .check = options->check,
                                    .keep_going = options->keep_going || options->check,
                                    .changed = options->changed,
                                    .context = importing,
                                    .refused = refused,
                                    .moved = moved};
    struct import *import = NULL;
    struct err err = {0};
    struct db *db = NULL;
    bool stopped = false;

    if (options->app_id == NULL) wanted.caller = TEXT_LITERAL("import");
    if (!id_is_valid(wanted.name))
        return complain(EXIT_USAGE, "'%s' is no name: 1 to 64 of A-Z a-z 0-9 . _ : -; say --name",
                        name);
    if (!format_of(options, path, &wanted.format))
        return complain(EXIT_USAGE, "%s: say --format csv or json", path);
    importing->path = path;
    bool ok = open_one(importing, &db, &err) && import_open(&import, &wanted, db, &err) &&
              run_file(importing, import, name, &stopped, &err);
    import_close(import);
    if (db != importing->checked) db_close(db);
    if (!ok) return complain_err(&err);
    return stopped ? EXIT_FAILED : EXIT_DONE;
}

/* --- the verb ---------------------------------------------------------------------------- */

static enum exit_code check_usage(struct importing *importing, char **arguments)
{
    const struct options *options = importing->options;
    bool several = arguments[1] != NULL;

    if (several && options->name != NULL) return complain(EXIT_USAGE, "--name is for one file");
    if (several && options->rejects != NULL)
        return complain(EXIT_USAGE, "--rejects is for one file");
    if (options->at != NULL && !time_parse(text_of(options->at), &importing->at_us))
        return complain(EXIT_USAGE, "--at is an RFC 3339 time, as 2026-11-23T07:00:00Z");
    for (uint32_t i = 0; i < options->expected_count; i++) {
        const char *equals = strchr(options->expected[i], '=');
        struct amount amount;
        if (equals == NULL || !amount_parse(text_of(equals + 1), &amount))
            return complain(EXIT_USAGE, "--expect is an asset and a sum, as EUR=12.34");
    }
    return EXIT_DONE;
}

enum exit_code run_import_files(const struct options *options, const char *verb, char **arguments)
{
    struct importing importing = {.options = options, .is_terminal = isatty(STDERR_FILENO) != 0};
    enum exit_code code = check_usage(&importing, arguments), totals;
    struct err err = {0};

    if (code != EXIT_DONE) return code;
    if (!stop_install(&err) || !open_rejects(&importing, &err)) {
        close_rejects(&importing);
        return complain_err(&err);
    }
    if (options->output == OUTPUT_JSON) printf("{\"files\":[");
    for (; code == EXIT_DONE && *arguments != NULL; arguments++)
        code = import_file(&importing, *arguments);
    close_rejects(&importing);
    totals = show_totals(&importing);
    db_close(importing.checked); /* which rolls it back; NULL is fine */
    if (code == EXIT_DONE) code = totals;
    if (options->check) return code == EXIT_DONE && importing.refused > 0 ? EXIT_FAILED : code;
    if (code == EXIT_DONE && !options->no_verify) code = run_verify(options, verb, NULL);
    return code;
}
