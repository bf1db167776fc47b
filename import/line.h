/*
 * line.h - one line of a file that is imported, as the command that it stands for. Pure; the bytes
 * are a stranger's.
 *
 * A file is CSV (RFC 4180; its first line names the columns, see csv.h) or JSON lines: one object a
 * line, the body of a command with `type` and, if wanted, `key` and `at` in it.
 */
#ifndef IMPORT_LINE_H
#define IMPORT_LINE_H

#include "protocol/command.h"

enum { LINE_SIZE_MAX = BODY_SIZE_MAX };

enum format { FORMAT_CSV, FORMAT_JSON };

struct line {
    enum command_type type; /* of one that changes something */
    struct text key;
    int64_t at_us;     /* when it happened; 0: it does not say */
    struct bytes body; /* a msgpack map, for command_decode */
};

/* The size of the first line in these bytes, its end included: of CSV a quoted field may hold line
 * ends. 0: it is not all here. at_end: nothing follows them, so what is left is a line. */
size_t line_size(enum format format, struct bytes bytes, bool at_end);
/* Without its end, "\n" or "\r\n". */
struct bytes line_trim(struct bytes line);

/* key is the one it gets when it gives none. False with a sentence in problem. */
MUST_CHECK bool line_of_json(struct codec *codec, struct bytes text, struct text key,
                             struct arena *arena, struct line *out,
                             char problem[static PROBLEM_SIZE]);

/* What line_of_json and csv_line have in common. */
MUST_CHECK bool line_is_text(struct bytes text, char problem[static PROBLEM_SIZE]);
MUST_CHECK bool line_set_type(struct line *line, struct text word,
                              char problem[static PROBLEM_SIZE]);
MUST_CHECK bool line_set_key(struct line *line, struct text key, char problem[static PROBLEM_SIZE]);
MUST_CHECK bool line_set_time(struct line *line, struct text time,
                              char problem[static PROBLEM_SIZE]);

#endif
