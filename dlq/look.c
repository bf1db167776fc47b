/*
 * look.c - the verbs that change nothing: list, show, stats, history, watch.
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/stop.h"
#include "base/topology_amqp.h"
#include "dlq/stats.h"
#include "dlq/tool.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static enum exit_code finish(struct walk *walk, bool ok, const struct err *err)
{
    walk_close(walk);
    if (!ok) return complain_err(err);
    return stop_requested() ? EXIT_STOPPED : EXIT_DONE;
}

/* --- list and show ----------------------------------------------------------------------- */

static bool pending_of(struct walk *walk, const struct letter *letters, uint32_t count,
                       int64_t pending[static PAGE_LETTERS], struct err *err)
{
    memset(pending, 0, PAGE_LETTERS * sizeof *pending);
    if (walk->audit == NULL) return true;
    return audit_pending(walk->audit, letters, count, pending, &walk->arena, err);
}

static bool list_page(void *context, struct walk *walk, struct letter *letters, uint32_t count,
                      struct err *err)
{
    uint32_t *listed = context;
    int64_t pending[PAGE_LETTERS];

    if (!pending_of(walk, letters, count, pending, err)) return false;
    for (uint32_t i = 0; i < count && !walk->enough; i++) {
        if (*listed == 0) print_letters_head(walk->tool);
        print_letter(walk->tool, &walk->arena, &letters[i], pending[i]);
        (*listed)++;
        walk->enough = walk->tool->limit > 0 && *listed >= walk->tool->limit;
    }
    return true;
}

enum exit_code run_list(struct tool *tool, int count, char **arguments)
{
    struct walk *walk = NULL;
    struct err err = {0};
    uint32_t listed = 0;
    bool ok;

    (void)count;
    (void)arguments;
    ok = walk_open(&walk, tool, false, &err) && walk_run(walk, list_page, &listed, &err);
    if (ok && walk->seen < walk->total && tool->output == OUTPUT_TABLE && !tool->quiet)
        (void)fprintf(stderr,
                      "the first %" PRIu32 "; %" PRIu64 " of %" PRIu64
                      " dead letters were looked at (--limit 0 for all)\n",
                      listed, walk->seen, walk->total);
    else if (ok && listed == 0 && tool->output == OUTPUT_TABLE && !tool->quiet)
        (void)fprintf(stderr, "none of %" PRIu64 " dead letters\n", walk->total);
    return finish(walk, ok, &err);
}

static bool show_page(void *context, struct walk *walk, struct letter *letters, uint32_t count,
                      struct err *err)
{
    uint32_t *shown = context;
    int64_t pending[PAGE_LETTERS];

    if (!pending_of(walk, letters, count, pending, err)) return false;
    for (uint32_t i = 0; i < count; i++)
        print_letter_whole(walk->tool, &walk->arena, &letters[i], pending[i]);
    *shown += count;
    walk->enough = *shown >= walk->tool->filter.ids_count;
    return true;
}

enum exit_code run_show(struct tool *tool, int count, char **arguments)
{
    struct walk *walk = NULL;
    struct err err = {0};
    uint32_t shown = 0;
    bool ok;

    tool->filter.ids = (const char *const *)arguments;
    tool->filter.ids_count = (uint32_t)count;
    ok = walk_open(&walk, tool, false, &err) && walk_run(walk, show_page, &shown, &err);
    enum exit_code code = finish(walk, ok, &err);
    if (code != EXIT_DONE || shown >= (uint32_t)count) return code;
    return complain(EXIT_FAILED, "%u of %d letters are not in the queue; list shows those that are",
                    (unsigned)count - shown, count);
}

/* --- stats ------------------------------------------------------------------------------- */

static bool stats_page(void *context, struct walk *walk, struct letter *letters, uint32_t count,
                       struct err *err)
{
    struct stats *stats = context;

    (void)err;
    for (uint32_t i = 0; i < count; i++) stats_add(stats, &letters[i]);
    print_progress(walk->tool, "looked at", walk->seen, walk->total, false);
    return true;
}

static void print_group_json(const struct tool *tool, const struct group *group)
{
    char hour[TIME_TEXT_SIZE] = "", oldest[TIME_TEXT_SIZE], newest[TIME_TEXT_SIZE];

    printf("{\"count\":%" PRIu64, group->count);
    if (tool->by & STATS_REASON) {
        printf(",\"reason\":");
        print_json_text(stdout, text_of(group->reason));
    }
    if (tool->by & STATS_COMMAND) {
        printf(",\"command\":");
        print_json_text(stdout, text_of(group->command));
    }
    if (tool->by & STATS_CALLER) {
        printf(",\"caller\":");
        print_json_text(stdout, text_of(group->caller));
    }
    if (tool->by & STATS_HOUR && group->hour_us > 0) {
        time_format(group->hour_us, hour);
        printf(",\"hour\":\"%s\"", hour);
    }
    time_format(group->oldest_us, oldest);
    time_format(group->newest_us, newest);
    printf(",\"oldest\":\"%s\",\"newest\":\"%s\"}\n", oldest, newest);
}

static void print_group(const struct tool *tool, const struct group *group)
{
    char hour[TIME_TEXT_SIZE] = "-", oldest[16], newest[16];

    print_age(oldest, sizeof oldest, group->oldest_us);
    print_age(newest, sizeof newest, group->newest_us);
    printf("%10" PRIu64 "  %6s  %6s", group->count, oldest, newest);
    if (tool->by & STATS_REASON) printf("  %-24s", group->reason);
    if (tool->by & STATS_COMMAND) printf("  %-14s", group->command);
    if (tool->by & STATS_CALLER) printf("  %-16s", group->caller);
    if (group->hour_us > 0) time_format(group->hour_us, hour);
    if (tool->by & STATS_HOUR) printf("  %.16s", hour);
    printf("\n");
}

static void print_stats(const struct tool *tool, struct stats *stats)
{
    uint32_t count;
    const struct group *groups = stats_groups(stats, &count);

    if (tool->output == OUTPUT_TABLE) {
        printf("%10s  %6s  %6s", "letters", "oldest", "newest");
        if (tool->by & STATS_REASON) printf("  %-24s", "reason");
        if (tool->by & STATS_COMMAND) printf("  %-14s", "command");
        if (tool->by & STATS_CALLER) printf("  %-16s", "caller");
        if (tool->by & STATS_HOUR) printf("  %s", "hour (UTC)");
        printf("\n");
    }
    for (uint32_t i = 0; i < count; i++)
        if (tool->output == OUTPUT_JSON)
            print_group_json(tool, &groups[i]);
        else
            print_group(tool, &groups[i]);
    if (tool->output == OUTPUT_TABLE) printf("%10" PRIu64 "  in all\n", stats_total(stats));
}

enum exit_code run_stats(struct tool *tool, int count, char **arguments)
{
    struct stats *stats = NULL;
    struct walk *walk = NULL;
    struct err err = {0};
    bool ok;

    (void)count;
    (void)arguments;
    ok = stats_open(&stats, tool->by, &err) && walk_open(&walk, tool, false, &err) &&
         walk_run(walk, stats_page, stats, &err);
    if (ok) print_progress(tool, "looked at", walk->seen, walk->total, true);
    enum exit_code code = finish(walk, ok, &err);
    if (ok) print_stats(tool, stats);
    stats_close(stats);
    return code;
}

/* --- history ----------------------------------------------------------------------------- */

static void print_operation_json(const struct operation *operation)
{
    char started[TIME_TEXT_SIZE], ended[TIME_TEXT_SIZE];

    time_format(operation->started_us, started);
    printf("{\"operation\":%" PRId64 ",\"verb\":", operation->id);
    print_json_text(stdout, operation->verb);
    printf(",\"state\":");
    print_json_text(stdout, operation->state);
    printf(",\"operator\":");
    print_json_text(stdout, operation->who);
    printf(",\"login\":");
    print_json_text(stdout, operation->login);
    printf(",\"reason\":");
    print_json_text(stdout, operation->reason);
    printf(",\"filter\":");
    print_json_text(stdout, operation->filter);
    printf(",\"started\":\"%s\"", started);
    if (operation->ended_us > 0) {
        time_format(operation->ended_us, ended);
        printf(",\"ended\":\"%s\"", ended);
    }
    printf(",\"staged\":%" PRId64 ",\"finished\":%" PRId64 ",\"note\":", operation->staged,
           operation->finished);
    print_json_text(stdout, operation->note);
    printf("}\n");
}

static void print_operation(void *context, const struct operation *operation)
{
    const struct tool *tool = context;
    char started[TIME_TEXT_SIZE];

    if (tool->output == OUTPUT_JSON) {
        print_operation_json(operation);
        return;
    }
    time_format(operation->started_us, started);
    printf("%6" PRId64 "  %.19s  %-7.*s %-12.*s %8" PRId64 " of %-8" PRId64 " %.*s (%.*s)",
           operation->id, started, TEXT_ARGS(operation->verb), TEXT_ARGS(operation->state),
           operation->finished, operation->staged, TEXT_ARGS(operation->who),
           TEXT_ARGS(operation->login));
    if (operation->filter.length > 0) printf("  [%.*s]", TEXT_ARGS(operation->filter));
    if (operation->reason.length > 0) printf("  \"%.*s\"", TEXT_ARGS(operation->reason));
    if (operation->note.length > 0) printf("  %.*s", TEXT_ARGS(operation->note));
    printf("\n");
}

enum exit_code run_history(struct tool *tool, int count, char **arguments)
{
    struct audit_options options = {.url = tool->database_url,
                                    .role = tool->database_role,
                                    .who = tool->who,
                                    .queue = tool->names.dlq,
                                    .timeout_ms = tool->timeout_ms};
    struct audit *audit = NULL;
    struct err err = {0};
    bool ok;

    ok = audit_open(&audit, &options, &err);
    if (ok && tool->output == OUTPUT_TABLE)
        printf("%6s  %-19s  %-7s %-12s %8s    %-8s %s\n", "id", "started (UTC)", "verb", "state",
               "done", "staged", "operator (login)  [filter]  \"reason\"");
    ok = ok &&
         audit_history(audit, count > 0 ? arguments[0] : NULL,
                       tool->limit > 0 ? tool->limit : UINT32_MAX, print_operation, tool, &err);
    audit_close(audit);
    return ok ? EXIT_DONE : complain_err(&err);
}

/* --- watch ------------------------------------------------------------------------------- */

enum { WATCH_WAIT_MS = 200, WATCH_PREFETCH = 500 };

/* Copies: a queue of our own, which the broker drops when we have gone, beside the real one. */
static bool watch_open(struct tool *tool, const char *name, struct consumer **consumer,
                       struct err *err)
{
    struct topology_queue queue = {.arguments = {{.name = "x-expires", .number = 60000},
                                                 {.name = "x-max-length", .number = 10000}},
                                   .arguments_count = 2};
    struct topology_binding binding = {.key = "#"};
    struct topology topology = {
        .queues = &queue, .queues_count = 1, .bindings = &binding, .bindings_count = 1};
    struct consumer_options options = {.url = tool->amqp_url,
                                       .name = "ledger-dlq watch",
                                       .heartbeat_s = 20,
                                       .timeout_ms = tool->timeout_ms,
                                       .body_max = BODY_SIZE_MAX};

    (void)snprintf(queue.name, sizeof queue.name, "%s", name);
    (void)snprintf(binding.source, sizeof binding.source, "%s", tool->names.dlx);
    (void)snprintf(binding.destination, sizeof binding.destination, "%s", name);
    return topology_apply(tool->amqp_url, &topology, TOPOLOGY_DECLARE, err) &&
           consumer_open(consumer, &options, err) &&
           consumer_subscribe(*consumer, name, 0, WATCH_PREFETCH, err);
}

static bool watch(struct tool *tool, struct consumer *consumer, struct arena *arena,
                  struct err *err)
{
    static struct delivery deliveries[PAGE_LETTERS];

    while (!stop_requested()) {
        uint32_t count = 0;
        arena_reset(arena);
        if (!consumer_fetch(consumer, WATCH_WAIT_MS, deliveries, PAGE_LETTERS, arena, &count, err))
            return false;
        for (uint32_t i = 0; i < count; i++) {
            struct letter letter;
            letter_read(tool->codec, deliveries[i].routing_key, deliveries[i].properties,
                        deliveries[i].body, arena, &letter);
            if (filter_matches(&tool->filter, &letter, clock_wall_us()))
                print_letter(tool, arena, &letter, 0);
        }
        if (count > 0) (void)fflush(stdout);
        if (count > 0 && !consumer_ack(consumer, deliveries[count - 1].tag, true, err))
            return false;
    }
    return true;
}

enum exit_code run_watch(struct tool *tool, int count, char **arguments)
{
    struct consumer *consumer = NULL;
    struct arena arena = {0};
    struct err err = {0};
    char name[TOPOLOGY_NAME_SIZE];
    uint32_t random;
    bool ok;

    (void)count;
    (void)arguments;
    random_bytes(&random, sizeof random);
    (void)snprintf(name, sizeof name, "%.64s.watch.%08x", tool->names.dlq, random);
    ok = arena_open(&arena, TOOL_ARENA_SIZE, &err) && watch_open(tool, name, &consumer, &err);
    if (ok && tool->output == OUTPUT_TABLE) print_letters_head(tool);
    (void)fflush(stdout);
    ok = ok && watch(tool, consumer, &arena, &err);
    consumer_close(consumer);
    arena_close(&arena);
    return ok ? EXIT_DONE : complain_err(&err);
}
