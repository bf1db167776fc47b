/*
 * tool.h - what the parts of ledger-dlq share.
 */
#ifndef DLQ_TOOL_H
#define DLQ_TOOL_H

#include "dlq/audit_pg.h"
#include "dlq/browse_amqp.h"
#include "dlq/filter.h"

#include <stdio.h>

enum exit_code { /* as scripts see them */
                 EXIT_DONE = 0,
                 EXIT_FAILED = 1, /* it could not be done; the text says what was */
                 EXIT_USAGE = 2,
                 EXIT_STOPPED = 3, /* by a signal, in good order */
                 EXIT_CONNECT = 5, /* a server is away, or somebody else has the turn: try again */
};

enum output { OUTPUT_TABLE, OUTPUT_JSON };

/* Bodies of more than a command may have, which workers reject; yet larger ones are left alone. */
enum { LETTER_BODY_MAX = 16 << 20, PAGE_LETTERS = 500, TOOL_ARENA_SIZE = 96 << 20 };

struct tool {
    char amqp_url[512], database_url[512], database_role[64], prefix[33], user_id[256];
    struct names names;
    enum output output;
    struct filter filter;
    bool *met; /* which of filter.ids are in the queue; NULL: nobody asks */
    const char *who, *why;
    const char *file; /* --export of drop; the argument of export and import */
    uint32_t by;      /* stats_by */
    uint32_t limit;   /* 0: none */
    uint32_t rate;    /* letters a second; 0: no limit */
    uint32_t timeout_ms, wait_ms;
    bool all, dry_run, yes, raw, quiet, colour;
    struct codec *codec;
};

/* Each runs one verb over its arguments. */
enum exit_code run_list(struct tool *tool, int count, char **arguments);
enum exit_code run_show(struct tool *tool, int count, char **arguments);
enum exit_code run_stats(struct tool *tool, int count, char **arguments);
enum exit_code run_watch(struct tool *tool, int count, char **arguments);
enum exit_code run_history(struct tool *tool, int count, char **arguments);
enum exit_code run_replay(struct tool *tool, int count, char **arguments);
enum exit_code run_drop(struct tool *tool, int count, char **arguments);
enum exit_code run_export(struct tool *tool, int count, char **arguments);
enum exit_code run_import(struct tool *tool, int count, char **arguments);

/* One line on standard error, "ledger-dlq: ...". */
enum exit_code complain(enum exit_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum exit_code complain_err(const struct err *err);

/* --- walk.c: through the queue, page by page --------------------------------------------- */

struct walk;

/* What is done with the matching letters of a page; walk->enough ends the walk early. */
typedef bool (*walk_page)(void *context, struct walk *walk, struct letter *letters, uint32_t count,
                          struct err *err);

struct walk {
    struct tool *tool;
    struct audit *audit; /* NULL when PostgreSQL is away and we only look */
    struct browse *browse;
    struct arena arena;   /* reset before each page */
    uint64_t seen, total; /* letters so far, and at the beginning */
    uint32_t oversized;   /* letters too large to be read here */
    uint32_t younger;     /* and those that died after until_us */
    bool enough;
    int64_t until_us;                    /* what died later is not ours: it came while we act */
    struct letter letters[PAGE_LETTERS]; /* that match */
    uint64_t tags[PAGE_LETTERS];         /* theirs, for browse_take */
    struct delivery page[PAGE_LETTERS];
};

/* Takes the turn, for as long as it is open. to_act: PostgreSQL must be there. */
MUST_CHECK bool walk_open(struct walk **out, struct tool *tool, bool to_act, struct err *err);
/* Walks, until the end, a stop, or as a page's function says; then gives back what was not taken.
 * After ERR_RETRY it may be called again: what was taken is gone, the rest is met again. */
MUST_CHECK bool walk_run(struct walk *walk, walk_page page, void *context, struct err *err);
void walk_close(struct walk *walk); /* NULL is fine */

/* --- print.c ----------------------------------------------------------------------------- */

void print_letters_head(const struct tool *tool);
/* pending: the operation in which it is staged, or 0. */
void print_letter(const struct tool *tool, struct arena *arena, const struct letter *letter,
                  int64_t pending);
void print_letter_whole(const struct tool *tool, struct arena *arena, const struct letter *letter,
                        int64_t pending);
void print_json_text(FILE *out, struct text text); /* quoted */
/* "3m", "2h", "5d": how long ago, short. */
void print_age(char *out, size_t size, int64_t then_us);
/* On a terminal, at most some times a second; done says that it is the last one. */
void print_progress(const struct tool *tool, const char *what, uint64_t now, uint64_t total,
                    bool done);

#endif
