/*
 * log.h - one JSON object a line on standard output:
 * {"time":"...","level":"info","service":"ledger-worker","message":"...","trace_id":"..."}.
 * Only main.c files and the process loops log; everything below returns an error. Lines are
 * gathered and written together by log_flush, or at once from warning up. Never a payload or
 * secret.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/bytes.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
#define LOG_LEVEL_CHOICES "debug|info|warn|error"

void log_open(const char *service, enum log_level least);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line with fields of its own. Values are escaped; a field whose text is NULL is left out. */
struct log_field {
    const char *name;
    struct text text;
    int64_t number;
    bool is_number;
};
void log_event(enum log_level level, const char *message, const struct log_field *fields,
               size_t count);
void log_flush(void);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
