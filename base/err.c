/*
 * err.c - see err.h.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set(struct err *err, enum err_kind kind, const char *format, ...)
{
    va_list args;

    err->kind = kind;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return false;
}

bool err_wrap(struct err *err, const char *format, ...)
{
    char inner[ERR_TEXT_SIZE];
    va_list args;
    int length;

    memcpy(inner, err->text, sizeof inner);
    va_start(args, format);
    length = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (length >= 0 &&
        (size_t)length + 3 < sizeof err->text) /* else there is no room for the rest */
        (void)snprintf(err->text + length, sizeof err->text - (size_t)length, ": %.*s",
                       (int)(sizeof err->text - (size_t)length - 3), inner);
    return false;
}
