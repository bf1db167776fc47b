/*
 * source.h - a file that is imported, line by line. Memory is one buffer, however large the file.
 */
#ifndef IMPORT_SOURCE_H
#define IMPORT_SOURCE_H

#include "base/sha256.h"
#include "import/csv.h"

struct source {
    const char *path;
    enum format format;
    struct csv csv;      /* its header, of CSV ... */
    struct bytes header; /* ... and as it is in the file; empty of JSON lines */
    uint64_t size;
    struct sha256 digest; /* of all of it */
    int file;
    uint8_t *buffer;
    uint32_t begin, end; /* what is in the buffer and not taken yet */
    uint64_t position;   /* in the file, of begin */
    uint64_t line;       /* line ends before it */
    bool at_end;         /* nothing follows what is in the buffer */
};

struct source_line {
    struct bytes text;  /* without its end; good until the next one is asked for */
    uint64_t position;  /* in the file, of its first byte ... */
    uint32_t size;      /* ... and its size there, with its end */
    uint64_t number;    /* its own, from 1 */
    uint64_t last_line; /* line ends up to and with its own; a quoted field may hold some */
};

/* Reads it once for its digest, and the header of CSV. A regular file: an import must be able to go
 * on in its middle. Closed by source_close, also after a failure. */
MUST_CHECK bool source_open(struct source *source, const char *path, enum format format,
                            struct err *err);
void source_close(struct source *source);
/* Goes on there. Of a file that has been read no further than its header, nothing to do for 0. */
MUST_CHECK bool source_seek(struct source *source, uint64_t position, uint64_t line,
                            struct err *err);
/* The next line that is not empty; *found false: there is none. ERR_REJECT when it is too long. */
MUST_CHECK bool source_next(struct source *source, struct source_line *out, bool *found,
                            struct err *err);
/* Gives the line taken last back: it comes again. */
void source_put_back(struct source *source, const struct source_line *line);
/* Part of the file again, into memory of its size; for lines that are set aside. */
MUST_CHECK bool source_again(const struct source *source, uint64_t position, uint32_t size,
                             uint8_t *out, struct err *err);

#endif
