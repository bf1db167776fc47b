/*
 * print.c - dead letters for people (one line each, or all of one) and for scripts (line.h). What a
 * message held is never sent to a terminal as it is: anything that is not printable becomes '?'.
 */
#include "base/clock.h"
#include "dlq/line.h"
#include "dlq/tool.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { PROGRESS_EVERY_MS = 200, BAR_WIDTH = 30, DUMP_WIDTH = 16 };

void print_age(char *out, size_t size, int64_t then_us)
{
    int64_t age_s = (clock_wall_us() - then_us) / 1000000;

    if (then_us == 0)
        (void)snprintf(out, size, "?");
    else if (age_s < 0)
        (void)snprintf(out, size, "0s");
    else if (age_s < 120)
        (void)snprintf(out, size, "%" PRId64 "s", age_s);
    else if (age_s < 2 * 3600)
        (void)snprintf(out, size, "%" PRId64 "m", age_s / 60);
    else if (age_s < 48 * 3600)
        (void)snprintf(out, size, "%" PRId64 "h", age_s / 3600);
    else
        (void)snprintf(out, size, "%" PRId64 "d", age_s / 86400);
}

/* At most width characters; at least width when padded. */
static void print_safely(struct text text, uint32_t width, bool padded)
{
    uint32_t shown = text.length < width ? text.length : width;

    for (uint32_t i = 0; i < shown; i++)
        (void)putchar(isprint((unsigned char)text.bytes[i]) ? text.bytes[i] : '?');
    for (uint32_t i = shown; padded && i < width; i++) (void)putchar(' ');
}

void print_json_text(FILE *out, struct text text)
{
    bool valid = utf8_is_valid(text);

    (void)fputc('"', out);
    for (uint32_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.bytes[i];
        if (c == '"' || c == '\\')
            (void)fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f || (c > 0x7f && !valid))
            (void)fprintf(out, "\\u%04x", c);
        else
            (void)fputc(c, out);
    }
    (void)fputc('"', out);
}

void print_letters_head(const struct tool *tool)
{
    if (tool->output == OUTPUT_TABLE)
        printf("%-18s %6s %5s  %-24s %-14s %-16s %-16s %s\n", "id", "age", "died", "reason",
               "command", "account", "caller", "key");
}

static bool print_line(struct arena *arena, const struct letter *letter, bool with_bytes)
{
    struct bytes line;
    size_t used = arena->used;

    if (!line_write(letter, with_bytes, arena, &line)) return false;
    (void)fwrite(line.data, 1, line.size, stdout);
    (void)putchar('\n');
    arena->used = used;
    return true;
}

void print_letter(const struct tool *tool, struct arena *arena, const struct letter *letter,
                  int64_t pending)
{
    char age[16];

    if (tool->output == OUTPUT_JSON) {
        if (!print_line(arena, letter, false))
            (void)complain(EXIT_DONE, "letter %s is too large to be shown", letter->id);
        return;
    }
    print_age(age, sizeof age, letter->last_death_us);
    printf("%-18s %6s %5" PRId64 "  ", letter->id, age, letter->attempts);
    print_safely(letter->reason, 24, true);
    (void)putchar(' ');
    print_safely(letter->type, 14, true);
    (void)putchar(' ');
    print_safely(letter->account, 16, true);
    (void)putchar(' ');
    print_safely(letter->caller, 16, true);
    (void)putchar(' ');
    print_safely(letter->key, 48, false);
    if (pending > 0) printf("  [staged by operation %" PRId64 "]", pending);
    (void)putchar('\n');
}

/* --- one, whole -------------------------------------------------------------------------- */

static void print_field(const struct tool *tool, const char *name, struct text text)
{
    if (text.length == 0) return;
    printf("%s%-16s%s ", tool->colour ? "\033[1m" : "", name, tool->colour ? "\033[0m" : "");
    print_safely(text, 1024, false);
    (void)putchar('\n');
}

static void print_time_field(const struct tool *tool, const char *name, int64_t wall_us)
{
    char text[TIME_TEXT_SIZE];

    if (wall_us == 0) return;
    time_format(wall_us, text);
    print_field(tool, name, text_of(text));
}

static void print_dump(const char *name, struct bytes bytes)
{
    printf("%s, %u bytes:\n", name, bytes.size);
    for (uint32_t at = 0; at < bytes.size; at += DUMP_WIDTH) {
        printf("  %06x ", at);
        for (uint32_t i = at; i < at + DUMP_WIDTH; i++)
            if (i < bytes.size)
                printf(" %02x", bytes.data[i]);
            else
                printf("   ");
        printf("  ");
        for (uint32_t i = at; i < at + DUMP_WIDTH && i < bytes.size; i++)
            (void)putchar(isprint(bytes.data[i]) ? bytes.data[i] : '.');
        (void)putchar('\n');
    }
}

static void print_body(struct arena *arena, const struct letter *letter)
{
    struct bytes json = {0};
    size_t used = arena->used;

    bool readable = letter->decoded.size > 0 && msgpack_to_json(letter->decoded, arena, &json);
    printf("body             ");
    if (readable)
        print_safely((struct text){(const char *)json.data, json.size}, UINT32_MAX, false);
    else
        printf("%u bytes that are no value of its content_type (see --raw)", letter->body.size);
    (void)putchar('\n');
    arena->used = used;
}

void print_letter_whole(const struct tool *tool, struct arena *arena, const struct letter *letter,
                        int64_t pending)
{
    char number[24];

    if (tool->output == OUTPUT_JSON) {
        if (!print_line(arena, letter, tool->raw))
            (void)complain(EXIT_DONE, "letter %s is too large to be shown", letter->id);
        return;
    }
    print_field(tool, "id", text_of(letter->id));
    print_field(tool, "reason", letter->reason);
    print_field(tool, "error", letter->error);
    print_field(tool, "command", letter->type);
    print_field(tool, "account", letter->account);
    print_field(tool, "other account", letter->other_account);
    print_field(tool, "caller", letter->caller);
    print_field(tool, "key", letter->key);
    print_field(tool, "trace id", letter->trace_id);
    print_time_field(tool, "first death", letter->first_death_us);
    print_time_field(tool, "last death", letter->last_death_us);
    (void)snprintf(number, sizeof number, "%" PRId64, letter->attempts);
    print_field(tool, "deaths", text_of(number));
    print_field(tool, "queue", letter->queue);
    print_field(tool, "exchange", letter->exchange);
    print_field(tool, "routing key", letter->routing_key);
    print_field(tool, "content type", letter->parsed.content_type);
    print_field(tool, "reply to", letter->parsed.reply_to);
    print_field(tool, "correlation id", letter->parsed.correlation_id);
    print_field(tool, "deadline", letter->parsed.deadline);
    (void)snprintf(number, sizeof number, "%" PRId64, pending);
    if (pending > 0) print_field(tool, "staged by", text_of(number));
    print_body(arena, letter);
    if (tool->raw) {
        print_dump("properties", letter->properties);
        print_dump("body", letter->body);
    }
    (void)putchar('\n');
}

/* --- progress ---------------------------------------------------------------------------- */

void print_progress(const struct tool *tool, const char *what, uint64_t now, uint64_t total,
                    bool done)
{
    static uint64_t shown_ms;
    uint64_t now_ms = clock_monotonic_ms();
    char bar[BAR_WIDTH + 1];

    if (tool->quiet || !isatty(STDERR_FILENO)) return;
    if (!done && now_ms - shown_ms < PROGRESS_EVERY_MS) return;
    shown_ms = now_ms;
    if (total == 0) {
        (void)fprintf(stderr, "\r%s %" PRIu64 "%s", what, now, done ? "\n" : "");
        return;
    }
    uint64_t filled = now < total ? now * BAR_WIDTH / total : BAR_WIDTH;
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '=', filled);
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(stderr, "\r[%s] %s %" PRIu64 " of %" PRIu64 "%s", bar, what, now, total,
                  done ? "\n" : "");
}
