/*
 * run_pg.c - see import.h. Lines are read, decided and stored a batch at a time; what the store
 * refuses is found by halving the batch, as a worker does.
 *
 * Without keep_going the first line that is no command, or is refused, is where it stops: what
 * comes before it is committed, the line itself and what follows is not. So the batch that met it
 * is run again, up to there.
 */
#include "import/import.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/stop.h"
#include "import/fill.h"
#include "outbox/compose.h"
#include "outbox/outbox_pg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROLL_UP_EVERY = 100,
    ROLL_UP_MOST = 1000,
    TRIES_MAX = 10,
    LOCK_TRIES = 100,
    LOCK_EVERY_MS = 100,
    REASON_SIZE = ERR_TEXT_SIZE
};

struct import {
    const struct import_options *options;
    struct db *db;
    struct store *store;
    struct codec *codec;
    struct names names;
    struct source source;
    struct progress progress;
    struct backoff backoff;
    uint32_t batches;
    bool stopped;
    struct fill fills[2];
    struct fill *fill; /* the batch at hand ... */
    struct fill *next; /* ... and the one after it, once it is read */
    bool is_ahead, ahead_ok;
    struct err ahead_err;
    struct outbox_row rows[OUTBOX_ROWS_MAX];
};

/* --- opening ----------------------------------------------------------------------------- */

bool import_begin_check(struct db *db, struct err *err)
{
    return db_run(db, "BEGIN", err);
}

/* The server may need a moment to see that the one before has died. */
static bool lock_name(struct import *import, struct err *err)
{
    struct text name = import->options->name;
    bool locked = false;

    for (uint32_t i = 0; i < LOCK_TRIES && !stop_requested(); i++) {
        if (!progress_lock(import->db, name, &locked, err)) return false;
        if (locked) return true;
        clock_sleep_ms(LOCK_EVERY_MS);
    }
    return err_set(err, ERR_RETRY, "could not import %.*s: another session is at it",
                   TEXT_ARGS(name));
}

/* What was begun under this name must be what is asked for now. */
static bool check_same(struct import *import, const struct progress *wanted, struct err *err)
{
    struct progress *progress = &import->progress;
    struct text name = import->options->name;

    if (progress->events != wanted->events)
        return err_set(err, ERR_FATAL, "could not import %.*s: it was begun %s --events",
                       TEXT_ARGS(name), progress->events ? "with" : "without");
    if (memcmp(progress->digest.bytes, wanted->digest.bytes, SHA256_SIZE) == 0) return true;
    if (!import->options->changed)
        return err_set(err, ERR_FATAL,
                       "could not import %.*s: it was begun with another file, %" PRIu64
                       " bytes long; give this one another --name, or say --changed",
                       TEXT_ARGS(name), progress->size);
    progress->digest = wanted->digest;
    progress->size = wanted->size;
    return progress_again(import->db, progress, err);
}

static bool find_progress(struct import *import, struct err *err)
{
    const struct progress wanted = {.digest = import->source.digest,
                                    .size = import->source.size,
                                    .events = import->options->events};

    import->progress = wanted;
    if (!progress_begin(import->db, import->options->name, &import->progress, err) ||
        !check_same(import, &wanted, err))
        return false;
    return import->progress.position == 0 ||
           source_seek(&import->source, import->progress.position, import->progress.line, err);
}

static bool open_fills(struct import *import, struct err *err)
{
    const struct import_options *options = import->options;
    struct properties properties = {.trace_id = options->trace_id};
    uint8_t random[TRACE_RANDOM_SIZE];

    random_bytes(random, sizeof random);
    import->fill = &import->fills[0];
    import->next = &import->fills[1];
    for (int i = 0; i < 2; i++) {
        struct fill *fill = &import->fills[i];
        fill->source = &import->source;
        fill->codec = import->codec;
        fill->name = options->name;
        fill->caller = options->caller;
        fill->trace = trace_begin(&properties, random);
        fill->at_us = options->at_us;
        if (!arena_open(&fill->arena, FILL_ARENA_SIZE, err)) return false;
    }
    return true;
}

static bool tune(struct import *import, struct err *err)
{
    return store_tune(import->store, import->db, err) &&
           db_run(import->db, "SET synchronous_commit TO off", err);
}

bool import_open(struct import **out, const struct import_options *options, struct db *db,
                 struct err *err)
{
    struct import *import = calloc(1, sizeof *import);

    *out = import;
    if (import == NULL) return err_set(err, ERR_FATAL, "could not import: out of memory");
    assert(options->name.length >= 1 && options->name.length <= IMPORT_NAME_MAX);
    import->options = options;
    import->db = db;
    import->backoff = (struct backoff){.first_ms = 20, .most_ms = 2000};
    return names_make(&import->names, options->prefix, 1, err) && codec_open(&import->codec, err) &&
           store_open(&import->store, err) && open_fills(import, err) &&
           source_open(&import->source, options->path, options->format, err) && tune(import, err) &&
           lock_name(import, err) && find_progress(import, err);
}

void import_close(struct import *import)
{
    if (import == NULL) return;
    source_close(&import->source);
    for (int i = 0; i < 2; i++) arena_close(&import->fills[i].arena);
    store_close(import->store);
    codec_close(import->codec);
    free(import);
}

const struct progress *import_progress(const struct import *import)
{
    return &import->progress;
}

/* --- telling ----------------------------------------------------------------------------- */

static bool is_refused(const struct fill_line *line)
{
    return line->problem != NULL || line->result != RESULT_APPLIED;
}

static void reason_of(const struct fill_line *line, char reason[static REASON_SIZE])
{
    const char *word = result_word(line->result), *sentence = result_sentence(line->result);

    if (line->problem != NULL)
        (void)snprintf(reason, REASON_SIZE, "%s", line->problem);
    else if (line->has_leg)
        (void)snprintf(reason, REASON_SIZE, "commands[%u]: %s: %s", line->leg, word, sentence);
    else
        (void)snprintf(reason, REASON_SIZE, "%s: %s", word, sentence);
}

static bool tell_refused(struct import *import, struct fill_line *line, struct err *err)
{
    const struct import_options *options = import->options;
    const struct source_line *source = &line->source;
    char reason[REASON_SIZE];

    if (line->told) return true;
    uint8_t *raw = malloc(source->size);
    if (raw == NULL) return err_set(err, ERR_FATAL, "could not import: out of memory");
    reason_of(line, reason);
    const struct refused_line refused = {.path = options->path,
                                         .number = source->number,
                                         .reason = reason,
                                         .raw = {raw, source->size},
                                         .header = import->source.header};
    bool ok = source_again(&import->source, source->position, source->size, raw, err) &&
              options->refused(options->context, &refused, err);
    free(raw);
    line->told = ok;
    return ok;
}

static bool tell_all_refused(struct import *import, uint32_t from, uint32_t count, struct err *err)
{
    for (uint32_t i = from; i < from + count; i++)
        if (is_refused(&import->fill->lines[i]) &&
            !tell_refused(import, &import->fill->lines[i], err))
            return false;
    return true;
}

/* --- one transaction --------------------------------------------------------------------- */

static struct batch batch_of(struct import *import, uint32_t from, uint32_t count)
{
    struct fill *fill = import->fill;
    const struct fill_line *first = &fill->lines[from], *last = first + count - 1;

    return (struct batch){.arena = &fill->arena,
                          .works = &fill->works[first->works_at],
                          .works_count = last->works_at + last->works - first->works_at,
                          .import = import->progress.id,
                          .goes_on = import->options->check};
}

static void leave_out(struct import *import, const struct fill_line *line)
{
    for (uint32_t i = 0; i < line->works; i++)
        import->fill->works[line->works_at + i].origin = ORIGIN_SKIPPED;
}

/* What became of a line is what became of its first work. */
static void judge(struct import *import, struct fill_line *line)
{
    const struct work *work = &import->fill->works[line->works_at];

    if (line->problem != NULL) return;
    line->result = work->reply.result;
    line->repeated = work->origin == ORIGIN_REPEATED;
    line->has_leg = work->reply.has_failed_leg;
    line->leg = work->reply.failed_leg;
    if (is_refused(line)) leave_out(import, line);
}

/* The first refused one of these lines; `from + count`: none is. */
static uint32_t first_refused(const struct import *import, uint32_t from, uint32_t count)
{
    uint32_t i = from;

    while (i < from + count && !is_refused(&import->fill->lines[i])) i++;
    return i;
}

static bool decide_lines(struct import *import, struct batch *batch, uint32_t from, uint32_t count,
                         struct err *err)
{
    import->fill->arena.used = import->fill->decoded;
    ledger_forget(batch);
    for (uint32_t i = from; i < from + count; i++)
        if (import->fill->lines[i].problem != NULL) leave_out(import, &import->fill->lines[i]);
    if (!store_read(import->store, import->db, batch, err) || !ledger_apply(batch, err))
        return false;
    for (uint32_t i = from; i < from + count; i++) judge(import, &import->fill->lines[i]);
    return true;
}

static struct progress progress_after(const struct import *import, uint32_t from, uint32_t count)
{
    const struct fill_line *lines = import->fill->lines;
    const struct source_line *last = &lines[from + count - 1].source;
    struct progress progress = import->progress;

    for (uint32_t i = from; i < from + count; i++) {
        if (is_refused(&lines[i]))
            progress.refused++;
        else if (lines[i].repeated)
            progress.repeated++;
        else
            progress.applied++;
    }
    progress.position = last->position + last->size;
    progress.line = last->last_line;
    return progress;
}

static void read_ahead(struct import *import)
{
    if (import->is_ahead || import->fill->at_end) return;
    import->ahead_ok = fill_lines(import->next, &import->ahead_err);
    import->is_ahead = true;
}

/* While the server stores this batch the next one is read. */
static bool commit(struct import *import, const struct answers *answers, struct err *err)
{
    if (!store_commit_send(import->db, err)) return false;
    read_ahead(import);
    return store_commit_read(import->db, answers, err);
}

static bool store_lines(struct import *import, const struct batch *batch, uint32_t from,
                        uint32_t count, struct err *err)
{
    const struct compose_options compose = {&import->names, import->options->event_encoding};
    struct progress after = progress_after(import, from, count);
    struct answers answers = {0};
    uint32_t rows = 0;

    if (!store_save(import->store, import->db, batch, &answers, err) ||
        !progress_advance(import->db, &import->progress, &after, &import->fill->arena, &answers,
                          err))
        return false;
    if (import->options->events &&
        (!compose_rows(batch, &compose, import->codec, import->rows, &rows, err) ||
         !outbox_append(import->db, import->rows, rows, &import->fill->arena, &answers, err)))
        return false;
    bool ok = import->options->check ? store_flush(import->db, &answers, err)
                                     : commit(import, &answers, err);
    if (ok) import->progress = after;
    return ok;
}

/* *refused_at is the line that it would have to stop at: then nothing was stored. */
static bool attempt(struct import *import, uint32_t from, uint32_t count, uint32_t *refused_at,
                    struct err *err)
{
    struct batch batch = batch_of(import, from, count);

    *refused_at = from + count;
    if (!decide_lines(import, &batch, from, count, err)) return false;
    if (!import->options->keep_going) *refused_at = first_refused(import, from, count);
    if (*refused_at < from + count) return true;
    return tell_all_refused(import, from, count, err) &&
           store_lines(import, &batch, from, count, err);
}

/* --- a batch ----------------------------------------------------------------------------- */

/* What passes is tried again; a lost link is not: whoever runs it again finds what was committed.
 */
static bool attempt_again(struct import *import, uint32_t from, uint32_t count,
                          uint32_t *refused_at, struct err *err)
{
    backoff_reset(&import->backoff);
    for (uint32_t tries = 1;; tries++) {
        uint32_t random;
        if (attempt(import, from, count, refused_at, err)) return true;
        if (import->options->check) return false; /* its transaction is gone */
        query_abandon(import->db);
        if (err->kind != ERR_RETRY || !db_usable(import->db) || tries == TRIES_MAX) return false;
        random_bytes(&random, sizeof random);
        clock_sleep_ms(backoff_next_ms(&import->backoff, random));
    }
}

static bool run(struct import *import, uint32_t from, uint32_t count, struct err *err);

static bool stop_at(struct import *import, uint32_t from, uint32_t at, struct err *err)
{
    struct fill_line line = import->fill->lines[at]; /* running the others writes on the table */

    query_abandon(import->db);
    if (!run(import, from, at - from, err)) return false;
    if (import->stopped) return true; /* at an earlier one: somebody changed an account meanwhile */
    import->stopped = true;
    return tell_refused(import, &line, err);
}

static bool run(struct import *import, uint32_t from, uint32_t count, struct err *err)
{
    uint32_t refused_at;

    if (count == 0 || import->stopped) return true;
    if (attempt_again(import, from, count, &refused_at, err))
        return refused_at == from + count || stop_at(import, from, refused_at, err);
    if (err->kind != ERR_REJECT || import->options->check) return false;
    if (count > 1)
        return run(import, from, count / 2, err) &&
               run(import, from + count / 2, count - count / 2, err);
    if (import->fill->lines[from].problem != NULL) return false;
    import->fill->lines[from].problem = fill_keep(import->fill, err->text);
    return run(import, from, 1, err);
}

static bool roll_up(struct import *import, struct err *err)
{
    uint32_t rolled;

    return import->options->check || store_roll_up(import->db, ROLL_UP_MOST, &rolled, err);
}

static bool next_batch(struct import *import, struct err *err)
{
    struct fill *done = import->fill;

    read_ahead(import);
    import->is_ahead = false;
    import->fill = import->next;
    import->next = done;
    if (!import->ahead_ok) *err = import->ahead_err;
    return import->ahead_ok;
}

bool import_run(struct import *import, bool *stopped, struct err *err)
{
    *stopped = false;
    if (import->progress.ended) return true;
    do {
        if (stop_requested())
            return err_set(err, ERR_RETRY, "stopped at %s:%" PRIu64 "; run it again to go on",
                           import->options->path, import->progress.line);
        if (!next_batch(import, err) || !run(import, 0, import->fill->lines_count, err))
            return false;
        *stopped = import->stopped;
        import->options->moved(import->options->context, &import->progress);
        if (++import->batches % ROLL_UP_EVERY == 0 && !roll_up(import, err)) return false;
    } while (!*stopped && !import->fill->at_end);
    return roll_up(import, err) && (*stopped || progress_end(import->db, &import->progress, err));
}
