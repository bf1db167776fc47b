/*
 * test_log.c - standard output goes to a file: every line there is one JSON object, whatever was in
 * the message and the fields.
 */
#include "base/log.h"
#include "tests/test.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUTPUT_SIZE = 4 << 20, LINES_MAX = 20000, LARGE_SIZE = 20000 };
enum { FLAGS = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL };

static int output, terminal;
static char text[OUTPUT_SIZE];
static json_t *lines[LINES_MAX];
static uint32_t lines_count;
static char large[LARGE_SIZE];

static int set_up(void **state)
{
    static char path[32];

    (void)state;
    (void)snprintf(path, sizeof path, "%s", "/tmp/test_log.XXXXXX");
    output = mkstemp(path);
    if (output < 0 || unlink(path) != 0) return 1;
    terminal = dup(STDOUT_FILENO);
    if (terminal < 0 || dup2(output, STDOUT_FILENO) < 0) return 1;
    log_open("ledger-test", LOG_DEBUG);
    return 0;
}

/* Also called in the middle of a test, for what cmocka says of a failure goes to standard output.
 */
static void back_to_terminal(void)
{
    if (terminal < 0) return;
    (void)dup2(terminal, STDOUT_FILENO);
    (void)close(terminal);
    terminal = -1;
}

static int tear_down(void **state)
{
    (void)state;
    log_flush();
    back_to_terminal();
    for (uint32_t i = 0; i < lines_count; i++) json_decref(lines[i]);
    lines_count = 0;
    return close(output);
}

/* What has been written by now, line by line; the first call ends the redirection. */
static void read_lines(void)
{
    back_to_terminal();
    ssize_t size = pread(output, text, sizeof text - 1, 0);
    assert_in_range(size, 0, sizeof text - 2);
    for (char *line = text; line < text + size;) {
        char *end = memchr(line, '\n', (size_t)(text + size - line));
        json_error_t error;
        assert_non_null(end);
        assert_in_range(lines_count, 0, LINES_MAX - 1);
        lines[lines_count] = json_loadb(line, (size_t)(end - line), FLAGS, &error);
        if (!json_is_object(lines[lines_count]))
            fail_msg("%s: %.*s", error.text, (int)(end - line), line);
        lines_count++;
        line = end + 1;
    }
}

static const char *field(uint32_t line, const char *name)
{
    assert_in_range(line, 0, lines_count - 1);
    return json_string_value(json_object_get(lines[line], name));
}

/* --- tests ----------------------------------------------------------------------------------- */

static void a_line_has_its_fields(void **state)
{
    const struct log_field fields[] = {
        {.name = "trace_id", .text = TEXT_LITERAL("4bf9")},
        {.name = "absent", .text = {0}},
        {.name = "empty", .text = TEXT_LITERAL("")},
        {.name = "least", .number = INT64_MIN, .is_number = true},
    };

    (void)state;
    log_info("%s of %d", "two", 2);
    log_event(LOG_ERROR, "event", fields, sizeof fields / sizeof fields[0]);
    read_lines();
    assert_int_equal(lines_count, 2);
    assert_int_equal(json_object_size(lines[0]), 4);
    assert_string_equal(field(0, "level"), "info");
    assert_string_equal(field(0, "service"), "ledger-test");
    assert_string_equal(field(0, "message"), "two of 2");
    assert_int_equal(strlen(field(0, "time")), strlen("2026-11-23T07:00:00.000000Z"));
    assert_int_equal(json_object_size(lines[1]), 7);
    assert_string_equal(field(1, "level"), "error");
    assert_string_equal(field(1, "trace_id"), "4bf9");
    assert_string_equal(field(1, "empty"), "");
    assert_true(json_integer_value(json_object_get(lines[1], "least")) == INT64_MIN);
}

/* Every byte but NUL, alone and between others, and every pair of a lead and a follower. */
static void whatever_is_in_a_message_it_stays_json(void **state)
{
    static const struct {
        const char *bytes, *read;
    } rows[] = {
        {"quote \" and \\", "quote \" and \\"},
        {"\n\r\t\b\f\x01\x1f\x7f", "\n\r\t\b\f\x01\x1f\x7f"},
        {"{\"level\":\"x\"}", "{\"level\":\"x\"}"},
        {"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\xb6", "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\xb6"},
        {"\x80x", "\xef\xbf\xbdx"},                                               /* no lead */
        {"\xc3", "\xef\xbf\xbd"},                                                 /* cut short */
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                                 /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},                 /* surrogate */
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* past the end */
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    char bytes[4] = "";

    (void)state;
    for (int i = 0; i < ROWS; i++) log_info("%s", rows[i].bytes);
    for (int first = 1; first < 256; first++) {
        bytes[0] = (char)first;
        for (int second = 0x70; second < 0xd0; second += 5) {
            bytes[1] = (char)second;
            struct log_field named = {.name = "bytes", .text = {bytes, 1 + (uint32_t)second % 3}};
            log_event(LOG_INFO, bytes, &named, 1);
        }
    }
    log_flush();
    read_lines();
    for (uint32_t i = 0; i < ROWS; i++) assert_string_equal(field(i, "message"), rows[i].read);
    assert_int_equal(lines_count, ROWS + 255 * 20);
}

static void what_is_too_long_is_cut_or_left_out(void **state)
{
    (void)state;
    for (uint32_t size = 1; size < LARGE_SIZE; size = size * 3 / 2 + 1)
        for (int kind = 0; kind < 3; kind++) {
            memset(large, "\x01y\xff"[kind], size);
            large[size] = '\0';
            const struct log_field fields[] = {{.name = "large", .text = {large, size}},
                                               {.name = "small", .text = TEXT_LITERAL("small")}};
            log_event(LOG_INFO, "fields", fields, 2);
            log_event(LOG_INFO, large, fields + 1, 1);
            log_info("%s", large);
        }
    log_flush();
    read_lines();
    for (uint32_t i = 0; i < lines_count; i++) {
        const char *message = field(i, "message");
        assert_non_null(message);
        if (strcmp(message, "fields") == 0 || i % 3 == 1)
            assert_string_equal(field(i, "small"), "small");
        assert_true(strlen(field(i, "time")) > 0);
    }
    assert_non_null(field(0, "large"));
    assert_null(field(lines_count - 3, "large"));
    assert_true(strlen(field(lines_count - 4, "message")) >= 1000); /* cut, not lost */
}

static void levels_below_the_least_are_dropped(void **state)
{
    static const char *const words[] = {"debug", "info", "warn", "error"};

    (void)state;
    for (uint32_t least = LOG_DEBUG; least <= LOG_ERROR; least++) {
        log_open("ledger-test", (enum log_level)least);
        for (uint32_t level = LOG_DEBUG; level <= LOG_ERROR; level++) {
            assert_int_equal(log_enabled((enum log_level)level), level >= least);
            log_write((enum log_level)level, "%u", least);
        }
    }
    log_flush();
    read_lines();
    uint32_t line = 0;
    for (uint32_t least = LOG_DEBUG; least <= LOG_ERROR; least++)
        for (uint32_t level = least; level <= LOG_ERROR; level++)
            assert_string_equal(field(line++, "level"), words[level]);
    assert_int_equal(lines_count, line);
}

static off_t written(void)
{
    return lseek(output, 0, SEEK_END);
}

static void lines_are_gathered_up_to_warnings(void **state)
{
    (void)state;
    log_info("gathered");
    off_t after_info = written();
    log_warn("at once, and in order");
    off_t after_warning = written();
    log_info("gathered again");
    off_t after_more = written();
    for (int i = 0; i < 1000 && written() == after_more; i++) log_info("until it is full: %d", i);
    off_t after_many = written();
    log_flush();
    read_lines();
    assert_int_equal(after_info, 0);
    assert_true(after_warning > 0);
    assert_int_equal(after_more, after_warning);
    assert_true(after_many > after_more);
    assert_string_equal(field(0, "message"), "gathered");
    assert_string_equal(field(1, "level"), "warn");
    assert_string_equal(field(2, "message"), "gathered again");
}

enum { THREADS = 4, LINES_EACH = 2000 };

static void *write_many(void *context)
{
    for (int i = 0; i < LINES_EACH; i++) log_info("%s %d", (const char *)context, i);
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    static char names[THREADS][4] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    log_flush();
    read_lines();
    assert_int_equal(lines_count, THREADS * LINES_EACH);
}

#define ALONE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(a_line_has_its_fields),
        ALONE(whatever_is_in_a_message_it_stays_json),
        ALONE(what_is_too_long_is_cut_or_left_out),
        ALONE(levels_below_the_least_are_dropped),
        ALONE(lines_are_gathered_up_to_warnings),
        ALONE(threads_do_not_mix_their_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
