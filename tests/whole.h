/*
 * whole.h - what the tests of the whole system share: the real processes on the real servers,
 * publishers that wait for confirms, and a collector of everything that comes out.
 */
#ifndef TESTS_WHOLE_H
#define TESTS_WHOLE_H

#include "base/consumer_amqp.h"
#include "base/link_amqp.h"
#include "base/publisher_amqp.h"
#include "base/topology_amqp.h"
#include "protocol/command.h"
#include "protocol/event.h"
#include "protocol/names.h"
#include "protocol/properties.h"
#include "protocol/reply.h"
#include "tests/outbox.h"
#include "tests/verify.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WHOLE_SHARDS = 4,
    WHOLE_FETCH = 1000,
    WHOLE_TIMEOUT_MS = 20000,
    WHOLE_ARENA = 16 << 20,
    WHOLE_PROCESSES_MAX = 16,
};

struct whole {
    struct names names;
    char prefix[32], replies[64], events[64];
    pid_t running[WHOLE_PROCESSES_MAX]; /* 0: none */
};

static struct whole whole;

/* --- processes --------------------------------------------------------------------------- */

/* Notes that a process is there, or, with to 0, that it has gone. */
static inline void process_note(pid_t from, pid_t to)
{
    for (uint32_t i = 0; i < WHOLE_PROCESSES_MAX; i++) {
        if (whole.running[i] != from) continue;
        whole.running[i] = to;
        return;
    }
    fail_msg("too many processes");
}

static inline pid_t process_start(const char *program, const char *name)
{
    const char *folder = getenv("LEDGER_BIN");
    char path[512], log[256];
    pid_t pid;

    (void)snprintf(path, sizeof path, "%s/%s", folder == NULL ? "build/gcc-release/bin" : folder,
                   program);
    (void)mkdir("build/test-logs", 0755);
    (void)mkdir("build/test-logs/whole", 0755);
    (void)snprintf(log, sizeof log, "build/test-logs/whole/%s-%s.log", whole.prefix, name);
    pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        process_note(0, pid);
        return pid;
    }
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (out < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0) _exit(126);
    (void)execl(path, program, (char *)NULL);
    _exit(127);
}

static inline void process_kill(pid_t pid)
{
    int status;

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    process_note(pid, 0);
}

/* SIGTERM, and the exit code must be 0 within seconds. */
static inline void process_end(pid_t pid, uint32_t within_ms)
{
    uint64_t deadline_ms = clock_monotonic_ms() + within_ms;
    int status = 0;
    pid_t gone = 0;

    assert_int_equal(kill(pid, SIGTERM), 0);
    while (gone == 0 && clock_monotonic_ms() < deadline_ms) {
        gone = waitpid(pid, &status, WNOHANG);
        if (gone == 0) clock_sleep_ms(20);
    }
    if (gone != pid) {
        process_kill(pid);
        fail_msg("a process did not leave within %u ms of SIGTERM", within_ms);
    }
    process_note(pid, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("a process left with status %d", status);
}

/* --- a ledger of the test's own ---------------------------------------------------------- */

static inline void whole_topology(void)
{
    static struct names_topology own;
    static struct topology_queue queues[2];
    static const struct topology_argument quorum = {.name = "x-queue-type", .text = "quorum"};
    struct topology_binding binding = {.key = "#"};
    struct topology others = {
        .queues = queues, .queues_count = 2, .bindings = &binding, .bindings_count = 1};

    names_topology(&whole.names, &own);
    must(topology_apply(getenv("LEDGER_AMQP_URL"), &own.topology, TOPOLOGY_DECLARE, &err));
    for (int i = 0; i < 2; i++) {
        queues[i].arguments[0] = quorum;
        queues[i].arguments_count = 1;
        (void)snprintf(queues[i].name, sizeof queues[i].name, "%s",
                       i == 0 ? whole.replies : whole.events);
    }
    (void)snprintf(binding.source, sizeof binding.source, "%s", whole.names.events);
    (void)snprintf(binding.destination, sizeof binding.destination, "%s", whole.events);
    must(topology_apply(getenv("LEDGER_AMQP_URL"), &others, TOPOLOGY_DECLARE, &err));
}

static inline int whole_begin(void **state)
{
    uint32_t random;

    if (database_make(state) != 0) return -1;
    random_bytes(&random, sizeof random);
    (void)snprintf(whole.prefix, sizeof whole.prefix, "whole%08x", random);
    (void)snprintf(whole.replies, sizeof whole.replies, "%s.test.replies", whole.prefix);
    (void)snprintf(whole.events, sizeof whole.events, "%s.test.events", whole.prefix);
    must(names_make(&whole.names, whole.prefix, WHOLE_SHARDS, &err));
    print_message("the processes' logs: build/test-logs/whole/%s-*\n", whole.prefix);
    whole_topology();
    char shards[8];
    (void)snprintf(shards, sizeof shards, "%d", WHOLE_SHARDS);
    if (setenv("LEDGER_PREFIX", whole.prefix, 1) != 0 || setenv("LEDGER_SHARDS", shards, 1) != 0 ||
        setenv("LEDGER_HTTP_PORT", "0", 1) != 0 ||
        setenv("LEDGER_HTTP_ADDRESS", "127.0.0.1", 1) != 0)
        return -1;
    if (setenv("WHOLE_ADMIN_URL", getenv("LEDGER_DATABASE_URL"), 1) != 0) return -1;
    return setenv("LEDGER_DATABASE_URL", outbox_url, 1);
}

/* Never for a queue of commands: those dead-letter at least once, and deleting one soon after it
 * was declared or recovered can end the supervisor of all such queues (rabbitmq-server issue
 * 16652). */
static inline void whole_forget(const char *queue)
{
    struct link_options options = {getenv("LEDGER_AMQP_URL"), "a test", 0, 15000};
    struct link *link;

    must(link_open(&link, &options, &err));
    (void)amqp_queue_delete(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue), false, false);
    must(link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, &err, "delete"));
    link_close(link);
}

static inline int whole_end(void **state)
{
    for (uint32_t i = 0; i < WHOLE_PROCESSES_MAX; i++) /* of a test that failed */
        if (whole.running[i] > 0) process_kill(whole.running[i]);
    whole_forget(whole.replies);
    whole_forget(whole.events);
    if (setenv("LEDGER_DATABASE_URL", getenv("WHOLE_ADMIN_URL"), 1) != 0) return -1;
    return database_drop(state);
}

static const struct statement WHOLE_WORKERS = {
    "whole_workers", "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory'"
                     "   AND granted AND objsubid = 2 AND objid < 4 AND database ="
                     " (SELECT oid FROM pg_database WHERE datname = current_database())"};
_Static_assert(WHOLE_SHARDS == 4, "as objid says");

/* Until so many workers have shards. */
static inline void whole_await_workers(int64_t wanted)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WHOLE_TIMEOUT_MS;
    struct db *db = session_as(NULL);

    while (number(db, &WHOLE_WORKERS) != wanted) {
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg("not %jd workers with shards within %d ms", (intmax_t)wanted,
                     WHOLE_TIMEOUT_MS);
        clock_sleep_ms(50);
    }
    db_close(db);
}

/* The books must be right. Returns how many outcomes there are. */
static inline uint64_t whole_verify(void)
{
    return verify_clean(NULL).outcomes;
}

/* --- what comes out ---------------------------------------------------------------------- */

/* Fetches from a queue until done() says so; fails when nothing has come for WHOLE_TIMEOUT_MS. */
static inline void whole_collect(const char *queue, bool (*done)(void *context),
                                 void (*each)(void *context, const struct delivery *delivery),
                                 void *context)
{
    static struct delivery deliveries[WHOLE_FETCH];
    struct consumer_options options = {.url = getenv("LEDGER_AMQP_URL"),
                                       .name = "it_whole",
                                       .heartbeat_s = 60,
                                       .timeout_ms = 15000,
                                       .body_max = BODY_SIZE_MAX};
    uint64_t heard_ms = clock_monotonic_ms();
    uint32_t messages = 0;
    struct consumer *consumer;
    struct arena arena;

    must(arena_open(&arena, WHOLE_ARENA, &err));
    must(consumer_open(&consumer, &options, &err));
    must(consumer_subscribe(consumer, queue, 0, WHOLE_FETCH, &err));
    while (!done(context)) {
        uint32_t count = 0;
        arena_reset(&arena);
        must(consumer_fetch(consumer, 200, deliveries, WHOLE_FETCH, &arena, &count, &err));
        for (uint32_t i = 0; i < count; i++) each(context, &deliveries[i]);
        if (count > 0) must(consumer_ack(consumer, deliveries[count - 1].tag, true, &err));
        if (count > 0) heard_ms = clock_monotonic_ms();
        messages += count;
        if (clock_monotonic_ms() - heard_ms > WHOLE_TIMEOUT_MS)
            fail_msg("%u messages came from %s, and nothing more for %d ms", messages, queue,
                     WHOLE_TIMEOUT_MS);
    }
    clock_sleep_ms(300); /* RabbitMQ forgets acknowledgements that a closing connection overtakes */
    consumer_close(consumer);
    arena_close(&arena);
}

#endif
