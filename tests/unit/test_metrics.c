/*
 * test_metrics.c - the text form, line by line (exposition format 0.0.4), and counting while it is
 * rendered. The registry is the process's, so each test registers names of its own.
 */
#include "base/metrics.h"
#include "base/version.h"
#include "tests/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static size_t size;

static int tear_down(void **state)
{
    (void)state;
    free(text);
    text = NULL;
    return 0;
}

static void render(void)
{
    free(text);
    text = metrics_render(&size);
    assert_non_null(text);
    assert_int_equal(strlen(text), size);
}

/* All of these lines, one after the other. */
static void assert_has(const char *lines)
{
    const char *at = strstr(text, lines);

    if (at == NULL || (at != text && at[-1] != '\n')) fail_msg("no\n%s\nin\n%s", lines, text);
}

static uint32_t count_of(const char *part)
{
    uint32_t count = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) count++;
    return count;
}

/* --- values ---------------------------------------------------------------------------------- */

static void counters_count(void **state)
{
    struct metric *a =
        metric_register(METRIC_COUNTER, "test_things_total", "Things.", "kind=\"a\",of=\"test\"");
    struct metric *b =
        metric_register(METRIC_COUNTER, "test_things_total", "Things.", "kind=\"b\"");
    struct metric *alone = metric_register(METRIC_COUNTER, "test_alone_total", "Alone.", NULL);

    (void)state;
    metric_add(a, 2);
    metric_add(a, 3);
    metric_add(b, UINT64_MAX);
    assert_int_equal(metric_count(a), 5);
    assert_int_equal(metric_count(alone), 0);
    render();
    assert_has("# HELP test_things_total Things.\n"
               "# TYPE test_things_total counter\n"
               "test_things_total{kind=\"a\",of=\"test\"} 5\n"
               "test_things_total{kind=\"b\"} 18446744073709551615\n"
               "# HELP test_alone_total Alone.\n"
               "# TYPE test_alone_total counter\n"
               "test_alone_total 0\n");
}

static void gauges_go_up_and_down(void **state)
{
    static const struct {
        double value;
        const char *line;
    } rows[] = {{0, "test_gauge 0\n"},
                {-1.5, "test_gauge -1.5\n"},
                {0.1, "test_gauge 0.1\n"},
                {1234567890123, "test_gauge 1234567890123\n"},
                {1e300, "test_gauge 1e+300\n"}};
    struct metric *gauge = metric_register(METRIC_GAUGE, "test_gauge", "A gauge.", NULL);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metric_set(gauge, rows[i].value);
        render();
        assert_has(rows[i].line);
    }
    assert_has("# TYPE test_gauge gauge\n");
}

/* Buckets are cumulated, a value on a bound belongs below it, one past the last bound to +Inf
 * alone. */
static void histograms_have_buckets(void **state)
{
    static const double observed[] = {0, 0.0005, 0.00051, 0.05, 0.051, 9.5, 10, 10.5, 3600};
    struct metric *alone = metric_register(METRIC_HISTOGRAM, "test_seconds", "Time.", NULL);
    struct metric *named = metric_register(METRIC_HISTOGRAM, "test_seconds", "Time.", "of=\"x\"");

    (void)state;
    for (size_t i = 0; i < sizeof observed / sizeof observed[0]; i++)
        metric_observe(alone, observed[i]);
    metric_observe(named, 0.003);
    assert_int_equal(metric_count(alone), 9);
    render();
    assert_has("# TYPE test_seconds histogram\n"
               "test_seconds_bucket{le=\"0.0005\"} 2\n"
               "test_seconds_bucket{le=\"0.001\"} 3\n");
    assert_has("test_seconds_bucket{le=\"0.05\"} 4\n"
               "test_seconds_bucket{le=\"0.1\"} 5\n");
    assert_has("test_seconds_bucket{le=\"5\"} 5\n"
               "test_seconds_bucket{le=\"10\"} 7\n"
               "test_seconds_bucket{le=\"+Inf\"} 9\n"
               "test_seconds_sum 3630.10201\n"
               "test_seconds_count 9\n"
               "test_seconds_bucket{of=\"x\",le=\"0.0005\"} 0\n");
    assert_has("test_seconds_bucket{of=\"x\",le=\"+Inf\"} 1\n"
               "test_seconds_sum{of=\"x\"} 0.003\n"
               "test_seconds_count{of=\"x\"} 1\n");
}

/* --- the whole ------------------------------------------------------------------------------- */

static void the_process_tells_of_itself(void **state)
{
    static const char *const names[] = {
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_threads",
        "process_open_fds",
        "process_max_fds",
    };

    (void)state;
    render();
    assert_has("ledger_build_info{version=\"" LEDGER_VERSION "\"} 1\n");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "\n%s ", names[i]);
        const char *at = strstr(text, line);
        assert_non_null(at);
        assert_int_equal(count_of(line), 1);
        assert_true(strtod(at + strlen(line), NULL) >= 0);
    }
    assert_has("process_threads 1\n");
}

/* Every line is a comment of a metric that was not described before, or a value of the last
 * described. */
static void every_line_is_well_formed(void **state)
{
    char name[64] = "", described[64], line[256];

    (void)state;
    render();
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, "\n");
        assert_int_equal(at[length], '\n');
        assert_in_range(length, 1, sizeof line - 1);
        memcpy(line, at, length);
        line[length] = '\0';
        at += length + 1;
        if (sscanf(line, "# HELP %63s", described) == 1) {
            char help[80];
            (void)snprintf(help, sizeof help, "# HELP %s ", described);
            assert_int_equal(count_of(help), 1);
            (void)snprintf(name, sizeof name, "%s", described);
        } else if (sscanf(line, "# TYPE %63s", described) == 1) {
            assert_string_equal(described, name);
        } else {
            const char *space = strrchr(line, ' ');
            char *end;
            assert_int_equal(strncmp(line, name, strlen(name)), 0);
            assert_non_null(space);
            (void)strtod(space + 1, &end);
            assert_true(end > space + 1);
            assert_int_equal(*end, '\0');
        }
    }
}

/* --- two threads ----------------------------------------------------------------------------- */

enum { ROUNDS = 200000 };

static struct metric *shared_counter, *shared_histogram;
static atomic_bool done;

static void *count(void *context)
{
    (void)context;
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(shared_counter, 1);
        metric_observe(shared_histogram, 0.002);
    }
    atomic_store(&done, true);
    return NULL;
}

static uint64_t value_of(const char *series)
{
    const char *at = strstr(text, series);

    assert_non_null(at);
    return strtoull(at + strlen(series), NULL, 10);
}

static void nothing_is_lost_while_it_is_rendered(void **state)
{
    pthread_t threads[2];
    uint64_t last = 0;

    (void)state;
    shared_counter = metric_register(METRIC_COUNTER, "test_shared_total", "Shared.", NULL);
    shared_histogram = metric_register(METRIC_HISTOGRAM, "test_shared_seconds", "Shared.", NULL);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    while (!atomic_load(&done)) {
        render();
        uint64_t now = value_of("\ntest_shared_total ");
        assert_true(now >= last);
        last = now;
        uint64_t below = value_of("test_shared_seconds_bucket{le=\"10\"} ");
        assert_true(below <= value_of("test_shared_seconds_bucket{le=\"+Inf\"} "));
        assert_int_equal(value_of("test_shared_seconds_bucket{le=\"+Inf\"} "),
                         value_of("test_shared_seconds_count "));
    }
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    render();
    assert_has("test_shared_total 400000\n");
    assert_has("test_shared_seconds_sum 800\n"
               "test_shared_seconds_count 400000\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(counters_count, tear_down),
        cmocka_unit_test_teardown(gauges_go_up_and_down, tear_down),
        cmocka_unit_test_teardown(histograms_have_buckets, tear_down),
        cmocka_unit_test_teardown(the_process_tells_of_itself, tear_down),
        cmocka_unit_test_teardown(every_line_is_well_formed, tear_down),
        cmocka_unit_test_teardown(nothing_is_lost_while_it_is_rendered, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
