/*
 * files.c - dead letters to a file and back: export, drop (which exports first), import.
 */
#include "dlq/act.h"
#include "dlq/line.h"
#include "protocol/command.h"

#include "base/clock.h"
#include "base/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_SIZE_MAX = 24 << 20 }; /* LETTER_BODY_MAX in base64, and what is for people */

static bool failed(struct err *err, const char *what, const char *file)
{
    return err_set(err, ERR_FATAL, "could not %s %s: %s", what, file, strerror(errno));
}

/* --- writing ----------------------------------------------------------------------------- */

/* Never over a file that is there. */
static bool file_create(struct act *act, struct err *err)
{
    const char *name = act->tool->file;

    if (strcmp(name, "-") == 0) {
        act->file = stdout;
        return true;
    }
    int file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return failed(err, "create", name);
    act->file = fdopen(file, "w");
    return act->file != NULL || failed(err, "open", name);
}

static bool file_write(struct act *act, const struct letter *letters, uint32_t count,
                       struct err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        struct bytes line;
        arena_reset(&act->scratch);
        if (!line_write(&letters[i], true, &act->scratch, &line))
            return err_set(err, ERR_FATAL, "could not write letter %s: it is too large",
                           letters[i].id);
        if (fwrite(line.data, 1, line.size, act->file) != line.size ||
            fputc('\n', act->file) == EOF)
            return failed(err, "write", act->tool->file);
    }
    if (fflush(act->file) != 0) return failed(err, "write", act->tool->file);
    return true;
}

static bool file_sync(struct act *act, struct err *err)
{
    if (act->file == stdout) return true;
    return fsync(fileno(act->file)) == 0 || failed(err, "write", act->tool->file);
}

static bool file_close(struct act *act, bool ok, struct err *err)
{
    if (act->file == NULL || act->file == stdout) return ok;
    if (fclose(act->file) != 0 && ok) ok = failed(err, "close", act->tool->file);
    return ok;
}

static bool export_page(void *context, struct walk *walk, struct letter *letters, uint32_t count,
                        struct err *err)
{
    struct act *act = context;

    if (!file_write(act, letters, count, err)) return false;
    act->done += count;
    print_progress(act->tool, "exported", walk->seen, walk->total, false);
    return true;
}

enum exit_code run_export(struct tool *tool, int count, char **arguments)
{
    struct walk *walk = NULL;
    struct err err = {0};
    struct act act;

    (void)count;
    tool->file = arguments[0];
    bool ok = act_open(&act, tool, "export", &err) && walk_open(&walk, tool, false, &err) &&
              file_create(&act, &err) &&
              (walk->audit == NULL || act_begin(&act, walk->audit, &err)) &&
              walk_run(walk, export_page, &act, &err) && file_sync(&act, &err);
    ok = file_close(&act, ok, &err);
    if (ok) print_progress(tool, "exported", act.done, act.done, true);
    enum exit_code code = act_end(&act, walk == NULL ? NULL : walk->audit, ok, "exported", &err);
    walk_close(walk);
    act_close(&act);
    return code;
}

/* --- drop -------------------------------------------------------------------------------- */

static bool drop_page(void *context, struct walk *walk, struct letter *letters, uint32_t count,
                      struct err *err)
{
    struct act *act = context;
    struct tool *tool = act->tool;
    uint64_t left = tool->limit == 0 ? UINT64_MAX : tool->limit - act->listed;

    if (count >= left) walk->enough = true;
    if (count > left) count = (uint32_t)left;
    act->listed += count;
    for (uint32_t i = 0; i < count && tool->dry_run; i++)
        printf("would drop %s: %.*s of %.*s, key %.*s, %.*s\n", letters[i].id,
               TEXT_ARGS(letters[i].type), TEXT_ARGS(letters[i].caller), TEXT_ARGS(letters[i].key),
               TEXT_ARGS(letters[i].reason));
    if (tool->dry_run || !tool->yes) return true;
    if (!audit_stage(walk->audit, act->operation, letters, count, &walk->arena, err) ||
        !file_write(act, letters, count, err) || !file_sync(act, err))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!browse_take(walk->browse, walk->tags[i], err)) return false;
    act->done += count;
    print_progress(tool, "dropped", act->done, walk->total, false);
    return audit_finish(walk->audit, act->operation, count, err);
}

static void name_file(struct tool *tool)
{
    static char name[64];
    char now[TIME_TEXT_SIZE];

    time_format(clock_wall_us(), now);
    for (char *c = now; *c != '\0'; c++)
        if (*c == ':') *c = '-';
    (void)snprintf(name, sizeof name, "ledger-dlq-dropped-%.19s.jsonl", now);
    if (tool->file == NULL) tool->file = name;
}

enum exit_code run_drop(struct tool *tool, int count, char **arguments)
{
    bool acts = tool->yes && !tool->dry_run;
    struct walk *walk = NULL;
    struct err err = {0};
    struct act act;

    if (!act_chosen(tool, count, arguments, &err)) return complain(EXIT_USAGE, "%s", err.text);
    name_file(tool);
    bool ok = act_open(&act, tool, "drop", &err) && walk_open(&walk, tool, acts, &err) &&
              (!acts || (file_create(&act, &err) && act_begin(&act, walk->audit, &err))) &&
              walk_run(walk, drop_page, &act, &err);
    ok = file_close(&act, ok, &err);
    enum exit_code code = act_end(&act, walk == NULL ? NULL : walk->audit, ok, "dropped", &err);
    if (act.done > 0 && !tool->quiet)
        (void)fprintf(stderr, "they are in %s; import brings them back\n", tool->file);
    if (ok && !acts)
        (void)fprintf(stderr, "%" PRIu64 " letters; nothing was dropped%s\n", act.listed,
                      tool->yes ? "" : ": --yes does it");
    if (code == EXIT_DONE && !acts && !tool->dry_run) code = EXIT_USAGE;
    walk_close(walk);
    act_close(&act);
    return code;
}

/* --- import ------------------------------------------------------------------------------ */

enum { IMPORT_STEP = 200 };

struct import {
    struct act act;
    struct letter letters[IMPORT_STEP]; /* read, and not yet published; in act.scratch */
    struct posting postings[IMPORT_STEP];
    uint32_t count;
    char (*known)[LETTER_ID_SIZE]; /* ids of the letters in the queue, sorted */
    size_t known_count, known_size;
    uint64_t lines;
};

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool know_page(void *context, struct walk *walk, struct letter *letters, uint32_t count,
                      struct err *err)
{
    struct import *import = context;

    (void)walk;
    if (import->known_count + count > import->known_size) {
        size_t size = (import->known_size + count) * 2;
        void *larger = realloc(import->known, size * sizeof *import->known);
        if (larger == NULL) return err_set(err, ERR_FATAL, "could not import: out of memory");
        import->known = larger;
        import->known_size = size;
    }
    for (uint32_t i = 0; i < count; i++)
        memcpy(import->known[import->known_count++], letters[i].id, LETTER_ID_SIZE);
    return true;
}

static bool publish_step(struct import *import, struct walk *walk, uint32_t count, struct err *err)
{
    struct act *act = &import->act;

    if (!audit_stage(walk->audit, act->operation, import->letters, count, &walk->arena, err) ||
        !act_publish(act, import->postings, count, err))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        act->done += !import->postings[i].skipped;
        act->skipped += import->postings[i].skipped;
    }
    print_progress(act->tool, "imported", act->done, 0, false);
    return audit_finish(walk->audit, act->operation, count, err);
}

static bool import_step(struct import *import, struct walk *walk, struct err *err)
{
    struct act *act = &import->act;
    uint32_t count = import->count;

    import->count = 0;
    if (count > 0) (void)act_step(act, count);
    if (count > 0 && !publish_step(import, walk, count, err)) return false;
    arena_reset(&act->scratch);
    arena_reset(&walk->arena);
    return true;
}

/* Adds the line to the step, unless it is not wanted, or its letter is in the queue. */
static bool import_line(struct import *import, struct bytes text, struct err *err)
{
    struct act *act = &import->act;
    struct tool *tool = act->tool;
    struct letter *letter = &import->letters[import->count];
    char problem[PROBLEM_SIZE];
    struct line line;

    if (!line_read(text, &act->scratch, &line, problem, sizeof problem))
        return err_set(err, ERR_FATAL,
                       "line %" PRIu64 " of %s: %s; it and all after it is not imported",
                       import->lines, tool->file, problem);
    letter_read(tool->codec, line.own_routing_key, line.properties, line.body, &act->scratch,
                letter);
    if (!filter_matches(&tool->filter, letter, clock_wall_us())) return true;
    if (bsearch(letter->id, import->known, import->known_count, sizeof *import->known,
                compare_ids) != NULL) {
        act->listed++;
        return true;
    }
    import->postings[import->count++] = (struct posting){.message = {
        .exchange = text_of(tool->names.dlx),
        .routing_key = line.own_routing_key,
        .properties = line.properties,
        .body = line.body,
        .mandatory = letter->parsed.message_id.length > 0
    }};
    if (tool->dry_run) {
        printf("would import %s\n", letter->id);
        import->count = 0;
    }
    return true;
}

static bool import_lines(struct import *import, struct walk *walk, struct err *err)
{
    struct arena *scratch = &import->act.scratch;
    FILE *file = import->act.file;
    struct err last = {0};
    char *line = NULL;
    size_t size = 0;
    bool ok = true;

    for (ssize_t length; ok && !stop_requested() && (length = getline(&line, &size, file)) > 0;) {
        import->lines++;
        if (line[length - 1] == '\n') length--;
        if (length == 0) continue;
        if (length > LINE_SIZE_MAX)
            ok = err_set(err, ERR_FATAL, "line %" PRIu64 ": over %d bytes", import->lines,
                         LINE_SIZE_MAX);
        ok =
            ok && import_line(import, (struct bytes){(const uint8_t *)line, (uint32_t)length}, err);
        if (import->count == IMPORT_STEP || scratch->size - scratch->used < LINE_SIZE_MAX)
            ok = ok && import_step(import, walk, err);
    }
    if (ok && ferror(file)) ok = failed(err, "read", import->act.tool->file);
    free(line);
    /* What was read before something went wrong is brought in all the same. */
    if (!import_step(import, walk, &last) && ok) {
        *err = last;
        ok = false;
    }
    return ok;
}

static bool file_open(struct act *act, struct err *err)
{
    act->file = strcmp(act->tool->file, "-") == 0 ? stdin : fopen(act->tool->file, "re");
    return act->file != NULL || failed(err, "open", act->tool->file);
}

enum exit_code run_import(struct tool *tool, int count, char **arguments)
{
    static struct import import;
    struct act *act = &import.act;
    struct filter wanted = tool->filter;
    struct walk *walk = NULL;
    struct err err = {0};

    (void)count;
    tool->file = arguments[0];
    tool->filter = (struct filter){0}; /* all that is there is known */
    bool ok = act_open(act, tool, "import", &err) && file_open(act, &err) &&
              walk_open(&walk, tool, true, &err) && walk_run(walk, know_page, &import, &err);
    tool->filter = wanted;
    if (ok && import.known_count > 0)
        qsort(import.known, import.known_count, sizeof *import.known, compare_ids);
    ok = ok && (tool->dry_run || act_begin(act, walk->audit, &err)) &&
         import_lines(&import, walk, &err);
    if (act->file != NULL && act->file != stdin) (void)fclose(act->file);
    if (ok) print_progress(tool, "imported", act->done, 0, true);
    if (ok && act->listed > 0 && !tool->quiet)
        (void)fprintf(stderr, "%" PRIu64 " are in the queue already\n", act->listed);
    enum exit_code code = act_end(act, walk == NULL ? NULL : walk->audit, ok, "imported", &err);
    walk_close(walk);
    act_close(act);
    free(import.known);
    return code;
}
