/*
 * metrics.c - see metrics.h. Each value is one atomic word, or an array of them: no lock between
 * the loop that counts and the thread that renders.
 */
#include "base/metrics.h"

#include "base/version.h"

#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { METRICS_MAX = 2048, BUCKETS = 17, LINE_SIZE = 512 };

static const double BOUNDS[BUCKETS] = {0.0005, 0.001, 0.002, 0.003, 0.004, 0.005,
                                       0.0075, 0.01,  0.025, 0.05,  0.1,   0.25,
                                       0.5,    1,     2.5,   5,     10};

struct metric {
    enum metric_type type;
    const char *name, *help, *labels;
    _Atomic uint64_t count;            /* of a counter or a histogram */
    _Atomic uint64_t bits;             /* a gauge's double; a histogram's sum in nanoseconds */
    _Atomic uint64_t buckets[BUCKETS]; /* not cumulated */
};

static struct metric metrics[METRICS_MAX];
static size_t metrics_count;

struct metric *metric_register(enum metric_type type, const char *name, const char *help,
                               const char *labels)
{
    assert(metrics_count < METRICS_MAX);
    struct metric *metric = &metrics[metrics_count++];

    metric->type = type;
    metric->name = name;
    metric->help = help;
    metric->labels = labels;
    return metric;
}

void metric_add(struct metric *metric, uint64_t amount)
{
    assert(metric->type == METRIC_COUNTER);
    atomic_fetch_add_explicit(&metric->count, amount, memory_order_relaxed);
}

void metric_set(struct metric *metric, double value)
{
    uint64_t bits;

    assert(metric->type == METRIC_GAUGE);
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(&metric->bits, bits, memory_order_relaxed);
}

void metric_observe(struct metric *metric, double seconds)
{
    assert(metric->type == METRIC_HISTOGRAM);
    for (size_t i = 0; i < BUCKETS; i++) {
        if (seconds > BOUNDS[i]) continue;
        atomic_fetch_add_explicit(&metric->buckets[i], 1, memory_order_relaxed);
        break;
    }
    atomic_fetch_add_explicit(&metric->bits, (uint64_t)(seconds * 1e9), memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->count, 1, memory_order_relaxed);
}

uint64_t metric_count(const struct metric *metric)
{
    return atomic_load_explicit(&metric->count, memory_order_relaxed);
}

/* --- the text ---------------------------------------------------------------------------- */

static void render_help(FILE *out, const char *name, const char *help, const char *type)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void render_histogram(FILE *out, const struct metric *metric)
{
    const char *labels = metric->labels == NULL ? "" : metric->labels;
    const char *comma = metric->labels == NULL ? "" : ",";
    const char *open = metric->labels == NULL ? "" : "{",
               *close = metric->labels == NULL ? "" : "}";
    uint64_t below = 0, count = metric_count(metric);
    double sum = (double)atomic_load_explicit(&metric->bits, memory_order_relaxed) / 1e9;

    for (size_t i = 0; i < BUCKETS; i++) {
        below += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        if (below > count) count = below; /* observed while this is rendered */
        (void)fprintf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", metric->name, labels, comma,
                      BOUNDS[i], below);
    }
    (void)fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", metric->name, labels, comma,
                  count);
    (void)fprintf(out, "%s_sum%s%s%s %.15g\n", metric->name, open, labels, close, sum);
    (void)fprintf(out, "%s_count%s%s%s %" PRIu64 "\n", metric->name, open, labels, close, count);
}

static void render_one(FILE *out, const struct metric *metric)
{
    uint64_t bits = atomic_load_explicit(&metric->bits, memory_order_relaxed);
    double value;

    if (metric->type == METRIC_HISTOGRAM) {
        render_histogram(out, metric);
        return;
    }
    (void)fputs(metric->name, out);
    if (metric->labels != NULL) (void)fprintf(out, "{%s}", metric->labels);
    memcpy(&value, &bits, sizeof value);
    if (metric->type == METRIC_GAUGE) (void)fprintf(out, " %.15g\n", value);
    if (metric->type == METRIC_COUNTER) (void)fprintf(out, " %" PRIu64 "\n", metric_count(metric));
}

/* Field `number` of /proc/self/stat, counted from 3, the first after the name in parentheses:
 * proc(5). */
static bool stat_field(const char *fields, int number, unsigned long long *out)
{
    for (int i = 3; i < number; i++) {
        fields = strchr(fields, ' ');
        if (fields == NULL) return false;
        fields++;
    }
    char *end;
    *out = strtoull(fields, &end, 10);
    return end != fields;
}

enum { STAT_USER = 14, STAT_SYSTEM = 15, STAT_THREADS = 20, STAT_VIRTUAL = 23, STAT_RESIDENT = 24 };

/* What Prometheus clients tell of a process; what cannot be read is left out. */
static void render_stat(FILE *out)
{
    char line[LINE_SIZE], *name_end = NULL;
    unsigned long long user, system, threads, virtual_bytes, resident_pages;
    long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    FILE *stat = fopen("/proc/self/stat", "r");

    if (stat == NULL) return;
    if (fgets(line, sizeof line, stat) != NULL) name_end = strrchr(line, ')');
    (void)fclose(stat);
    if (name_end == NULL || name_end[1] == '\0' || ticks <= 0 || page <= 0) return;
    const char *fields = name_end + 2;
    if (!stat_field(fields, STAT_USER, &user) || !stat_field(fields, STAT_SYSTEM, &system) ||
        !stat_field(fields, STAT_THREADS, &threads) ||
        !stat_field(fields, STAT_VIRTUAL, &virtual_bytes) ||
        !stat_field(fields, STAT_RESIDENT, &resident_pages))
        return;
    render_help(out, "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.", "counter");
    (void)fprintf(out, "process_cpu_seconds_total %.2f\n", (double)(user + system) / (double)ticks);
    render_help(out, "process_resident_memory_bytes", "Resident memory size in bytes.", "gauge");
    (void)fprintf(out, "process_resident_memory_bytes %llu\n",
                  resident_pages * (unsigned long long)page);
    render_help(out, "process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge");
    (void)fprintf(out, "process_virtual_memory_bytes %llu\n", virtual_bytes);
    render_help(out, "process_threads", "Number of OS threads in the process.", "gauge");
    (void)fprintf(out, "process_threads %llu\n", threads);
}

static void render_descriptors(FILE *out)
{
    struct rlimit limit;
    unsigned open_count = 0;
    DIR *directory = opendir("/proc/self/fd");

    if (directory != NULL) {
        while (readdir(directory) != NULL) open_count++;
        (void)closedir(directory);
        render_help(out, "process_open_fds", "Number of open file descriptors.", "gauge");
        (void)fprintf(out, "process_open_fds %u\n",
                      open_count > 3 ? open_count - 3 : 0); /* . .. and this one */
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    render_help(out, "process_max_fds", "Maximum number of open file descriptors.", "gauge");
    (void)fprintf(out, "process_max_fds %ju\n", (uintmax_t)limit.rlim_cur);
}

char *metrics_render(size_t *size)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    const char *name = "";

    if (out == NULL) return NULL;
    render_help(out, "ledger_build_info", "The version of this program.", "gauge");
    (void)fprintf(out, "ledger_build_info{version=\"%s\"} 1\n", LEDGER_VERSION);
    for (size_t i = 0; i < metrics_count; i++) {
        if (strcmp(metrics[i].name, name) != 0)
            render_help(out, metrics[i].name, metrics[i].help, types[metrics[i].type]);
        name = metrics[i].name;
        render_one(out, &metrics[i]);
    }
    render_stat(out);
    render_descriptors(out);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}
