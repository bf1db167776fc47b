/*
 * log.c - see log.h. A message that is too long is cut; a field that no longer fits in its line is
 * left out.
 */
#include "base/log.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_SIZE = 64 * 1024, LINE_SIZE = 8 * 1024, MESSAGE_SIZE = 1024 };
_Static_assert(LINE_SIZE > 7 * MESSAGE_SIZE, "a message of control characters, and the rest");

static struct {
    pthread_mutex_t lock;
    const char *service;
    enum log_level least;
    size_t used;
    char buffer[BUFFER_SIZE];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .service = "ledger", .least = LOG_INFO};

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

void log_open(const char *service, enum log_level least)
{
    state.service = service;
    state.least = least;
}

bool log_enabled(enum log_level level)
{
    return level >= state.least;
}

/* The length of a well-formed UTF-8 sequence at bytes (RFC 3629, section 4), or 0. */
static uint32_t sequence_length(const uint8_t *bytes, uint32_t left)
{
    uint8_t first = bytes[0];
    uint32_t length = first < 0x80   ? 1
                      : first < 0xc2 ? 0
                      : first < 0xe0 ? 2
                      : first < 0xf0 ? 3
                      : first < 0xf5 ? 4
                                     : 0;

    if (length == 0 || length > left) return 0;
    for (uint32_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    if (first == 0xe0 && bytes[1] < 0xa0) return 0;
    if (first == 0xed && bytes[1] > 0x9f) return 0;
    if (first == 0xf0 && bytes[1] < 0x90) return 0;
    if (first == 0xf4 && bytes[1] > 0x8f) return 0;
    return length;
}

static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* What needs no look of its own goes in one piece: that is most of it. */
static uint32_t plain_length(const uint8_t *bytes, uint32_t left)
{
    uint32_t length = 0;

    while (length < left && is_plain(bytes[length])) length++;
    return length;
}

/* The sequence at bytes, or what stands for it; returns its length. */
static uint32_t write_special(struct writer *writer, const uint8_t *bytes, uint32_t left)
{
    uint32_t length = sequence_length(bytes, left);
    char escape[8];

    if (length == 0) { /* U+FFFD stands for what is no UTF-8 */
        write_bytes(writer, "\xef\xbf\xbd", 3);
        return 1;
    }
    if (length > 1) {
        write_bytes(writer, bytes, length);
        return length;
    }
    int size = snprintf(escape, sizeof escape, "\\u%04x", bytes[0]);
    write_bytes(writer, escape, (size_t)size);
    return 1;
}

static void write_escaped(struct writer *writer, struct text text)
{
    const uint8_t *bytes = (const uint8_t *)text.bytes;

    write_u8(writer, '"');
    for (uint32_t i = 0; i < text.length;) {
        uint32_t plain = plain_length(bytes + i, text.length - i);
        write_bytes(writer, bytes + i, plain);
        i += plain;
        if (i < text.length) i += write_special(writer, bytes + i, text.length - i);
    }
    write_u8(writer, '"');
}

static void write_name(struct writer *writer, const char *name)
{
    write_u8(writer, writer->size == 0 ? '{' : ',');
    write_escaped(writer, text_of(name));
    write_u8(writer, ':');
}

static void write_out(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return; /* nobody reads: there is no better place to complain */
        bytes += written;
        size -= (size_t)written;
    }
}

static void flush_locked(void)
{
    write_out(state.buffer, state.used);
    state.used = 0;
}

void log_flush(void)
{
    (void)pthread_mutex_lock(&state.lock);
    flush_locked();
    (void)pthread_mutex_unlock(&state.lock);
}

static void emit(enum log_level level, const char *line, size_t size)
{
    (void)pthread_mutex_lock(&state.lock);
    if (size > BUFFER_SIZE - state.used) flush_locked();
    assert(size <= BUFFER_SIZE);
    memcpy(state.buffer + state.used, line, size);
    state.used += size;
    if (level >= LOG_WARN) flush_locked();
    (void)pthread_mutex_unlock(&state.lock);
}

void log_event(enum log_level level, const char *message, const struct log_field *fields,
               size_t count)
{
    char line[LINE_SIZE], time[TIME_TEXT_SIZE], number[24];
    struct writer writer = writer_over(line, sizeof line - 2);
    struct text text = text_of(message);

    if (!log_enabled(level)) return;
    if (text.length >= MESSAGE_SIZE) text.length = MESSAGE_SIZE - 1; /* escaped it fits the line */
    time_format(clock_wall_us(), time);
    write_name(&writer, "time");
    write_escaped(&writer, text_of(time));
    write_name(&writer, "level");
    write_escaped(&writer, text_of(LEVELS[level]));
    write_name(&writer, "service");
    write_escaped(&writer, text_of(state.service));
    write_name(&writer, "message");
    write_escaped(&writer, text);
    for (size_t i = 0; i < count; i++) {
        struct writer before = writer;
        if (!fields[i].is_number && fields[i].text.bytes == NULL) continue;
        write_name(&writer, fields[i].name);
        if (fields[i].is_number) {
            int size = snprintf(number, sizeof number, "%lld", (long long)fields[i].number);
            write_bytes(&writer, number, (size_t)size);
        } else {
            write_escaped(&writer, fields[i].text);
        }
        if (writer.overflowed)
            writer = before; /* this field is left out, the line stays well-formed */
    }
    line[writer.size++] = '}';
    line[writer.size++] = '\n';
    emit(level, line, writer.size);
}

void log_write(enum log_level level, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list args;

    if (!log_enabled(level)) return;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log_event(level, message, NULL, 0);
}
