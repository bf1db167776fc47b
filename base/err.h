/*
 * err.h - what a fallible call leaves behind.
 *
 * A fallible function returns bool, must be checked, and fills the caller's struct err. The leaf
 * that still knows the cause classifies it; nobody above looks further than the kind. The top of a
 * process logs it, once.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))

enum err_kind {
    ERR_NONE,   /* nothing went wrong yet */
    ERR_RETRY,  /* transient: a server is away, a lock was lost; the same call may work later */
    ERR_REJECT, /* permanent, for this input only: isolate it, the rest may go on */
    ERR_FATAL,  /* permanent, for everything: wrong configuration, schema or program */
};

enum { ERR_TEXT_SIZE = 480 };

struct err {
    enum err_kind kind;
    char text[ERR_TEXT_SIZE]; /* "could not <verb> <noun>: <reason>", no full stop */
};

/* Fills err and returns false, so that a failing leaf is one line: return err_set(...). A text that
 * is too long is cut. */
bool err_set(struct err *err, enum err_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the text that is there, keeps the kind, returns false. */
bool err_wrap(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
