/*
 * import.h - a file of past commands into the ledger, through the ledger's own rules and store, in
 * batches of a thousand lines, each one transaction. Invariants:
 *  1. each line is a command with an idempotency key, so a line that is met again is a repeat;
 *  2. how far an import has come is committed with the lines that brought it there: whatever dies,
 *     it goes on where it was;
 *  3. a line that is refused leaves nothing behind, not even its key: mended, it may come again;
 *  4. accounts are locked as a worker locks them: it may run while workers do.
 */
#ifndef IMPORT_IMPORT_H
#define IMPORT_IMPORT_H

#include "import/progress_pg.h"
#include "import/source.h"

struct refused_line {
    const char *path;
    uint64_t number;
    const char *reason;
    struct bytes raw;    /* as it is in the file, its end included */
    struct bytes header; /* the same of the line that names the columns; empty of JSON lines */
};

struct import_options { /* all of it must outlive the import */
    const char *path;
    enum format format;
    struct text name;   /* 1 to IMPORT_NAME_MAX bytes */
    struct text caller; /* the namespace of the keys */
    struct text trace_id;
    int64_t at_us; /* of lines that do not say when they happened; 0: now */
    const char *prefix;
    enum encoding event_encoding;
    bool events;     /* what is applied is told in events */
    bool check;      /* nothing is changed: see import_begin_check */
    bool keep_going; /* leaves out what is refused; else that is where it stops */
    bool changed;    /* the file may be another than the one begun with: from its first line */
    void *context;
    /* Once for each line that is left out; false (and err) ends the import before it is noted. */
    bool (*refused)(void *context, const struct refused_line *line, struct err *err);
    void (*moved)(void *context, const struct progress *progress);
};

/* What follows on this connection is one transaction, which its end rolls back. */
MUST_CHECK bool import_begin_check(struct db *db, struct err *err);

struct import;

/* db is tuned for the import and usable for nothing else; without synchronous commits, as what a
 * crash of the server may lose is done again. The import does not close it. */
MUST_CHECK bool import_open(struct import **out, const struct import_options *options,
                            struct db *db, struct err *err);
void import_close(struct import *import); /* NULL is fine */
/* To the file's end, to a refused line (*stopped), or until stop_requested. ERR_RETRY: run it
 * again. */
MUST_CHECK bool import_run(struct import *import, bool *stopped, struct err *err);
const struct progress *import_progress(const struct import *import);

#endif
