/*
 * fill.h - lines of a file as the works of a batch. Pure but for the file it reads from.
 */
#ifndef IMPORT_FILL_H
#define IMPORT_FILL_H

#include "import/source.h"
#include "ledger/ledger.h"

enum {
    FILL_LINES_MAX = 1000,
    FILL_ARENA_SIZE = 96 << 20,
    FILL_DECODED_MAX = 16 << 20 /* of the arena for lines; the rest is for deciding them */
};

struct fill_line {
    struct source_line source; /* its text is not kept */
    uint32_t works_at, works;  /* none when it is no command */
    const char *problem;       /* why it is none; or why the store refuses it */
    enum result result;        /* RESULT_APPLIED, or the refusal */
    bool has_leg;              /* the refusal is that of one of its legs */
    uint32_t leg;
    bool repeated;
    bool told; /* that it is refused: once, however often it is tried */
};

struct fill {
    struct source *source;
    struct codec *codec;
    struct text name, caller;
    struct trace trace;
    int64_t at_us;
    struct arena arena;
    size_t decoded; /* of the arena: lines; what is behind it is each attempt's own */
    uint32_t lines_count, works_count;
    bool at_end; /* of the file */
    struct fill_line lines[FILL_LINES_MAX];
    struct request requests[BATCH_WORKS_MAX];
    struct work works[BATCH_WORKS_MAX];
};

/* As many of the next lines as one batch takes. */
MUST_CHECK bool fill_lines(struct fill *fill, struct err *err);
/* A text that lasts as long as the lines do; "" when there is no room. */
const char *fill_keep(struct fill *fill, const char *text);

#endif
